"""One connection over real sockets: what it tells its owner, what it asks of the kernel, what confirms it."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure

from tests.delivery.network import until
from tests.strict import the_reactor
from txmetrics.delivery import _kernel
from txmetrics.delivery._connection import Connection, StalledError


class Owner(Factory):
    """Makes connections and writes down what they say."""

    noisy = False

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.time: Any = the_reactor()
        self.said: list[str] = []
        self.acknowledgements = 0
        self.reason: Failure | None = None

    def buildProtocol(self, addr: object) -> Connection:
        self.connections.append(Connection(self, self.time))
        return self.connections[-1]

    def opened(self, connection: Connection) -> None:
        self.said.append("opened")

    def ready(self, connection: Connection) -> None:
        self.said.append("ready")

    def acknowledged(self, connection: Connection, writes: int) -> None:
        self.acknowledgements += writes

    def lost(self, connection: Connection, reason: Failure) -> None:
        self.said.append("lost")
        self.reason = reason


class Server(Protocol):
    """Reads, keeps, and ends as Twisted's protocols do; or reads nothing."""

    received = b""

    def connectionMade(self) -> None:
        self.factory.peers.append(self)
        if self.factory.deaf:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.factory.ends.append(reason)


class Net:
    """One server, and connections to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.owner = Owner()
        self.factory: Any = Factory.forProtocol(Server)
        self.factory.noisy = False
        self.factory.deaf = False
        self.factory.peers = []
        self.factory.ends = []
        self._port: Any = None

    async def connect(self, kind: str = "tcp", deaf: bool = False, wrapped: bool = False) -> Connection:
        reactor = the_reactor()
        self.factory.deaf = deaf
        if kind == "tcp":
            self._port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.factory)
            endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", self._port.getHost().port)
        else:
            self._port = await UNIXServerEndpoint(reactor, str(self.directory / "s")).listen(self.factory)
            endpoint = UNIXClientEndpoint(reactor, str(self.directory / "s"))
        await endpoint.connect(WrappingFactory(self.owner) if wrapped else self.owner)
        await until(lambda: self.factory.peers)
        return self.owner.connections[0]

    @property
    def peer(self) -> Server:
        return self.factory.peers[0]

    async def close(self) -> None:
        for connection in self.owner.connections:
            connection.abort()
        await self._port.stopListening()
        for peer in self.factory.peers:
            peer.transport.abortConnection()
        await until(lambda: "lost" in self.owner.said)


@pytest_twisted.async_yield_fixture
async def net(tmp_path: Path) -> AsyncIterator[Net]:
    net = Net(tmp_path)
    yield net
    await net.close()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_an_orderly_close_is_confirmed(net: Net, kind: str) -> None:
    """The peer reads all there is, then our end, then says its own."""
    connection = await net.connect(kind)
    assert net.owner.said == ["opened", "ready"]
    for _ in range(50):
        connection.write(b"x" * 60_000)
    connection.close()
    await until(lambda: "lost" in net.owner.said)
    assert connection.confirmed
    assert net.owner.reason.check(ConnectionDone)
    assert len(net.peer.received) == 3_000_000
    assert net.factory.ends[0].check(ConnectionDone)  # and it saw no reset


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_a_close_waits_for_a_peer_that_reads_late(net: Net, kind: str) -> None:
    """The end of our stream waits behind the data; nothing is confirmed before the peer has come to it."""
    connection = await net.connect(kind, deaf=True)
    connection.write(b"x" * 20_000_000)
    connection.close()
    await deferLater(the_reactor(), 0.3)
    assert "lost" not in net.owner.said
    net.peer.transport.resumeProducing()
    await until(lambda: "lost" in net.owner.said)
    assert connection.confirmed
    assert len(net.peer.received) == 20_000_000


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_closes_without_having_read_confirms_nothing(net: Net, kind: str) -> None:
    """Its kernel has acknowledged everything, and throws it away."""
    connection = await net.connect(kind, deaf=True)
    connection.write(b"x" * 1000)
    await deferLater(the_reactor(), 0.1)
    connection.close()
    await deferLater(the_reactor(), 0.1)
    net.peer.transport.abortConnection()
    await until(lambda: "lost" in net.owner.said)
    assert not connection.confirmed


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_closes_by_itself_confirms_nothing(net: Net, kind: str) -> None:
    """It may never have got what was on its way; the connection is over at once."""
    connection = await net.connect(kind)
    connection.write(b"x")
    await until(lambda: net.peer.received)
    net.peer.transport.loseConnection()
    await until(lambda: "lost" in net.owner.said)
    assert not connection.confirmed
    assert not connection.writable
    assert net.owner.reason.check(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_closes_just_before_we_do_confirms_nothing(net: Net) -> None:
    """Both ends were under way at the same time: who can tell what it had read?"""
    connection = await net.connect(deaf=True)
    net.peer.transport.resumeProducing()
    net.peer.transport.loseConnection()
    connection.write(b"x" * 1000)
    connection.close()
    await until(lambda: "lost" in net.owner.said)
    assert not connection.confirmed or net.peer.received


@pytest_twisted.ensureDeferred
async def test_a_reset_is_a_loss(net: Net) -> None:
    """And no clean close."""
    connection = await net.connect()
    net.peer.transport.abortConnection()
    await until(lambda: "lost" in net.owner.said)
    assert not connection.confirmed
    assert net.owner.reason.check(ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_an_abort_is_told_like_a_loss(net: Net) -> None:
    """Later, not within the call; a second abort, and one when all is over, do nothing."""
    connection = await net.connect()
    connection.abort()
    connection.abort()
    assert "lost" not in net.owner.said
    await until(lambda: "lost" in net.owner.said)
    assert net.owner.reason.check(ConnectionAborted)
    connection.abort()
    assert net.owner.said.count("lost") == 1


@pytest.mark.parametrize("wrapped", [False, True])
@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_wraps_protocols_does_no_harm(net: Net, wrapped: bool) -> None:
    """Where the peer's end cannot be heard apart, it is a plain loss: nothing raises, and nothing is confirmed."""
    connection = await net.connect(wrapped=wrapped)
    connection.write(b"x")
    await until(lambda: net.peer.received)
    net.peer.transport.loseConnection()
    await until(lambda: "lost" in net.owner.said)
    assert net.owner.reason.check(ConnectionDone)
    assert not connection.confirmed


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_writes_are_acknowledged(net: Net, kind: str) -> None:
    """Each of them, some looks after the peer has it."""
    connection = await net.connect(kind)
    for _ in range(3):
        connection.write(b"x")
    await until(lambda: net.owner.acknowledgements == 3)


