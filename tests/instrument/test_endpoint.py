"""Connections that go out are timed, TLS and all, and stay what they were."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
import trustme
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import (
    SSL4ClientEndpoint,
    TCP4ClientEndpoint,
    clientFromString,
    wrapClientTLS,
)
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    ISSLTransport,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
)
from twisted.python.failure import Failure
from twisted.web.client import RequestTransmissionFailed, ResponseNeverReceived
from zope.interface import directlyProvides, implementer, providedBy
from zope.interface.verify import verifyObject

from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry
from txmetrics.instrument._endpoint import TimedEndpoint, error_name
from txmetrics.testing import FakeReactor

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # by Twisted itself

HOST = "127.0.0.1"
NAME = "database.example"


def counted(registry: MetricsRegistry, prefix: str = "database.") -> dict[str, object]:
    """The counts of all that has counted something."""
    readings = {reading.name.removeprefix(prefix): reading.fields() for reading in registry.snapshot()}
    return {name: fields["count"] for name, fields in readings.items() if fields["count"]}


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Connects when it is told to, and remembers what it was asked."""

    extra = "extra"

    def __init__(self) -> None:
        self.factories: list[object] = []
        self.deferred: Deferred[Any] = Deferred()

    def connect(self, protocolFactory: object) -> Deferred[Any]:
        self.factories.append(protocolFactory)
        return self.deferred


class Measured:
    """A TimedEndpoint around an endpoint of the test."""

    def __init__(self, endpoint: Any = None) -> None:
        self.reactor = FakeReactor()
        self.registry = MetricsRegistry(self.reactor.clock)
        self.inner = Endpoint() if endpoint is None else endpoint
        self.endpoint = TimedEndpoint(self.inner, self.registry, "database")


# The result


def test_the_deferred_the_factory_and_the_protocol_are_the_same() -> None:
    """Nothing is wrapped, and the time of the connection is known."""
    measured = Measured()
    factory, protocol, found = Factory.forProtocol(Protocol), Protocol(), []
    deferred = measured.endpoint.connect(factory)
    assert deferred is measured.inner.deferred
    assert measured.inner.factories == [factory]
    measured.reactor.advance(0.25)
    deferred.addCallback(found.append)
    deferred.callback(protocol)
    assert found == [protocol]
    assert measured.registry.read("database.connect")["max"] == 0.25
    assert counted(measured.registry) == {"connect": 1}


def test_it_is_the_endpoint_in_everything_else() -> None:
    """Interfaces, attributes and its repr, which Twisted quotes in its own."""
    measured = Measured()
    assert verifyObject(IStreamClientEndpoint, measured.endpoint)
    assert measured.endpoint.extra == "extra"
    assert repr(measured.endpoint) == repr(measured.inner)
    assert list(providedBy(measured.endpoint)) == list(providedBy(measured.inner))


@pytest.mark.parametrize("kind", [ConnectionRefusedError, TimeoutError, ConnectError])
def test_a_failure_counts_by_its_type(kind: type[Exception]) -> None:
    """The caller gets the very Failure."""
    measured = Measured()
    failure, found = Failure(kind()), []
    measured.endpoint.connect(Factory()).addErrback(found.append)
    measured.inner.deferred.errback(failure)
    assert found == [failure]
    assert counted(measured.registry) == {f"failures.{kind.__name__}": 1}


def test_an_endpoint_that_raises_counts_as_a_failure() -> None:
    """The very exception comes out."""
    error = ArithmeticError("on purpose")

    class Raising(Endpoint):
        def connect(self, protocolFactory: object) -> Deferred[Any]:
            raise error

    measured = Measured(Raising())
    with pytest.raises(ArithmeticError) as raised:
        measured.endpoint.connect(Factory())
    assert raised.value is error
    assert counted(measured.registry) == {"failures.ArithmeticError": 1}


def test_a_cancelled_attempt_counts_once() -> None:
    """Whether the endpoint has an error of its own for that, as Twisted's have, or not."""
    measured = Measured()
    measured.endpoint.connect(Factory()).addErrback(lambda failure: failure.trap(CancelledError))
    measured.inner.deferred.cancel()

    deferred = Measured(TCP4ClientEndpoint(measured.reactor, HOST, 1))
    attempt = deferred.endpoint.connect(Factory.forProtocol(Protocol))
    attempt.addErrback(lambda failure: None)
    attempt.cancel()
    attempt.cancel()
    for each in (measured, deferred):
        assert counted(each.registry) == {"failures.CancelledError": 1}


