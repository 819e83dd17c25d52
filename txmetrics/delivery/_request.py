"""One request: its status, the beginning of its body, and its end, whichever way that comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import stringToDatetime
from twisted.web.http_headers import Headers

from txmetrics.delivery._reasons import kind

__all__ = ["Request", "retry_after"]

REQUEST_TIMEOUT = 30.0
"""For a whole request: the connection, if there is none, and every byte of the answer."""

LONGEST_PAUSE = 300.0
"""A server's Retry-After is honoured up to so many seconds."""

LONGEST_TEXT = 1000
"""So many bytes of a body are kept."""


class Request(Protocol):
    """A request under way, and the reader of its answer's body.

    Tells ``answered`` the status and the headers, or ``failed`` the reason in one word; then that it is ``finished``,
    whatever the body was. It is heard no more once it was given up.
    """

    transport: Any = None
    text = b""
    """The beginning of the body, as far as it has come."""

    def __init__(
        self,
        time: Any,
        answered: Callable[[int, Headers], None],
        failed: Callable[[str], None],
        finished: Callable[[], None],
    ) -> None:
        self._answered = answered
        self._failed = failed
        self._finished = finished
        self._has_status = False
        self._over = False
        self._timer: IDelayedCall = time.callLater(REQUEST_TIMEOUT, self._time_out)
        self._pending: Deferred[Any] | None = None

    def begin(self, pending: Deferred[Any]) -> None:
        self._pending = pending
        pending.addCallbacks(self._read, self._fail)

    def give_up(self) -> None:
        if self._over:
            return
        self._over = True
        if self._timer.active():
            self._timer.cancel()
        if self.transport is not None:
            self.transport.loseConnection()
        elif self._pending is not None:
            self._pending.cancel()

    def dataReceived(self, data: bytes) -> None:
        self.text += data[: LONGEST_TEXT - len(self.text)]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of the body, or of all hope for it."""
        self.transport = None
        self._finish()

    def _read(self, response: Any) -> None:
        if not self._over:
            self._has_status = True
            self._answered(response.code, response.headers)
            response.deliverBody(self)

    def _fail(self, reason: Failure) -> None:
        if not self._over:
            word = kind(reason)
            self._failed("lost" if word == "closed" else word)
            self._finish()

    def _time_out(self) -> None:
        if not self._has_status:
            self._failed("timeout")
        self._finish()

    def _finish(self) -> None:
        if not self._over:
            self.give_up()
            self._finished()


def retry_after(headers: Headers, now: float) -> float:
    """The seconds for which the server wants to be left alone, as the last of its Retry-After headers says."""
    value = headers.getRawHeaders(b"Retry-After", [b""])[-1].strip()
    try:
        seconds = int(value) if value.isdigit() else stringToDatetime(value) - now
    except (ValueError, LookupError, OverflowError):
        return 0.0
    return float(min(max(seconds, 0), LONGEST_PAUSE))
