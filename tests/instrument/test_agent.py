"""HTTP requests that go out are measured once, whatever becomes of them, and stay what they were."""

from __future__ import annotations

import gc
import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from typing import Any

import pytest
import pytest_twisted
import treq
import trustme
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    BrowserLikeRedirectAgent,
    ContentDecoderAgent,
    CookieAgent,
    FileBodyProducer,
    GzipDecoder,
    HTTPConnectionPool,
    ProxyAgent,
    RedirectAgent,
    ResponseDone,
    ResponseFailed,
    readBody,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import alsoProvides, implementer, providedBy
from zope.interface.verify import verifyObject

from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry
from txmetrics.instrument import TimedAgent
from txmetrics.testing import FakeReactor

pytestmark = [
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning"),  # by Twisted itself
    pytest.mark.filterwarnings("ignore:Using readBody with a transport:DeprecationWarning"),  # with any Agent
]

HOST = "127.0.0.1"
URI = b"http://site.example/path"
GET = "site_example.GET."


def counted(registry: MetricsRegistry, prefix: str = "http_client.") -> dict[str, object]:
    """The counts and values of all that stands not at zero."""
    readings = {reading.name.removeprefix(prefix): reading.fields() for reading in registry.snapshot()}
    values = {name: fields.get("count", fields.get("value")) for name, fields in readings.items()}
    return {name: value for name, value in values.items() if value}


def series(prefix: str = GET, **others: int) -> dict[str, int]:
    """What one request counts that was answered, and more."""
    return {f"{prefix}{name}": n for name, n in {"headers": 1, "requests": 1, "status.2xx": 1, **others}.items() if n}


class Server(StringTransport):
    """The other end of one connection, which says what it is told to."""

    protocol: Any = None

    def say(self, *parts: bytes) -> None:
        for part in parts:
            self.protocol.dataReceived(part)

    def lose(self, kind: type[Exception] = ConnectionDone) -> None:
        self.protocol.connectionLost(Failure(kind()))


