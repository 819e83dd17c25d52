"""Stream over real sockets on loopback: TCP, TLS and UNIX."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, UNIXServerEndpoint, clientFromString
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.delivery.certificates import Authority
from tests.delivery.network import check_books, dropped, until
from tests.strict import Logged, the_reactor
from txmetrics.delivery import Secret, Stream
from txmetrics.interfaces import Chunk
from txmetrics.testing import GraphiteReceiver, Point

BIG = 64_000


@implementer(IHandshakeListener)
class Peer(Protocol):
    """Keeps what it is sent, unless its factory wants it to be deaf."""

    def connectionMade(self) -> None:
        self.factory.peers.append(self)
        if not ISSLTransport.providedBy(self.transport):
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        if self.factory.deaf:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.factory.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.factory.peers.remove(self)


@implementer(IHalfCloseableProtocol)
class Stayer(Peer):
    """Does not answer the end of a stream."""

    def readConnectionLost(self) -> None:
        self.factory.ends += 1

    def writeConnectionLost(self) -> None:
        pass


class Peers(Factory):
    """A server: who is connected, and what was received from all of them."""

    noisy = False

    def __init__(self, deaf: bool = False, protocol: type[Peer] = Peer) -> None:
        self.deaf = deaf
        self.protocol = protocol
        self.ends = 0
        self.peers: list[Peer] = []
        self.received = b""


class Net:
    """Servers and streams that are closed when the test is over."""

    def __init__(self) -> None:
        self.reactor = the_reactor()
        self._ports: list[Any] = []
        self._streams: list[Stream] = []

    async def serve(self, factory: Any, tls: Any = None) -> int:
        """Listen on a free port of 127.0.0.1; the answer is the port's number."""
        if tls is None:
            endpoint = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        else:
            endpoint = SSL4ServerEndpoint(self.reactor, 0, tls, interface="127.0.0.1")
        return int((await self.listen(endpoint, factory)).getHost().port)

    async def anything(self, kind: str, factory: Any, authority: Authority, directory: Path) -> str:
        """Listen on TCP, TLS or a UNIX socket; the answer is where."""
        if kind == "unix":
            await self.listen(UNIXServerEndpoint(self.reactor, str(directory / "socket")), factory)
            return f"unix:{directory}/socket"
        if kind == "tcp":
            return f"tcp:127.0.0.1:{await self.serve(factory)}"
        port = await self.serve(factory, authority.server("127.0.0.1"))
        if kind == "ssl":
            return f"ssl:127.0.0.1:{port}:caCertsDir={authority.directory}"
        return f"tls:127.0.0.1:{port}:trustRoots={authority.directory}"

    async def listen(self, endpoint: Any, factory: Any) -> Any:
        port = await endpoint.listen(factory)
        self._ports.append((port, factory))
        return port

    def stream(self, where: str, **settings: Any) -> Stream:
        """A stream to `where`, started."""
        stream = Stream(self.reactor, clientFromString(self.reactor, where), where, **settings)
        self._streams.append(stream)
        stream.start()
        return stream

    async def close(self) -> None:
        for stream in self._streams:
            await stream.stop(0.1)
            check_books(stream)
        for port, factory in self._ports:
            await port.stopListening()
            for peer in list(getattr(factory, "peers", [])):
                peer.transport.abortConnection()


@pytest_twisted.async_yield_fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    yield net
    await net.close()


def lines(first: int, last: int) -> Chunk:
    """One chunk with a line for each number."""
    data = "".join(f"loop.back.{number} {number}.5 {1_000_000_000 + number}\n" for number in range(first, last))
    return Chunk(data.encode(), last - first, 0)


def points(first: int, last: int) -> list[Point]:
    return [Point(f"loop.back.{n}", n + 0.5, 1_000_000_000 + n) for n in range(first, last)]


def big(number: int) -> Chunk:
    """So many bytes that cannot be compressed."""
    return Chunk(Random(number).randbytes(BIG - 1).replace(b"\n", b".") + b"\n", 1, 0)


KINDS = ["tcp", "tls", "ssl", "unix"]


