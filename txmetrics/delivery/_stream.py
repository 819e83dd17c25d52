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

from txmetrics.delivery._connector import Connector
from txmetrics.delivery._ending import Ending
from txmetrics.delivery._outbox import MAX_BYTES, Outbox
from txmetrics.delivery._spool import Spool
from txmetrics.delivery._spooling import Spooling
from txmetrics.interfaces import Chunk, IDelivery, Ledger

__all__ = ["REPLAY_WINDOW", "Stream"]

REPLAY_WINDOW = 60.0
"""Seconds' worth of points that a plain carbon may hold in memory, and lose in a crash, with the usual settings."""


@implementer(IDelivery)
class Stream:
    """Delivers chunks over one connection at a time, and makes a new one, with back-off, when it is lost.

    ``endpoint``, perhaps a Failover, is connected to once ``start`` is called; ``where`` names it in the log. ``frame``
    turns a chunk's bytes into what is written, at the moment of writing.

    What was written in the last ``replay_window`` seconds before a connection is lost, and what the peer had not
    acknowledged, is written again with its old timestamps. That is right where a second value replaces the first
    (carbon, InfluxDB); for backends that would add the two, 0 never sends anything twice, and what a lost connection
    cut off is dropped and counted. Of chunks that wait, the oldest are dropped and counted beyond ``max_bytes``,
    unless there is a ``spool``.

    The first chunk of each report, which is one with another timestamp, waits for up to ``jitter`` seconds, unless
    there are others that wait.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        where: str,
        *,
        frame: Callable[[bytes], bytes] = bytes,
        replay_window: float = REPLAY_WINDOW,
        jitter: float = 0.0,
        max_bytes: int = MAX_BYTES,
        spool: Spool | None = None,
        random: Callable[[], float] = system_random,
    ) -> None:
        """``reactor`` is an IReactorTime, of monotonic time where the clock may be set."""
        self._reactor = reactor
        self._where = where
        self._frame = frame
        self._replays = replay_window > 0
        self._outbox = Outbox(reactor.seconds, max_bytes, window=replay_window, resend=self._replays, spool=spool)
        self._connector = Connector(reactor, endpoint, where, random, self._write, self._outbox.acknowledge, self._lost)
        self._spooling = Spooling(reactor, self._outbox, spool, self._stuck)
        self._bytes_sent = 0
        self._ending = Ending(reactor, self._end)
        self._last_attempt_made = False
        self._jitter = jitter
        self._random = random
        self._report: float | None = None  # the timestamp of the last chunk
        self._held: IDelayedCall | None = None  # while its report has still to wait

    @property
    def counts(self) -> Mapping[str, int]:
        connector = self._connector
        return {
            **self._outbox.counts,
            "bytes_sent": self._bytes_sent,
            "connections": connector.connections,
            **{f"connections_lost.{reason}": count for reason, count in connector.losses.items()},
            **{f"connection_failures.{reason}": count for reason, count in connector.failures.items()},
        }

    @property
    def levels(self) -> Mapping[str, float]:
        return {"connected": self._connector.connected_to, **self._outbox.levels}

    @property
    def ledger(self) -> Ledger:
        return self._outbox.ledger

    def start(self) -> None:
        if not self._ending.begun:
            self._spooling.start()
            self._connector.start()

    def deliver(self, chunk: Chunk) -> None:
        if self._jitter and chunk.timestamp != self._report and not self._ending.begun:
            self._report = chunk.timestamp
            if self._held is None and self._outbox.nothing_to_write:
                self._held = self._reactor.callLater(self._jitter * self._random(), self._let_go)
        self._outbox.put(chunk)
        if self._ending.over:
            self._outbox.close()
        else:
            self._write()

    def stop(self, seconds: float) -> Deferred[None]:
        first = not self._ending.begun
        done = self._ending.ask(seconds)
        if first:
            if self._held is not None:
                self._held.cancel()
            self._let_go()
        return done

    def _let_go(self) -> None:
        self._held = None
        self._write()

    def _write(self) -> None:
        """Write what the transport has room for, unless it has to wait."""
        connection = self._connector.connection if self._held is None else None
        while connection is not None and connection.writable:
            chunk = self._outbox.take()
            if chunk is None:
                break
            try:
                data = self._framed(chunk)
                connection.write(data)
            except Exception as error:
                self._tell(error)
                connection.abort()
            else:
                self._bytes_sent += len(data)
        self._spooling.look()
        if self._ending.begun:
            self._wind_down()

    def _framed(self, chunk: Chunk) -> bytes:
        try:
            return self._frame(chunk.data)
        except Exception as error:
            if not self._outbox.give_up_last():
                raise
            self._tell(error)
            return b""

    def _tell(self, error: Exception) -> None:
        # Only the kind of the error: its text and its traceback may show what ``frame`` adds, an API key.
        self.log.error("writing to {where} failed ({kind})", where=self._where, kind=type(error).__name__)

    def _lost(self, confirmed: bool) -> None:
        # One endpoint has it all, which does not prove that it passes it on: the next one gets it, too.
        if confirmed and (self._ending.begun or not self._replays):
            self._outbox.confirm()
        else:
            self._outbox.lose()
        self._spooling.look()
        if self._ending.begun:
            self._wind_down()

    def _stuck(self) -> bool:
        connection = self._connector.connection
        return connection is None or not connection.writable

    # The end

    def _wind_down(self) -> None:
        """One step nearer to the end; called whenever something has changed after ``stop``."""
        if self._connector.connection is not None:
            if self._outbox.nothing_to_write:
                self._connector.close()  # and `_lost` tells how that went
        elif self._connector.closing:
            return
        elif self._outbox.empty or (self._last_attempt_made and not self._connector.opening):
            self._end()
        elif not self._connector.opening:
            self._last_attempt_made = True
            self._connector.start()

    def _end(self) -> None:
        """Give up what is still there."""
        self._ending.cancel()
        self._spooling.end()
        self._connector.stop()
        points = self._outbox.close()
        if points:
            self.log.warn("{points} points may not have reached {where}", points=points, where=self._where)
        self._ending.answer()