class Network:
    """The endpoints of an Agent, with a connection in memory whenever one is wanted."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.refuses = False

    def endpointForURI(self, uri: object) -> Network:
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.refuses:
            return fail(ConnectionRefusedError())
        server = Server()
        server.protocol = factory.buildProtocol(None)
        self.servers.append(server)
        server.protocol.makeConnection(server)
        return succeed(server.protocol)


class Measured:
    """A real Agent on a network in memory, timed or not."""

    def __init__(self, timed: bool = True, persistent: bool = False) -> None:
        self.reactor = FakeReactor()
        self.registry = MetricsRegistry(self.reactor.clock)
        self.network = Network()
        self.pool = HTTPConnectionPool(self.reactor, persistent)
        self.inner = Agent.usingEndpointFactory(self.reactor, self.network, self.pool)
        self.agent = TimedAgent(self.inner, self.registry) if timed else self.inner

    def get(self, method: bytes = b"GET", uri: bytes = URI) -> list[Any]:
        """A list that gets the response or the exception."""
        return outcome(self.agent.request(method, uri))

    @property
    def server(self) -> Server:
        return self.network.servers[-1]

    def counted(self) -> dict[str, object]:
        """Without the connections."""
        return {name: n for name, n in counted(self.registry).items() if not name.startswith("connections.")}


def outcome(deferred: Deferred[Any]) -> list[Any]:
    found: list[Any] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found


class Reader(Protocol):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def connectionMade(self) -> None:
        self.events.append(type(self.transport).__name__)

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append(reason.type.__name__)


@implementer(IAgent)
class Fake:
    """An agent that returns, or raises, what it is given."""

    extra = "extra"

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.asked: list[tuple[Any, ...]] = []

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Any:
        self.asked.append((method, uri, headers, bodyProducer))
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result


class Response:
    """An answer without a network."""

    def __init__(self, code: int = 200, length: Any = 5) -> None:
        self.code = code
        self.length = length

    def deliverBody(self, protocol: Any) -> None:
        protocol.makeConnection(StringTransport())
        protocol.dataReceived(b"hello")
        protocol.connectionLost(Failure(ResponseDone()))


# The times


def test_headers_and_bodies_are_timed() -> None:
    """From the request to the headers, and to the end of the body; active meanwhile."""
    measured = Measured()
    found = measured.get()
    assert measured.counted() == {"active": 1}
    measured.reactor.advance(0.25)
    measured.server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    found[0].deliverBody(Reader())
    assert measured.counted() == series(requests=0) | {"active": 1}
    measured.reactor.advance(0.5)
    measured.server.say(b"hello")
    assert measured.counted() == series(bytes_received=5)
    assert measured.registry.read(f"http_client.{GET}headers")["max"] == 0.25
    assert measured.registry.read(f"http_client.{GET}requests")["max"] == 0.75


BODIES = [
    # method, what the server says, whether it closes then, what is counted
    (b"GET", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"he", b"llo"], None, {"bytes_received": 5}),
    (b"GET", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"], None, {"bytes_received": 5}),
    (
        b"GET",
        [b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n"],
        None,
        {"bytes_received": 5, "status.2xx": 0, "status.4xx": 1},
    ),
    (b"GET", [b"HTTP/1.0 200 OK\r\n\r\n", b"hello"], ConnectionDone, {"bytes_received": 5}),
    (b"GET", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], None, {}),
    (b"GET", [b"HTTP/1.1 304 Same\r\n\r\n"], None, {"status.2xx": 0, "status.3xx": 1}),
    (b"HEAD", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"], None, {}),
    (b"GET", [b"HTTP/1.1 103 Wait\r\n\r\n", b"HTTP/1.1 204 None\r\n\r\n"], None, {}),
    (b"GET", [b"HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n"], None, {"status.2xx": 0}),
    (
        b"GET",
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"he"],
        ConnectionLost,
        {"bytes_received": 2, "errors.ConnectionLost": 1},
    ),
    (
        b"GET",
        [b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n"],
        ConnectionDone,
        {"bytes_received": 5, "errors.ConnectionDone": 1, "status.2xx": 0, "status.5xx": 1},
    ),
]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("method", "said", "closes", "expected"), BODIES)
def test_a_body_is_what_it_was_and_counts_once(
    method: bytes, said: list[bytes], closes: type[Exception] | None, expected: dict[str, int], late: bool
) -> None:
    """Its reader is told the same, from the same transport, at once or after the connection's end."""
    events = []
    for measured in (Measured(timed=False), Measured()):
        found, reader = measured.get(method), Reader()
        headers = 1 + (b" 103 " in said[0])
        measured.server.say(*said[:headers])
        [response] = found
        if not late:
            response.deliverBody(reader)
        measured.server.say(*said[headers:])
        if closes is not None:
            measured.server.lose(closes)
        if late:
            response.deliverBody(reader)
        with pytest.raises(RuntimeError) as raised:
            response.deliverBody(reader)
        events.append((reader.events, str(raised.value), vars(response).keys(), type(response)))
    assert events[0] == events[1]
    assert measured.counted() == series(f"site_example.{method.decode()}.", **expected)


def test_the_bytes_of_a_request_are_counted_when_they_are_known() -> None:
    """Once it was answered; a length that nobody knows is not counted."""
    measured = Measured()
    for length in (7, UNKNOWN_LENGTH):
        inner = Fake(succeed(Response(length=0)))
        agent = TimedAgent(inner, measured.registry, f"{length}"[:7].replace(".", "_"))
        producer = type("Producer", (), {"length": length})()
        agent.request(b"POST", URI, None, producer)
        assert inner.asked == [(b"POST", URI, None, producer)]
    counts = counted(measured.registry, "")
    assert counts["7.site_example.POST.bytes_sent"] == 7
    assert sum("bytes_sent" in name for name in counts) == 1


# The result


def test_the_deferred_and_the_response_are_the_same() -> None:
    """And the headers and the producer go on as they are."""
    response, headers, producer = Response(), Headers(), object()
    deferred: Deferred[Any] = Deferred()
    inner = Fake(deferred)
    agent = TimedAgent(inner, MetricsRegistry())
    given = agent.request(b"GET", URI, headers=headers, bodyProducer=producer)
    assert given is deferred
    assert inner.asked == [(b"GET", URI, headers, producer)]
    found = outcome(given)
    deferred.callback(response)
    assert found == [response]


