"""TimedResource besides the scenarios: where it stands, under which names, what it leaves behind, and when it fails."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

import pytest
import pytest_twisted
from twisted.spread.pb import PBServerFactory
from twisted.web.distrib import ResourcePublisher, ResourceSubscription
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.vhost import NameVirtualHost
from zope.interface import Interface, alsoProvides
from zope.interface.verify import verifyObject

from tests.instrument.web.applications import (
    TEXT,
    Never,
    Page,
    autobahn_socket,
    raise_error,
    render_later,
    text,
    tree,
    twisted_socket,
)
from tests.instrument.web.loopback import GOODBYE, HELLO, HOST, Stage, answers, counted, handshake, normal, request
from tests.instrument.web.wire import Wire
from tests.strict import Logged
from txmetrics import Clock, MetricsRegistry, TimedResource
from txmetrics.testing import FakeReactor

ONE_OK = {"requests": 1, "blocking": 1, "2xx": 1}


# Names


def test_a_quiet_server_shows_its_zeros(registry: MetricsRegistry) -> None:
    """All metrics are there before the first request."""
    TimedResource(Resource(), registry)
    assert {reading.name for reading in registry.snapshot()} == {
        "http.requests",
        "http.body_wait",
        "http.blocking",
        "http.first_byte",
        "http.long_lived",
        "http.active",
        "http.active_long_lived",
        "http.status.2xx",
        "http.status.3xx",
        "http.status.4xx",
        "http.status.5xx",
        "http.aborted",
        "http.upgrades",
        "http.bytes_received",
        "http.bytes_sent",
        "http.measuring_errors",
    }
    assert counted(registry) == {}


def test_the_name_is_an_argument(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Another name keeps two servers of one process apart."""
    Wire(reactor, TimedResource(text(b"a"), registry)).send(request())
    Wire(reactor, TimedResource(text(b"bc"), registry, "admin.http")).send(request())
    assert counted(registry) == ONE_OK | {"bytes_sent": 1}
    assert counted(registry, "admin.http") == ONE_OK | {"bytes_sent": 2}


