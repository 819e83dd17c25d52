"""Routes: what a request is counted under, for every way through a tree of resources; never a word of a client's."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import StringTransport
from twisted.web import pages
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import ErrorPage, IResource, NoResource, Resource
from twisted.web.rewrite import RewriterResource
from twisted.web.script import ResourceScript, ResourceScriptDirectory
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Data, File
from twisted.web.tap import _AddHeadersResource
from twisted.web.util import DeferredResource, Redirect
from twisted.web.vhost import NameVirtualHost, VHostMonsterResource
from zope.interface import implementer

from tests.instrument.web.applications import Branch, Endless, OnlyGet, Page, gzipped, raise_error, text, tree
from tests.instrument.web.loopback import check_sums, request, routes
from tests.instrument.web.wire import Wire
from tests.strict import Logged
from txmetrics import MetricsRegistry, TimedResource, names
from txmetrics.instrument.web import _route, measure_site, set_route
from txmetrics.instrument.web._route import DEPTH, node
from txmetrics.instrument.web._shed import ShedLoad
from txmetrics.testing import FakeReactor


def get(*paths: str, host: str = "example.org", headers: Iterable[str] = ()) -> list[bytes]:
    """Requests for all of ``paths``. Files are answered without their contents, which would take a real reactor."""
    headers = "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT", *headers
    return [request(path, *headers, host=host, close=False) for path in paths]


def play(reactor: FakeReactor, root: Any, requests: Iterable[bytes]) -> dict[str, int]:
    """Measure ``requests`` to ``root``, with either way to measure a Site, and return how many each route had."""
    requests = list(requests)
    told = []
    for measure in _measured_resource, _measured_site:
        if measure is _measured_site and isinstance(root, TimedResource):
            continue  # which would keep its own registry
        registry = MetricsRegistry(reactor.clock)
        wire = measure(reactor, root, registry)
        for each in requests:
            wire.send(each)
            reactor.advance(1)
        told.append(check_routes(registry, len(requests)))
    assert told[0] == told[-1]
    return told[0]


def _measured_resource(reactor: FakeReactor, root: Any, registry: MetricsRegistry) -> Wire:
    return Wire(reactor, TimedResource(root, registry))


def _measured_site(reactor: FakeReactor, root: Any, registry: MetricsRegistry) -> Wire:
    wire = Wire(reactor, root)
    measure_site(wire.site, registry)
    wire.connect()
    return wire


def check_routes(registry: MetricsRegistry, requests: int) -> dict[str, int]:
    """The requests of each route, which are as many as there were in all; measuring them went well."""
    found = routes(registry)
    check_sums(registry)
    assert registry.counter("http.measuring_errors").count == 0
    assert sum(found.values()) == requests
    return found


# The tree


class Users(Resource):
    """Finds a user for any name, with posts that were put there; keeps the users if it is told to."""

    def __init__(self, keep: bool = False) -> None:
        super().__init__()
        self.putChild(b"all", text(b"all"))
        self._keep = keep

    def getChild(self, path: bytes, request: Any) -> Any:
        if not path:
            return self
        user = tree(index=text(b"user"), posts=text(b"posts"))
        if self._keep:
            self.putChild(path, user)
        return user

    def render_GET(self, request: Any) -> bytes:
        return b"users"


class Wrapping(Resource):
    """Gives its children away wrapped."""

    def getChildWithDefault(self, path: bytes, request: Any) -> Any:
        return gzipped(super().getChildWithDefault(path, request))


def nested(depth: int, leaf: Any) -> Any:
    for number in range(depth, 0, -1):
        leaf = tree(**{f"c{number}": leaf})
    return leaf


def strange() -> Resource:
    root = Resource()
    for name in (b"a.b", b"a-b", b"with space", "\xe4".encode(), b"\xff\xfe", b"a/b", b"<x>", b"{}"):
        root.putChild(name, tree(leaf=text(b"leaf")))
    return root


TREES: dict[str, tuple[Callable[[], Any], list[bytes], dict[str, int]]] = {
    "static children stand with their names": (
        lambda: tree(a=text(b""), b=tree(c=tree(index=text(b""), d=text(b"")))),
        get("/a", "/b/c/", "/b/c/d", "/b/c/d"),
        {"GET-a": 1, "GET-b-c": 1, "GET-b-c-d": 2},
    ),
    "dynamic children are a placeholder": (
        lambda: tree(users=Users()),
        get("/users/all", "/users/42", "/users/42/posts", "/users/will/posts"),
        {"GET-users-all": 1, "GET-users-_": 1, "GET-users-_-posts": 2},
    ),
    "children that are kept when they are asked for remain dynamic": (
        lambda: tree(users=Users(keep=True)),
        get("/users/42/posts", "/users/will/posts", "/users/42/posts", "/users/42/", "/users/all"),
        {"GET-users-_-posts": 3, "GET-users-_": 1, "GET-users-all": 1},
    ),
    "children that are kept remain dynamic behind a wrapper as well": (
        lambda: _AddHeadersResource(tree(users=gzipped(Users(keep=True))), []),
        get("/users/42/posts", "/users/42/posts", "/users/all"),
        {"GET-users-_-posts": 2, "GET-users-all": 1},
    ),
    "runs of placeholders are one": (
        Endless,
        get("/", "/a", "/a/b/c", "/a//b/c/d/e/f/g/h/i/j/k/"),
        {"GET-_root": 1, "GET-_": 3},
    ),
    "a placeholder follows a name that ends like one": (
        lambda: tree(**{"x{}": Users()}),
        get("/x%7B%7D/42"),
        {"GET-x_-_": 1},
    ),
    "the depth is bounded": (
        lambda: nested(DEPTH + 3, Endless()),
        get(
            "/" + "/".join(f"c{number}" for number in range(1, DEPTH + 1)) + "/",
            "/" + "/".join(f"c{number}" for number in range(1, DEPTH + 4)),
            "/" + "/".join(f"c{number}" for number in range(1, DEPTH + 4)) + "/x/y",
        ),
        {"_404": 1, "GET-" + "-".join(f"c{number}" for number in range(1, DEPTH + 1)): 2},
    ),
    "empty segments add nothing": (
        lambda: tree(index=text(b""), users=Users()),
        get("/", "//", "/users/", "/users", "/users//", "/users/42/"),
        {"GET-_root": 2, "GET-users": 3, "GET-users-_": 1},
    ),
    "a leaf ends the route": (
        lambda: tree(a=text(b"")),
        get("/a", "/a/", "/a/b/c?d=e"),
        {"GET-a": 3},
    ),
    "a leaf as root is the root": (lambda: text(b""), get("/", "/a", "/a/b"), {"GET-_root": 3}),
    "names that a Graphite path cannot carry": (
        strange,
        get(
            *("/a.b/leaf", "/a-b/leaf", "/with%20space/leaf", "/%C3%A4/leaf", "/%FF%FE/leaf", "/a%2Fb/leaf"),
            *("/%3Cx%3E/leaf", "/%7B%7D/leaf"),
        ),
        {
            "GET-a_b-leaf": 1,
            "GET-a-b-leaf": 2,
            "GET-with_space-leaf": 1,
            "GET-_-leaf": 2,
            "GET-__-leaf": 1,
            "GET-_x-leaf": 1,
        },
    ),
    "what is wrapped on its way out is still static": (
        lambda: (root := Wrapping(), root.putChild(b"a", text(b"")))[0],
        get("/a"),
        {"GET-a": 1},
    ),
    "what is in Resource.children and never given away is not": (
        lambda: (root := Branch(lambda name: text(b"")), root.children.__setitem__(b"a", text(b"")))[0],
        get("/a", "/b"),
        {"GET-a": 1, "GET-_": 1},
    ),
    "methods": (
        lambda: tree(a=Endless(), b=OnlyGet(lambda request: b"")),
        [request("/a", method=method, close=False) for method in ("GET", "HEAD", "POST", "get", "BREW", "X" * 900)]
        + [request("/b", method="HEAD", close=False), request("/b", method="DELETE", close=False)],
        {"GET-a": 1, "HEAD-a": 1, "POST-a": 1, "OTHER-a": 3, "HEAD-b": 1, "DELETE-b": 1},
    ),
    "redirects stay with their route": (
        lambda: tree(old=Redirect(b"/new")),
        get("/old", "/old/page"),
        {"GET-old": 2},
    ),
    "data": (lambda: tree(a=Data(b"", "text/plain")), get("/a", "/a/b"), {"GET-a": 1, "_404": 1}),
}


@pytest.mark.parametrize("case", TREES)
def test_routes_of_a_tree(case: str, reactor: FakeReactor) -> None:
    """Each request is counted once, under the route that its resources make."""
    root, requests, expected = TREES[case]
    assert play(reactor, root(), requests) == expected


# What does not exist


class Gone(Resource):
    """A page that knows by itself that there is nothing any more."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        request.setResponseCode(404)
        return b"gone"