@pytest.mark.parametrize("kind", KINDS)
@pytest_twisted.ensureDeferred
async def test_everything_arrives_in_order_over(net: Net, authority: Authority, tmp_path: Path, kind: str) -> None:
    """Chunks from before the connection, through it and at its very end are read by the peer, each once."""
    receiver = GraphiteReceiver()
    stream = net.stream(await net.anything(kind, receiver, authority, tmp_path))
    for number in range(0, 20_000, 1000):  # a megabyte, more than a transport takes at once
        stream.deliver(lines(number, number + 1000))
    await until(lambda: len(receiver.points) == 20_000)
    stream.deliver(lines(20_000, 20_001))
    await stream.stop(3600)  # and not at the deadline
    await until(lambda: len(receiver.points) == 20_001)
    assert receiver.points == points(0, 20_001)
    assert receiver.wrong == []
    assert receiver.connections == 1
    assert dropped(stream) == {}
    assert stream.ledger.delivered == 20_001  # the peer's goodbye has confirmed them


@pytest.mark.parametrize("tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_never_reads_costs_bounded_memory_and_time(net: Net, authority: Authority, tls: bool) -> None:
    """The outbox drops its oldest beyond its limit, and stop ends at its deadline with everything counted."""
    peers = Peers(deaf=True)
    port = await net.serve(peers, authority.server("127.0.0.1") if tls else None)
    where = f"tls:127.0.0.1:{port}:trustRoots={authority.directory}" if tls else f"tcp:127.0.0.1:{port}"
    stream = net.stream(where, max_bytes=10 * BIG)
    await until(lambda: stream.levels["connected"])
    for number in range(400):  # 25 MB, more than the kernel takes
        stream.deliver(big(number))
        await deferLater(net.reactor, 0)
        assert stream.levels["buffer_bytes"] <= 11 * BIG
    assert stream.levels["queue_points"] > 5
    begin = net.reactor.seconds()
    await stream.stop(0.5)
    assert 0.4 < net.reactor.seconds() - begin < 5
    assert stream.levels["connected"] == stream.levels["queue_points"] == stream.levels["buffer_bytes"] == 0
    assert dropped(stream)["overflow"] > 200
    assert 0 < dropped(stream)["stopped"] <= 10
    assert dropped(stream)["unconfirmed"] > 0
    check_books(stream)


@pytest.mark.parametrize("tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_reads_late_gets_everything(net: Net, authority: Authority, tls: bool) -> None:
    """Paused in the middle of megabytes, and stopped while paused: the stream drains and then says goodbye."""
    peers = Peers(deaf=True)
    port = await net.serve(peers, authority.server("127.0.0.1") if tls else None)
    where = f"tls:127.0.0.1:{port}:trustRoots={authority.directory}" if tls else f"tcp:127.0.0.1:{port}"
    stream = net.stream(where, max_bytes=10**8)
    await until(lambda: stream.levels["connected"])
    for number in range(200):  # 13 MB
        stream.deliver(big(number))
    stopped = stream.stop(3600)
    assert stream.levels["queue_points"] > 0
    peers.deaf = False
    peers.peers[0].transport.resumeProducing()
    await stopped
    await until(lambda: not peers.peers)
    assert peers.received == b"".join(big(number).data for number in range(200))
    assert dropped(stream) == {}
    assert stream.ledger.delivered == 200


@pytest_twisted.ensureDeferred
async def test_a_peer_that_comes_back_gets_what_waited(net: Net) -> None:
    """Nobody listens at first; the chunks wait, and arrive over the connection that is made later."""
    receiver = GraphiteReceiver()
    port = await net.serve(receiver)
    await net._ports.pop()[0].stopListening()
    stream = net.stream(f"tcp:127.0.0.1:{port}")
    stream.deliver(lines(0, 10))
    await until(lambda: stream.counts.get("connection_failures.refused") == 1)
    await net.listen(TCP4ServerEndpoint(net.reactor, port, interface="127.0.0.1"), receiver)
    await until(lambda: len(receiver.points) == 10)
    assert receiver.points == points(0, 10)


@pytest.mark.parametrize("impostor", ["another authority", "another name"])
@pytest_twisted.ensureDeferred
async def test_an_impostor_gets_no_byte(
    net: Net, authority: Authority, tmp_path: Path, logged: Logged, impostor: str
) -> None:
    """A wrong certificate ends each attempt before anything is written, the waits grow, one line is logged."""
    unknown = Authority(tmp_path / "unknown")
    tls = unknown.server("127.0.0.1") if impostor == "another authority" else authority.server("graphite.example")
    peers = Peers()
    port = await net.serve(peers, tls)
    where = f"tls:127.0.0.1:{port}:trustRoots={authority.directory}"
    stream = net.stream(where, frame=Secret("canary").before_each_line)
    stream.deliver(lines(0, 10))
    begin = net.reactor.seconds()
    await until(lambda: stream.counts.get("connection_failures.tls") == 3)
    assert net.reactor.seconds() - begin >= 0.9 * 0.75 * (0.5 + 0.85)
    assert peers.received == b""
    assert stream.counts["connections"] == 0
    assert stream.levels["connected"] == 0
    assert stream.levels["queue_points"] == 10
    assert stream.counts["bytes_sent"] == 0
    assert len([text for text in logged.texts() if f"no connection to {where}" in text]) == 1


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_never_ends_does_not_hold_up_a_stop(net: Net) -> None:
    """The peer speaks no TLS at all: the deadline ends it, and no line has reached the peer."""
    peers = Peers()
    stream = net.stream(f"tls:127.0.0.1:{await net.serve(peers)}")
    stream.deliver(lines(0, 10))
    await until(lambda: peers.received)
    await stream.stop(0.2)
    assert dropped(stream) == {"stopped": 10}
    assert b"loop.back" not in peers.received
    await until(lambda: not peers.peers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["loseConnection", "abortConnection"])
@pytest_twisted.ensureDeferred
async def test_a_connection_that_the_peer_ends_is_replaced(
    net: Net, authority: Authority, tmp_path: Path, kind: str, how: str
) -> None:
    """The stream notices, connects anew, sends the window again and goes on."""
    peers = Peers()
    stream = net.stream(await net.anything(kind, peers, authority, tmp_path))
    stream.deliver(lines(0, 1))
    await until(lambda: peers.received.count(b"\n") == 1)
    getattr(peers.peers[0].transport, how)()
    await until(lambda: not stream.levels["connected"])
    stream.deliver(lines(1, 2))
    await until(lambda: peers.received.count(b"\n") == 3)
    assert peers.received == lines(0, 1).data + lines(0, 2).data
    assert stream.counts["connections"] == 2
    assert stream.counts["points_replayed"] == 1
    reason = "lost" if how == "abortConnection" and kind != "unix" else "closed"  # those know no resets
    assert {name for name in stream.counts if name.startswith("connections_lost")} == {f"connections_lost.{reason}"}


@pytest.mark.parametrize("kind", ["tls", "ssl"])
@pytest_twisted.ensureDeferred
async def test_a_tls_connection_cut_off_underneath_is_replaced(
    net: Net, authority: Authority, tmp_path: Path, kind: str
) -> None:
    """TCP ends in order, TLS does not, as when a server is killed: lost, and confirmed by nothing."""
    peers = Peers()
    stream = net.stream(await net.anything(kind, peers, authority, tmp_path))
    stream.deliver(lines(0, 1))
    await until(lambda: peers.received)
    peers.peers[0].transport.transport.loseConnection()
    await until(lambda: len(peers.received) == 2 * len(lines(0, 1).data))
    assert stream.counts["connections_lost.lost"] == 1
    assert stream.ledger.delivered == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest_twisted.ensureDeferred
async def test_what_the_peer_has_is_acknowledged(net: Net, authority: Authority, tmp_path: Path, kind: str) -> None:
    """Within seconds of arriving it is not queued any more, whatever the transport."""
    peers = Peers()
    stream = net.stream(await net.anything(kind, peers, authority, tmp_path), replay_window=0)
    stream.deliver(lines(0, 10))
    await until(lambda: stream.ledger.delivered == 10)
    assert peers.received == lines(0, 10).data


@pytest_twisted.ensureDeferred
async def test_what_fills_a_socket_is_not_acknowledged(net: Net, tmp_path: Path, authority: Authority) -> None:
    """What a deaf peer's kernel does not take over TCP stays queued, and so does all in a UNIX socket."""
    wheres = [await net.anything(kind, Peers(deaf=True), authority, tmp_path) for kind in ("tcp", "unix")]
    streams = [net.stream(where, replay_window=0, max_bytes=10**8) for where in wheres]
    await until(lambda: all(stream.levels["connected"] for stream in streams))
    for number in range(200):  # 13 MB
        for stream in streams:
            stream.deliver(big(number))
    await deferLater(net.reactor, 2.5)
    assert [stream.ledger.delivered for stream in streams] == [0, 0]
    assert [stream.ledger.queued for stream in streams] == [200, 200]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_does_not_answer_our_end_confirms_nothing(
    net: Net, authority: Authority, tmp_path: Path, kind: str
) -> None:
    """It has got the end of our stream, and keeps its own open: the stop ends at its deadline."""
    peers = Peers(protocol=Stayer)
    stream = net.stream(await net.anything(kind, peers, authority, tmp_path))
    stream.deliver(lines(0, 10))
    await until(lambda: peers.received)
    begin = net.reactor.seconds()
    await stream.stop(0.5)
    assert net.reactor.seconds() - begin > 0.4
    assert peers.ends == 1
    assert dropped(stream) == {"unconfirmed": 10}
    assert stream.ledger.delivered == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest_twisted.ensureDeferred
async def test_a_peer_that_dies_before_it_has_read_confirms_nothing(
    net: Net, authority: Authority, tmp_path: Path, kind: str
) -> None:
    """Its kernel has everything, its program has not: the goodbye is answered by a reset, as after a kill."""
    peers = Peers(deaf=True)
    stream = net.stream(await net.anything(kind, peers, authority, tmp_path))
    await until(lambda: stream.levels["connected"] and peers.peers)
    stream.deliver(lines(0, 10))
    await deferLater(net.reactor, 0.1)
    stopped = stream.stop(5)
    await deferLater(net.reactor, 0.1)
    await net._ports.pop()[0].stopListening()
    peers.peers[0].transport.abortConnection()
    await stopped
    assert stream.ledger.delivered == 0
    assert dropped(stream) == {"unconfirmed": 10}


class Cutting(Protocol):
    """The first of them closes after so many bytes; the rest is read and forgotten, or never read at all."""

    def __init__(self, receiver: GraphiteReceiver, limit: int | None, gently: bool) -> None:
        self._inner = receiver.buildProtocol(None)
        self._limit = limit
        self._gently = gently

    def connectionMade(self) -> None:
        self._inner.makeConnection(self.transport)
        if self._limit == 0:
            self.close()

    def dataReceived(self, data: bytes) -> None:
        if self._limit is None:
            self._inner.dataReceived(data)
            return
        self._inner.dataReceived(data[: self._limit])
        self._limit = max(0, self._limit - len(data))
        if self._limit == 0:
            self.close()

    def close(self) -> None:
        (self.transport.loseConnection if self._gently else self.transport.abortConnection)()


@pytest.mark.parametrize("gently", [True, False])
@pytest.mark.parametrize("offset", [0, 1, 12, 26, 27, 28, 200, 269])
@pytest_twisted.ensureDeferred
async def test_a_server_that_closes_in_the_middle_gets_it_all_in_the_end(net: Net, offset: int, gently: bool) -> None:
    """Closed at such an offset, before, in and after a line: nothing torn, and then nothing missing."""
    receiver = GraphiteReceiver()
    limits = [offset]
    factory = Factory()
    factory.noisy = False
    factory.buildProtocol = lambda addr: Cutting(receiver, limits.pop() if limits else None, gently)
    stream = net.stream(f"tcp:127.0.0.1:{await net.serve(factory)}", random=lambda: 0.99)
    stream.deliver(lines(0, 10))
    await until(lambda: receiver.points[-10:] == points(0, 10))
    assert receiver.wrong == []
    assert set(receiver.points) == set(points(0, 10))