def test_a_response_stays_a_response() -> None:
    """Of its class and with its interface, also before anybody reads it; what one sets on it is there."""
    measured = Measured()
    found = measured.get()
    measured.server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n")
    [response] = found
    assert verifyObject(IResponse, response)
    assert response.request.absoluteURI == URI
    assert response.headers.getRawHeaders(b"x-a") == [b"b"]
    previous = object()
    response.setPreviousResponse(previous)
    assert response.previousResponse is previous


def test_it_is_the_agent_in_everything_else() -> None:
    """Interfaces and attributes."""
    inner = Fake()
    alsoProvides(inner, IHalfCloseableProtocol)
    agent = TimedAgent(inner, MetricsRegistry())
    assert verifyObject(IAgent, agent)
    assert agent.extra == "extra"
    assert list(providedBy(agent)) == list(providedBy(inner))


def test_the_reader_is_seen_as_it_is() -> None:
    """A response that asks its reader what it provides, or for more than IProtocol, gets the reader's answer."""

    @implementer(IHalfCloseableProtocol)
    class Special(Reader):
        extra = "extra"

        def readConnectionLost(self) -> None: ...
        def writeConnectionLost(self) -> None: ...

    seen = []

    class Curious(Response):
        def deliverBody(self, protocol: Any) -> None:
            seen.append((IHalfCloseableProtocol.providedBy(protocol), protocol.extra, repr(protocol)))

    reader = Special()
    TimedAgent(Fake(succeed(Curious())), MetricsRegistry()).request(b"GET", URI).addCallback(
        lambda response: response.deliverBody(reader)
    )
    assert seen == [(True, "extra", repr(reader))]


def test_a_response_that_takes_no_attributes_ends_with_its_headers() -> None:
    """Nothing can be seen of its body, and nothing is wrong with that."""

    class Slotted(Response):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            if name == "deliverBody":
                raise AttributeError(name)
            super().__setattr__(name, value)

    registry, reader = MetricsRegistry(), Reader()
    [response] = outcome(TimedAgent(Fake(succeed(Slotted())), registry).request(b"GET", URI))
    response.deliverBody(reader)
    assert reader.events[1:] == [b"hello", "ResponseDone"]
    assert counted(registry) == series()


def test_a_response_that_is_given_twice_counts_twice() -> None:
    """As a cache below does; and it is left as it was."""
    response, registry = Response(), MetricsRegistry()
    before = dict(vars(response))
    agent = TimedAgent(Fake(succeed(response), succeed(response)), registry)
    for _ in range(2):
        agent.request(b"GET", URI)
    response.deliverBody(Reader())
    assert vars(response) == before
    assert counted(registry)[f"{GET}requests"] == 2
    assert "active" not in counted(registry)


def test_a_response_may_have_a_way_of_its_own() -> None:
    """A ``deliverBody`` that was set on it is called, as often as one likes, and set again; only the first counts."""
    response, registry, readers = Response(), MetricsRegistry(), []
    own = response.deliverBody = readers.append
    TimedAgent(Fake(succeed(response)), registry).request(b"GET", URI)
    deliver = response.deliverBody
    first, second = Reader(), Reader()
    deliver(first)
    deliver(second)
    assert response.deliverBody == own
    assert readers[1] is second
    readers[0].dataReceived(b"hello")
    readers[0].connectionLost(Failure(ResponseDone()))
    assert first.events == [b"hello", "ResponseDone"]
    assert counted(registry) == series(bytes_received=5)


def test_a_shadow_upon_ours_stays() -> None:
    """Somebody else may look at a response in the same way, after the agent."""
    response, registry, reader = Response(), MetricsRegistry(), Reader()
    TimedAgent(Fake(succeed(response)), registry).request(b"GET", URI)
    below = response.deliverBody
    theirs = response.deliverBody = lambda protocol: below(protocol)
    response.deliverBody(reader)
    assert response.deliverBody is theirs
    assert reader.events[1:] == [b"hello", "ResponseDone"]
    assert counted(registry) == series(bytes_received=5)


# Bodies that nobody reads


def test_a_body_that_nobody_reads_counts_with_its_headers() -> None:
    """Once the response is dropped, and only when the metrics are asked: a collector may run in any thread."""
    measured = Measured()
    found = measured.get()
    measured.reactor.advance(0.25)
    measured.server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert measured.counted() == series(requests=0)
    measured.reactor.advance(10)
    found.clear()
    gc.collect()
    assert measured.registry.read(f"http_client.{GET}requests")["count"] == 0
    assert measured.registry.read("http_client.active") == {"value": 0}
    assert measured.counted() == series()
    assert measured.registry.read(f"http_client.{GET}requests")["max"] == 0.25


