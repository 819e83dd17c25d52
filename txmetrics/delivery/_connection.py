"""One connection: tells its owner when there is room, when there is none, and when it is gone."""

from __future__ import annotations

from typing import Any
from typing import Protocol as Shape

from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Connection"]


class Owner(Shape):
    """What a connection tells, and to whom."""

    def opened(self, connection: Connection) -> None:
        """There is a transport; nothing may be written yet."""

    def ready(self, connection: Connection) -> None:
        """There is room: after the opening (and the TLS handshake), and whenever all was passed on."""

    def lost(self, connection: Connection, reason: Failure) -> None:
        """It is over."""


@implementer(IPushProducer, IHandshakeListener)
class Connection(Protocol):
    """Writes bytes. ``writable`` is False while the transport holds more than it likes to."""

    transport: Any

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._open = False
        self._paused = False
        self._gone = False

    @property
    def writable(self) -> bool:
        return self._open and not self._paused

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        self._owner.opened(self)
        # Before a TLS handshake is over, nobody knows who the peer is.
        if not ISSLTransport.providedBy(self.transport):
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        # Twisted 24 says so of a handshake, too, whose certificate it has just refused.
        self._open = not getattr(self.transport, "disconnecting", False)
        if self.writable:
            self._owner.ready(self)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def close(self) -> None:
        """Pass on what the transport still holds, then close. Nothing may be written any more."""
        self._open = False
        # With its producer still registered, a transport that was ever paused would never close.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once, whatever the transport still holds."""
        self._open = False
        if not self._gone:  # a TLS transport that is already lost would raise
            self.transport.abortConnection()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self.writable:
            self._owner.ready(self)

    def stopProducing(self) -> None:
        self._open = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._open = False
        self._gone = True
        self._owner.lost(self, reason)
