"""Stream: chunks over one persistent connection to whatever endpoint a user names.

Chunks wait in the outbox and go to the transport one at a time, the next one when the transport says that it has
room, so that a peer that does not read costs no more than the outbox may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import random as system_random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from txmetrics.delivery._connection import Connection
from txmetrics.delivery._connector import Connector
from txmetrics.delivery._outbox import Outbox
from txmetrics.interfaces import Chunk, IDelivery

__all__ = ["Stream"]

MAX_BYTES = 8 * 1024 * 1024


@implementer(IDelivery)
class Stream:
    """Delivers chunks over one connection at a time, and makes a new one, with back-off, when it is lost.

    ``endpoint`` is connected to once ``start`` is called; ``where`` names it in the log. ``frame`` turns a chunk's
    bytes into what is written, at the moment of writing. ``resend`` says what happens to a chunk that was cut off
    by a lost connection: True sends it again, with the same timestamps, which is right where a second value
    replaces the first (carbon, InfluxDB); False drops and counts it, for backends that would add the two. Of
    chunks that wait, the oldest are dropped and counted beyond ``max_bytes``.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        where: str,
        *,
        frame: Callable[[bytes], bytes] = bytes,
        resend: bool = True,
        max_bytes: int = MAX_BYTES,
        random: Callable[[], float] = system_random,
    ) -> None:
        self._reactor = reactor
        self._where = where
        self._frame = frame
        self._resend = resend
        self._outbox = Outbox(max_bytes)
        self._connector = Connector(reactor, endpoint, where, random, self._room, self._lost)
        self._bytes_written = 0
        self._stopped: Deferred[None] | None = None
        self._deadline: IDelayedCall | None = None
        self._last_attempt_made = False

    @property
    def counts(self) -> Mapping[str, int]:
        outbox = self._outbox
        return {
            "points_accepted": outbox.accepted,
            "points_written": outbox.written,
            **{f"points_dropped.{reason}": points for reason, points in outbox.dropped.items()},
            "bytes_written": self._bytes_written,
            "connections": self._connector.connections,
            "connection_failures": self._connector.failures,
        }

    @property
    def levels(self) -> Mapping[str, float]:
        return {
            "connected": int(self._connector.connection is not None),
            "queued_points": self._outbox.points,
            "queued_bytes": self._outbox.bytes,
        }

    def start(self) -> None:
        if self._stopped is None:
            self._connector.start()

    def deliver(self, chunk: Chunk) -> None:
        self._outbox.put(chunk)
        if self._stopped is not None and self._stopped.called:
            self._outbox.drop_all("stopped")
        else:
            self._write()

    def stop(self, seconds: float) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self._stopped is None:
            self._stopped = Deferred()
            self._stopped.addCallback(done.callback)
            self._deadline = self._reactor.callLater(seconds, self._end)
            self._wind_down()
        else:
            self._stopped.addCallback(done.callback)
        return done

    def _room(self) -> None:
        """The transport has passed on what it held."""
        self._outbox.settle()
        self._write()
        if self._stopped is not None:
            self._wind_down()

    def _lost(self) -> None:
        if self._resend:
            self._outbox.take_back()
        else:
            self._outbox.drop_in_flight("cut_off")
        if self._stopped is not None:
            self._wind_down()

    def _write(self) -> None:
        connection = self._connector.connection
        while connection is not None and connection.writable:
            chunk = self._outbox.take()
            if chunk is None:
                return
            try:
                data = self._frame(chunk.data)
                connection.write(data)
            except Exception as error:
                self._failed_to_write(connection, error)
                return
            self._bytes_written += len(data)
            if connection.writable:
                self._outbox.settle()

    def _failed_to_write(self, connection: Connection, error: Exception) -> None:
        """Whatever is wrong with the chunk or the connection, try again with neither of them."""
        # Only the kind of the error: its text and its traceback may show what ``frame`` adds, an API key.
        self.log.error("writing to {where} failed ({kind})", where=self._where, kind=type(error).__name__)
        self._outbox.drop_in_flight("not_written")
        connection.abort()

    def _wind_down(self) -> None:
        """One step nearer to the end; called whenever something has changed after ``stop``."""
        if self._connector.connection is not None:
            if self._outbox.empty:
                self._connector.close()  # and `_lost` will find the outbox empty
        elif self._outbox.empty or (self._last_attempt_made and not self._connector.opening):
            self._end()
        elif not self._connector.opening:
            self._last_attempt_made = True
            self._connector.start()

    def _end(self) -> None:
        """Give up what is still there."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._connector.stop()
        points = self._outbox.drop_all("stopped")
        if points:
            self.log.warn("{points} points did not reach {where}", points=points, where=self._where)
        stopped, self._deadline = self._stopped, None
        if stopped is not None and not stopped.called:
            stopped.callback(None)