def test_what_is_dropped_without_a_report_is_recorded_by_the_next_request() -> None:
    """Nothing is kept of responses that are gone."""
    registry = MetricsRegistry()
    agent = TimedAgent(Fake(*(succeed(Response()) for _ in range(10))), registry)
    for _ in range(10):
        agent.request(b"GET", URI)
        gc.collect()
    assert len(agent._metrics.dropped) == 1
    assert registry.read(f"http_client.{GET}requests")["count"] == 9


def test_a_response_that_another_thread_drops_touches_no_metric_there() -> None:
    """Metrics are the reactor's."""
    registry = MetricsRegistry()
    responses = outcome(TimedAgent(Fake(succeed(Response())), registry).request(b"GET", URI))
    thread = threading.Thread(target=lambda: (responses.clear(), gc.collect()))
    thread.start()
    thread.join()
    assert registry.read(f"http_client.{GET}requests")["count"] == 0
    assert counted(registry) == series(), "it is recorded by whoever reports"


def test_a_request_that_is_forgotten_is_not_active_for_ever() -> None:
    """Its Deferred never fired, and is gone."""
    registry = MetricsRegistry()
    agent = TimedAgent(Fake(Deferred(), succeed(Response(length=0))), registry)
    agent.request(b"GET", URI)
    gc.collect()
    agent.request(b"GET", URI)
    assert counted(registry) == series(requests=2)


# Errors


def test_a_request_that_fails_counts_by_its_innermost_reason() -> None:
    """The caller gets the very Failure."""
    measured = Measured()
    found = measured.get()
    measured.reactor.advance(0.25)
    measured.server.lose(ConnectionLost)
    assert isinstance(found[0], ResponseFailed)
    assert measured.counted() == {f"{GET}requests": 1, f"{GET}errors.ConnectionLost": 1}
    assert measured.registry.read(f"http_client.{GET}requests")["max"] == 0.25

    refused = Measured()
    refused.network.refuses = True
    assert type(refused.get()[0]) is ConnectionRefusedError
    assert refused.counted() == {f"{GET}requests": 1, f"{GET}errors.ConnectionRefusedError": 1}


def test_an_agent_that_raises_counts_as_an_error() -> None:
    """The very exception comes out, as of a URI that is none."""
    measured = Measured()
    with pytest.raises(ValueError, match="Invalid URI"):
        measured.get(uri=b"http://site.example/a b")
    assert measured.counted() == {f"{GET}requests": 1, f"{GET}errors.ValueError": 1}


class Stalling:
    """A body that never ends."""

    length = 100

    def startProducing(self, consumer: Any) -> Deferred[None]:
        return Deferred()

    def stopProducing(self) -> None: ...


@pytest.mark.parametrize("producer", [None, Stalling()])
def test_a_cancelled_request_counts_once(producer: Any) -> None:
    """While it waits for its answer, and while it still sends its body."""
    measured = Measured()
    deferred = measured.agent.request(b"GET", URI, None, producer)
    found = outcome(deferred)
    deferred.cancel()
    deferred.cancel()
    assert isinstance(found[0], Exception)
    assert measured.counted() == {f"{GET}requests": 1, f"{GET}errors.CancelledError": 1}


def test_a_request_cancelled_while_it_connects_counts_the_same() -> None:
    """Endpoints have an error of their own for it."""
    reactor = FakeReactor()
    registry = MetricsRegistry(reactor.clock)
    proxy = ProxyAgent(TCP4ClientEndpoint(reactor, HOST, 1), reactor)
    deferred = TimedAgent(proxy, registry).request(b"GET", URI)
    found = outcome(deferred)
    deferred.cancel()
    assert len(found) == 1
    assert counted(registry) == {f"{GET}requests": 1, f"{GET}errors.CancelledError": 1}


