"""What a spool holds, delivered: what the other side has read is gone from the disk, all else is still there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from twisted.internet.task import deferLater

from txmetrics.backends import way_to
from txmetrics.console._endpoint import Where
from txmetrics.console._figures import several
from txmetrics.console._seam import Trouble
from txmetrics.console._send import failed, failure
from txmetrics.delivery import Spool, Stream, survey, with_own_lookups
from txmetrics.steady import steady

__all__ = ["Progress", "replay"]

PATIENCE = 20.0
"""Seconds without any progress, after which it is given up."""

STOP, INTERRUPTED = 10.0, 1.0
"""Seconds for the other side to say that it has read everything, and when somebody wants to have it ended."""

PAUSE = 0.1


class Progress:
    """Says on ``out`` how far it is: on a terminal in one line, elsewhere a line every five seconds."""

    def __init__(self, out: TextIO, seconds: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._seconds = seconds
        self._live = self._out.isatty()
        self._every = 0.25 if self._live else 5.0
        self._began = self._told_at = seconds()

    def tell(self, done: int, total: int) -> None:
        """So many of all points are written."""
        now = self._seconds()
        if now - self._told_at >= self._every:
            self._told_at = now
            rate = done / (now - self._began)
            text = f"{done:,} of {total:,} points, {100 * done // max(1, total)} %, {rate:,.0f} a second"
            print(f"\r{text}\x1b[K" if self._live else text, end="" if self._live else "\n", file=self._out, flush=True)

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._live:
            print("\r\x1b[K", end="", file=self._out, flush=True)


async def replay(
    reactor: Any,
    folder: Path,
    where: Where,
    frame: Callable[[bytes], bytes],
    window: float,
    progress: Progress,
    patience: float = PATIENCE,
) -> str:
    """Deliver what is in ``folder``; returns what was done, or Trouble says what is left there and why."""
    spool = Spool(folder)
    spool.open()
    if not spool.usable:
        raise Trouble(f"{folder} {_why_not(folder)}")
    clock = steady(reactor)
    endpoint = way_to(with_own_lookups(reactor), where.text)
    stream = Stream(clock, endpoint, where.text, frame=frame, replay_window=window, spool=spool)
    total, grace = spool.waiting_points, INTERRUPTED
    stream.start()
    try:
        await _drained(clock, stream, total, progress, patience)
        grace = STOP
    finally:
        progress.end()
        await stream.stop(grace)
    return _conclusion(stream, folder, where, total, spool.damaged_frames)


def _why_not(folder: Path) -> str:
    process = survey(folder).process
    if process is not None:
        return f"is in use by process {process}, which delivers it by itself, or has to be ended first"
    return "cannot be taken: it must be yours alone, with the mode 0700, and used by no other process"


async def _drained(clock: Any, stream: Stream, total: int, progress: Progress, patience: float) -> None:
    """Wait until all is written, or nothing moves any more, or the very first connection has failed."""
    left, moved_at = total, clock.seconds()
    while stream.ledger.spooled and clock.seconds() - moved_at < patience:
        if not stream.counts["connections"] and failed(stream.counts):
            return
        await deferLater(clock, PAUSE)
        if stream.ledger.spooled != left:
            left, moved_at = stream.ledger.spooled, clock.seconds()
        progress.tell(total - left, total)


def _conclusion(stream: Stream, folder: Path, where: Where, total: int, damaged: int) -> str:
    ledger = stream.ledger
    done = f"{ledger.delivered:,} of {total:,} points are delivered to {where.text}"
    if damaged:
        done += f", {several(damaged, 'damaged place')} could not be read"
    if ledger.dropped:
        done += ", dropped: " + " and ".join(f"{points:,} {reason}" for reason, points in ledger.dropped.items())
    if ledger.spooled:
        raise Trouble(f"{done}, {ledger.spooled:,} stay in {folder}: {failure(stream.counts)}")
    if ledger.dropped.keys() - {"damaged"}:
        raise Trouble(done)
    return done