MISSING: dict[str, tuple[Callable[[], Any], list[bytes]]] = {
    "nothing was put there": (lambda: tree(a=tree()), get("/b", "/a/b", "/a/b/c")),
    "the empty path": (lambda: tree(a=tree()), get("/", "/a/")),
    "NoResource": (lambda: tree(a=NoResource(), b=Branch(lambda name: NoResource())), get("/a", "/b/c", "/b/c/d")),
    "notFound": (
        lambda: tree(a=pages.notFound(), b=Branch(lambda name: pages.notFound("No", "no"))),
        get("/a", "/b/c", "/b/c/d"),
    ),
    "error pages": (lambda: tree(a=ErrorPage(404, "", ""), b=pages.errorPage(404, "", "")), get("/a", "/b")),
    "as root": (NoResource, get("/", "/a")),
    "behind an encoder": (lambda: tree(a=gzipped(NoResource())), get("/a", "/a/b")),
    "deferred": (lambda: Branch(lambda name: DeferredResource(succeed(NoResource()))), get("/a", "/a/b")),
    "marked": (lambda: tree(a=marked(pages.notFound())), get("/a", "/a/b")),
    "no such host": (lambda: hosts(one=text(b"")), get("/", "/a")),
    "no such host, below the root": (lambda: tree(a=hosts(one=text(b""))), get("/a", "/a/b")),
    "other methods": (lambda: tree(), [request("/a", method=method, close=False) for method in ("POST", "BREW")]),
}


