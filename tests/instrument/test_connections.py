"""Any server or client factory, measured in place, over real sockets."""

from __future__ import annotations

import gc
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar
from weakref import ref

import pytest
import pytest_twisted
from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.application.internet import ClientService, TCPServer
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IProtocol
from twisted.internet.protocol import ClientFactory, Factory, Protocol, ReconnectingClientFactory, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import TimeoutFactory, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.spread import pb
from twisted.web.server import Site
from zope.interface import implementer, providedBy

from tests.instrument.web.applications import AutobahnEcho, autobahn_socket, text, tree, twisted_socket
from tests.instrument.web.loopback import GOODBYE, HELLO, HOST, Client, News, Stage, handshake, request
from tests.instrument.web.test_web_tls import NAME, Authority, Http2Client
from tests.strict import Logged, the_reactor
from txmetrics.instrument import MeasuredConnections, measure_connections, unmeasure_connections
from txmetrics.instrument._search import SEARCH, factories_of, listening_ports, unwrapped
from txmetrics.instrument.connections._factory import REASONS
from txmetrics.instrument.connections._search import PORTS
from txmetrics.registry import MetricsRegistry
from txmetrics.testing import FakeReactor

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # by Twisted itself


def counted(registry: MetricsRegistry, name: str = "connections") -> dict[str, object]:
    """What was counted under ``name``; what stands at zero, and the times of the timer, are left out."""
    numbers = {}
    for reading in registry.snapshot():
        fields = dict(reading.fields())
        if reading.name.startswith(f"{name}."):
            numbers[reading.name.removeprefix(f"{name}.")] = fields.get("count", fields.get("value"))
    return {metric: number for metric, number in numbers.items() if number != 0}


