"""Log: chunks of lines to a log on this machine, in bounded memory, and never waiting for whoever reads it.

    chunks --> outbox --> a burst of whole lines a turn --> the target

A target that has no room for the moment is asked again soon, and then less and less often. One that fails costs the
chunk that it was to take, and is opened anew for the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from txmetrics.delivery._ending import Ending
from txmetrics.delivery._log_targets import LogTarget
from txmetrics.delivery._outbox import MAX_BYTES, Outbox
from txmetrics.forks import parents_only
from txmetrics.interfaces import Chunk, IDelivery, Ledger

__all__ = ["Log"]

PAUSE = 0.001
"""Seconds between two turns: what else has come meanwhile goes first."""

FIRST_LOOK = 0.01
LAST_LOOK = 0.25
"""Seconds until a target without room is asked again: twice as long each time, between these."""


@implementer(IDelivery)
class Log:
    """Writes chunks of lines to ``target``, in the order in which they came.

    What was written counts as delivered. While whoever reads the target takes nothing, chunks wait in at most
    ``max_bytes`` of memory; beyond, the oldest are dropped, as "overflow". What the target refuses (a full disk, a
    pipe that nobody reads any more) is dropped at once, as "refused". That is logged once, and once more when it works
    again.
    """

    log = Logger()

    def __init__(self, time: Any, target: LogTarget, *, max_bytes: int = MAX_BYTES) -> None:
        """``time`` is an IReactorTime, of monotonic time where the clock may be set."""
        self._time = time
        self._target = target
        self._outbox = Outbox(time.seconds, max_bytes, resend=False)
        self._rest = b""  # of the chunk in flight
        self._report: int | None = None  # the timestamp of the latest chunk
        self._begins = False  # whether a report begins with the chunk in flight
        self._timer: IDelayedCall | None = None  # the next turn
        self._look = FIRST_LOOK
        self._failing = False
        self._errors = self._bytes_sent = 0
        self._ending = Ending(time, self._end)
        self._pid = os.getpid()

    @property
    def counts(self) -> Mapping[str, int]:
        return {**self._outbox.counts, "bytes_sent": self._bytes_sent, "errors": self._errors}

    @property
    def levels(self) -> Mapping[str, float]:
        return {"connected": int(self._target.is_open), **self._outbox.levels}

    @property
    def ledger(self) -> Ledger:
        return self._outbox.ledger

    def filenos(self) -> Iterable[int]:
        return self._target.filenos()

    def start(self) -> None:
        """Open the target already, so that people hear of what is wrong with it before the first report."""
        if not self._ending.begun:
            self._pid = os.getpid()
            parents_only(self)
            try:
                self._target.open()
            except Exception as error:
                self._fail(error)

    def deliver(self, chunk: Chunk) -> None:
        self._outbox.put(chunk)
        if self._ending.over:
            self._outbox.close()
        elif self._timer is None:
            self._turn()

    def stop(self, seconds: float) -> Deferred[None]:
        first = not self._ending.begun
        done = self._ending.ask(seconds)
        if first and self._outbox.empty:
            self._end()
        return done

    def _turn(self) -> None:
        """Write a burst; the rest has its turn later."""
        self._timer = None
        if os.getpid() != self._pid:
            return
        pause, left = PAUSE, self._target.burst
        while left > 0 and self._take():
            size = len(self._rest)
            try:
                sent = self._write()
            except Exception as error:
                self._fail(error)
                self._rest = b""
                self._outbox.refuse()
                sent = size
            if not sent and size:
                pause, self._look = self._look, min(2 * self._look, LAST_LOOK)
                break
            left -= sent
        if not self._outbox.empty:
            self._timer = self._time.callLater(pause, self._turn)
        elif self._ending.begun:
            self._end()

    def _take(self) -> bool:
        """Whether there is something to write: of the chunk in flight, or of the next one."""
        if not self._rest:
            chunk = self._outbox.take()
            if chunk is None:
                return False
            self._rest = chunk.data
            self._begins = chunk.timestamp != self._report
            self._report = chunk.timestamp
        return True

    def _write(self) -> int:
        """Write a piece of the chunk in flight; returns how many bytes it was, 0 if there is no room. May raise."""
        if self._begins or not self._target.is_open:
            self._target.open()
            self._begins = False
        sent = self._target.write(self._rest) if self._rest else 0
        self._bytes_sent += sent
        self._rest = self._rest[sent:]
        if sent:
            self._look = FIRST_LOOK
        if not self._rest:
            self._outbox.acknowledge(1)
            self._recover()
        return sent

    def _fail(self, error: Exception) -> None:
        self._errors += 1
        self._target.close()
        if not self._failing:
            self._failing = True
            self.log.warn(
                "reports cannot be written to the {where} ({error}); they are dropped until that works again",
                where=self._target.where,
                error=str(error),
            )

    def _recover(self) -> None:
        if self._failing:
            self._failing = False
            self.log.info("reports are written to the {where} again", where=self._target.where)

    # The end

    def _end(self) -> None:
        """Give up what is still there."""
        self._ending.cancel()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        points = self._outbox.close()
        self._target.close()
        if points:
            self.log.warn("{points} points were not written to the {where}", points=points, where=self._target.where)
        self._ending.answer()
