"""Why there is a Connector: what it does right and Twisted's ClientService, alone, does not.

Each test is run on both. Where it begins to hold for ClientService, Twisted was mended, and the test says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from automat import NoTransition
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, clientFromString
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.delivery.certificates import Authority
from tests.delivery.network import Endpoint, TLSPipe, until
from tests.strict import Logged, the_reactor
from txmetrics.delivery import Stream
from txmetrics.interfaces import Chunk
from txmetrics.testing import FakeReactor

BACKLOG = b"x" * 20_000_000
"""More than any kernel takes from one side and keeps for the other."""


class Ours:
    """A Stream with something to write."""

    def __init__(self, reactor: Any, endpoint: IStreamClientEndpoint) -> None:
        self._stream = Stream(reactor, endpoint, "here", random=lambda: 0.0, max_bytes=10**8)
        self._stream.deliver(Chunk(BACKLOG, 1, 0))

    def start(self) -> None:
        self._stream.start()

    def stop(self) -> Deferred[None]:
        return self._stream.stop(0.5)

    @property
    def thinks_it_was_connected(self) -> bool:
        return self._stream.counts["connections"] > 0

    def abort(self) -> None:
        """Nothing is left to abort."""


@implementer(IHandshakeListener)
class Writer(Protocol):
    """Writes the same, as soon as it may."""

    def connectionMade(self) -> None:
        self.factory.writers.append(self)
        self.factory.shaken: Deferred[None] = Deferred()
        self.transport.write(BACKLOG)

    def handshakeCompleted(self) -> None:
        self.factory.shaken.callback(None)


class Twisteds:
    """A ClientService with the same to write, that waits for the end of the handshake as it is meant to."""

    def __init__(self, reactor: Any, endpoint: IStreamClientEndpoint, prepare: bool = False) -> None:
        self._factory: Any = Factory.forProtocol(Writer)
        self._factory.noisy = False
        self._factory.writers = []
        wait = (lambda protocol: self._factory.shaken) if prepare else None
        self._service = ClientService(
            endpoint,
            self._factory,
            retryPolicy=lambda attempt: 0.5 * 1.7**attempt,
            clock=reactor,
            prepareConnection=wait,
        )
        self.thinks_it_was_connected = False

    def start(self) -> None:
        self._service.startService()
        connected = self._service.whenConnected()
        connected.addCallbacks(self._connected, lambda cancelled: None)

    def _connected(self, protocol: object) -> None:
        self.thinks_it_was_connected = True

    def stop(self) -> Deferred[None]:
        stopped: Deferred[None] = self._service.stopService()
        return stopped

    def abort(self) -> None:
        for writer in self._factory.writers:
            if writer.transport.connected:
                writer.transport.abortConnection()


both = pytest.mark.parametrize(("make", "holds"), [(Ours, True), (Twisteds, False)], ids=["ours", "ClientService"])


class Deaf(Protocol):
    """Accepts, and never reads."""

    def connectionMade(self) -> None:
        self.factory.peers.append(self)
        self.transport.pauseProducing()


class Peers(Factory):
    protocol = Deaf
    noisy = False

    def __init__(self) -> None:
        self.peers: list[Any] = []


@pytest_twisted.async_yield_fixture
async def ports() -> AsyncIterator[list[Any]]:
    """Listening ports, closed in the end."""
    ports: list[Any] = []
    yield ports
    for port in ports:
        await port.stopListening()


@both
@pytest_twisted.ensureDeferred
async def test_a_stop_ends_though_the_peer_does_not_read(
    ports: list[Any], make: Callable[..., Any], holds: bool
) -> None:
    """A deadline, then an abort; `loseConnection` alone waits for the peer, for ever."""
    reactor, peers = the_reactor(), Peers()
    ports.append(await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(peers))
    where = f"tcp:127.0.0.1:{ports[0].getHost().port}"
    client = make(reactor, clientFromString(reactor, where))
    client.start()
    await until(lambda: peers.peers)
    await deferLater(reactor, 0.1)
    stopped: list[object] = []
    done = client.stop().addCallback(stopped.append)
    await deferLater(reactor, 1.5)
    assert bool(stopped) == holds
    client.abort()
    await done
    peers.peers[0].transport.abortConnection()


@both
@pytest_twisted.ensureDeferred
async def test_an_impostor_is_never_called_a_connection(
    ports: list[Any], tmp_path: Path, make: Callable[..., Any], holds: bool
) -> None:
    """TCP is there before anybody knows who the peer is; TLS then says that it is somebody else."""
    reactor, peers, authority = the_reactor(), Peers(), Authority(tmp_path / "tls")
    peers.protocol = Protocol
    wrong = authority.server("graphite.example")
    ports.append(await SSL4ServerEndpoint(reactor, 0, wrong, interface="127.0.0.1").listen(peers))
    where = f"tls:127.0.0.1:{ports[0].getHost().port}:trustRoots={authority.directory}"
    endpoint = Counting(clientFromString(reactor, where))
    client = make(reactor, endpoint)
    client.start()
    await until(lambda: endpoint.attempts == 2)
    assert client.thinks_it_was_connected != holds
    await client.stop()


@implementer(IStreamClientEndpoint)
class Counting:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self.attempts = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        self.attempts += 1
        return self._endpoint.connect(factory)


@both
def test_the_waits_grow_though_each_connect_succeeds(make: Callable[..., Any], holds: bool) -> None:
    """A balancer without a backend accepts, and closes: for ten minutes, at most 20 attempts."""
    reactor = FakeReactor()
    endpoint = Endpoint(reactor)
    client = make(reactor, endpoint)
    client.start()
    for _ in range(6000):
        if endpoint.latest.waits:
            endpoint.latest.accept(full=True).lose(ConnectionDone())
        reactor.advance(0.1)
    waits = [later.at - earlier.at for earlier, later in pairwise(endpoint.attempts)]
    assert (waits[-1] > 10 * waits[0]) == holds
    assert (len(endpoint.attempts) <= 20) == holds
    client.stop()
    reactor.advance(1)


@both
def test_a_connection_that_is_lost_before_it_is_ready_is_replaced(
    logged: Logged, make: Callable[..., Any], holds: bool
) -> None:
    """The peer goes away while it is still being found out who it is."""
    reactor = FakeReactor()
    endpoint = Endpoint(reactor)
    client = make(reactor, endpoint, **({} if make is Ours else {"prepare": True}))
    client.start()
    pipe = endpoint.latest.accept(pipe=TLSPipe, full=True)
    if holds:
        pipe.lose()
    else:
        with pytest.raises(NoTransition):
            pipe.lose()
    reactor.advance(3600)
    assert (len(endpoint.attempts) > 1) == holds
    client.stop()
    reactor.advance(1)
