"""A connection to look at: what the other side does with it, and how long that takes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Deadline", "PlainProbe", "Probe", "TlsProbe", "connect", "in_words"]

PAUSE = 0.02

KEPT = 80
"""Bytes of what the other side says: it should say nothing."""


class Deadline:
    """So many ``seconds`` from now on, for everything that is done with it. ``time`` is an IReactorTime."""

    def __init__(self, time: Any, seconds: float) -> None:
        self._time = time
        self._end: float = time.seconds() + seconds
        self.seconds = seconds

    @property
    def left(self) -> float:
        return max(0.0, float(self._end - self._time.seconds()))

    async def result(self, deferred: Deferred[Any], share: float = 1.0) -> Any:
        """What comes of ``deferred``; TimeoutError, and it is cancelled, after this share of what is left."""

        def too_late(*_: object) -> None:
            raise TimeoutError

        return await deferred.addTimeout(self.left * share, self._time, too_late)

    async def until(self, is_so: Callable[[], object], seconds: float | None = None) -> bool:
        """Whether it ``is_so`` before so many seconds are over, or all that is left."""
        end: float = min(self._end, self._end if seconds is None else self._time.seconds() + seconds)
        while not is_so() and self._time.seconds() < end:
            await deferLater(self._time, min(PAUSE, max(0.0, end - self._time.seconds())))
        return bool(is_so())


class Probe(Protocol):
    """One connection. ``ready`` once it can be written to, ``over`` is why it is no more."""

    transport: Any

    def __init__(self) -> None:
        self.ready = False
        self.received = b""
        self.end_seen = False
        """Whether the other side has ended its stream in order."""
        self.over: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received = (self.received + data)[:KEPT]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.end_seen = self.end_seen or bool(reason.check(error.ConnectionDone))
        self.over = reason

    def end(self) -> None:
        """Leave nothing behind."""
        if self.over is None:
            self.transport.abortConnection()


# An endpoint passes on but one of these two interfaces, so each kind has its own.


@implementer(IHalfCloseableProtocol)
class PlainProbe(Probe):
    """One that ends its own stream and waits for the end of the other."""

    def connectionMade(self) -> None:
        self.ready = True

    def half_close(self) -> None:
        self.transport.loseWriteConnection()

    def readConnectionLost(self) -> None:
        self.end_seen = True
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass


@implementer(IHandshakeListener)
class TlsProbe(Probe):
    """One whose other side has to prove who it is, before."""

    def handshakeCompleted(self) -> None:
        # Twisted 24 says so of a handshake, too, whose certificate it has just refused.
        self.ready = not getattr(self.transport, "disconnecting", False)


async def connect(endpoint: IStreamClientEndpoint, probe: Probe, deadline: Deadline, share: float = 1.0) -> None:
    """Connect ``probe``; raises what the endpoint does, TimeoutError after this share of the time that is left."""
    factory = Factory.forProtocol(lambda: probe)
    factory.noisy = False
    try:
        await deadline.result(endpoint.connect(factory), share)
    except error.ConnectingCancelledError:  # Twisted's own word for it
        raise CancelledError from None


def in_words(reason: BaseException) -> str:
    """Why a connection was not made, or was lost."""
    if isinstance(reason, error.ConnectionRefusedError):
        return "refused"
    if isinstance(reason, (error.TimeoutError, error.TCPTimedOutError, TimeoutError)):
        return "no answer"
    number = getattr(reason, "osError", None)
    if isinstance(reason, error.NoRouteError) or number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "unreachable from here"
    if isinstance(number, int):
        return os.strerror(number)
    return str(reason) or type(reason).__name__
