"""A Site and its measuring: from the beginning or from the first request on, whatever root and requests it has."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import pytest_twisted
from klein import Klein
from klein.interfaces import IKleinRequest
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.python.components import registerAdapter
from twisted.python.failure import Failure
from twisted.python.reflect import qual
from twisted.spread.jelly import jelly
from twisted.web.iweb import INonQueuedRequestFactory, IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import Interface, implementer, providedBy, provider
from zope.interface.verify import verifyObject

from tests.instrument.web.applications import TEXT, Branch, Page, first, gzipped, raise_error, text, tree
from tests.instrument.web.loopback import HOST, Stage, answers, check_sums, counted, normal, request, routes
from tests.instrument.web.wire import Times, Wire
from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument.web import measure_site
from txmetrics.testing import FakeReactor

OK = {"requests": 1, "blocking": 1, "2xx": 1}


@pytest.fixture(params=["TimedResource", "measure_site"])
def site(request: pytest.FixtureRequest) -> Times:
    return Times(measure=request.param == "measure_site")


def ok(number: int, sent: int) -> dict[str, int]:
    """What is counted of so many requests that went well."""
    return {"requests": number, "blocking": number, "2xx": number, "bytes_sent": sent}


# Requests of no resource


@pytest.mark.parametrize("ask", ["OPTIONS", "GET"])
def test_a_request_of_the_server_itself_is_counted_once(site: Times, reactor: FakeReactor, ask: str) -> None:
    """``OPTIONS *`` as soon as the Site is known, with the answer of a bare one."""
    star = request("*", method=ask, close=False)
    bare, wire = Wire(reactor, text(b"a")), site.connect(text(b"a"))
    for each in (bare, wire):
        each.send(request(close=False), star, star)
    assert wire.undated == bare.undated
    assert routes(site.registry) == {"GET-_root": 1, f"{ask}-_star": 2}
    check_sums(site.registry)


# Another root


def serve_two(wire: Wire, root: Any) -> None:
    """A request on the old connection and one on a new one, for ``/b``, after ``root`` became the Site's."""
    wire.site.resource = root
    wire.send(request("/b"))
    assert answers(wire.received)[-1].body == b"b"
    wire.connect()
    wire.send(request("/b"))
    assert answers(wire.received)[-1].body == b"b"


def test_a_root_that_is_replaced_is_measured_as_well(site: Times) -> None:
    """By whatever, as often as one likes; each request once, in the same registry."""
    wire = site.connect(tree(a=text(b"a")))
    wire.send(request("/a", close=False))
    for number, root in enumerate((tree(b=text(b"b")), text(b"b"), Site(tree(b=text(b"b"))), text(b"b"))):
        serve_two(wire, root)
        assert site.registry.timer("http.requests").count == 3 + 2 * number
        wire.connect()
    assert routes(site.registry) == {"GET-a": 1, "GET-b": 4, "GET-_root": 4}
    assert counted(site.registry) == ok(9, 9)


def test_a_new_root_is_no_more_than_it_is(site: Times) -> None:
    """An encoder's place taken by a page that does not encode, and the other way round."""
    wire = site.connect(gzipped(text(TEXT)))
    ask = request("/", "Accept-Encoding: gzip", close=False)
    wire.send(ask)
    wire.site.resource = text(TEXT)
    wire.send(ask)
    assert not hasattr(wire.site.resource, "getEncoder")
    wire.site.resource = gzipped(text(TEXT))
    wire.send(ask)
    assert [b"Content-Encoding" in each for each in wire.received.split(b"HTTP/1.1 ")[1:]] == [True, False, True]
    assert counted(site.registry)["requests"] == 3


def test_another_wrapper_at_the_root_counts_from_then_on(site: Times) -> None:
    """With its own registry; the first one counts what came before."""
    wire = site.connect(tree(a=text(b"a")))
    wire.send(request("/a", close=False))
    other = MetricsRegistry(site.reactor.clock)
    serve_two(wire, TimedResource(tree(b=text(b"b")), other))
    assert counted(site.registry) == ok(1, 1)
    assert counted(other) == ok(2, 2)
    wire.connect()
    wire.site.resource = text(b"b")
    wire.send(request("/b"))
    assert counted(site.registry)["requests"] + counted(other)["requests"] == 4


def test_a_root_is_replaced_while_a_request_waits(site: Times) -> None:
    """It ends where it began."""
    wire = site.connect(Page(site.page(later=3)))
    wire.send(request())
    wire.site.resource = tree()
    assert site.registry.gauge("http.active").value == 1
    site.reactor.advance(3)
    assert site.registry.gauge("http.active").value == 0
    assert site.requests == [3]
    assert routes(site.registry) == {"GET-_root": 1}