def test_a_reader_that_hangs_up_ends_the_request() -> None:
    """The body broke off, and the reason is what the reader is told."""
    measured = Measured()
    found, reader = measured.get(), Reader()
    measured.server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    found[0].deliverBody(reader)
    reader.transport.loseConnection()
    assert measured.server.disconnecting
    measured.server.lose(ConnectionDone)
    assert reader.events[1:] == [b"he", "ResponseFailed"]
    assert measured.counted() == series(bytes_received=2, **{"errors.ConnectionDone": 1})


def test_a_reader_that_raises_is_not_protected() -> None:
    """Twisted makes of it what it does, and the request ends once."""
    ended = []
    for measured in (Measured(timed=False), Measured()):

        class Raising(Reader):
            def dataReceived(self, data: bytes) -> None:
                raise ArithmeticError("on purpose")

        found, reader = measured.get(), Raising()
        measured.server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        found[0].deliverBody(reader)
        measured.server.say(b"hello")
        ended.append((reader.events, measured.server.disconnecting))
    assert ended[0] == ended[1]
    assert measured.counted() == series(bytes_received=5, **{"errors.ArithmeticError": 1})


def test_a_reader_that_raises_at_once_gets_its_exception() -> None:
    """Out of deliverBody, and nothing stays active."""

    class Raising(Reader):
        def connectionMade(self) -> None:
            raise ArithmeticError("on purpose")

    registry = MetricsRegistry()
    found = outcome(TimedAgent(Fake(succeed(Response())), registry).request(b"GET", URI))
    with pytest.raises(ArithmeticError):
        found.pop().deliverBody(Raising())
    gc.collect()
    assert counted(registry) == series()


# Names


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        (b"http://site.example", "site_example"),
        (b"http://site.example:80/", "site_example"),
        (b"HTTPS://Site.Example:443/a?b=http://c", "site_example"),
        (b"https://site.example:80/", "site_example_80"),
        (b"http://site.example:8080?a", "site_example_8080"),
        (b"http://user:secret@site.example/", "site_example"),
        (b"http://user:sec/ret@site.example/", "user_sec"),
        (b"http://[::1]:8080/", "__1_8080"),
        (b"http://127.0.0.1/", "127_0_0_1"),
        (b"  http://site.example#a", "site_example"),
        (b"http://caf\xc3\xa9.example/", "caf___example"),
        (b"http:///", "_"),
        (b"/path", "_"),
        (b"", "_"),
        (b"http://" + b"a" * 500, "a" * 120),
    ],
)
def test_a_host_is_one_part_of_a_name(uri: bytes, host: str) -> None:
    """Without a default port, in small letters, and never with what only the user should know."""
    registry = MetricsRegistry()
    TimedAgent(Fake(succeed(Response(length=0))), registry).request(b"GET", uri)
    assert counted(registry) == series(f"{host}.GET.")


def test_hosts_and_methods_are_bounded() -> None:
    """The hundred first have names, all others share one, and the counts are exact."""
    registry = MetricsRegistry()
    agent = TimedAgent(Fake(*(succeed(Response(length=0)) for _ in range(3000))), registry)
    for number in range(1000):
        for method in (b"GET", b"MADE%d" % number, b"get"):
            agent.request(method, b"http://site%d.example/" % number)
    counts = counted(registry)
    assert {name.split(".")[0] for name in counts} == {"_other"} | {f"site{number}_example" for number in range(100)}
    assert {name.split(".")[1] for name in counts} == {"GET", "OTHER"}
    assert counts["_other.OTHER.requests"] == 1800
    assert sum(count for name, count in counts.items() if name.endswith(".requests")) == 3000


def test_errors_are_bounded() -> None:
    """By type, of which a program may make as many as it likes."""
    registry = MetricsRegistry()
    errors = [type(f"Error{number}", (Exception,), {})() for number in range(100)]
    agent = TimedAgent(Fake(*map(fail, errors)), registry)
    for error in errors:
        assert outcome(agent.request(b"GET", URI)) == [error]
    counts = counted(registry)
    assert len(counts) == 22
    assert counts[f"{GET}errors._other"] == 80


def test_a_name_belongs_to_one_agent() -> None:
    """So that what it names is bounded, too; a scope gives another one."""
    registry = MetricsRegistry()
    TimedAgent(Fake(), registry)
    with pytest.raises(ValueError, match=r"'http_client\.active' exists already"):
        TimedAgent(Fake(), registry)
    TimedAgent(Fake(succeed(Response(length=0))), registry.scope("billing"), "api").request(b"GET", URI)
    assert counted(registry, "billing.api.") == series()


