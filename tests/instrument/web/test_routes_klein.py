"""Klein's routes: the rule that was matched, wherever the application stands and however its answer comes about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from klein import Klein
from klein.interfaces import IKleinRequest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.web import pages
from twisted.web.resource import Resource
from twisted.web.static import File
from twisted.web.util import DeferredResource
from twisted.web.vhost import NameVirtualHost
from werkzeug.exceptions import HTTPException, NotFound, abort

from tests.instrument.web.applications import Branch, Page, gzipped, raise_error, text, tree
from tests.instrument.web.loopback import answers, check_sums, request, routes
from tests.instrument.web.wire import Wire
from tests.strict import Logged
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument.web import measure_site, set_route
from txmetrics.testing import FakeReactor


def get(*paths: str, host: str = "example.org") -> list[bytes]:
    return [request(path, host=host, close=False) for path in paths]


def play(root: Any, requests: Iterable[bytes], reactor: FakeReactor | None = None) -> dict[str, int]:
    """Measure ``requests`` to ``root``, with either way to measure a Site, and return how many each route had."""
    reactor = reactor or FakeReactor()
    requests = list(requests)
    told = []
    for in_place in (False, True):
        registry = MetricsRegistry(reactor.clock)
        wire = Wire(reactor, root if in_place else TimedResource(root, registry))
        if in_place:
            measure_site(wire.site, registry)
            wire.connect()
        for each in requests:
            wire.send(each)
            reactor.advance(1)
        told.append(check_routes(registry, len(requests)))
    assert told[0] == told[1]
    return told[0]


def check_routes(registry: MetricsRegistry, requests: int) -> dict[str, int]:
    """The requests of each route, which are as many as there were in all; measuring them went well."""
    found = routes(registry)
    check_sums(registry)
    assert registry.counter("http.measuring_errors").count == 0
    assert sum(found.values()) == requests
    return found


def items() -> Klein:
    """An application with rules of every kind."""
    app = Klein()

    @app.route("/")
    def root(request: Any) -> str:
        return "root"

    @app.route("/items/")
    def all_items(request: Any) -> str:
        return "items"

    @app.route("/items/<int:number>", methods=["GET"])
    def item(request: Any, number: int) -> str:
        return f"item {number}"

    @app.route("/items/<int:number>", methods=["DELETE"], endpoint="delete")
    def delete(request: Any, number: int) -> str:
        return "gone"

    @app.route("/items/<int:number>/<any(red, green):colour>")
    def colour(request: Any, number: int, colour: str) -> str:
        return colour

    @app.route("/only/<word>", methods=["POST"], endpoint="post")
    @app.route("/only/<other>", methods=["PUT"], endpoint="put")
    def only(request: Any, **words: str) -> str:
        return "done"

    @app.route("/pages/<path:path>")
    def page(request: Any, path: str) -> str:
        return path

    return app


RULES = [
    ("GET", "/", "GET-_root"),
    ("HEAD", "/", "HEAD-_root"),
    ("GET", "/items/", "GET-items"),
    ("GET", "/items/1", "GET-items-_number"),
    ("GET", "/items/2?a=b", "GET-items-_number"),
    ("HEAD", "/items/1", "HEAD-items-_number"),
    ("DELETE", "/items/1", "DELETE-items-_number"),
    ("GET", "/items/1/red", "GET-items-_number-_colour"),
    ("POST", "/only/a", "POST-only-_word"),
    ("PUT", "/only/a", "PUT-only-_other"),
    ("GET", "/pages/a/b/c", "GET-pages-_path"),
    ("GET", "/pages/%C3%A4/b", "GET-pages-_path"),
    # No rule
    ("GET", "/nothing", "_404"),
    ("GET", "/items/x", "_404"),
    ("GET", "/items/1/blue", "_404"),
    ("BREW", "/nothing", "_404"),
    # Another method's rule
    ("POST", "/items/1", "POST-items-_number"),
    ("BREW", "/items/1", "OTHER-items-_number"),
    ("GET", "/only/a", "GET-only-_word"),
    # The slash behind it
    ("GET", "/items", "GET-_redirect"),
]


@pytest.mark.parametrize(("method", "path", "route"), RULES)
def test_the_route_is_the_rule(method: str, path: str, route: str) -> None:
    """Of a rule there stand the words and the names of the variables, with the method that was asked for."""
    assert play(items().resource(), [request(path, method=method, close=False)]) == {route: 1}


def test_answers_are_those_of_the_bare_application(reactor: FakeReactor) -> None:
    """Telling the rule changes nothing of what the clients get."""
    told = []
    for measured in (False, True):
        root: Any = items().resource()
        wire = Wire(reactor, TimedResource(root, MetricsRegistry(reactor.clock)) if measured else root)
        codes = []
        for method, path, _ in RULES:
            before = len(wire.received)
            wire.send(request(path, method=method, close=False))
            codes += answers(wire.received[before:], method)
        told.append(codes)
    assert told[0] == told[1]
    assert {answer.code for answer in told[0]} == {200, 308, 404, 405}


MOUNTS: dict[str, tuple[Callable[[Any], Any], str, str, str]] = {
    "a static child": (lambda app: tree(api=app), "/api", "example.org", "api-"),
    "two static children": (lambda app: tree(api=tree(v1=app)), "/api/v1", "example.org", "api-v1-"),
    "a dynamic child": (lambda app: Branch(lambda name: app), "/x", "example.org", "_-"),
    "a virtual host": (lambda app: _host(app), "", "api.org", "api_org-"),
    "a virtual host's child": (lambda app: _host(tree(api=app)), "/api", "api.org", "api_org-api-"),
    "the default host": (lambda app: _host(default=app), "", "example.org", ""),
    "an encoder": (gzipped, "", "example.org", ""),
    "an encoder below the root": (lambda app: tree(api=gzipped(app)), "/api", "example.org", "api-"),
    "another wrapper of ours": (
        lambda app: tree(api=TimedResource(app, MetricsRegistry())),
        "/api",
        "example.org",
        "api-",
    ),
    "something that comes later": (
        lambda app: Branch(lambda name: DeferredResource(succeed(app))),
        "/x",
        "example.org",
        "_-",
    ),
    "a page of the application's own": (lambda app: tree(api=Page(app.render)), "/api", "example.org", "api-"),
    "files": (lambda app: _files(app), "/api", "example.org", "api-"),
}


def _host(app: Any = None, default: Any = None) -> NameVirtualHost:
    hosts = NameVirtualHost()
    hosts.default = default
    if app is not None:
        hosts.addHost(b"api.org", app)
    return hosts


def _files(app: Any) -> File:
    files = File("/nonexistent")
    files.putChild(b"api", app)
    return files


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_rule_is_told_wherever_the_application_stands(mount: str) -> None:
    """Before the rule stands the way to the application; what no rule matches has none."""
    before, prefix, host, name = MOUNTS[mount]
    paths = "/", "/items/", "/items/1", "/items/2", "/nothing", "/items"
    requests = get(*(f"{prefix}{path}" for path in paths), host=host)
    root = f"GET-{name.removesuffix('-') or '_root'}"
    expected = {root: 1, f"GET-{name}items": 1, f"GET-{name}items-_number": 2, "_404": 1, f"GET-{name}_redirect": 1}
    assert play(before(items().resource()), requests) == expected


# Rules within rules


def test_subroutes_and_branches() -> None:
    """A subroute's prefix is part of the rule; a branch ends where it was written."""
    app = Klein()
    with app.subroute("/api/<version>") as api:

        @api.route("/items/<item>")
        def item(request: Any, version: str, item: str) -> str:
            return item

    @app.route("/branch/", branch=True)
    def branch(request: Any) -> Resource:
        return tree(index=text(b"index"), leaf=text(b"leaf"), gone=Page(_say_gone))

    @app.route("/files/<user>/", branch=True)
    def files(request: Any, user: str) -> File:
        return File("/nonexistent")

    paths = "/api/1/items/2", "/branch/", "/branch/leaf", "/branch/gone", "/branch/nothing", "/files/will/a"
    expected = {"GET-api-_version-items-_item": 1, "GET-branch": 3, "_404": 2}
    assert play(app.resource(), get(*paths)) == expected