# Several of everything


def test_a_site_is_measured_once(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """However often somebody asks for it, before requests and after."""
    wire = Wire(reactor, text(b"a"))
    for _ in range(3):
        timed = measure_site(wire.site, registry)
        assert measure_site(wire.site, MetricsRegistry()) is timed
        wire.connect()
        wire.send(request())
    assert counted(registry) == ok(3, 3)


def test_two_sites_with_one_wrapper_are_both_measured(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """They are counted together."""
    timed = TimedResource(tree(a=text(b"a")), registry)
    for wire in (Wire(reactor, timed), Wire(reactor, timed)):
        wire.send(request("/a", close=False), request("*", method="OPTIONS"))
    assert routes(registry) == {"GET-a": 2, "OPTIONS-_star": 2}


@pytest.mark.parametrize("outer", [False, True])
def test_a_site_within_a_site_keeps_its_requests(reactor: FakeReactor, registry: MetricsRegistry, outer: bool) -> None:
    """The inner one's wrapper measures its part of a bare Site, and nothing of a measured one."""
    inner = MetricsRegistry(reactor.clock)
    wire = Wire(reactor, tree(a=Site(TimedResource(tree(b=text(b"b")), inner)), c=text(b"c")))
    root = wire.site.resource
    if outer:
        measure_site(wire.site, registry)
        wire.connect()
    wire.send(request("/a/b", close=False), request("/c", close=False), request("/a/b"))
    if outer:
        assert routes(registry) == {"GET-a-b": 2, "GET-c": 1}
        assert counted(inner) == {}
    else:
        assert wire.site.resource is root
        assert counted(inner) == ok(2, 2)


@pytest_twisted.ensureDeferred
async def test_a_site_on_several_ports_is_one(stage: Stage) -> None:
    """Its connections come from everywhere, and are all measured."""
    registry = MetricsRegistry()
    served = Site(text(b"a"))
    measure_site(served, registry)
    port = await TCP4ServerEndpoint(the_reactor(), 0, interface=HOST).listen(served)
    stage.at_end(port.stopListening)
    for number in (stage.listen(served), stage.listen(served), port.getHost().port):
        client = await stage.connect(number)
        client.send(request())
        await client.closed()
    assert counted(registry) == ok(3, 3)


# Requests of every class


class Slotted(Request):
    """Has slots of its own besides."""

    __slots__ = ("more",)


class Abstract(Request, metaclass=ABCMeta):
    """Has a metaclass."""


class Registered(Request):
    """Knows its subclasses."""

    known: ClassVar[list[type]] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Registered.known.append(cls)


class Overridden(Request):
    """Does everything itself, as well."""

    def gotLength(self, length: int | None) -> None:
        self.said = ["gotLength"]
        super().gotLength(length)

    def process(self) -> None:
        self.said.append("process")
        super().process()

    def render(self, resource: Any) -> None:
        self.said.append("render")
        super().render(resource)

    def write(self, data: bytes) -> None:
        self.said.append("write")
        super().write(data)

    def finish(self) -> None:
        self.said.append("finish")
        super().finish()


@provider(INonQueuedRequestFactory)
class NonQueued(Request):
    """Is made of a channel and nothing else."""

    def __init__(self, channel: Any) -> None:
        super().__init__(channel)


def make(channel: Any, queued: Any = False) -> Request:
    """A function that makes requests."""
    return Overridden(channel, queued)


def connect(site: Times, root: Any, factory: Any) -> Wire:
    """A measured Site with a factory of requests of its own."""
    wire = Wire(site.reactor, TimedResource(root, site.registry), requestFactory=factory)
    if site.measure:
        measure_site(wire.site, site.registry)
        wire.connect()
    return wire


CLASSES: list[Any] = [Request, Slotted, Abstract, Registered, Overridden, NonQueued, make]


@pytest.mark.parametrize("factory", CLASSES)
def test_requests_of_every_class_are_measured_once(site: Times, logged: Logged, factory: Any) -> None:
    """On a connection's first request and on its second, whatever comes of them."""
    pages = tree(a=text(b"a"), error=Page(raise_error), late=Page(site.page(later=3)))
    received = []
    for wire in (Wire(site.reactor, pages, requestFactory=factory), connect(site, pages, factory)):
        for path in ("/a", "/error", "/late", "/nothing"):
            wire.send(request(path, close=False))
            site.reactor.advance(3)
        received.append(normal(wire.received))
    assert len(logged.flush(ArithmeticError)) == 2
    assert received[0] == received[1]
    numbers = counted(site.registry)
    numbers.pop("bytes_sent")
    assert numbers == {"requests": 4, "blocking": 4, "2xx": 2, "4xx": 1, "5xx": 1}
    check_sums(site.registry)


def test_a_class_that_does_everything_itself_still_does(site: Times) -> None:
    """All that it overrides is called, once and in the same order."""
    seen = []
    wire = connect(site, Page(lambda request: (seen.append(request), b"a")[1]), Overridden)
    wire.send(request(close=False), request())
    assert [each.said for each in seen] == 2 * [["gotLength", "process", "render", "write", "finish"]]


def test_a_class_that_knows_its_subclasses_is_not_told_more_and_more(reactor: FakeReactor) -> None:
    """A Site has one class of measured requests, however many requests and connections."""
    wire = Wire(reactor, TimedResource(text(b"a"), MetricsRegistry()), requestFactory=Registered)
    wire.send(request())
    known = len(Registered.known)
    for _ in range(10):
        wire.connect()
        wire.send(request(close=False), request())
    assert len(Registered.known) == known


@pytest.mark.parametrize("factory", CLASSES)
def test_measured_requests_have_one_class(site: Times, factory: Any) -> None:
    """Of a Site, and for each class that its factory makes, even where that is a function."""
    kinds = set()
    wire = connect(site, Page(lambda request: (kinds.add(type(request)), b"a")[1]), factory)
    wire.send(request())
    kinds.clear()
    for _ in range(3):
        wire.connect()
        wire.send(request(close=False), request())
    assert len(kinds) == 1


# What a page sees


class ISomething(Interface):
    """Anything."""


@implementer(ISomething)
class Something:
    """An adapter."""

    def __init__(self, request: Any) -> None:
        self.request = request


registerAdapter(Something, Request, ISomething)


def look(request: Any) -> bytes:
    """Everything that a page may ask of its request's class."""
    kind = type(request)
    session = request.getSession()
    session.expire()
    seen = [
        *(kind.__name__, kind.__qualname__, kind.__module__, kind.__doc__, qual(kind)),
        *(isinstance(request, Request), IRequest.providedBy(request), list(providedBy(request))),
        *(ISomething(request).request is request, request.getComponent(ISomething) is ISomething(request)),
        *(type(IKleinRequest(request)).__name__, type(session).__name__, repr(request).split(" at ")[0]),
        *(str(request).split(" at ")[0], verifyObject(IRequest, request), isinstance(kind, type)),
    ]
    return repr(seen).encode()


class Outer:
    """Has a class of requests within."""

    class Inner(Request):
        """Is not to be found under its mere name."""


@pytest.mark.parametrize("factory", [Request, Outer.Inner])
def test_a_page_sees_the_same_class(site: Times, factory: Any) -> None:
    """By name, by interface, by adapter and by session."""
    bare, wire = Wire(FakeReactor(), Page(look), requestFactory=factory), connect(site, Page(look), factory)
    for each in (bare, wire):
        each.send(request(close=False), request())
    assert [answer.code for answer in answers(bare.received)] == [200, 200]
    assert [each.body for each in answers(wire.received)] == [each.body for each in answers(bare.received)]


def test_a_page_is_heard_like_everybody_else(site: Times) -> None:
    """``notifyFinish`` tells it of the end, and of the loss."""
    heard: list[Any] = []

    def answer(request: Any) -> int:
        request.notifyFinish().addBoth(lambda result: heard.append(result))
        return NOT_DONE_YET if request.path == b"/lost" else (request.finish(), NOT_DONE_YET)[1]

    wire = site.connect(Page(answer))
    wire.send(request("/done", close=False), request("/lost"))
    assert heard == [None]
    wire.lose()
    assert len(heard) == 2
    assert "Connection" in str(heard[1].value)


def test_klein_keeps_its_request(site: Times) -> None:
    """Its adapter is a component of the request."""
    app = Klein()

    @app.route("/a/<name>")
    def page(request: Any, name: str) -> str:
        return request.getHost().host + str(IKleinRequest(request).url_for("page", {"name": name}))

    wire = site.connect(app.resource())
    wire.send(request("/a/b", close=False), request("/a/c"))
    assert [each.body[-4:] for each in answers(wire.received)] == [b"/a/b", b"/a/c"]
    assert routes(site.registry) == {"GET-a-_name": 2}


# Copies


class Issuer:
    """What a ResourceSubscription is for the requests that it sends."""


@pytest.mark.parametrize("measure", [False, True])
def test_a_copy_of_a_request_carries_nothing_of_ours(measure: bool) -> None:
    """What is sent to another process is what a bare request would send."""
    states = []

    def answer(request: Any) -> bytes:
        states.append((request.getStateToCopyFor(Issuer()), request.content.read()))
        return b""

    site = Times(measure)
    Wire(site.reactor, Page(answer)).send(request(method="POST", body=b"abc"))
    site.connect(Page(answer)).send(request(method="POST", body=b"abc"))
    (bare, _), (copied, left) = states
    assert copied.keys() == bare.keys()
    assert copied["notifications"] == bare["notifications"] == []
    assert (copied["content_data"], left) == (b"abc", b"")
    for key in ("notifications", "received_cookies", "args", "method", "uri"):
        assert jelly(copied[key]) == jelly(bare[key])
    assert counted(site.registry) == OK | {"bytes_received": 3}


# Errors


def test_errors_are_counted_by_their_types(site: Times, logged: Logged) -> None:
    """Wherever a page raises them, with the status that the client saw, exactly if so wanted."""

    def raise_another(request: Any) -> bytes:
        raise LookupError("on purpose")

    def fail_later(request: Any) -> int:
        site.reactor.callLater(1, request.processingFailed, Failure(ArithmeticError("on purpose")))
        return NOT_DONE_YET

    pages = {b"a": raise_error, b"b": raise_another, b"late": fail_later, b"good": lambda request: b""}
    wire = site.connect(Branch(lambda name: Page(pages[name])), exact_codes=True)
    for path in ("/a", "/b", "/late", "/good", "/nowhere"):
        wire.send(request(path, close=False))
        site.reactor.advance(1)
    assert len(logged.flush(ArithmeticError, LookupError)) == 4
    found = {
        name.removeprefix("http.routes.GET-_."): site.registry.counter(name).count
        for name in (reading.name for reading in site.registry.snapshot())
        if ".errors." in name or ".codes." in name
    }
    assert found == {
        **{"errors.ArithmeticError": 2, "errors.LookupError": 1, "errors.KeyError": 1},
        **{"codes.500": 4, "codes.200": 1},
    }


# Errors of the measuring


def test_a_site_serves_with_a_clock_that_fails(site: Times, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the measuring asks it."""
    wire = site.connect(tree(a=Page(site.page(later=1)), b=text(b"b")))

    def broken() -> float:
        raise OSError("broken")

    monkeypatch.setattr(wire.site.resource.observer, "now", broken)
    wire.send(request("/a", method="POST", body=b"abc", close=False))
    site.reactor.advance(1)
    wire.send(request("/b"))
    assert [answer.code for answer in answers(wire.received)] == [200, 200]
    assert len(logged.flush(OSError)) == 1
    assert counted(site.registry)["measuring_errors"] > 1
    assert site.registry.gauge("http.active").value == 0


def test_a_resource_that_is_no_resource_is_not_our_fault(site: Times, logged: Logged) -> None:
    """Somebody gives a Site a root that cannot answer; it says so as a bare one does."""
    bare, wire = Wire(FakeReactor(), Resource()), site.connect(text(b"a"))
    for each in (bare, wire):
        each.send(request(close=False))
        each.site.resource = None
        each.send(request())
    assert [each.code for each in answers(wire.received)][1] == [each.code for each in answers(bare.received)][1] == 500
    assert len(logged.flush(AttributeError)) >= 2


def test_timings_are_only_told_where_they_are_wanted(site: Times) -> None:
    """Each wrapper has its own options; a new root keeps them."""
    wire = site.connect(text(b"a"), server_timing=True)
    wire.send(request(close=False))
    wire.site.resource = Page(first(lambda request: None, lambda request: b"b"))
    wire.send(request())
    assert wire.received.count(b"Server-Timing:") == 2


ROOTS: list[Callable[[], Any]] = [lambda: text(b"a"), lambda: tree(index=text(b"a")), lambda: gzipped(text(b"a"))]


@pytest.mark.parametrize("root", ROOTS)
def test_the_first_request_is_answered_like_all_others(site: Times, root: Callable[[], Any]) -> None:
    """The one at which a wrapper meets its Site is not different, neither in its bytes nor in its numbers."""
    bare, wire = Wire(FakeReactor(), root()), site.connect(root())
    for number in range(3):
        for each in (bare, wire):
            each.send(request("/", "Accept-Encoding: gzip", close=False))
        assert normal(wire.received) == normal(bare.received)
        assert counted(site.registry)["requests"] == number + 1
        assert site.registry.timer("http.blocking").count == number + 1