@pytest.mark.filterwarnings("ignore:twisted.web.resource:DeprecationWarning")
@pytest.mark.parametrize("case", MISSING)
def test_all_that_does_not_exist_is_one_route(case: str, reactor: FakeReactor) -> None:
    """Whatever says that there is no resource, and for whatever path and method."""
    root, requests = MISSING[case]
    assert play(reactor, root(), requests) == {"_404": len(requests)}


def test_a_404_of_a_resource_stays_with_its_route(reactor: FakeReactor) -> None:
    """What was found may say 404 by itself; and what was not found may be answered with something else."""
    root = tree(gone=Gone(), users=Branch(lambda name: Gone()), error=pages.forbidden())
    expected = {"GET-gone": 1, "GET-users-_": 1, "GET-error": 1, "GET-error-_": 1}
    assert play(reactor, root, get("/gone", "/users/42", "/error", "/error/a")) == expected


# Files, scripts and other servers


SCRIPT = b"""
from twisted.web.resource import Resource
from twisted.web.static import Data
resource = Data(b"a script", "text/plain")
resource.putChild(b"child", Data(b"its child", "text/plain"))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Files, and scripts among them."""
    (tmp_path / "below").mkdir()
    for name in ("hello.txt", "below/hello.txt", "below/index.html", "page.html"):
        (tmp_path / name).write_bytes(b"hello")
    for name in ("page.rpy", "below/page.rpy"):
        (tmp_path / name).write_bytes(SCRIPT)
    return tmp_path


def files(directory: Path) -> File:
    root = File(os.fspath(directory))
    root.processors = {".rpy": ResourceScript}
    return root


IN_FILES = "/", "/hello.txt", "/below", "/below/", "/below/hello.txt"


@pytest.mark.parametrize("before", [lambda root: root, gzipped, lambda root: _AddHeadersResource(root, [(b"a", b"b")])])
def test_files_are_one_route(
    before: Callable[[Any], Any], directory: Path, reactor: FakeReactor, logged: Logged
) -> None:
    """The route ends where the directory was put, also behind what stands before it; what was put into it goes on."""
    root = files(directory)
    root.putChild(b"api", tree(users=Users()))
    requests = get(*IN_FILES, "/nothing", "/below/nothing", "/hello.txt/a", "/%FF", "/api/users/42")
    assert play(reactor, before(root), requests) == {"GET-_root": 5, "_404": 4, "GET-api-users-_": 1}
    assert len(logged.flush(UnicodeDecodeError)) == 2  # of Twisted Web's, for each way to measure


def test_files_behind_a_login_are_one_route(directory: Path, reactor: FakeReactor) -> None:
    """A login gives away each of its files in a wrapper."""
    assert play(reactor, guarded(files(directory)), authorised(*IN_FILES, "/nothing")) == {"GET-_root": 5, "_404": 1}


def test_files_that_are_found_for_the_occasion(directory: Path, reactor: FakeReactor) -> None:
    """A directory for each user is a placeholder, and all that is below one belongs to it."""
    homes = tree(homes=Branch(lambda name: File(os.fspath(directory))))
    assert play(reactor, homes, get("/homes/will", "/homes/will/below/hello.txt")) == {"GET-homes-_": 2}


def test_files_below_the_root(directory: Path, reactor: FakeReactor) -> None:
    """A mounted directory is one route; so is one file, which may be missing."""
    root = tree(static=files(directory), one=File(os.fspath(directory / "hello.txt")), no=File("/nonexistent"))
    requests = get("/static", *(f"/static{path}" for path in IN_FILES), "/one", "/no", "/no/a", "/static/a")
    assert play(reactor, root, requests) == {"GET-static": 6, "GET-one": 1, "_404": 3}


