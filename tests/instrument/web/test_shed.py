"""ShedLoad: refused while the reactor lags, and otherwise as if it were not there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.testing import StringTransport
from twisted.web.http import HTTPChannel
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.server import GzipEncoderFactory, Site
from zope.interface import providedBy
from zope.interface.verify import verifyObject

from tests.instrument.web.loopback import Stage, answers, normal, request
from tests.strict import Logged
from txmetrics import MetricsRegistry
from txmetrics.instrument import Lag, ShedLoad, TimedResource
from txmetrics.testing import FakeReactor


class Page(Resource):
    """Says where it is."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"page " + b"/".join(request.postpath)

    def render_POST(self, request: Any) -> bytes:
        return request.content.read()


def tree() -> Resource:
    root = Resource()
    root.putChild(b"page", Page())
    return root


def gzipped() -> Any:
    return EncodingResourceWrapper(Page(), [GzipEncoderFactory()])


ROOTS = {"tree": tree, "leaf": Page, "gzip": gzipped}
REQUESTS = {
    "page": request("/page"),
    "below": request("/page/a/b", "Accept-Encoding: gzip"),
    "nothing": request("/nothing"),
    "head": request("/page", method="HEAD"),
    "post": request("/page", method="POST", body=b"body"),
    "options": request("*", method="OPTIONS"),
}


@pytest.fixture
def lag(reactor: FakeReactor) -> Iterator[Lag]:
    """As a MeasuredReactor has it."""
    lag = Lag(reactor.clock.tick, reactor)
    lag.start()
    yield lag
    lag.stop()


def serve(root: Any, *requests: bytes) -> bytes:
    """What a Site with such a root says to them, in one connection."""
    site = Site(root, reactor=FakeReactor())
    channel = HTTPChannel()
    channel.factory, channel.site, channel.requestFactory = site, site, site.requestFactory
    transport = StringTransport()
    channel.makeConnection(transport)
    for each in requests:
        channel.dataReceived(each)
    received: bytes = normal(transport.value())
    channel.timeOut = None
    channel.setTimeout(None)
    return received


def shed(registry: MetricsRegistry) -> object:
    return registry.read("http.shed")["count"]


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
@pytest.mark.parametrize("what", REQUESTS.values(), ids=REQUESTS)
def test_a_reactor_in_time_serves_the_same_bytes(root: Any, what: bytes, registry: MetricsRegistry, lag: Lag) -> None:
    """Whatever the root is, leaf or not, encoded or not."""
    assert serve(ShedLoad(root(), registry, lag=lag), what) == serve(root(), what)
    assert shed(registry) == 0


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_a_reactor_that_lags_refuses(root: Any, registry: MetricsRegistry, reactor: FakeReactor, lag: Lag) -> None:
    """With 503 and when to come back, each counted; the connection goes on, and later all is served again."""
    load = ShedLoad(root(), registry, lag=lag, retry_after=2.5)
    page = request("/page", close=False)
    reactor.rightNow += 0.76
    received = serve(load, page, page, request("/nothing", "Accept-Encoding: gzip"))
    assert received.count(b"HTTP/1.1 503 Service Unavailable\r\n") == 3
    assert received.count(b"\r\nRetry-After: 3\r\n") == 3
    assert received.count(b"text/plain; charset=utf-8\r\n") == 3
    assert answers(received)[0].body == b"The server is busy. Please try again later.\n"
    assert shed(registry) == 3
    reactor.advance(0)
    reactor.advance(0.25)
    assert serve(load, page).startswith(b"HTTP/1.1 200 OK\r\n")
    assert shed(registry) == 3


def test_a_refused_head_has_no_body(registry: MetricsRegistry, reactor: FakeReactor, lag: Lag, logged: Logged) -> None:
    """Not even one that Twisted Web has to leave out, for it complains of those in the log."""
    reactor.rightNow += 1
    received = serve(ShedLoad(tree(), registry, lag=lag), request("/page", method="HEAD"))
    assert received.startswith(b"HTTP/1.1 503 ")
    assert received.endswith(b"\r\n\r\n")
    assert not [text for text in logged.texts() if "HEAD" in text]