def test_types_of_errors_beyond_the_twentieth_share_a_counter() -> None:
    """However many there are, and none is lost."""
    measured = Measured()
    for number in range(100):
        measured.inner.deferred = fail(type(f"Error{number}", (Exception,), {})())
        measured.endpoint.connect(Factory()).addErrback(lambda failure: None)
    counts = counted(measured.registry)
    assert len(counts) == 21
    assert counts["failures._other"] == 80


def test_several_endpoints_of_one_name_share_it() -> None:
    """A program may make one whenever it connects."""
    measured = Measured()
    again = TimedEndpoint(Endpoint(), measured.registry, "database")
    for endpoint in (measured.endpoint, again):
        endpoint.connect(Factory()).callback(Protocol())
    assert counted(measured.registry) == {"connect": 2}


def test_a_failing_metric_does_not_reach_the_connection(logged: Logged) -> None:
    """Neither a clock that raises, nor a name that is something else already; the log hears of it once."""
    measured = Measured()
    measured.registry.gauge("database.failures.ConnectError")

    def raise_error() -> float:
        raise OSError("broken")

    endpoints = [Measured(), measured]
    endpoints[0].endpoint._metrics.now = raise_error
    for each in endpoints:
        for _ in range(2):
            each.inner.deferred = fail(ConnectError())
            found: list[type[BaseException] | None] = []
            each.endpoint.connect(Factory()).addErrback(lambda failure, found=found: found.append(failure.type))
            assert found == [ConnectError]
    assert [failure.type for failure in logged.flush()] == [OSError, ValueError]
    assert all(each.registry.read("database.measuring_errors") == {"count": 2} for each in endpoints)


# Names of errors


def test_the_name_of_an_error_is_that_of_the_innermost() -> None:
    """Twisted Web's clients wrap reasons in reasons; an ``Error`` needs its module to be recognized."""
    inner = ConnectionRefusedError()
    assert error_name(inner) == "ConnectionRefusedError"
    wrapped = Failure(RequestTransmissionFailed([Failure(inner)]))
    assert error_name(ResponseNeverReceived([wrapped, Failure(ArithmeticError())])) == "ConnectionRefusedError"
    assert error_name(ResponseNeverReceived([inner])) == "ConnectionRefusedError"
    assert error_name(ResponseNeverReceived([])) == "ResponseNeverReceived"
    assert error_name(type("Error", (Exception,), {"__module__": "OpenSSL.SSL"})()) == "SSL_Error"
    endless = ResponseNeverReceived([])
    endless.reasons.append(endless)
    assert error_name(endless) == "ResponseNeverReceived"


# TLS


class Quiet(Protocol):
    """A client that tells what it received and why it was lost."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.received: Deferred[bytes] = Deferred()
        self.lost: Deferred[type[BaseException]] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.events.append("data")
        self.received.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append("lost")
        self.lost.callback(reason.type)


@implementer(ISSLTransport)
class Tls:
    """As much of a TLS transport as stands before a protocol."""

    def __init__(self, protocol: Protocol) -> None:
        self.wrappedProtocol = protocol
        self.disconnecting = False


@pytest.mark.parametrize(
    ("kind", "expected"), [(ArithmeticError, "failures.ArithmeticError"), (ConnectionDone, "tls_handshake")]
)
def test_a_handshake_that_is_completed_while_it_disconnects_is_judged_by_its_end(
    kind: type[Exception], expected: str
) -> None:
    """Older Twisteds complete it, too, when they have found the certificate to be for another host."""
    measured = Measured()
    protocol = Quiet()
    tls = protocol.transport = Tls(protocol)
    measured.endpoint.connect(Factory()).callback(protocol)
    measured.reactor.advance(0.25)
    tls.disconnecting = True
    tls.wrappedProtocol.handshakeCompleted()
    assert counted(measured.registry) == {"connect": 1}
    measured.reactor.advance(5)
    tls.wrappedProtocol.connectionLost(Failure(kind()))
    assert protocol.events == ["lost"]
    assert tls.wrappedProtocol is protocol
    assert counted(measured.registry) == {"connect": 1, expected: 1}
    if expected == "tls_handshake":
        assert measured.registry.read("database.tls_handshake")["max"] == 0.25


# TLS over real sockets


@implementer(IHandshakeListener, IHalfCloseableProtocol)
class Listening(Quiet):
    """One that wants to know of the handshake itself."""

    def handshakeCompleted(self) -> None:
        self.events.append(f"handshake {self.transport.negotiatedProtocol}")

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing to do."""


