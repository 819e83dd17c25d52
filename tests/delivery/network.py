"""A network in memory, in which a test decides what happens: who answers, who reads, who goes away."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import ISSLTransport, IStreamClientEndpoint, ITCPTransport
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from tests.strict import the_reactor
from txmetrics.delivery import Stream
from txmetrics.interfaces import Chunk
from txmetrics.testing import FakeReactor

HIGH_WATER = 2**16
"""A transport asks its producer to pause when it holds more bytes than this, as Twisted's do."""


class Pipe(StringTransport):
    """One end of a TCP connection. `value()` is what the peer has read; while it is `full` the peer reads nothing.

    As with Twisted's own transports a connection is lost in a later turn of the reactor, and one that is to be
    closed waits for what it holds and for a producer that it paused.
    """

    def __init__(self, reactor: FakeReactor, protocol: Any, peer: Any = None) -> None:
        super().__init__()
        self.held = b""
        self.full = False
        self.keep_alive = False
        self.paused = False
        self.ended: str | None = None
        self.answers = True
        """Whether the peer answers the end of our stream with the end of its own."""
        self.outstanding = 0
        """Bytes that our kernel has and the peer's has not acknowledged."""
        self._half_closing = self._half_closed = False
        self._reactor = reactor
        self._protocol = protocol
        self._peer = peer
        directlyProvides(self, providedBy(self), ITCPTransport)
        if peer is not None:
            peer.makeConnection(StringTransport())

    @property
    def unacknowledged(self) -> int:
        """What a real kernel would say: one whose peer takes nothing has no room for what the transport holds."""
        return self.outstanding + len(self.held)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled

    def write(self, data: bytes) -> None:
        assert not self.paused, "a paused producer wrote"
        if self.ended is None and not self.disconnecting:
            self.held += data
            self._pass_on()

    def read(self) -> None:
        """The peer reads all that was written, and whatever comes from now on."""
        self.full = False
        self._pass_on()
        if self.paused and self.producer is not None:
            self.paused = False
            self.producer.resumeProducing()
        elif self.disconnecting:
            self._end_soon(ConnectionDone())
        elif self._half_closing:
            self._half_close()

    def _pass_on(self) -> None:
        if not self.full:
            data, self.held = self.held, b""
            super().write(data)
            if self._peer is not None and data:
                self._peer.dataReceived(data)
        elif len(self.held) > HIGH_WATER and self.producer is not None:
            self.paused = True
            self.producer.pauseProducing()

    def unregisterProducer(self) -> None:
        super().unregisterProducer()
        self.paused = False

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            if not self.held and not self.paused:
                self._end_soon(ConnectionDone())

    def loseWriteConnection(self) -> None:
        """Our end of the stream, after what is held: the peer reads to it, and then ends its own."""
        self._half_closing = True
        self._reactor.callLater(0, self._half_close)

    def _half_close(self) -> None:
        if self.held or self._half_closed or self.ended is not None:
            return
        self._half_closed = True
        self._protocol.writeConnectionLost()
        if self.answers:
            self._reactor.callLater(0, self.end_of_stream)

    def end_of_stream(self) -> None:
        """The peer ends its side of the stream, in order."""
        if self.ended is None:
            self._protocol.readConnectionLost()

    def abortConnection(self) -> None:
        self._end_soon(ConnectionAborted())

    def lose(self, error: Exception | None = None) -> None:
        """The connection breaks now; what was still held is gone."""
        if self.ended is None:
            reason = ConnectionLost() if error is None else error
            self.ended = type(reason).__name__
            self._protocol.connectionLost(Failure(reason))

    def _end_soon(self, error: Exception) -> None:
        self._reactor.callLater(0, self.lose, error)


class TLSPipe(Pipe):
    """The same after a TCP connect, before the TLS handshake."""

    def __init__(self, reactor: FakeReactor, protocol: Any, peer: Any = None) -> None:
        super().__init__(reactor, protocol, peer)
        directlyProvides(self, providedBy(self), ISSLTransport)

    def shake_hands(self) -> None:
        self._protocol.handshakeCompleted()

    def loseConnection(self) -> None:
        if self.producer is None:
            super().loseConnection()  # with a producer Twisted's transport waits for that, for ever

    def abortConnection(self) -> None:
        if self.ended is not None:
            raise AttributeError("'NoneType' object has no attribute 'shutdown'")  # what Twisted's transport does
        super().abortConnection()


class Attempt:
    """One call of `Endpoint.connect`, at the time `at`, whose end the test decides."""

    def __init__(self, reactor: FakeReactor, factory: Any) -> None:
        self.at = reactor.seconds()
        self.cancelled = False
        self.deferred: Deferred[Any] = Deferred(self._cancel)
        self._reactor = reactor
        self._factory = factory

    def _cancel(self, deferred: object) -> None:
        self.cancelled = True

    @property
    def waits(self) -> bool:
        """Whether it still wants an answer."""
        return not self.deferred.called

    def accept(self, pipe: Any = Pipe, peer: Any = None, full: bool = False) -> Any:
        """The peer accepts; the answer is our end of the connection."""
        protocol = self._factory.buildProtocol(None)
        made: Pipe = pipe(self._reactor, protocol, peer)
        made.full = full
        protocol.makeConnection(made)
        if self.waits:
            self.deferred.callback(protocol)
        return made

    def refuse(self) -> None:
        self.deferred.errback(ConnectionRefusedError())


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Hands out its Deferreds: `attempts` are all calls of `connect`, in their order."""

    def __init__(self, reactor: FakeReactor) -> None:
        self.attempts: list[Attempt] = []
        self._reactor = reactor

    def connect(self, factory: Any) -> Deferred[Any]:
        self.attempts.append(Attempt(self._reactor, factory))
        return self.latest.deferred

    @property
    def latest(self) -> Attempt:
        return self.attempts[-1]


def chunk(number: int = 0, size: int = 20, points: int = 1) -> Chunk:
    """A chunk that is told from others by its number."""
    return Chunk(f"{number:08d}".encode().ljust(size - 1, b".") + b"\n", points, number)


def check_books(stream: Any) -> None:
    """Conservation: every point that was collected was delivered, is somewhere, or was dropped for a reason."""
    ledger = stream.ledger
    somewhere = ledger.delivered + ledger.retained + ledger.queued + ledger.spooled
    assert ledger.collected == somewhere + sum(ledger.dropped.values())


def dropped(stream: Stream) -> dict[str, int]:
    """How many points were dropped, by reason."""
    lead = "points_dropped."
    return {name[len(lead) :]: points for name, points in stream.counts.items() if name.startswith(lead)}


def waits(attempts: Sequence[Any]) -> list[float]:
    """How long it was from each attempt to connect, or request, to the next."""
    return [later.at - earlier.at for earlier, later in pairwise(attempts)]


async def until(predicate: Any, seconds: float = 10.0) -> None:
    """Let the real reactor go on until `predicate` holds; AssertionError if it does not in time."""
    reactor = the_reactor()
    end = reactor.seconds() + seconds
    while not predicate():
        assert reactor.seconds() < end, f"not so within {seconds:g} seconds"
        await deferLater(reactor, 0.01)