def test_a_page_of_ones_own_for_what_is_not_there(directory: Path, reactor: FakeReactor) -> None:
    """File.childNotFound may be any resource. If it answers with something else, that is one of the files."""
    missing, found = files(directory), files(directory)
    missing.childNotFound = Gone()
    found.childNotFound = File(os.fspath(directory / "page.html"))
    root = tree(missing=missing, found=found)
    assert play(reactor, root, get("/missing/a", "/found/a", "/found/hello.txt")) == {"_404": 1, "GET-found": 2}


def test_scripts_are_one_route_apart_from_the_files(directory: Path, reactor: FakeReactor) -> None:
    """A script takes as long as it takes; its name came from the client, and what it has put into itself did not."""
    root = tree(files=files(directory), scripts=ResourceScriptDirectory(os.fsencode(directory)))
    paths = "/page.rpy", "/below/page.rpy", "/page.rpy/child"
    assert play(reactor, root, get(*(f"{where}{path}" for where in ("/files", "/scripts") for path in paths))) == {
        "GET-files-_": 2,
        "GET-files-_-child": 1,
        "GET-scripts-_": 2,
        "GET-scripts-_-child": 1,
    }


def test_a_reverse_proxy_is_one_route(registry: MetricsRegistry) -> None:
    """The tree of another server is not ours to know; its 404 is its answer."""
    reactor = FakeReactor()

    factories: list[Any] = []

    class Connected:
        """A reactor that remembers the factories."""

        def connectTCP(self, host: str, port: int, factory: Any) -> None:
            factories.append(factory)

    root = tree(behind=ReverseProxyResource("127.0.0.1", 1, b"", Connected()))
    wire = Wire(reactor, TimedResource(root, registry))
    for number, path in enumerate(("/behind", "/behind/a", "/behind/a/b?c=d")):
        wire.send(*get(path))
        client = factories[number].buildProtocol(None)
        client.makeConnection(StringTransport())
        client.handleStatus(b"HTTP/1.0", b"404", b"Not Found")
        client.handleEndHeaders()
        client.handleResponseEnd()
    assert check_routes(registry, 3) == {"GET-behind": 3}


# What stands before another resource


def marked(resource: Any) -> Any:
    """It has an attribute by the name under which others keep the resource that they stand before."""
    resource.resource = "a word"
    return resource


def hosts(default: Any = None, **names: Any) -> NameVirtualHost:
    root = NameVirtualHost()
    root.default = default
    for name, resource in names.items():
        root.addHost(name.replace("_", ".").encode(), resource)
    return root


@implementer(IRealm)
class Realm:
    """Gives everybody the same resource, now or when ``later`` fires."""

    def __init__(self, resource: Any, later: Deferred[None] | None = None) -> None:
        self._resource = resource
        self._later = later

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: object) -> Any:
        avatar = IResource, self._resource, lambda: None
        return avatar if self._later is None else self._later.addCallback(lambda ignored: avatar)


def guarded(resource: Any, later: Deferred[None] | None = None) -> HTTPAuthSessionWrapper:
    checkers = [InMemoryUsernamePasswordDatabaseDontUse(will=b"globe")]
    return HTTPAuthSessionWrapper(Portal(Realm(resource, later), checkers), [BasicCredentialFactory(b"stage")])


def authorised(*paths: str, host: str = "example.org") -> list[bytes]:
    return get(*paths, host=host, headers=["Authorization: Basic d2lsbDpnbG9iZQ=="])


def two_hosts(before: Callable[[Any], Any] = lambda root: root) -> NameVirtualHost:
    return hosts(
        default=before(tree(index=text(b""), a=text(b""))),
        leaf_org=before(text(b"")),
        tree_org=before(tree(index=text(b""), a=text(b""), users=Users())),
    )


TO_HOSTS = [
    *get("/", "/a", host="elsewhere.org"),
    *get("/", "/a", "/a/b", host="leaf.org"),
    *get("/", "/a", host="Tree.org:8080"),
    *get("/users/42", host="tree.org"),
    request("/a", version="1.0", close=False).replace(b"Host: example.org\r\n", b""),
]
OF_HOSTS = {
    "GET-_root": 1,
    "GET-a": 2,
    "GET-leaf_org": 3,
    "GET-tree_org": 1,
    "GET-tree_org-a": 1,
    "GET-tree_org-users-_": 1,
}


def rewrite(request: Any) -> None:
    """A rule that knows the new places of old resources."""
    if request.postpath[0] == b"old":
        request.postpath[:1] = [b"new", b"users"]


def mount(before: Callable[[Any], Any]) -> Any:
    return before(tree(index=text(b""), a=text(b""), users=Users()))