class Echo(LineReceiver, News):
    """Sends each line back, and keeps itself in its factory."""

    def __init__(self) -> None:
        News.__init__(self)
        self.reasons: list[Any] = []

    def connectionMade(self) -> None:
        self.factory.protocols.append(self)

    def lineReceived(self, line: bytes) -> None:
        if line == b"close":
            self.transport.loseConnection()
        elif line == b"abort":
            self.transport.abortConnection()
        else:
            self.sendLine(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reasons.append(reason)
        self.tell()

    async def lost(self) -> Any:
        """Wait for the end; returns the type of its reason."""
        while not self.reasons:
            await self.news()
        return self.reasons[0].type


class Echoes(Factory):
    """Its protocols are kept in ``protocols``."""

    protocol: Any = Echo
    noisy = False

    def __init__(self, protocol: Any = Echo) -> None:
        self.protocols: list[Any] = []
        self.protocol = protocol


class Place(Stage):
    """A place to listen at and to connect to, over TCP, TLS or a UNIX socket."""

    authority: Authority

    async def meet(self, carrier: str, factory: Any, *speaks: bytes, protocol: Any = None) -> Any:
        """Listen with ``factory`` and connect a client to it."""
        client = Client() if protocol is None else protocol
        await self.endpoint(carrier, self.listen_over(carrier, factory), *speaks).connect(
            Factory.forProtocol(lambda: client)
        )
        return client

    def listen_over(self, carrier: str, factory: Any) -> Any:
        reactor = the_reactor()
        if carrier == "unix":
            port = reactor.listenUNIX(str(self.path / "socket"), factory)
        elif carrier == "tls":
            port = reactor.listenSSL(0, factory, self.authority.server, interface=HOST)
        else:
            port = reactor.listenTCP(0, factory, interface=HOST)
        self.at_end(port.stopListening)
        return port

    def endpoint(self, carrier: str, port: Any, *speaks: bytes) -> Any:
        if carrier == "unix":
            return UNIXClientEndpoint(the_reactor(), str(self.path / "socket"))
        tcp = TCP4ClientEndpoint(the_reactor(), HOST, port.getHost().port)
        if carrier == "tls":
            trusted = self.authority._trusted
            return wrapClientTLS(optionsForClientTLS(NAME, trusted, acceptableProtocols=list(speaks)), tcp)
        return tcp


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest_twisted.async_yield_fixture
async def place(tmp_path: Path, authority: Authority) -> AsyncIterator[Place]:
    place = Place(tmp_path)
    place.authority = authority
    yield place
    await place.clear()


@pytest.fixture
def registry() -> MetricsRegistry:
    return MetricsRegistry()


async def ended(registry: MetricsRegistry, name: str = "connections") -> None:
    """Wait until no connection is open."""
    while registry.gauge(f"{name}.open").value:
        await turn()


def turn() -> Deferred[None]:
    """Let the reactor run for a moment."""
    return deferLater(the_reactor(), 0.001)


ENDS = {
    "the client closes": (lambda client: client.transport.loseConnection(), ConnectionDone),
    "the client aborts": (lambda client: client.hang_up(), ConnectionLost),
    "the server closes": (lambda client: client.send(b"close\r\n"), ConnectionDone),
    "the server aborts": (lambda client: client.send(b"abort\r\n"), None),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("carrier", ["tcp", "tls", "unix"])
@pytest_twisted.ensureDeferred
async def test_a_connection_is_counted_from_its_begin_to_its_end(
    place: Place, registry: MetricsRegistry, carrier: str, end: str
) -> None:
    """Whatever carries it and whoever ends it: once, with the bytes of the application and the protocol's reason."""
    factory = Echoes()
    measure_connections(factory, registry)
    client = await place.meet(carrier, factory)
    client.send(b"hello\r\n")
    await client.until(b"hello\r\n")
    now = {"accepted": 1, "open": 1, "bytes_received": 7, "bytes_sent": 7}
    assert counted(registry) == now
    finish, _ = ENDS[end]
    finish(client)
    [protocol] = factory.protocols
    reason = await protocol.lost()
    asked = 7 if "server" in end else 0
    del now["open"]
    assert counted(registry) == {**now, "bytes_received": 7 + asked, "life": 1, f"lost.{reason.__name__}": 1}
    assert len(protocol.reasons) == 1
    assert 0 < registry.timer("connections.life").max < 30


@pytest.mark.parametrize("carrier", ["tcp", "tls", "unix"])
@pytest_twisted.ensureDeferred
async def test_the_protocol_has_nothing_of_ours(place: Place, registry: MetricsRegistry, carrier: str) -> None:
    """It is of its own class, with the attributes and interfaces that it has elsewhere, and so is its transport."""
    seen = []
    for measured in (False, True):
        factory = Echoes()
        if measured:
            measure_connections(factory, registry)
        client = await place.meet(carrier, factory)
        client.send(b"hello\r\n")
        await client.until(b"hello\r\n")
        [protocol] = factory.protocols
        seen.append((type(protocol), set(vars(protocol)), set(providedBy(protocol)), set(providedBy(factory))))
        seen[-1] += (type(protocol.transport), set(providedBy(protocol.transport)), protocol.factory is factory)
        client.transport.loseConnection()
        await protocol.lost()
        await place.clear()
    assert seen[0] == seen[1]


@pytest_twisted.ensureDeferred
async def test_what_is_no_tls_is_lost_with_its_error(place: Place, registry: MetricsRegistry) -> None:
    """The protocol is told by the TLS layer, not by the socket."""
    factory = Echoes()
    measure_connections(factory, registry)
    port = place.listen_over("tls", factory)
    client = await place.connect(port.getHost().port)
    client.send(b"GET / HTTP/1.1\r\n\r\n" * 10)
    await client.closed()
    reason = await factory.protocols[0].lost()
    assert reason.__name__ == "Error"
    assert counted(registry) == {"accepted": 1, "life": 1, "lost.Error": 1}


@pytest_twisted.ensureDeferred
async def test_a_tls_connection_that_is_cut_was_lost(place: Place, registry: MetricsRegistry) -> None:
    """The socket is closed in order, but TLS has not said goodbye: the protocol sees ConnectionLost."""
    factory = Echoes()
    measure_connections(factory, registry)
    client = await place.meet("tls", factory)
    client.send(b"hello\r\n")
    await client.until(b"hello\r\n")
    client.transport.transport.socket.shutdown(socket.SHUT_WR)
    assert await factory.protocols[0].lost() is ConnectionLost
    await client.closed()
    assert counted(registry)["lost.ConnectionLost"] == 1
    assert registry.gauge("connections.open").value == 0


@implementer(IHalfCloseableProtocol)
class HalfEcho(Echo):
    """Goes on when its peer has no more to say."""

    def readConnectionLost(self) -> None:
        self.sendLine(b"goes on")
        self.tell()

    def writeConnectionLost(self) -> None:
        """It was asked for."""


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_half_closed_is_open(place: Place, registry: MetricsRegistry) -> None:
    """It ends when the other half does."""
    factory = Echoes(HalfEcho)
    measure_connections(factory, registry)
    client = await place.meet("tcp", factory)
    client.transport.loseWriteConnection()
    await client.until(b"goes on\r\n")
    assert counted(registry) == {"accepted": 1, "open": 1, "bytes_sent": 9}
    factory.protocols[0].transport.loseConnection()
    await client.closed()
    assert counted(registry) == {"accepted": 1, "bytes_sent": 9, "life": 1, "lost.ConnectionDone": 1}


@pytest_twisted.ensureDeferred
async def test_a_connection_outlives_its_port(place: Place, registry: MetricsRegistry) -> None:
    """It is open until it is lost, although nobody listens any more."""
    factory = Echoes()
    measure_connections(factory, registry)
    client = await place.meet("tcp", factory)
    client.send(b"hello\r\n")
    await client.until(b"hello\r\n")
    await place.clear()
    assert counted(registry)["open"] == 1
    client.send(b"close\r\n")
    await client.closed()
    assert counted(registry) == {
        "accepted": 1,
        "bytes_received": 14,
        "bytes_sent": 7,
        "life": 1,
        "lost.ConnectionDone": 1,
    }


class StartsTls(Echo):
    """Answers the line ``tls`` by TLS."""

    authority: ClassVar[Any]

    def lineReceived(self, line: bytes) -> None:
        if line == b"tls":
            self.sendLine(b"now")
            self.transport.startTLS(self.authority.server)
        else:
            super().lineReceived(line)


@pytest_twisted.ensureDeferred
async def test_bytes_are_the_applications_also_after_starttls(
    place: Place, registry: MetricsRegistry, authority: Authority
) -> None:
    """A connection is one before and after, and the handshake is no data of its protocol."""
    StartsTls.authority = authority
    factory = Echoes(StartsTls)
    measure_connections(factory, registry)
    client = await place.meet("tcp", factory)
    client.send(b"tls\r\n")
    await client.until(b"now\r\n")
    client.transport.startTLS(optionsForClientTLS(NAME, authority._trusted))
    client.send(b"secret\r\n")
    await client.until(b"secret\r\n")
    assert counted(registry) == {"accepted": 1, "open": 1, "bytes_received": 5 + 8, "bytes_sent": 5 + 8}
    client.transport.loseConnection()
    reason = await factory.protocols[0].lost()
    assert counted(registry) == {
        "accepted": 1,
        "bytes_received": 13,
        "bytes_sent": 13,
        "life": 1,
        f"lost.{reason.__name__}": 1,
    }


# Web servers: the protocol is a proxy, is exchanged, or hands the connection over


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_a_site_is_measured_by_connections(place: Place, registry: MetricsRegistry, carrier: str) -> None:
    """Two requests are one connection, with every byte of them."""
    site = Site(tree(text=text(b"some text")))
    measure_connections(site, registry)
    client = await place.meet(carrier, site, b"http/1.1")
    asked = request("/text", close=False), request("/text")
    client.send(*asked)
    await client.closed()
    await ended(registry)
    numbers = counted(registry)
    assert numbers.pop("bytes_received") == sum(map(len, asked))
    assert numbers.pop("bytes_sent") == len(client.received)
    assert numbers == {"accepted": 1, "life": 1, "lost.ConnectionDone": 1}


class CountingHttp2Client(Http2Client):
    """One that knows how many bytes it received."""

    size = 0

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)
        super().dataReceived(data)


@pytest_twisted.ensureDeferred
async def test_http2_is_negotiated_and_counted(place: Place, registry: MetricsRegistry) -> None:
    """The Site exchanges the protocol behind its proxy, and the numbers go on."""
    site = Site(tree(text=text(b"some text" * 100)))
    measure_connections(site, registry)
    client = await place.meet("tls", site, b"h2", protocol=CountingHttp2Client())
    assert await client.answered(client.ask("/text"), client.ask("/text")) == [("200", b"some text" * 100)] * 2
    numbers = counted(registry)
    assert numbers["open"] == 1
    assert numbers["bytes_sent"] == client.size
    client.transport.transport.socket.shutdown(socket.SHUT_WR)  # without a goodbye, as browsers do
    await ended(registry)
    assert counted(registry)["lost.ConnectionLost"] == 1


@pytest.mark.parametrize("resource", [twisted_socket, autobahn_socket])
@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_a_websocket_is_measured_to_its_end(
    place: Place, registry: MetricsRegistry, carrier: str, resource: Any
) -> None:
    """Autobahn's takes the transport away from the Site's protocol; the frames are counted all the same."""
    site = Site(tree(socket=resource()))
    measure_connections(site, registry)
    client = await place.meet(carrier, site)
    client.send(handshake("/socket"))
    await client.until(b"\r\n\r\n")
    client.send(HELLO)
    await client.until(b"hello")
    numbers = counted(registry)
    assert numbers["open"] == 1
    assert numbers["bytes_received"] == len(handshake("/socket") + HELLO)
    assert numbers["bytes_sent"] == len(client.received)
    client.hang_up()
    await ended(registry)
    del numbers["open"]
    assert counted(registry) == {**numbers, "life": 1, "lost.ConnectionLost": 1}


@pytest_twisted.ensureDeferred
async def test_both_factories_of_one_connection_are_measured(place: Place, registry: MetricsRegistry) -> None:
    """A websocket's factory gets its connection from the Site's: each counts for itself what passes its protocol."""
    resource = autobahn_socket()
    site = Site(tree(socket=resource))
    measure_connections(site, registry, "site")
    measure_connections(resource._factory, registry, "sockets")
    client = await place.meet("tcp", site)
    client.send(handshake("/socket"))
    await client.until(b"\r\n\r\n")
    client.send(HELLO)
    await client.until(b"hello")
    client.hang_up()
    await client.closed()
    await ended(registry, "site")
    site_counted, sockets = counted(registry, "site"), counted(registry, "sockets")
    assert sockets["bytes_received"] == len(HELLO)
    assert site_counted["bytes_received"] == len(handshake("/socket") + HELLO)
    assert sockets["bytes_sent"] == site_counted["bytes_sent"] == len(client.received)
    assert sockets["lost.ConnectionLost"] == site_counted["lost.ConnectionLost"] == 1
    assert registry.gauge("sockets.open").value == 0


@pytest_twisted.ensureDeferred
async def test_a_websocket_server_of_its_own_is_measured(place: Place, registry: MetricsRegistry) -> None:
    """Autobahn's factory, which listens by itself."""
    factory = WebSocketServerFactory()
    factory.protocol = AutobahnEcho
    measure_connections(factory, registry)
    client = await place.meet("tcp", factory)
    client.send(handshake())
    await client.until(b"\r\n\r\n")
    client.send(HELLO)
    await client.until(b"hello")
    client.send(GOODBYE)
    await client.closed()
    assert counted(registry)["bytes_received"] == len(handshake() + HELLO + GOODBYE)
    assert counted(registry)["bytes_sent"] == len(client.received)
    assert registry.gauge("connections.open").value == 0


# Other protocols, and what stands around them


class Root(pb.Root):
    """Adds."""

    def remote_add(self, one: int, other: int) -> int:
        return one + other


@pytest_twisted.ensureDeferred
async def test_both_sides_of_perspective_broker_are_measured(place: Place, registry: MetricsRegistry) -> None:
    """What one has sent the other has received."""
    server, client = pb.PBServerFactory(Root()), pb.PBClientFactory()
    measure_connections(server, registry, "server")
    measure_connections(client, registry, "client")
    port = place.listen_over("tcp", server)
    the_reactor().connectTCP(HOST, port.getHost().port, client)
    root = await client.getRootObject()
    assert await root.callRemote("add", 3, 4) == 7
    client.disconnect()
    await ended(registry, "server")
    await ended(registry, "client")
    one, other = counted(registry, "server"), counted(registry, "client")
    assert one["bytes_sent"] == other["bytes_received"] > 0
    assert one["bytes_received"] == other["bytes_sent"] > 0
    assert one["lost.ConnectionDone"] == other["lost.ConnectionDone"] == 1


@implementer(IProtocol, IHandshakeListener)
class Slots:
    """A protocol without room for anything."""

    __slots__ = ("factory", "shaken", "transport")

    def makeConnection(self, transport: Any) -> None:
        assert type(self) is Slots
        self.transport = transport
        self.shaken = False

    def connectionMade(self) -> None:
        """``makeConnection`` did it."""

    def handshakeCompleted(self) -> None:
        self.shaken = True

    def dataReceived(self, data: bytes) -> None:
        self.transport.writeSequence(iter([data, b"shaken" if self.shaken else b""]))

    def connectionLost(self, reason: Failure) -> None:
        """It goes away."""


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_a_protocol_of_slots_is_measured(place: Place, registry: MetricsRegistry, carrier: str) -> None:
    """It has no room for an attribute of ours, and is of its own class again when it is connected."""
    factory = Factory.forProtocol(Slots)
    measure_connections(factory, registry)
    built = factory.buildProtocol(None)
    assert isinstance(built, Slots)
    assert (type(built).__name__, repr(type(built))) == ("Slots", repr(Slots))
    assert set(providedBy(built)) == set(providedBy(Slots()))
    client = await place.meet(carrier, factory)
    client.send(b"hello")
    answer = b"helloshaken" if carrier == "tls" else b"hello"
    await client.until(answer)
    client.transport.loseConnection()
    await client.closed()
    await ended(registry)
    numbers = {"accepted": 1, "bytes_received": 5, "bytes_sent": len(answer), "life": 1}
    assert counted(registry) == {**numbers, "lost.ConnectionDone": 1}


@pytest.mark.parametrize("which", ["the wrapped factory", "the wrapping factory"])
@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_a_wrapped_factory_is_measured_inside_and_outside(
    place: Place, registry: MetricsRegistry, carrier: str, which: str
) -> None:
    """The wrapper is the transport of one and the protocol of the other."""
    inner = Echoes()
    outer = TimeoutFactory(inner, None)
    measure_connections(inner if which == "the wrapped factory" else outer, registry)
    client = await place.meet(carrier, outer)
    client.send(b"hello\r\n")
    await client.until(b"hello\r\n")
    assert counted(registry) == {"accepted": 1, "open": 1, "bytes_received": 7, "bytes_sent": 7}
    client.send(b"close\r\n")
    await ended(registry)
    assert counted(registry)["lost.ConnectionDone"] == 1
    assert outer.protocols == {}


def test_a_sequence_is_counted_once(registry: MetricsRegistry) -> None:
    """Also by a transport that writes it by ``write``."""

    class Writes(StringTransport):
        def writeSequence(self, data: Any) -> None:
            for piece in data:
                self.write(piece)

    factory = Factory.forProtocol(Protocol)
    measure_connections(factory, registry)
    for transport in (StringTransport(), Writes()):
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.transport.writeSequence(piece for piece in (b"one", b"two"))
        protocol.transport.write(b"three")
        assert transport.value() == b"onetwothree"
    assert counted(registry)["bytes_sent"] == 22


@pytest_twisted.ensureDeferred
async def test_a_sequence_over_unbuffered_tls_is_counted_once(place: Place, registry: MetricsRegistry) -> None:
    """That layer is one that writes it by ``write``."""
    factory = Echoes(Slots)
    measure_connections(factory, registry)
    unbuffered = TLSMemoryBIOFactory(place.authority.server, False, factory, the_reactor())
    unbuffered.protocol = TLSMemoryBIOProtocol
    port = place.listen_over("tcp", unbuffered)
    client = Client()
    await place.endpoint("tls", port).connect(Factory.forProtocol(lambda: client))
    client.send(b"hello")
    await client.until(b"helloshaken")
    assert counted(registry)["bytes_sent"] == 11
    client.transport.loseConnection()
    await client.closed()


def test_a_fake_transport_will_do(registry: MetricsRegistry) -> None:
    """Where the transport has no end to tell, the protocol is listened to, and has nothing of ours afterwards."""
    factory = Factory.forProtocol(Client)
    measure_connections(factory, registry)
    protocol = factory.buildProtocol(None)
    before = set(vars(protocol)) - {"makeConnection"}
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(b"hello")
    protocol.transport.write(b"hi")
    assert counted(registry) == {"accepted": 1, "open": 1, "bytes_received": 5, "bytes_sent": 2}
    protocol.connectionLost(Failure(ConnectionLost()))
    protocol.transport.write(b"to nobody")
    assert protocol.received == b"hello"
    assert set(vars(protocol)) == before | {"transport", "connected"}
    numbers = {"accepted": 1, "bytes_received": 5, "bytes_sent": 2, "life": 1}
    assert counted(registry) == {**numbers, "lost.ConnectionLost": 1}


# Clients


class Tries(ReconnectingClientFactory):
    """Tries again at once."""

    noisy = False
    initialDelay = maxDelay = 0.01

    def __init__(self) -> None:
        self.failed = 0
        self.protocols: list[Any] = []

    protocol = Echo

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.failed += 1
        super().clientConnectionFailed(connector, reason)


@pytest_twisted.ensureDeferred
async def test_a_client_that_reconnects_counts_what_failed(place: Place, registry: MetricsRegistry) -> None:
    """Each attempt that failed, by the type of its reason, and the connections that were made."""
    port = place.listen_over("tcp", Echoes())
    number = port.getHost().port
    await place.clear()
    factory = Tries()
    measure_connections(factory, registry)
    connector = the_reactor().connectTCP(HOST, number, factory)
    while factory.failed < 3:
        await turn()
    echoes = Echoes()
    place.at_end(the_reactor().listenTCP(number, echoes, interface=HOST).stopListening)
    while not factory.protocols:
        await turn()
    factory.protocols[0].sendLine(b"hello")
    while "bytes_received" not in counted(registry):
        await turn()
    factory.stopTrying()
    connector.disconnect()
    await factory.protocols[0].lost()
    numbers = {"accepted": 1, "bytes_received": 7, "bytes_sent": 14, "life": 1, "lost.ConnectionDone": 1}
    assert {**counted(registry), "bytes_sent": 14, "bytes_received": 7} == {
        **numbers,
        "failed.ConnectionRefusedError": factory.failed,
    }
    await echoes.protocols[0].lost()


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_a_client_service_counts_its_connections(place: Place, registry: MetricsRegistry, carrier: str) -> None:
    """One after the other, by a factory that the service wraps."""
    server, factory = Echoes(), Factory.forProtocol(Client)
    measure_connections(factory, registry)
    port = place.listen_over(carrier, server)
    service = ClientService(place.endpoint(carrier, port), factory, retryPolicy=lambda attempt: 0.01)
    service.startService()
    for _ in range(2):
        client = await service.whenConnected()
        client.send(b"hello\r\n")
        await client.until(b"hello\r\n")
        client.send(b"close\r\n")
        await ended(registry)
        await turn()
    await service.stopService()
    numbers = counted(registry)
    assert numbers["bytes_received"] == 14
    assert numbers["bytes_sent"] == 28
    assert numbers["accepted"] == numbers["life"] >= 2
    assert "open" not in numbers


# What the factory does


@pytest.fixture
def refusing(registry: MetricsRegistry) -> Iterator[Any]:
    factory = Factory()
    yield factory
    assert counted(registry) == {"refused": 1}


@pytest_twisted.ensureDeferred
async def test_a_refused_connection_is_no_connection(place: Place, registry: MetricsRegistry, refusing: Any) -> None:
    """The factory builds no protocol for it."""
    refusing.buildProtocol = lambda addr: None
    measure_connections(refusing, registry)
    client = await place.meet("tcp", refusing)
    await client.closed()


def test_a_factory_that_raises_refuses(registry: MetricsRegistry, refusing: Any) -> None:
    """And the exception is the reactor's."""
    refusing.protocol = lambda: 1 / 0
    measure_connections(refusing, registry)
    with pytest.raises(ZeroDivisionError):
        refusing.buildProtocol(None)


def connect(factory: Any) -> Any:
    """A protocol of ``factory``, connected to nobody."""
    protocol = factory.buildProtocol(None)
    protocol.makeConnection(StringTransport())
    return protocol


def test_a_factory_is_measured_once(registry: MetricsRegistry) -> None:
    """The second time, under whatever name, changes nothing."""
    factory = Factory.forProtocol(Protocol)
    measure_connections(factory, registry)
    measure_connections(factory, registry)
    measure_connections(factory, registry, "other")
    connect(factory)
    assert counted(registry) == {"accepted": 1, "open": 1}
    assert counted(registry, "other") == {}


def test_factories_of_one_name_share_it(registry: MetricsRegistry) -> None:
    """The same server on two ports, say."""
    one, other = Factory.forProtocol(Protocol), Factory.forProtocol(Protocol)
    measure_connections(one, registry)
    measure_connections(other, registry)
    protocols = [connect(one), connect(other)]
    assert counted(registry)["open"] == 2
    for protocol in protocols:
        protocol.connectionLost(Failure(ConnectionDone()))
    assert counted(registry) == {"accepted": 2, "life": 2, "lost.ConnectionDone": 2}


def test_a_factory_that_asks_another_one_is_measured_beside_it(registry: MetricsRegistry) -> None:
    """One protocol has two factories, each of which counts it."""
    inner = Factory.forProtocol(Protocol)
    outer = Factory()
    outer.buildProtocol = inner.buildProtocol
    measure_connections(inner, registry, "inner")
    outer.buildProtocol = lambda addr: inner.buildProtocol(addr)
    measure_connections(outer, registry, "outer")
    protocol = connect(outer)
    protocol.dataReceived(b"data")
    protocol.transport.write(b"more")
    protocol.connectionLost(Failure(ConnectionDone()))
    both = {"accepted": 1, "bytes_received": 4, "bytes_sent": 4, "life": 1, "lost.ConnectionDone": 1}
    assert counted(registry, "inner") == counted(registry, "outer") == both
    assert not {"makeConnection", "dataReceived", "connectionLost"} & set(vars(protocol))


def test_a_factory_that_is_no_longer_measured_is_as_before(registry: MetricsRegistry) -> None:
    """But for the connections that it has; and it may be measured again."""
    factory = ClientFactory.forProtocol(Protocol)
    before = dict(vars(factory))
    measure_connections(factory, registry)
    protocol = connect(factory)
    unmeasure_connections(factory)
    unmeasure_connections(factory)
    assert vars(factory) == before
    connect(factory)
    assert counted(registry) == {"accepted": 1, "open": 1}
    protocol.connectionLost(Failure(ConnectionDone()))
    assert counted(registry) == {"accepted": 1, "life": 1, "lost.ConnectionDone": 1}
    measure_connections(factory, registry)
    connect(factory)
    assert counted(registry)["accepted"] == 2


def test_what_is_no_factory_is_refused(registry: MetricsRegistry) -> None:
    """At once, and with its type."""
    with pytest.raises(AttributeError, match="buildProtocol"):
        measure_connections(object(), registry)


def test_reasons_are_bounded(registry: MetricsRegistry) -> None:
    """A hundred types of exceptions have no more than REASONS series, and one for the rest."""
    factory = Factory.forProtocol(Protocol)
    measure_connections(factory, registry)
    for number in range(100):
        connect(factory).connectionLost(Failure(type(f"Error{number}", (Exception,), {})()))
    lost = counted(registry, "connections.lost")
    assert len(lost) == REASONS + 1
    assert sum(lost.values()) == 100
    assert registry.gauge("connections.open").value == 0


BROKEN = ["bytes_received", "bytes_sent", "accepted", "open", "life"]


@pytest.mark.parametrize("metric", BROKEN)
@pytest_twisted.ensureDeferred
async def test_a_broken_metric_disturbs_nobody(
    place: Place, registry: MetricsRegistry, logged: Logged, metric: str
) -> None:
    """It is logged once and counted, and every byte arrives."""
    factory = Echoes()
    measure_connections(factory, registry)
    if metric == "open":
        registry.gauge("connections.open").set(None)
    elif metric == "life":
        registry.timer("connections.life").now = lambda: 1 / 0
    else:
        registry.counter(f"connections.{metric}").count = None
    client = await place.meet("tcp", factory)
    for _ in range(2):
        client.received = b""
        client.send(b"hello\r\n")
        await client.until(b"hello\r\n")
    client.send(b"close\r\n")
    await client.closed()
    assert await factory.protocols[0].lost() is ConnectionDone
    assert len(logged.flush(TypeError, ZeroDivisionError)) == 1
    assert registry.counter("connections.measuring_errors").count >= 1
    assert registry.gauge("connections.open").value == (None if metric == "open" else 0)


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith("txmetrics")


@pytest.mark.parametrize("carrier", ["tcp", "tls", "unix"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_kept_of_a_connection(place: Place, registry: MetricsRegistry, carrier: str) -> None:
    """When it is over, no cycle of ours waits for the garbage collector."""
    factory = Echoes()
    measure_connections(factory, registry)
    client = await place.meet(carrier, factory)
    client.send(b"hello\r\n")
    await client.until(b"hello\r\n")
    protocol = factory.protocols.pop()
    transport = protocol.transport
    assert transport.write.__module__.startswith("txmetrics")
    client.transport.loseConnection()
    await protocol.lost()
    await turn()
    assert not [name for name, value in vars(transport).items() if _is_ours(value)]
    gone = ref(protocol)
    gc.disable()
    try:
        del protocol, transport
        await turn()
        assert gone() is None
    finally:
        gc.enable()


# Finding them


def test_the_factories_of_a_tree_of_services_are_found() -> None:
    """In the order of their services, each before the one that it wraps."""
    one, other = Factory(), Factory()
    outer = WrappingFactory(other)
    tree, branch = MultiService(), MultiService()
    for parent, child in ((tree, TCPServer(0, one)), (tree, Service()), (tree, branch), (branch, TCPServer(0, outer))):
        child.setServiceParent(parent)
    assert list(factories_of(tree)) == [one, outer, other]


@pytest_twisted.ensureDeferred
async def test_the_factories_that_listen_are_found(place: Place) -> None:
    """Those of TLS and of UNIX sockets, too."""
    factories = [Echoes(), Echoes(), Echoes()]
    for carrier, factory in zip(("tcp", "tls", "unix"), factories, strict=True):
        place.listen_over(carrier, factory)
    found = [each for port in listening_ports(the_reactor()) for each in unwrapped(getattr(port, "factory", None))]
    assert [sum(each is factory for each in found) for factory in factories] == [1, 1, 1]
    assert list(listening_ports(object())) == []


@pytest_twisted.ensureDeferred
async def test_the_service_measures_each_port_by_its_name(place: Place, registry: MetricsRegistry) -> None:
    """Those that listen already and those that begin later, until it is stopped; and again when it is started again."""
    early, late, own = Echoes(), Echoes(), Echoes()
    ports = {early: place.listen_over("tls", early)}
    measure_connections(own, registry, "own")
    place.listen_over("unix", own)
    clock = FakeReactor()
    clock.getReaders = the_reactor().getReaders
    service = MeasuredConnections(registry, clock)
    service.startService()
    clock.run()
    ports[late] = place.listen_over("tcp", late)
    clock.advance(SEARCH)
    for factory, carrier in ((early, "tls"), (late, "tcp")):
        client = Client()
        await place.endpoint(carrier, ports[factory]).connect(Factory.forProtocol(lambda client=client: client))
        client.send(b"hello\r\n")
        await client.until(b"hello\r\n")
        client.send(b"close\r\n")
        await client.closed()
        await turn()
        name = f"connections.{ports[factory].getHost().port}"
        expected = {"accepted": 1, "bytes_received": 14, "bytes_sent": 7, "life": 1, "lost.ConnectionDone": 1}
        assert counted(registry, name) == expected
    assert counted(registry, "own") == {}
    for _ in range(2):
        service.stopService()
        assert clock.getDelayedCalls() == []
        assert "buildProtocol" not in vars(early)
        assert "buildProtocol" in vars(own)
        service.startService()
        clock.run()
        assert "buildProtocol" in vars(early)
    service.stopService()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_called_by_its_path(place: Place, registry: MetricsRegistry) -> None:
    """As one part of a name."""
    place.listen_over("unix", Echoes())
    service = MeasuredConnections(registry, the_reactor())
    service.startService()
    service.stopService()
    part = str(place.path / "socket").strip("/").replace("/", "_").replace(".", "_")
    assert f"connections.{part}.accepted" in {reading.name for reading in registry.snapshot()}


@pytest_twisted.ensureDeferred
async def test_ports_are_bounded(place: Place, registry: MetricsRegistry) -> None:
    """A server that opens one port after the other has no more than PORTS series, and one for the rest."""
    service = MeasuredConnections(registry, the_reactor())
    for _ in range(PORTS + 5):
        place.listen_over("tcp", Echoes())
    service.startService()
    accepted = [reading.name for reading in registry.snapshot() if reading.name.endswith(".accepted")]
    assert len(accepted) == PORTS + 1
    assert "connections._other.accepted" in accepted
    service.stopService()