# Metrics that fail


def test_a_failing_clock_changes_no_result(logged: Logged) -> None:
    """Bodies, errors and exceptions are as without it, and the log hears of it once."""
    registry = MetricsRegistry()
    error = ArithmeticError("on purpose")
    agent = TimedAgent(Fake(*(succeed(Response()) for _ in range(3)), fail(error), error), registry)
    outcome(agent.request(b"GET", URI))[0].deliverBody(Reader())

    def raise_error() -> float:
        raise OSError("broken")

    [unread] = outcome(agent.request(b"GET", URI))
    registry._metrics[f"http_client.{GET}requests"].now = raise_error
    reader = Reader()
    unread.deliverBody(reader)
    assert reader.events[1:] == [b"hello", "ResponseDone"]
    reader = Reader()
    outcome(agent.request(b"GET", URI))[0].deliverBody(reader)
    assert reader.events[1:] == [b"hello", "ResponseDone"]
    assert outcome(agent.request(b"GET", URI)) == [error]
    with pytest.raises(ArithmeticError) as raised:
        agent.request(b"GET", URI)
    assert raised.value is error
    assert len(logged.flush(OSError)) == 1
    assert registry.read("http_client.measuring_errors") == {"count": 4}
    assert registry.read("http_client.active") == {"value": 0}


def test_a_name_that_is_taken_changes_no_result(logged: Logged) -> None:
    """One of its series is something else already."""
    registry = MetricsRegistry()
    registry.counter(f"http_client.{GET}requests")
    response = Response()
    agent = TimedAgent(Fake(succeed(response), succeed(object())), registry)
    assert outcome(agent.request(b"GET", URI)) == [response]
    assert len(logged.flush(ValueError)) == 1


def test_an_answer_that_is_no_response_is_handed_on(logged: Logged) -> None:
    """By a fake of the application's, whose request ends all the same."""
    registry, answer = MetricsRegistry(), object()
    agent = TimedAgent(Fake(succeed(answer), answer), registry)
    for number in (1, 2):
        given = agent.request(b"GET", URI)
        assert given is answer or outcome(given) == [answer]
        assert registry.read(f"http_client.{GET}requests")["count"] == number
    assert "active" not in counted(registry)
    assert len(logged.flush(AttributeError)) == 1


# The pool


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def connections(registry: MetricsRegistry, name: str = "http_client") -> tuple[object, object]:
    """New ones, and how often an old one was good enough."""
    new, reused = (registry.read(f"{name}.connections.{kind}")["count"] for kind in ("new", "reused"))
    return new, reused


def test_new_and_reused_connections_are_counted() -> None:
    """Of the agent's own pool, whose connections stay what they were."""
    measured = Measured(persistent=True)
    for expected in [(1, 0), (1, 1), (1, 2)]:
        measured.get()
        measured.server.say(ANSWER)
        assert connections(measured.registry) == expected
    measured.get()
    measured.get()
    assert connections(measured.registry) == (2, 3)
    assert len(measured.network.servers) == 2


def test_a_request_that_is_tried_again_needs_a_new_connection() -> None:
    """The server had closed the old one, as servers do."""
    measured = Measured(persistent=True)
    measured.get()
    measured.server.say(ANSWER)
    found = measured.get()
    measured.server.lose()
    measured.server.say(ANSWER)
    assert found[0].code == 200
    assert connections(measured.registry) == (2, 1)
    assert measured.counted()[f"{GET}requests"] == 2


def test_a_connection_that_is_refused_is_not_a_new_one() -> None:
    """Nothing was opened."""
    measured = Measured()
    measured.network.refuses = True
    measured.get()
    assert connections(measured.registry) == (0, 0)


def test_a_pool_of_several_agents_is_counted_for_each() -> None:
    """It is found below other agents, too; an agent that is gone counts no more, nor does it pile up."""
    measured = Measured(persistent=True)
    watched = measured.pool.getConnection
    other = TimedAgent(RedirectAgent(CookieAgent(measured.inner, None)), measured.registry, "other")
    for number in range(20):
        TimedAgent(measured.inner, measured.registry, f"gone{number}")
    gc.collect()
    TimedAgent(measured.inner, measured.registry, "last")
    assert measured.pool.getConnection == watched
    assert len(watched.__self__._watching) <= 4
    measured.get()
    assert [connections(measured.registry, name) for name in ("http_client", "other", "gone0")] == [
        (1, 0),
        (1, 0),
        (0, 0),
    ]
    assert other is not None