def _say_gone(request: Any) -> bytes:
    request.setResponseCode(404)
    return b"gone"


def test_a_branch_at_the_root() -> None:
    """It takes all that no other rule does."""
    app = items()

    @app.route("/", branch=True, endpoint="all")
    def everything(request: Any) -> Any:
        return text(b"everything")

    assert play(app.resource(), get("/what/ever", "/items/1")) == {"GET-_root": 1, "GET-items-_number": 1}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("before", [lambda inner: inner, gzipped, lambda inner: tree(deep=inner)])
def test_an_application_within_an_application(before: Callable[[Any], Any], later: bool, reactor: FakeReactor) -> None:
    """The outer rule stands before the inner one, also when the inner application comes later and behind a wrapper."""
    app = Klein()

    @app.route("/users/<user>/", branch=True)
    def branch(request: Any, user: str) -> Any:
        inner = before(items().resource())
        return deferLater(reactor, 0.5, lambda: inner) if later else inner

    deep = "deep/" if isinstance(before(text(b"")), Resource) and before(text(b"")).children else ""
    paths = [f"/users/will/{deep}{path}" for path in ("", "items/1", "items/2", "nothing")]
    expected = {"GET-app-users-_user": 1, "GET-app-users-_user-items-_number": 2, "_404": 1}
    assert play(tree(app=app.resource()), get(*(f"/app{path}" for path in paths)), reactor) == expected