class Greeting(Protocol):
    """A server that says hello."""

    def connectionMade(self) -> None:
        self.transport.write(b"hello")


class Closing(Protocol):
    """A server that hangs up at once."""

    def connectionMade(self) -> None:
        self.transport.loseConnection()


class Network:
    """Servers on loopback, and the endpoints that lead to them."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        pem = self._authority.issue_cert(NAME).private_key_and_cert_chain_pem.bytes()
        self.server = PrivateCertificate.loadPEM(pem).options()
        self._ends: list[Callable[[], Any]] = []

    def listen(self, protocol: type[Protocol], *, tls: bool) -> int:
        factory = Factory.forProtocol(protocol)
        if tls:
            port = the_reactor().listenSSL(0, factory, self.server, interface=HOST)
        else:
            port = the_reactor().listenTCP(0, factory, interface=HOST)
        self._ends.append(port.stopListening)
        return int(port.getHost().port)

    def options(self, name: str = NAME, trusted: Any = None) -> Any:
        root = self._authority if trusted is None else trusted
        return optionsForClientTLS(name, Certificate.loadPEM(root.cert_pem.bytes()))

    def wrapped(self, port: int, **options: Any) -> Any:
        return wrapClientTLS(self.options(**options), TCP4ClientEndpoint(the_reactor(), HOST, port))

    def direct(self, port: int, **options: Any) -> Any:
        return SSL4ClientEndpoint(the_reactor(), HOST, port, self.options(**options))

    async def close(self) -> None:
        for end in self._ends:
            await end()


@pytest_twisted.async_yield_fixture
async def network() -> AsyncIterator[Network]:
    network = Network()
    yield network
    await network.close()


@pytest.mark.parametrize("protocol", [Quiet, Listening])
@pytest.mark.parametrize("kind", [Network.wrapped, Network.direct])
@pytest_twisted.ensureDeferred
async def test_a_handshake_is_timed_and_leaves_the_connection_alone(
    network: Network, kind: Callable[..., Any], protocol: type[Quiet]
) -> None:
    """The protocol hears what it asked for, provides what it did, and nothing stays between it and TLS."""
    events = {}
    for registry in (None, MetricsRegistry()):
        endpoint = kind(network, network.listen(Greeting, tls=True))
        if registry is not None:
            endpoint = TimedEndpoint(endpoint, registry, "database")
        client = await endpoint.connect(Factory.forProtocol(protocol))
        before = vars(client).keys(), list(providedBy(client))
        client.events.append(IHalfCloseableProtocol.providedBy(client.transport.wrappedProtocol))
        assert await client.received == b"hello"
        assert (vars(client).keys(), list(providedBy(client))) == before
        assert type(client.transport.wrappedProtocol).__name__ in ("_WrappingProtocol", protocol.__name__)
        client.transport.loseConnection()
        await client.lost
        events[registry is None] = client.events
    assert events[True] == events[False]
    assert counted(registry) == {"connect": 1, "tls_handshake": 1}


@pytest_twisted.ensureDeferred
async def test_one_inside_of_another_measures_the_same(network: Network) -> None:
    """Each under its own name."""
    registry = MetricsRegistry()
    inner = TimedEndpoint(network.wrapped(network.listen(Greeting, tls=True)), registry, "inner")
    client = await TimedEndpoint(inner, registry, "outer").connect(Factory.forProtocol(Listening))
    await client.received
    assert client.transport.wrappedProtocol is client
    client.transport.loseConnection()
    await client.lost
    assert client.events == ["handshake None", "data", "lost"]
    names = ("inner.connect", "inner.tls_handshake", "outer.connect", "outer.tls_handshake")
    assert counted(registry, "") == dict.fromkeys(names, 1)


class Tee:
    """Somebody else who stands before a protocol."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        directlyProvides(self, providedBy(inner))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest_twisted.ensureDeferred