def test_a_scope_is_as_good_as_a_registry(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """The names then begin with the scope's."""
    Wire(reactor, TimedResource(text(b"a"), registry.scope("public"))).send(request())
    assert counted(registry, "public.http") == ONE_OK | {"bytes_sent": 1}


def test_two_sites_add_up_in_one_registry(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Sites that share a registry and a name are counted together, the active requests of both, too."""
    one = Wire(reactor, TimedResource(Never(), registry))
    other = Wire(reactor, TimedResource(Never(), registry))
    one.send(request())
    other.send(request())
    assert registry.gauge("http.active").value == 2
    one.lose()
    other.lose()
    assert counted(registry) == {"requests": 2, "blocking": 2, "aborted": 2}


# Wrappers within wrappers, and a wrapper that stands for its root


def test_a_wrapper_in_a_wrapper_counts_nothing(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """The outermost wrapper measures the request, whether it or the inner one is asked for a child or to render."""
    leaf = TimedResource(TimedResource(text(b"leaf"), registry), registry)
    Wire(reactor, leaf).send(request())
    branch = tree(a=TimedResource(text(b"leaf"), registry, "inner"), b=TimedResource(tree(c=text(b"leaf")), registry))
    Wire(reactor, TimedResource(branch, registry)).send(request("/a", close=False), request("/b/c"))
    assert counted(registry) == {"requests": 3, "blocking": 3, "2xx": 3, "bytes_sent": 12}
    assert counted(registry, "inner") == {}


def test_a_wrapper_below_the_root_measures_its_part(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Where only a subtree is wrapped, only the requests for it are counted."""
    hosts = NameVirtualHost()
    hosts.addHost(b"leaf", TimedResource(text(b"leaf"), registry))
    hosts.addHost(b"tree", TimedResource(tree(a=tree(b=text(b"tree"))), registry))
    hosts.addHost(b"bare", text(b"bare"))
    wire = Wire(reactor, hosts)
    for host, path in (("leaf", "/"), ("tree", "/a/b"), ("bare", "/")):
        wire.send(request(path, host=host, close=False))
    assert [answer.body for answer in answers(wire.received)] == [b"leaf", b"tree", b"bare"]
    assert counted(registry) == {"requests": 2, "blocking": 2, "2xx": 2, "bytes_sent": 8}


def test_children_can_be_put_through_the_wrapper(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """putChild and what else a resource offers are the root's."""
    root = Resource()
    wrapper = TimedResource(root, registry)
    child = text(b"child")
    wrapper.putChild(b"a", child)
    assert root.children == wrapper.children == {b"a": child}
    assert wrapper.listNames() == [b"a"]
    wire = Wire(reactor, wrapper)
    wire.send(request("/a", close=False))
    root.putChild(b"a", text(b"another"))
    wire.send(request("/a"))
    assert [answer.body for answer in answers(wire.received)] == [b"child", b"another"]


def test_the_wrapper_is_a_leaf_as_long_as_its_root_is(registry: MetricsRegistry) -> None:
    """A root may change its mind."""
    root = Resource()
    wrapper = TimedResource(root, registry)
    assert wrapper.isLeaf is False
    root.isLeaf = True
    assert wrapper.isLeaf is True


def test_the_wrapper_provides_what_its_root_provides(registry: MetricsRegistry) -> None:
    """It is an IResource, and every other interface of the root shows through."""

    class IFancy(Interface):
        """Anything."""

    root = Resource()
    alsoProvides(root, IFancy)
    assert verifyObject(IResource, TimedResource(root, registry))
    assert IFancy.providedBy(TimedResource(root, registry))
    assert not IFancy.providedBy(TimedResource(Resource(), registry))


def test_the_wrapper_looks_like_its_root(registry: MetricsRegistry) -> None:
    """Twisted Web quotes the repr of a resource in some error pages, which are to stay the same."""
    assert repr(TimedResource(text(b""), registry)) == "<a page>"


def test_what_the_root_lacks_the_wrapper_lacks(registry: MetricsRegistry) -> None:
    """An unknown attribute is an AttributeError, in a copy that is still being made as well."""
    wrapper = copy.copy(TimedResource(Resource(), registry))
    assert not hasattr(wrapper, "nonsense")


# What is left of a request


class Witness(Resource):
    """Remembers the requests, weakly, and lets another resource answer them."""

    isLeaf = True

    def __init__(self, resource: Any) -> None:
        super().__init__()
        self._resource = resource
        self._seen: list[ref[Request]] = []

    def render(self, request: Request) -> Any:
        self._seen.append(ref(request))
        return self._resource.render(request)

    @property
    def living(self) -> list[Request]:
        assert self._seen
        return [request for reference in self._seen if (request := reference()) is not None]


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Only what no reference holds is freed."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def finish_later(reactor: FakeReactor) -> Page:
    def answer(request: Any) -> int:
        reactor.callLater(1, request.finish)
        return NOT_DONE_YET

    return Page(answer)


@pytest.mark.parametrize("path", ["/", "/a"])
@pytest.mark.parametrize("measured", [False, True])
def test_no_finished_request_waits_for_the_garbage_collector(
    reactor: FakeReactor, registry: MetricsRegistry, measured: bool, path: str
) -> None:
    """A measured request is freed as soon as a bare one: at its end."""
    with no_garbage_collection():
        for page in (text(TEXT), finish_later(reactor), Page(lambda request: "no bytes")):
            witness = Witness(page)
            root: Any = witness if path == "/" else tree(a=witness)
            wire = Wire(reactor, TimedResource(root, registry) if measured else root)
            wire.send(request(path, close=False))
            reactor.advance(1)
            assert witness.living == []


@pytest.mark.parametrize("path", ["/", "/a"])
@pytest.mark.parametrize("measured", [False, True])
def test_a_lost_request_is_held_by_its_connection_only(
    reactor: FakeReactor, registry: MetricsRegistry, measured: bool, path: str
) -> None:
    """When the client is gone, nothing but the dead channel refers to the request."""
    with no_garbage_collection():
        witness = Witness(Page(lambda request: NOT_DONE_YET))
        root: Any = witness if path == "/" else tree(a=witness)
        wire = Wire(reactor, TimedResource(root, registry) if measured else root)
        wire.send(request(path))
        (requests,) = (each for each in gc.get_referrers(witness.living[0]) if isinstance(each, list) and each)
        wire.lose()
        requests.clear()
        assert witness.living == []


class Decorated(Request):
    """Has a finish of its own instance, as somebody else's instrumentation puts there, with a result."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.finish = self.ours = lambda: (Request.finish(self), "finished")[1]


def test_a_request_that_is_decorated_already_stays_so(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """What was put on a request before the wrapper saw it gives its result, and is there again in the end."""
    seen = []

    def answer(request: Any) -> int:
        seen.append((request, request.finish()))
        return NOT_DONE_YET

    wire = Wire(reactor, TimedResource(Page(answer), registry), requestFactory=Decorated)
    wire.send(request())
    ((decorated, result),) = seen
    assert result == "finished"
    assert decorated.finish is decorated.ours
    assert counted(registry) == ONE_OK


def test_a_request_that_is_decorated_later_stays_so(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """What a page puts on its request is still there when the client is gone."""
    seen = []

    def answer(request: Any) -> int:
        request.finish = lambda: "mine"
        seen.append(request)
        return NOT_DONE_YET

    wire = Wire(reactor, TimedResource(Page(answer), registry))
    wire.send(request())
    wire.lose()
    assert seen[0].finish() == "mine"
    assert counted(registry) == {"requests": 1, "blocking": 1, "aborted": 1}


# Upgrades that cannot be seen


@pytest_twisted.ensureDeferred
async def test_a_websocket_that_opens_behind_our_back_is_never_active(stage: Stage) -> None:
    """A resource that renders a websocket in a later turn by itself is not seen, and the gauge is right even so."""
    registry = MetricsRegistry()
    root = TimedResource(render_later(autobahn_socket()), registry)
    client = await stage.connect(stage.serve(root))
    client.send(handshake())
    await client.until(b"\r\n\r\n")
    assert registry.gauge("http.active").value == 0
    client.send(HELLO)
    await client.until(b"hello")
    client.send(GOODBYE)
    await client.closed()
    assert counted(registry) == {"blocking": 1}


@pytest_twisted.ensureDeferred
async def test_requests_that_come_as_copies_are_not_measured(stage: Stage) -> None:
    """A distributed site gets copies of requests, which never tell it that they are over; none stays active."""
    registry = MetricsRegistry()
    behind = Site(TimedResource(text(b"from afar"), registry))
    subscription = ResourceSubscription(HOST, stage.listen(PBServerFactory(ResourcePublisher(behind))))
    stage.at_end(lambda: subscription.publisher.broker.transport.loseConnection())
    client = await stage.connect(stage.serve(subscription))
    client.send(request())
    await client.closed()
    assert answers(client.received) == [(200, b"from afar")]
    assert counted(registry) == {}


# Metrics that fail


def play(reactor: FakeReactor, logged: Logged, registry: MetricsRegistry | None = None) -> bytes:
    """Ten requests of every outcome, to roots and to children of roots; returns what was received."""
    received = b""
    for path in ("/", "/a"):
        for page in (text(TEXT), finish_later(reactor), Page(raise_error), Never(TEXT), twisted_socket(leaf=True)):
            root: Any = page if path == "/" else tree(a=page)
            wire = Wire(reactor, root if registry is None else TimedResource(root, registry))
            wire.send(request(path, close=False) if isinstance(page, Page | Never) else handshake(path))
            reactor.advance(1)
            wire.lose()
            received += wire.received
    assert len(logged.flush(ArithmeticError)) == 2
    return normal(received)


def break_metric(monkeypatch: pytest.MonkeyPatch, metric: Any, method: str) -> None:
    """Let ``method`` raise from now on, for this one metric."""
    healthy = getattr(type(metric), method)

    def broken(self: Any, *args: Any) -> Any:
        if self is metric:
            raise OSError("broken")
        return healthy(self, *args)

    monkeypatch.setattr(type(metric), method, broken)


@pytest.mark.parametrize(
    ("name", "kind", "method"),
    [
        ("active", "gauge", "inc"),
        ("aborted", "counter", "inc"),
        ("upgrades", "counter", "inc"),
    ],
)
def test_a_metric_that_raises_costs_itself_alone(
    reactor: FakeReactor, logged: Logged, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, method: str
) -> None:
    """Every answer is the same, every other metric is right; the error is logged once and counted each time."""
    healthy, registry = MetricsRegistry(reactor.clock), MetricsRegistry(reactor.clock)
    right = play(reactor, logged, healthy)
    assert right == play(reactor, logged)
    expected = counted(healthy)
    assert {each: expected[each] for each in expected if each != "bytes_sent"} == {
        **{"requests": 10, "blocking": 10},
        **{"2xx": 4, "5xx": 2, "aborted": 2, "upgrades": 2},
    }

    break_metric(monkeypatch, getattr(registry, kind)(f"http.{name}"), method)
    assert play(reactor, logged, registry) == right
    assert len(logged.flush(OSError)) == 1
    found = counted(registry)
    assert found.pop("measuring_errors") >= 2
    expected.pop(name.removeprefix("status."), None)
    assert found == expected


@pytest.mark.parametrize("ticks", range(8))
def test_a_clock_that_breaks_changes_no_answer(reactor: FakeReactor, logged: Logged, ticks: int) -> None:
    """Whenever the clock begins to fail, the answers are the same and no request stays active."""
    left = [1000]

    def tick() -> float:
        if not left[0]:
            raise OSError("broken")
        left[0] -= 1
        return 0.0

    registry = MetricsRegistry(Clock(wall=reactor.seconds, tick=tick))
    TimedResource(Resource(), registry)
    left[0] = ticks
    assert play(reactor, logged, registry) == play(reactor, logged)
    assert len(logged.flush(OSError)) == 1
    assert registry.counter("http.measuring_errors").count > 1
    assert registry.gauge("http.active").value == 0