def test_three_applications() -> None:
    """Each adds its rule."""
    outer, middle = Klein(), Klein()

    @outer.route("/a/<x>/", branch=True)
    def first(request: Any, x: str) -> Any:
        return middle.resource()

    @middle.route("/b/<y>/", branch=True)
    def second(request: Any, y: str) -> Any:
        return items().resource()

    assert play(outer.resource(), get("/a/1/b/2/items/3")) == {"GET-a-_x-b-_y-items-_number": 1}


def test_an_application_of_an_instance() -> None:
    """An application that is bound to an object has the rules of its class."""

    class Shop:
        app = Klein()

        @app.route("/shop/<name>")
        def show(self, request: Any, name: str) -> str:
            return name

    assert play(Shop().app.resource(), get("/shop/globe", "/shop/rose")) == {"GET-shop-_name": 2}


# Errors


def test_pages_for_errors_change_no_route() -> None:
    """A handler's answer, text or resource, belongs to the rule that failed; without a rule, to none."""
    app = items()

    @app.handle_errors(NotFound)
    def not_found(request: Any, failure: Any) -> Any:
        request.setResponseCode(404)
        return pages.notFound() if request.path == b"/page" else "not here"

    @app.handle_errors(ArithmeticError)
    def wrong(request: Any, failure: Any) -> Any:
        return pages.errorPage(500, "Wrong", "wrong")

    @app.route("/wrong")
    def fail(request: Any) -> None:
        raise_error(request)

    @app.route("/missing/<name>")
    def missing(request: Any, name: str) -> Any:
        raise NotFound

    assert play(app.resource(), get("/page", "/text", "/wrong", "/missing/a", "/missing/b")) == {
        "_404": 2,
        "GET-wrong": 1,
        "GET-missing-_name": 2,
    }


def test_all_the_same_page_for_what_is_not_there() -> None:
    """An application of one page may answer what no rule matches with 200, and it remains one route."""
    app = items()

    @app.handle_errors(NotFound)
    def page(request: Any, failure: Any) -> Any:
        request.setResponseCode(200)
        return text(b"the page") if request.path == b"/a" else "the page"

    assert play(app.resource(), get("/a", "/b")) == {"_404": 2}


def test_a_404_of_a_rule_stays_with_it() -> None:
    """What was found, and says that there is no such thing, is found."""
    app = Klein()

    @app.route("/said/<name>")
    def said(request: Any, name: str) -> str:
        request.setResponseCode(404)
        return "no"

    @app.route("/aborted/<name>")
    def aborted(request: Any, name: str) -> None:
        abort(404)

    @app.route("/page/<name>")
    def page(request: Any, name: str) -> Any:
        return pages.notFound()

    @app.route("/later/<name>")
    def later(request: Any, name: str) -> Any:
        return DeferredResource(succeed(pages.notFound()))

    names = "said", "aborted", "page", "later"
    assert play(app.resource(), get(*(f"/{name}/x" for name in names))) == {f"GET-{name}-_name": 1 for name in names}


def test_errors_are_counted_by_type_under_the_rule(reactor: FakeReactor, logged: Logged) -> None:
    """At once and later; what the application answers by itself, or Klein with a status, is no error."""
    app, registry = items(), MetricsRegistry(reactor.clock)

    @app.route("/now/<x>")
    def now(request: Any, x: str) -> None:
        raise_error(request)

    @app.route("/later/<x>")
    async def later(request: Any, x: str) -> None:
        await deferLater(reactor, 1)
        raise ValueError("on purpose")

    @app.route("/teapot")
    def teapot(request: Any) -> None:
        abort(418)

    @app.handle_errors(KeyError)
    def handle(request: Any, failure: Any) -> str:
        return "handled"

    @app.route("/handled")
    def handled(request: Any) -> None:
        raise KeyError

    wire = Wire(reactor, TimedResource(app.resource(), registry))
    for each in get("/now/1", "/now/2", "/later/1", "/teapot", "/handled"):
        wire.send(each)
        reactor.advance(1)
    assert check_routes(registry, 5) == {"GET-now-_x": 2, "GET-later-_x": 1, "GET-teapot": 1, "GET-handled": 1}
    errors = {name: registry.counter(name).count for name in _names(registry) if ".errors." in name}
    assert errors == {
        "http.routes.GET-now-_x.errors.ArithmeticError": 2,
        "http.routes.GET-later-_x.errors.ValueError": 1,
    }
    assert registry.counter("http.routes.GET-teapot.status.4xx").count == 1
    assert len(logged.flush(ArithmeticError, ValueError)) == 3


def _names(registry: MetricsRegistry) -> list[str]:
    return [reading.name for reading in registry.snapshot()]