@pytest_twisted.ensureDeferred
async def test_what_a_unix_peer_has_not_read_is_not_acknowledged(net: Net) -> None:
    """There is no kernel between, and what it holds at the peer's end counts as ours."""
    connection = await net.connect("unix", deaf=True)
    connection.write(b"x")
    await deferLater(the_reactor(), 2.5)
    assert net.owner.acknowledgements == 0
    assert _kernel.unacknowledged(connection.transport) > 0
    net.peer.transport.resumeProducing()
    await until(lambda: net.owner.acknowledgements == 1)
    assert _kernel.unacknowledged(connection.transport) == 0


@pytest_twisted.ensureDeferred
async def test_the_kernel_watches_over_tcp(net: Net) -> None:
    """Keep-alive and, on Linux, TCP_USER_TIMEOUT: a peer that is gone is noticed within some 11 seconds."""
    connection = await net.connect()
    option = connection.transport.socket.getsockopt
    assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if sys.platform == "linux":
        assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        idle, interval = (option(socket.IPPROTO_TCP, getattr(socket, f"TCP_KEEP{what}")) for what in ("IDLE", "INTVL"))
        assert idle + interval * option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) <= 12


def test_a_transport_without_a_socket_is_not_asked() -> None:
    """None means unknown; nothing raises, whatever the transport is."""
    assert _kernel.unacknowledged(object()) is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        pass
    transport = type("Transport", (), {"socket": closed})()
    assert _kernel.unacknowledged(transport) is None


@pytest_twisted.ensureDeferred
async def test_a_stall_breaks_the_connection(net: Net) -> None:
    """The reason is its own, and not the abort that followed."""
    net.owner.time = Clock()
    connection = await net.connect("unix", deaf=True)
    connection.write(b"x")
    await deferLater(the_reactor(), 0.1)
    net.owner.time.pump([0.5] * 20)
    assert connection.writable
    net.owner.time.pump([0.5] * 2)
    await until(lambda: "lost" in net.owner.said)
    assert net.owner.reason.check(StalledError)
