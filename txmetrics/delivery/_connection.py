"""One connection: tells its owner when there is room, what arrived, and when it is gone, in order or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from typing import Protocol as Shape

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from txmetrics.delivery import _kernel
from txmetrics.delivery._watch import STALL, Watch
from txmetrics.forks import parents_only

__all__ = ["Connection", "StalledError"]


class StalledError(Exception):
    """The peer takes nothing any more."""


class Owner(Shape):
    """What a connection tells, and to whom."""

    def opened(self, connection: Connection) -> None:
        """There is a transport; nothing may be written yet."""

    def ready(self, connection: Connection) -> None:
        """There is room: after the opening (and the TLS handshake), and whenever all was passed on."""

    def acknowledged(self, connection: Connection, writes: int) -> None:
        """The peer's kernel has the ``writes`` next ones of all that were written."""

    def lost(self, connection: Connection, reason: Failure) -> None:
        """It is over."""


@implementer(IPushProducer, IHandshakeListener, IHalfCloseableProtocol)
class Connection(Protocol):
    """Writes bytes. ``writable`` is False while the transport holds more than it likes to.

    ``confirmed``, once it is over, says whether ``close`` ended it in order: the peer has read everything.
    """

    transport: Any

    def __init__(self, owner: Owner, reactor: Any) -> None:
        self._owner = owner
        self._open = False
        self._paused = False
        self._closing = False
        self._end_sent = False
        self._gone = False
        self._reason: Exception | None = None
        self._resumed = 0
        self._written = 0
        self._watch = Watch(
            reactor,
            unsent=self._unsent,
            progress=self._progress,
            acknowledged=lambda writes: self._owner.acknowledged(self, writes),
            stalled=lambda: self._break(StalledError(f"it took nothing for {STALL:g} seconds")),
        )
        self.confirmed = False

    @property
    def writable(self) -> bool:
        return self._open and not self._paused

    def connectionMade(self) -> None:
        outer = getattr(self.transport, "protocol", None)
        if getattr(outer, "_wrappedProtocol", None) is self:
            # Of the interfaces that a protocol provides, Twisted's endpoints pass on but the last.
            alsoProvides(outer, IHalfCloseableProtocol)
        if ITCPTransport.providedBy(self.transport):
            _kernel.watch_over(self.transport)
        parents_only(self)
        self.transport.registerProducer(self, True)
        self._owner.opened(self)
        # Before a TLS handshake is over, nobody knows who the peer is.
        if not self._encrypted:
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        # Twisted 24 says so of a handshake, too, whose certificate it has just refused.
        self._open = not getattr(self.transport, "disconnecting", False)
        if self.writable:
            self._owner.ready(self)

    def write(self, data: bytes) -> None:
        self.transport.write(data)
        self._written += len(data)
        self._watch.wrote()

    def close(self) -> None:
        """Pass on what the transport still holds, then say so, and wait for the peer to say the same."""
        self._open = False
        self._closing = True
        # With its producer still registered, a transport that was ever paused would never close.
        self.transport.unregisterProducer()
        # Under TLS that is the close_notify; a half-close there would cut off what is not yet encrypted.
        half_close = None if self._encrypted else getattr(self.transport, "loseWriteConnection", None)
        (half_close or self.transport.loseConnection)()

    def abort(self) -> None:
        """Close at once, whatever the transport still holds."""
        self._open = False
        self._watch.end()
        if not self._gone:  # a TLS transport that is already lost would raise
            self.transport.abortConnection()

    def filenos(self) -> Iterable[int]:
        return [] if self._gone or self.transport is None else [self.transport.fileno()]

    # What the transport calls

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._resumed += 1
        if self.writable:
            self._owner.ready(self)

    def stopProducing(self) -> None:
        self._open = False

    def readConnectionLost(self) -> None:
        """The peer's end of the stream. As the answer to ours, with nothing on its way, it confirms everything."""
        self.confirmed = self._end_sent and not _kernel.unacknowledged(self.transport)
        if self._end_sent:
            self.transport.loseConnection()
        else:
            self._break(ConnectionDone())

    def writeConnectionLost(self) -> None:
        """Ours was sent."""
        self._end_sent = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._closing and self._encrypted and reason.check(ConnectionDone):
            self.confirmed = True  # the peer has answered our close_notify with its own
        self._open = False
        self._gone = True
        self._watch.end()
        self._owner.lost(self, reason if self._reason is None else Failure(self._reason))

    @property
    def _encrypted(self) -> bool:
        return bool(ISSLTransport.providedBy(self.transport))

    def _unsent(self) -> int:
        """Bytes on their way; 1 for those that the transport holds, however many."""
        return (_kernel.unacknowledged(self.transport) or 0) + self._paused

    def _progress(self) -> object:
        """Changes when the peer takes something, and not, but for the few bytes that TLS adds, when we write."""
        return self._written - (_kernel.unacknowledged(self.transport) or 0), self._resumed

    def _break(self, reason: Exception) -> None:
        self._reason = reason
        self.abort()