@pytest.mark.parametrize(("late", "refused"), [(0.1875, 0), (0.25, 1)])
def test_the_limit_is_the_users(
    late: float, refused: int, registry: MetricsRegistry, reactor: FakeReactor, lag: Lag
) -> None:
    """Up to it a request is served."""
    reactor.rightNow += 0.25 + late
    serve(ShedLoad(tree(), registry, max_lag=0.1875, name="http", lag=lag), request("/page"))
    assert shed(registry) == refused


def test_a_refusal_is_timed(registry: MetricsRegistry, reactor: FakeReactor, lag: Lag) -> None:
    """A TimedResource around it counts the 503s among the others."""
    root = TimedResource(ShedLoad(tree(), registry, lag=lag), registry)
    page = request("/page", close=False)
    assert answers(serve(root, page))[0].body == b"page "
    reactor.rightNow += 1
    assert answers(serve(root, page))[0].code == 503
    assert registry.read("http.requests")["count"] == 2
    assert registry.read("http.status.2xx")["count"] == registry.read("http.status.5xx")["count"] == 1
    assert shed(registry) == 1


def test_it_stands_for_its_root(registry: MetricsRegistry, lag: Lag) -> None:
    """All that is the root's is its own, and stays up to date."""
    root = tree()
    load: Any = ShedLoad(root, registry, lag=lag)
    verifyObject(IResource, load)
    load.putChild(b"more", Page())
    assert load.children is root.children
    assert load.listNames() == root.listNames() == [b"page", b"more"]
    assert not load.isLeaf
    root.isLeaf = True
    assert load.isLeaf
    assert repr(load) == repr(root)
    assert set(providedBy(gzipped())) <= set(providedBy(ShedLoad(gzipped(), registry, lag=lag)))
    assert not hasattr(load, "nothing_of_that_name")


def test_without_a_lag_it_probes_while_there_are_requests(registry: MetricsRegistry, reactor: FakeReactor) -> None:
    """From the first one until ten seconds after the last; then the reactor is left alone, until there are more."""
    load = ShedLoad(tree(), registry, reactor=reactor)
    page = request("/page")
    assert reactor.getDelayedCalls() == []
    for _ in range(2):
        assert answers(serve(load, page))[0].code == 200
        reactor.rightNow += 1
        assert answers(serve(load, page))[0].code == 503
        for _ in range(39):
            reactor.advance(0.25)
        assert len(reactor.getDelayedCalls()) == 1
        assert answers(serve(load, page))[0].code == 200
        for _ in range(40):
            reactor.advance(0.25)
        assert reactor.getDelayedCalls() == []
    assert shed(registry) == 2


def test_an_error_in_telling_refuses_nothing(registry: MetricsRegistry, reactor: FakeReactor, logged: Logged) -> None:
    """It is logged once, and counted."""
    begun = []

    def tick() -> float:
        if begun:
            raise OSError("no time")
        return 0.0

    lag = Lag(tick, reactor)
    lag.start()
    begun.append(True)
    received = serve(ShedLoad(tree(), registry, lag=lag), request("/page", close=False), request("/page"))
    lag.stop()
    assert [answer.code for answer in answers(received)] == [200, 200]
    assert len(logged.flush(OSError)) == 1
    assert registry.read("http.measuring_errors")["count"] == 2


@pytest.mark.parametrize("wrong", [{"max_lag": 0}, {"max_lag": float("nan")}, {"retry_after": -1}])
def test_seconds_are_above_zero(wrong: dict[str, float], registry: MetricsRegistry) -> None:
    """Else everything would be refused, or nobody come back."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ShedLoad(tree(), registry, **wrong)


@pytest_twisted.ensureDeferred
async def test_the_first_after_a_block_is_refused(stage: Stage) -> None:
    """On loopback: the reactor is held while a request waits in its socket."""
    registry = MetricsRegistry()
    lag = Lag(registry.clock.tick)
    lag.start()
    stage.at_end(lag.stop)
    client = await stage.connect(stage.serve(ShedLoad(tree(), registry, max_lag=0.2, lag=lag)))
    client.send(request("/page"))
    time.sleep(0.6)
    await client.closed()
    assert answers(client.received)[0].code == 503
    assert shed(registry) == 1