LAYERS: dict[str, Callable[[Any], Any]] = {
    "twistd web --add-header": lambda root: _AddHeadersResource(root, [(b"a", b"b")]),
    "an encoder": gzipped,
    "a rewriter": RewriterResource,
    "load shedding": lambda root: ShedLoad(root, MetricsRegistry(), reactor=FakeReactor()),
    "another wrapper of ours": lambda root: TimedResource(root, MetricsRegistry()),
    "two of them": lambda root: TimedResource(TimedResource(root, MetricsRegistry()), MetricsRegistry()),
    "headers and an encoder": lambda root: _AddHeadersResource(gzipped(root), []),
    "a host": lambda root: hosts(default=root),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_what_stands_before_a_tree_blurs_nothing(layer: str, reactor: FakeReactor) -> None:
    """A tree has the same routes behind another resource, at the root and below."""
    before = LAYERS[layer]
    paths = "/", "/a", "/users/42", "/users/42/posts"
    expected = {"GET-_root": 1, "GET-a": 1, "GET-users-_": 1, "GET-users-_-posts": 1}
    assert play(reactor, mount(before), get(*paths)) == expected
    below = {name.replace("GET", "GET-below").removesuffix("-_root"): count for name, count in expected.items()}
    assert play(reactor, tree(below=mount(before)), get(*(f"/below{path}" for path in paths))) == below


@pytest.mark.parametrize("layer", sorted(set(LAYERS) - {"a host"}))
def test_hosts_are_named_before_and_behind_others(layer: str, reactor: FakeReactor) -> None:
    """The hosts that the server knows are in the route, once; the default has no name, nor has what clients say."""
    assert play(reactor, LAYERS[layer](two_hosts()), TO_HOSTS) == OF_HOSTS
    if layer not in ("a rewriter", "twistd web --add-header", "headers and an encoder"):  # these can have no leaf
        assert play(reactor, two_hosts(LAYERS[layer]), TO_HOSTS) == OF_HOSTS


def test_hosts_within_hosts(reactor: FakeReactor) -> None:
    """What was put into the host resource itself is every host's; a nested one is named again."""
    root = hosts(one=hosts(one=tree(a=text(b""))))
    root.putChild(b"shared", text(b""))
    assert play(reactor, root, get("/a", "/shared", host="one")) == {"GET-one-one-a": 1, "GET-shared": 1}


def test_a_monster_begins_again_at_the_root(reactor: FakeReactor) -> None:
    """Behind a proxy that names the host in the path, the route is what it would be without."""
    root = tree(index=text(b""), a=text(b""), users=Users(), vhost=VHostMonsterResource())
    paths = "/", "/a", "/users/42/posts", "/nothing"
    requests = get(*paths, *(f"/vhost/http/example.com:80{path}" for path in paths))
    expected = {"GET-_root": 2, "GET-a": 2, "GET-users-_-posts": 2, "_404": 2}
    assert play(reactor, root, requests) == expected


def test_a_monster_before_hosts(reactor: FakeReactor) -> None:
    """It sets the host, by which a virtual host is found at the second entry, and named once."""
    root = hosts(default=tree(vhost=VHostMonsterResource()), tree_org=tree(a=text(b"")))
    assert play(reactor, root, get("/vhost/http/tree.org/a")) == {"GET-tree_org-a": 1}


def test_a_rewriter_leads_to_what_was_meant(reactor: FakeReactor) -> None:
    """The route is that of the new place, whatever the client has asked for."""
    root = RewriterResource(tree(new=tree(users=Users()), a=text(b"")), rewrite)
    expected = {"GET-new-users-_": 2, "GET-new-users-_-posts": 1, "GET-a": 1}
    assert play(reactor, root, get("/old/42", "/new/users/42", "/old/42/posts", "/a")) == expected


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("mounted", [False, True])
def test_a_login_blurs_nothing_behind_it(mounted: bool, later: bool, reactor: FakeReactor) -> None:
    """A 401 is counted where the login stands, and who is let in has the routes of the tree behind it."""
    avatar = tree(index=text(b""), a=text(b""), users=Users(), files=File("/nonexistent"), gone=Gone())
    paths = "/", "/a", "/users/42/posts", "/nothing", "/files/a", "/gone"
    waiting: list[Deferred[None]] = []

    class Late(Realm):
        def requestAvatar(self, *arguments: Any) -> Any:
            waiting.append(Deferred())
            reactor.callLater(0.5, waiting[-1].callback, None)
            return waiting[-1].addCallback(lambda ignored: super(Late, self).requestAvatar(*arguments))

    realm = Late if later else Realm
    checkers = [InMemoryUsernamePasswordDatabaseDontUse(will=b"globe")]
    guard = HTTPAuthSessionWrapper(Portal(realm(avatar), checkers), [BasicCredentialFactory(b"stage")])
    prefix, root = ("/secret", tree(secret=guard)) if mounted else ("", guard)
    paths = tuple(f"{prefix}{path}" for path in paths)
    requests = get(*paths) + get(*paths, headers=["Authorization: Basic bm8="]) + authorised(*paths)
    name = "GET-secret" if mounted else "GET"
    at = name if mounted else "GET-_root"
    expected = {at: 2 * len(paths) + 1, f"{name}-a": 1, f"{name}-users-_-posts": 1, "_404": 2, f"{name}-gone": 1}
    assert play(reactor, root, requests) == expected


def test_what_comes_later_behind_a_login(reactor: FakeReactor) -> None:
    """The login wraps the DeferredResource, too, and the walk goes on even so."""

    def find(name: bytes) -> DeferredResource:
        later: Deferred[Any] = Deferred()
        reactor.callLater(0.5, later.callback, tree(a=text(b"")))
        return DeferredResource(later)

    assert play(reactor, guarded(Branch(find)), authorised("/x/a", "/y/a")) == {"GET-_-a": 2}


def test_a_login_without_a_path_behind_it(reactor: FakeReactor) -> None:
    """What is guarded may be the page itself."""
    root = tree(secret=guarded(text(b"")), file=guarded(pages.notFound()))
    assert play(reactor, root, [*get("/secret"), *authorised("/secret")]) == {"GET-secret": 2}
    assert play(reactor, root, authorised("/file", "/file/a")) == {"_404": 2}


def test_a_login_on_a_virtual_host(reactor: FakeReactor) -> None:
    """The host remains in the route when the walk goes on after the login."""
    root = hosts(one=guarded(tree(a=text(b""))), two=text(b""))
    requests = get("/a", host="one") + authorised("/a", host="one") + get("/a", host="two")
    assert play(reactor, root, requests) == {"GET-one": 1, "GET-one-a": 1, "GET-two": 1}


def test_resources_that_come_later(reactor: FakeReactor) -> None:
    """The walk goes on below what a DeferredResource has brought, and below the next one."""

    def find(name: bytes) -> DeferredResource:
        later: Deferred[Any] = Deferred()
        reactor.callLater(0.5, later.callback, tree(index=text(b""), a=text(b""), more=Branch(find)))
        return DeferredResource(later)

    root = tree(later=Branch(find))
    requests = get("/later/x/", "/later/x/a", "/later/x/nothing", "/later/x/more/y/a")
    expected = {"GET-later-_": 1, "GET-later-_-a": 1, "_404": 1, "GET-later-_-more-_-a": 1}
    registry = MetricsRegistry(reactor.clock)
    wire = Wire(reactor, TimedResource(root, registry))
    for each in requests:
        wire.send(each)
        for _ in range(4):
            reactor.advance(0.5)
    assert check_routes(registry, 4) == expected


def test_an_error_in_finding_is_counted_where_it_was_sought(reactor: FakeReactor, logged: Logged) -> None:
    """An exception in getChild has a route, and its type is counted under it."""
    registry = MetricsRegistry(reactor.clock)
    root = tree(users=Branch(raise_error), page=Page(raise_error))
    Wire(reactor, TimedResource(root, registry)).send(*get("/users/42", "/users/43", "/page"))
    assert check_routes(registry, 3) == {"GET-users-_": 2, "GET-page": 1}
    assert registry.counter("http.routes.GET-users-_.errors.ArithmeticError").count == 2
    assert registry.counter("http.routes.GET-page.errors.ArithmeticError").count == 1
    logged.flush(ArithmeticError)


def test_wrapped_below_the_root_the_route_begins_there(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """A wrapper within a tree knows only its part; one before the whole tree knows all."""
    below = TimedResource(tree(a=text(b""), users=Users()), registry)
    Wire(reactor, tree(below=below)).send(*get("/below/a", "/below/users/42"))
    assert check_routes(registry, 2) == {"GET-a": 1, "GET-users-_": 1}
    whole = tree(below=TimedResource(tree(a=text(b""), users=Users()), MetricsRegistry()))
    assert play(reactor, whole, get("/below/a", "/below/users/42/posts")) == {
        "GET-below-a": 1,
        "GET-below-users-_-posts": 1,
    }


def test_resources_that_are_no_resources_of_twisted(reactor: FakeReactor) -> None:
    """What has no children, or strange ones, or refers to itself, is only dynamic."""

    @implementer(IResource)
    class Bare:
        isLeaf = False

        def getChildWithDefault(self, name: bytes, request: Any) -> Any:
            return text(b"")

        def putChild(self, name: bytes, child: Any) -> None: ...

        def render(self, request: Any) -> bytes:
            return b""

    class Strange(Bare):
        __hash__ = None
        __slots__ = ("resource",)
        children = (b"a",)

    class Raising(Bare):
        resource = "a word"

        @property
        def children(self) -> Any:
            raise ArithmeticError("on purpose")

    class Own(Bare):
        def __init__(self) -> None:
            self.resource = self
            self.children = {b"a": None}

    root = tree(bare=Bare(), strange=Strange(), raising=Raising(), own=Own())
    paths = [f"/{name}/a" for name in ("bare", "strange", "raising", "own")]
    assert play(reactor, root, get(*paths)) == {f"GET-{path.split('/')[1]}-_": 1 for path in paths}


def test_classes_that_are_made_for_a_request_are_not_kept(reactor: FakeReactor) -> None:
    """Nor is what they hold; and of those that might be more, only so many."""
    seen: list[ref[type]] = []

    def find(name: bytes) -> Any:
        class Child(Resource):
            def getChild(self, path: bytes, request: Any) -> Resource:
                return text(b"")

        seen.append(ref(Child))
        return Child()

    play(reactor, Branch(find), get("/a/b", "/a/b"))
    gc.collect()
    assert [each() for each in seen] == [None] * 4
    remembered = dict(_route._kinds)
    kinds = [type(f"Child{number}", (Endless,), {}) for number in range(_route.CLASSES + 10)]
    play(reactor, Branch(lambda name: kinds[int(name)]()), get(*(f"/{number}/a" for number in range(len(kinds)))))
    assert len(_route._kinds) == _route.CLASSES
    _route._kinds.clear()
    _route._kinds.update(remembered)


def test_the_slowest_are_told_with_the_whole_route(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """To a person, a route is told as it was written, and not as Graphite has it."""
    root = TimedResource(tree(index=text(b""), a=tree(index=text(b"")), users=Users(), **{"a b": text(b"")}), registry)
    Wire(reactor, root).send(*get("/", "/a/", "/users//", "/users/42", "/a%20b", "/nothing"))
    told = [slow.route for slow in root.slowest()]
    assert told == ["GET /", "GET /a", "GET /users", "GET /users/{}", "GET /a b", "_404"]


# What the application says


def test_set_route_has_the_last_word(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """It is taken until the request is over, also in a later turn, and is stronger than ``route`` and the tree."""

    def later(request: Any) -> int:
        reactor.callLater(1, lambda: (set_route(request, "/later"), request.finish()))
        return NOT_DONE_YET

    def twice(request: Any) -> bytes:
        set_route(request, "/first")
        set_route(request, "/second/{id}")
        return b""

    root = tree(now=Page(twice), later=Page(later), page=text(b""), gone=Page(lambda request: later(request)))
    wire = Wire(reactor, TimedResource(root, registry, route=lambda request: "/told"))
    for path in ("/now", "/later", "/page"):
        wire.send(*get(path))
        reactor.advance(1)
    wire.send(request("/now", method="BREW", close=False), request("/now", method="POST", close=False))
    expected = {"GET-second-_id": 1, "GET-later": 1, "GET-told": 1, "OTHER-told": 1, "POST-second-_id": 1}
    assert check_routes(registry, 5) == expected


def test_set_route_may_come_too_late_or_be_in_vain(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """On a request that nobody measures, or that has ended, it does nothing."""
    seen: list[Any] = []
    page = Page(lambda request: (seen.append(request), set_route(request, "/a"), b"")[-1])
    Wire(reactor, page).send(*get("/"))
    late = Page(lambda request: (seen.append(request), b"")[-1])
    Wire(reactor, TimedResource(late, registry)).send(*get("/"))
    for each in seen:
        set_route(each, "/b")
    assert check_routes(registry, 1) == {"GET-_root": 1}


@pytest.mark.parametrize(
    "hostile", ["a.b\n;c=d 1 1\n", "", " ", "/", "..", "\0", "\ud800", "*{a,b}[c]?", "<" * 100_000, "x" * 100_000, "é"]
)
def test_a_hostile_route_is_one_node(hostile: str, reactor: FakeReactor) -> None:
    """Whatever the application takes for a route becomes one part of a name, short enough for a file."""
    registry = MetricsRegistry(reactor.clock)
    page = Page(lambda request: (set_route(request, hostile), b"")[-1])
    Wire(reactor, TimedResource(page, registry)).send(*get("/"))
    (route,) = check_routes(registry, 1)
    assert names.check(route) == route == node(f"GET {hostile}")
    assert "." not in route


def test_route_tells_a_better_one_or_none(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """It is asked when the request is over and its answer known; None leaves it to the tree."""
    asked = []

    def route(request: Any) -> str | None:
        asked.append((request.path, request.code, request.finished))
        return "/better" if request.path == b"/a" else None

    root = tree(a=text(b""), b=text(b""))
    Wire(reactor, TimedResource(root, registry, route=route)).send(*get("/a", "/b", "/c"))
    assert asked == [(b"/a", 200, 1), (b"/b", 200, 1), (b"/c", 404, 1)]
    assert check_routes(registry, 3) == {"GET-better": 1, "GET-b": 1, "_404": 1}


def test_a_route_that_raises_leaves_it_to_the_tree(
    reactor: FakeReactor, registry: MetricsRegistry, logged: Logged
) -> None:
    """The error is logged once and counted, and the request is counted under its own route."""
    Wire(reactor, TimedResource(tree(a=text(b"")), registry, route=raise_error)).send(*get("/a", "/a"))
    assert routes(registry) == {"GET-a": 2}
    assert registry.counter("http.measuring_errors").count == 2
    assert len(logged.flush(ArithmeticError)) == 1


# Nothing of a client's


SECRET = b"tr0ub4dor"


class Case(NamedTuple):
    """A server, and where in its paths a client can say what it likes."""

    root: Callable[[Path], Any]
    path: str


EVERYWHERE = {
    "nothing there": Case(lambda directory: tree(), "/{}/{}"),
    "dynamic": Case(lambda directory: tree(users=Users()), "/users/{}/{}?{}={}"),
    "kept": Case(lambda directory: tree(users=Users(keep=True)), "/users/{}/posts"),
    "kept by wrapped resources": Case(lambda directory: gzipped(Users(keep=True)), "/{}/posts"),
    "own child": Case(lambda directory: Endless(), "/{}/{}/"),
    "leaf": Case(lambda directory: tree(a=text(b"")), "/a/{}"),
    "files": Case(lambda directory: files(directory), "/below/{}"),
    "files ignoring extensions": Case(lambda directory: files(directory), "/{}.txt"),
    "hosts": Case(lambda directory: two_hosts(), "/users/{}"),
    "monster": Case(lambda directory: tree(vhost=VHostMonsterResource()), "/vhost/http/{}:80/{}"),
    "rewriter": Case(lambda directory: RewriterResource(tree(new=tree(users=Users())), rewrite), "/old/{}"),
    "login": Case(lambda directory: guarded(tree(a=text(b""))), "/{}/{}"),
    "deferred": Case(lambda directory: Branch(lambda name: DeferredResource(succeed(Users(keep=True)))), "/{}/{}"),
}


@pytest.mark.parametrize("case", EVERYWHERE)
def test_nothing_that_a_client_says_becomes_a_name(case: str, directory: Path, reactor: FakeReactor) -> None:
    """Not of its path, its host, its method nor its query, at no visit and in no metric."""
    registry = MetricsRegistry(reactor.clock)
    (directory / f"{SECRET.decode()}.txt").write_bytes(b"a file that is there")
    root, path = EVERYWHERE[case]
    wire = Wire(reactor, TimedResource(root(directory), registry, exact_codes=True))
    url = path.replace("{}", SECRET.decode())
    for _ in range(3):
        wire.send(*get(url, host=SECRET.decode()), *authorised(url))
        wire.send(request(url, method=SECRET.decode(), close=False))
    check_routes(registry, 9)
    assert not [reading.name for reading in registry.snapshot() if SECRET.decode() in reading.name]


# Names


@pytest.mark.parametrize(
    ("route", "name"),
    [
        ("GET /", "GET-_root"),
        (b"GET /", "GET-_root"),
        (b"GET ", "GET-_root"),
        ("GET /users/{}/posts", "GET-users-_-posts"),
        ("GET /users/{id}", "GET-users-_id"),
        ("GET /item/<int:number>", "GET-item-_number"),
        ("GET /item/<number>/", "GET-item-_number"),
        ("GET /<any(a,b):which>/<string(length=2):lang>", "GET-_which-_lang"),
        ("POST users", "POST-users"),
        ("GET /two words", "GET-two_words"),
        ("_404", "_404"),
        (b"_404", "_404"),
        ("OTHER /a.b/c-d", "OTHER-a_b-c-d"),
        ("GET /\xe4".encode(), "GET-_"),
        (b"GET /\xff", "GET-_"),
    ],
)
def test_a_route_as_a_node(route: str | bytes, name: str) -> None:
    """What a route is called in Graphite."""
    assert node(route) == name


@given(st.text() | st.binary())
def test_any_route_is_one_part_of_a_path(route: str | bytes) -> None:
    """Whatever a route holds, its name is accepted, without a dot, and the same each time."""
    assert names.check(node(route)) == node(route)
    assert "." not in node(route)


@given(st.lists(st.text(alphabet="abz019_", min_size=1, max_size=5), max_size=6))
def test_plain_parts_can_be_read_in_the_node(parts: list[str]) -> None:
    """Parts of plain letters stand in the name as they are, in their order."""
    assert node("GET /" + "/".join(parts)) == "GET-" + ("-".join(parts) or "_root")