def test_an_agent_without_a_pool_has_no_connections() -> None:
    """There is nothing to be seen, and nothing wrong with that."""
    registry = MetricsRegistry()
    TimedAgent(Fake(), registry)
    assert not any("connections" in reading.name for reading in registry.snapshot())


# Over real sockets


class Late(Resource):
    """Answers when the client has given up."""

    isLeaf = True

    def render_GET(self, request: Any) -> int:
        request.notifyFinish().addErrback(lambda failure: None)
        return NOT_DONE_YET


class Partly(Resource):
    """Breaks off in the middle of its answer."""

    isLeaf = True

    def render_GET(self, request: Any) -> int:
        request.setHeader(b"content-length", b"1000")
        request.write(b"x" * 10)
        request.notifyFinish().addErrback(lambda failure: None)
        the_reactor().callLater(0.05, request.transport.abortConnection)
        return NOT_DONE_YET


class Page(Resource):
    """JSON of what was asked; gzipped if one likes."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        return {b"late": Late(), b"partly": Partly()}.get(path, self)

    def render_GET(self, request: Any) -> bytes:
        if request.path == b"/moved":
            return request.redirect(b"/there") or b"moved"
        body = json.dumps({"path": request.path.decode(), "big": "x" * 100_000}).encode()
        if b"gzip" in (request.getHeader("accept-encoding") or "").encode():
            request.setHeader(b"content-encoding", b"gzip")
            return gzip.compress(body)
        return body

    def render_POST(self, request: Any) -> bytes:
        return request.content.read()


class Web:
    """A Site on loopback, with and without TLS, and a timed agent with a persistent pool."""

    def __init__(self) -> None:
        authority = trustme.CA()
        pem = authority.issue_cert("localhost", HOST).private_key_and_cert_chain_pem.bytes()
        site = Site(Page())
        self._ports = [
            the_reactor().listenTCP(0, site, interface=HOST),
            the_reactor().listenSSL(0, site, PrivateCertificate.loadPEM(pem).options(), interface=HOST),
        ]
        self.plain, self.tls = (port.getHost().port for port in self._ports)
        self.pool = HTTPConnectionPool(the_reactor())
        policy = BrowserLikePolicyForHTTPS(Certificate.loadPEM(authority.cert_pem.bytes()))
        self.inner = Agent(the_reactor(), policy, pool=self.pool)
        self.registry = MetricsRegistry()
        self.agent = TimedAgent(self.inner, self.registry)

    def uri(self, path: str = "/") -> bytes:
        return f"http://{HOST}:{self.plain}{path}".encode()

    def counted(self, method: str = "GET") -> dict[str, object]:
        """Of the plain site."""
        prefix = f"127_0_0_1_{self.plain}.{method}."
        counts = counted(self.registry)
        return {name.removeprefix(prefix): n for name, n in counts.items() if name.startswith((prefix, "active"))}

    async def close(self) -> None:
        await self.pool.closeCachedConnections()
        for port in self._ports:
            await port.stopListening()


@pytest_twisted.async_yield_fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    yield web
    await web.close()


@pytest_twisted.ensureDeferred
async def test_a_persistent_connection_serves_many_requests(web: Web) -> None:
    """HTTP/1.1 in its everyday form."""
    for _ in range(5):
        response = await web.agent.request(b"GET", web.uri())
        body = await readBody(response)
        assert len(body) > 100_000
    assert web.counted() == {"headers": 5, "requests": 5, "status.2xx": 5, "bytes_received": 5 * len(body)}
    assert connections(web.registry) == (1, 4)


@pytest_twisted.ensureDeferred
async def test_https_is_measured_the_same(web: Web) -> None:
    """And a certificate that is not trusted is an error of OpenSSL's."""
    uri = f"https://localhost:{web.tls}/".encode()
    for _ in range(2):
        await readBody(await web.agent.request(b"GET", uri))
    registry = MetricsRegistry()
    distrustful = TimedAgent(Agent(the_reactor()), registry)
    with pytest.raises(ResponseFailed):
        await distrustful.request(b"GET", uri)
    prefix = f"localhost_{web.tls}.GET."
    counts = counted(web.registry)
    assert (counts[f"{prefix}requests"], counts[f"{prefix}status.2xx"]) == (2, 2)
    assert connections(web.registry) == (1, 1)
    assert counted(registry)[f"{prefix}errors.SSL_Error"] == 1