def test_a_path_that_is_not_utf_8_never_reaches_a_rule(reactor: FakeReactor, logged: Logged) -> None:
    """Klein answers 400 before it looks for a rule; the request is counted where the application stands."""
    registry = MetricsRegistry(reactor.clock)
    Wire(reactor, TimedResource(tree(api=items().resource()), registry)).send(*get("/api/%FF", "/api/items/%FF"))
    assert check_routes(registry, 2) == {"GET-api": 2}
    assert registry.counter("http.routes.GET-api.status.4xx").count == 2
    assert logged.flush(UnicodeDecodeError)


# Later, and never


@pytest.mark.parametrize("kind", ["Deferred", "async"])
def test_answers_that_come_later(kind: str, reactor: FakeReactor) -> None:
    """The rule is that of the request, whatever was asked meanwhile."""
    app = Klein()

    @app.route("/deferred/<x>")
    def deferred(request: Any, x: str) -> Deferred[str]:
        return deferLater(reactor, int(x), lambda: x)

    @app.route("/async/<x>")
    async def coroutine(request: Any, x: str) -> str:
        await deferLater(reactor, int(x))
        return x

    registry = MetricsRegistry(reactor.clock)
    root = TimedResource(app.resource(), registry)
    wires = [Wire(reactor, root) for _ in range(3)]
    for seconds, wire in zip((3, 1, 2), wires, strict=True):
        wire.send(*get(f"/{kind.lower()}/{seconds}"))
    assert registry.gauge("http.active").value == 3
    for _ in range(3):
        reactor.advance(1)
    assert check_routes(registry, 3) == {f"GET-{kind.lower()}-_x": 3}
    spread = registry.timer(f"http.routes.GET-{kind.lower()}-_x.requests").distribution
    assert spread is not None
    assert (spread.min, spread.max) == (1, 3)
    assert registry.gauge("http.active").value == 0


def test_a_client_that_does_not_wait(reactor: FakeReactor, logged: Logged) -> None:
    """It is counted under the rule, as aborted, and the application's Deferred is cancelled as without us."""
    app, registry = Klein(), MetricsRegistry(reactor.clock)
    cancelled: list[Any] = []

    @app.route("/wait/<x>")
    def wait(request: Any, x: str) -> Deferred[None]:
        return Deferred(cancelled.append)

    wire = Wire(reactor, TimedResource(app.resource(), registry))
    wire.send(*get("/wait/1"))
    wire.lose()
    assert check_routes(registry, 1) == {"GET-wait-_x": 1}
    assert registry.counter("http.routes.GET-wait-_x.aborted").count == 1
    assert len(cancelled) == 1
    assert not logged.flush(CancelledError)


def test_the_application_says_better(reactor: FakeReactor) -> None:
    """set_route is stronger than the rule."""
    app, registry = Klein(), MetricsRegistry(reactor.clock)

    @app.route("/<path:path>")
    def everything(request: Any, path: str) -> str:
        set_route(request, "/said/{path}")
        return path

    Wire(reactor, TimedResource(app.resource(), registry)).send(*get("/a/b", "/c"))
    assert check_routes(registry, 2) == {"GET-said-_path": 2}


def test_who_asks_for_kleins_part_of_a_request_is_no_klein() -> None:
    """A page of another kind may adapt its request without there being a rule."""
    page = Page(lambda request: (IKleinRequest(request), b"")[-1])
    assert play(tree(page=page, api=items().resource()), get("/page", "/api/items/1")) == {
        "GET-page": 1,
        "GET-api-items-_number": 1,
    }


def test_the_mount_of_many_parts_keeps_the_route_bounded() -> None:
    """A rule is one part, however long; and what is too deep to be told adds nothing."""
    app = Klein()

    @app.route("/" + "/".join("abcdefghijkl"))
    def deep(request: Any) -> str:
        return "deep"

    root: Any = app.resource()
    for _ in range(8):
        root = tree(x=root)
    expected = {"GET-" + "-".join("abcdefghijkl"): 1}
    assert play(app.resource(), get("/a/b/c/d/e/f/g/h/i/j/k/l")) == expected
    assert play(root, get("/x" * 8 + "/a/b/c/d/e/f/g/h/i/j/k/l")) == {"GET-" + "-".join("x" * 8): 1}


def test_http_errors_that_are_raised_by_werkzeugs_name() -> None:
    """A handler for all of them, which many applications have, keeps 404 and 405 where they belong."""
    app = items()

    @app.handle_errors(HTTPException)
    def handle(request: Any, failure: Any) -> bytes:
        request.setResponseCode(failure.value.code)
        return b"an error"

    requests = [request(path, method="POST", close=False) for path in ("/nothing", "/items/1")]
    assert play(app.resource(), requests) == {"_404": 1, "POST-items-_number": 1}