async def test_somebody_else_may_stand_there_too(network: Network) -> None:
    """A handshake that is over is over, also for one who is never let go."""
    registry = MetricsRegistry()
    endpoint = TimedEndpoint(network.wrapped(network.listen(Greeting, tls=True)), registry, "database")
    client = await endpoint.connect(Factory.forProtocol(Listening))
    tee = client.transport.wrappedProtocol = Tee(client.transport.wrappedProtocol)
    await client.received
    assert client.transport.wrappedProtocol is tee
    client.transport.loseConnection()
    await client.lost
    assert client.events == ["handshake None", "data", "lost"]
    assert counted(registry) == {"connect": 1, "tls_handshake": 1}


@pytest.mark.parametrize(
    ("options", "name"), [({"trusted": trustme.CA()}, "SSL_Error"), ({"name": "other.example"}, "VerificationError")]
)
@pytest.mark.parametrize("protocol", [Quiet, Listening])
@pytest_twisted.ensureDeferred
async def test_a_certificate_that_is_refused_is_a_failure(
    network: Network, options: dict[str, Any], name: str, protocol: type[Quiet]
) -> None:
    """Once, though the connection as such succeeded; the protocol hears the same as without."""
    port = network.listen(Greeting, tls=True)
    plain = await network.wrapped(port, **options).connect(Factory.forProtocol(protocol))
    expected = await plain.lost
    registry = MetricsRegistry()
    endpoint = TimedEndpoint(network.wrapped(port, **options), registry, "database")
    client = await endpoint.connect(Factory.forProtocol(protocol))
    reason = await client.lost
    assert (reason, client.events) == (expected, plain.events)
    assert counted(registry) == {"connect": 1, f"failures.{name}": 1}


@pytest_twisted.ensureDeferred
async def test_a_server_that_hangs_up_in_the_handshake_is_a_failure(network: Network) -> None:
    """It spoke no TLS at all."""
    registry = MetricsRegistry()
    endpoint = TimedEndpoint(network.wrapped(network.listen(Closing, tls=False)), registry, "database")
    client = await endpoint.connect(Factory.forProtocol(Quiet))
    await client.lost
    counts = counted(registry)
    assert counts.pop("connect") == 1
    assert list(counts.values()) == [1]
    assert next(iter(counts)).startswith("failures.")


class Hasty(Quiet):
    """A client that has said everything before TLS is agreed upon."""

    def connectionMade(self) -> None:
        self.transport.write(b"goodbye")
        self.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_a_client_that_is_done_before_its_handshake_has_made_one(network: Network) -> None:
    """It is no failure to lose a connection that one wanted to lose."""
    registry = MetricsRegistry()
    endpoint = TimedEndpoint(network.wrapped(network.listen(Protocol, tls=True)), registry, "database")
    client = await endpoint.connect(Factory.forProtocol(Hasty))
    await client.lost
    assert counted(registry) == {"connect": 1, "tls_handshake": 1}


@pytest_twisted.ensureDeferred
async def test_a_failing_timer_does_not_reach_the_handshake(network: Network, logged: Logged) -> None:
    """Its name is taken by a counter; the protocol gets its data all the same."""
    registry = MetricsRegistry()
    registry.counter("database.tls_handshake")
    endpoint = TimedEndpoint(network.wrapped(network.listen(Greeting, tls=True)), registry, "database")
    client = await endpoint.connect(Factory.forProtocol(Listening))
    assert await client.received == b"hello"
    assert client.transport.wrappedProtocol is client
    client.transport.loseConnection()
    await client.lost
    assert client.events == ["handshake None", "data", "lost"]
    assert len(logged.flush(ValueError)) == 1


@pytest_twisted.ensureDeferred
async def test_endpoints_from_strings_are_measured(network: Network) -> None:
    """TCP has no handshake, and a port where nobody listens refuses."""
    registry = MetricsRegistry()
    port = network.listen(Greeting, tls=False)

    def endpoint() -> TimedEndpoint:
        return TimedEndpoint(clientFromString(the_reactor(), f"tcp:{HOST}:{port}"), registry, "database")

    client = await endpoint().connect(Factory.forProtocol(Quiet))
    await client.received
    client.transport.loseConnection()
    await client.lost
    await network.close()
    network._ends.clear()
    with pytest.raises(ConnectionRefusedError):
        await endpoint().connect(Factory.forProtocol(Quiet))
    assert counted(registry) == {"connect": 1, "failures.ConnectionRefusedError": 1}