@pytest_twisted.ensureDeferred
async def test_a_refused_connection_is_an_error(web: Web) -> None:
    """Of Twisted's name for it."""
    uri = web.uri()
    await web.close()
    web._ports.clear()
    with pytest.raises(ConnectionRefusedError):
        await web.agent.request(b"GET", uri)
    assert web.counted() == {"requests": 1, "errors.ConnectionRefusedError": 1}


@pytest_twisted.ensureDeferred
async def test_a_body_that_breaks_off_is_an_error(web: Web) -> None:
    """The reader gets what came, and the Failure."""
    response = await web.agent.request(b"GET", web.uri("/partly"))
    with pytest.raises(ResponseFailed):
        await readBody(response)
    counts = web.counted()
    assert counts.pop("errors.ConnectionLost", 0) + counts.pop("errors.ConnectionDone", 0) == 1
    assert counts == {"headers": 1, "requests": 1, "status.2xx": 1, "bytes_received": 10}


@pytest_twisted.ensureDeferred
async def test_treq_works_on_it(web: Web) -> None:
    """Text, JSON, redirects with their history, gzip, posts and timeouts."""
    client = HTTPClient(web.agent)
    response = await client.get(web.uri("/moved").decode())
    assert (await response.json())["path"] == "/there"
    assert (await treq.json_content(response))["path"] == "/there"
    assert [each.code for each in response.history()] == [302]
    assert await (await client.post(web.uri().decode(), data=b"hello")).text() == "hello"
    with pytest.raises((CancelledError, ResponseFailed)):
        await client.get(web.uri("/late").decode(), timeout=0.1)
    counts = web.counted()
    assert counts["bytes_received"] < 1000, "it is below the decoder"
    assert (counts["status.2xx"], counts["status.3xx"], counts["errors.CancelledError"]) == (1, 1, 1)
    assert web.counted("POST") == {"headers": 1, "requests": 1, "status.2xx": 1, "bytes_sent": 5, "bytes_received": 5}
    del response
    await deferLater(the_reactor(), 0)  # until now it is telling the reader of its end
    gc.collect()
    assert web.counted()["requests"] == counts["headers"] + 1


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize(
    ("wrap", "redirects"),
    [
        (BrowserLikeRedirectAgent, True),
        (RedirectAgent, True),
        (lambda agent: ContentDecoderAgent(agent, [(b"gzip", GzipDecoder)]), False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_it_stands_above_and_below_other_agents(
    web: Web, wrap: Callable[[Any], Any], redirects: bool, above: bool
) -> None:
    """Above it measures what the application sees, below what is on the wire."""
    registry = MetricsRegistry()
    agent = TimedAgent(wrap(web.inner), registry) if above else wrap(TimedAgent(web.inner, registry))
    response = await agent.request(b"GET", web.uri("/moved" if redirects else "/there"))
    body = await readBody(response)
    assert json.loads(body)["path"] == "/there"
    assert (response.previousResponse is not None) == redirects
    del response
    await deferLater(the_reactor(), 0)  # until now it is telling the reader of its end
    gc.collect()
    counts = counted(registry, f"http_client.127_0_0_1_{web.plain}.GET.")
    assert counts["requests"] == counts["headers"] == 1 + (redirects and not above)
    assert counts.get("status.3xx", 0) == (redirects and not above)
    assert (counts["bytes_received"] == len(body)) == (redirects or above)
    assert "http_client.active" not in counts


@pytest_twisted.ensureDeferred
async def test_a_body_that_goes_out_is_sent_as_it_is(web: Web) -> None:
    """A producer is the application's own."""
    producer = FileBodyProducer(BytesIO(b"x" * 300_000))
    response = await web.agent.request(b"POST", web.uri(), None, producer)
    assert await readBody(response) == b"x" * 300_000
    assert web.counted("POST")["bytes_sent"] == 300_000
