"""The judge: knows every point that was issued, sees what becomes of it, and says what may not be.

It reads what the server stores and what IDelivery tells, and hears from the outbox and the spool which chunks they
take, deliver, drop and keep, so that the ledger can be held against the very points that it speaks of.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections import Counter as Tally
from collections.abc import Callable
from itertools import chain
from typing import Any

from twisted.logger import LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.simulation.disk import Killed
from txmetrics.delivery._backoff import LONGEST
from txmetrics.delivery._connector import OPENING_TIMEOUT
from txmetrics.delivery._queue import OVERHEAD
from txmetrics.interfaces import Chunk, IDelivery, Ledger

__all__ = ["RECOVERY", "Batch", "Generation", "Judge", "ViolationError"]

RECOVERY = LONGEST + OPENING_TIMEOUT + 20.0
"""Seconds after which everything must be well again, once nothing is wrong any more."""


LATE = 20.0
"""No chunk is on its way for so many seconds while all is well."""

SILENCE = 120.0
"""No reporter is silent for longer: its interval, a clock set back by a minute, and a reactor that is blocked."""

NOTICE = 1.5
"""By so many seconds the window reaches less far: the news of a crash is on its way for up to a second, and what is
acknowledged meanwhile lets the oldest go."""

UNKNOWING = 25.0
"""By so many seconds the window reaches less far where the kernel does not say what was acknowledged: so long may it
take until a dead connection is noticed, and what was written to it meanwhile is taken for acknowledged."""


class ViolationError(AssertionError):
    """What may not be."""


class Batch:
    """One chunk and its fate."""

    __slots__ = ("again", "at", "fate", "lines", "number", "size", "spooled", "writer", "written")

    def __init__(self, number: int, writer: Generation, lines: list[bytes], size: int, at: float) -> None:
        self.number = number
        self.lines = lines
        self.size = size
        self.at = at
        self.written = 0.0
        self.writer = writer
        """The life that wrote it last; a spool hands chunks on."""
        self.fate = ""
        """ "delivered", "crashed" (with the process that had it in memory), or why it was dropped."""
        self.spooled = False
        self.again = False
        """Whether the disk refused to note that it is done with: then it comes again."""


@implementer(IDelivery)
class Generation:
    """One life of the sender: its delivery, and what passes through the door."""

    def __init__(self, judge: Judge, stream: Any) -> None:
        self._judge = judge
        self.stream = stream
        self.issued = 0
        self.fates: Tally[str] = Tally()
        """Of all points whose fate was decided in this life."""
        self.stopping = self.crashed = False
        self.last: Ledger | None = None

    def deliver(self, chunk: Chunk) -> None:
        self._judge.issue(self, chunk)
        self.stream.deliver(chunk)

    def start(self) -> None:
        self.stream.start()

    def stop(self, seconds: float) -> Any:
        self.stopping = True
        return self.stream.stop(seconds)

    @property
    def recovered(self) -> int:
        """What the spool has brought from an earlier life."""
        return 0 if self.stream._outbox._spool is None else int(self.stream._outbox._spool.recovered_points)

    @property
    def damaged_frames(self) -> int:
        return 0 if self.stream._outbox._spool is None else int(self.stream._outbox._spool.damaged_frames)

    @property
    def counts(self) -> Any:
        return self.stream.counts

    @property
    def levels(self) -> Any:
        return self.stream.levels

    @property
    def ledger(self) -> Ledger:
        return self.stream.ledger


class Recovery:
    """From the moment when nothing is wrong any more until the latest chunk of that moment is in the server."""

    def __init__(self, batch: Batch, at: float, outage: float) -> None:
        self.batch = batch
        self.at = at
        self.outage = outage


class Judge:
    """``wrong`` is the first thing that was."""

    def __init__(self, now: Callable[[], float], settings: Any) -> None:
        self._now = now
        self._settings = settings
        self.wrong = ""
        self.server: Any = None
        self.disk: Any = None
        self.told: dict[bytes, float] = {}
        """What each gauge told last, by its path."""
        self.batches: list[Batch] = []
        self.generations: list[Generation] = []
        self.seen: Tally[str] = Tally()
        """What occurred, by name: a run in which something never does proves nothing about it."""
        self.recoveries: list[tuple[float, float]] = []
        """How long each took, and how long the outage before."""
        self._lines: dict[bytes, Batch] = {}
        self._values: dict[tuple[bytes, bytes], bytes] = {}
        self._by_data: dict[bytes, Batch] = {}
        self._excused: set[bytes] = set()
        self._bad_since: float | None = None
        self._good_since = now()
        self._recovery: Recovery | None = None
        self.on_disk: dict[Batch, None] = {}
        self.running = False
        self.last_report = now()
        self.torn_points = 0
        """In frames that were being written when the process died: a later life may find them, damaged, or not."""
        self.deaf = False
        """Whether the process has died within this very event."""
        self._key_forms = _forms(settings.key)

    def complain(self, text: str) -> None:
        if not self.deaf:
            self.wrong = self.wrong or f"at {self._now() - 1e9:.3f}: {text}"

    # What is issued

    def generation(self, stream: Any) -> Generation:
        made = Generation(self, stream)
        self.generations.append(made)
        return made

    def issue(self, generation: Generation, chunk: Chunk) -> None:
        lines = chunk.data.splitlines(keepends=True)
        batch = Batch(len(self.batches), generation, lines, len(chunk.data), self._now())
        if len(lines) != chunk.points:
            self.complain(f"a chunk of {chunk.points} points has {len(lines)} lines")
        for line in lines:
            path, value, stamp = line.split()
            if self._values.setdefault((path, stamp), value) != value:
                self.complain(f"{path!r} has two values at {stamp!r}")
            if path in self.told and float(value) != self.told[path]:
                self.complain(f"{path!r} told {self.told[path]}, not {value!r}")
            self._lines[line] = batch
        self.batches.append(batch)
        self.last_report = batch.at
        self._by_data[chunk.data] = batch
        generation.issued += chunk.points

    # What the outbox tells

    def batch(self, chunk: Chunk) -> Batch | None:
        """None for what nobody issued; the server says so if it is ever sent."""
        return self._by_data.get(chunk.data)

    def taken(self, batch: Batch) -> None:
        self.seen["replayed"] += bool(batch.written)
        batch.written, batch.writer = self._now(), self.generations[-1]

    def delivered(self, batch: Batch) -> None:
        self._end(batch, "delivered")

    def dropped(self, batch: Batch, reason: str, full: bool, next_one: Batch | None) -> None:
        """``full``: for want of room. ``next_one``: the oldest of those that were not written yet and stay."""
        self._end(batch, reason)
        self.seen[f"dropped {reason}"] += 1
        if reason == "overflow" and next_one is not None and next_one.number < batch.number:
            self.complain("a younger chunk is dropped before an older one")
        cut_off = reason == "unconfirmed" and not self._settings.window
        spool = self.generations[-1].stream._outbox._spool
        spoolable = spool is not None and spool.usable and self.server.network.trouble["disk"] == 0
        stopping = self.generations[-1].stopping and not self._well() and not spoolable
        if not (full or cut_off or stopping):
            self.complain(f"a chunk is dropped ({reason}) although nothing forces it")

    def _end(self, batch: Batch, fate: str) -> None:
        if batch.fate and not batch.again:
            self.complain(f"a chunk is {fate} that was {batch.fate} already")
        batch.fate = fate
        self.generations[-1].fates[fate] += len(batch.lines)

    # What the spool tells

    def spooled(self, batch: Batch | None) -> None:
        if batch is not None:
            self.seen["spooled"] += 1
            batch.spooled = True
            self.on_disk[batch] = None

    def settled(self, batch: Batch, noted: bool) -> None:
        if noted:
            self.on_disk.pop(batch, None)
        else:
            batch.again = True

    def crashed(self) -> None:
        """The process is no more, and with it what it had in memory only."""
        self.deaf = False
        self.seen["process crashes"] += 1
        self.generations[-1].crashed = True
        for batch in self.batches:
            if not batch.fate and batch not in self.on_disk:
                batch.fate = "crashed"
                self.seen["chunks lost with the process"] += 1
                # Without a window nothing is sent twice: what is taken from the spool is gone from it.
                if batch.spooled and self._settings.window:
                    self.complain(f"it was in the spool, and is lost with the process: {batch.lines[0]!r}")

    # What the server tells

    def line_read(self, line: bytes, again: bool) -> None:
        if line not in self._lines:
            self.complain(f"the server read a line that nobody issued: {line!r}")
        elif again:
            self.seen["read again"] += 1
            if not self._settings.window:
                self.complain(f"sent twice where that adds a second point: {line!r}")

    def server_lost(self, lines: list[bytes]) -> None:
        """A crash lost ``lines``. Those written before the window, or by a sender that has closed, nobody can mend."""
        now = self._now()
        reach = self._settings.window - (NOTICE if self._settings.kernel_counts else UNKNOWING)
        for line in lines:
            batch = self._lines.get(line)
            if batch is not None:
                self.seen["lost by the server"] += 1
                if now - batch.written > reach or batch.writer.stopping:
                    self._excused.add(line)

    # When all should be well

    def turned(self, bad: bool) -> None:
        """Something has become wrong, or right."""
        now = self._now()
        if bad and self._bad_since is None:
            self.check_arrived()
            self._bad_since = now
            self._check_recovery()
            self._recovery = None
        elif not bad and self._bad_since is not None:
            outage, self._bad_since, self._good_since = now - self._bad_since, None, now
            batch = self.batches[-1] if self.batches else None
            if batch is not None and not batch.fate and batch.lines[-1] not in self.server.stored:
                self._recovery = Recovery(batch, now, outage)

    def _well(self) -> bool:
        """Whether nothing has been wrong for so long that everything should be in order."""
        return self._bad_since is None and self._now() - self._good_since >= RECOVERY

    def check_arrived(self) -> None:
        """While all is well everything arrives soon."""
        if self._well():
            for batch in self.batches:
                late = not batch.fate and batch.at < self._now() - LATE
                if late and not self._uncertain(batch) and any(line not in self.server.stored for line in batch.lines):
                    self.complain(f"all is well, and {batch.lines[0]!r} has not arrived")

    def _uncertain(self, batch: Batch) -> bool:
        """Whether the spool perhaps had to drop it, or could not be opened."""
        return batch in self.on_disk and (self.disk.ever_failed or not self._roomy())

    def _check_recovery(self) -> None:
        recovery = self._recovery
        if recovery is None:
            return
        waited = self._now() - recovery.at
        if recovery.batch.lines[-1] in self.server.stored:
            self._recovery = None
            self.recoveries.append((waited, recovery.outage))
        elif recovery.batch.fate or self._uncertain(recovery.batch):
            self._recovery = None
        elif waited > RECOVERY:
            self.complain(f"nothing has arrived for {waited:.0f} seconds, and nothing is wrong")

    # At every step

    def check(self) -> None:
        if self._recovery is not None:
            self._check_recovery()
        if self.running and self._now() - self.last_report > SILENCE:
            self.complain("there are no reports any more")
        for generation in self.generations[-1:]:
            self._check_ledger(generation)
            self._check_memory(generation)
        if self.wrong:
            raise ViolationError(self.wrong)

    def _check_ledger(self, generation: Generation) -> None:
        if generation.crashed:
            return
        ledger, collected = generation.ledger, generation.issued + generation.recovered
        if ledger == generation.last:
            if ledger.collected != collected:
                self.complain(f"{collected} points were handed over: {ledger}")
            return
        dropped = ledger.dropped
        parts = (ledger.delivered, ledger.retained, ledger.queued, ledger.spooled, *dropped.values())
        if ledger.collected != collected or ledger.collected != sum(parts) or min(parts) < 0:
            self.complain(f"{collected} points were handed over, and the ledger is wrong: {ledger}")
        last = generation.last
        if last is not None and (
            ledger.delivered < last.delivered
            or any(dropped.get(reason, 0) < points for reason, points in last.dropped.items())
        ):
            self.complain(f"what was final is so no more: {last}, then {ledger}")
        generation.last = ledger

    def _check_memory(self, generation: Generation) -> None:
        outbox = generation.stream._outbox
        # There is room for one chunk always, and for the places of those whose acknowledgement is awaited.
        places = len(outbox._in_flight) + len(outbox._retained)
        largest = max((batch.size for batch in self.batches[-10:]), default=0)
        if outbox.bytes > self._settings.max_bytes + largest + OVERHEAD * (places + 1):
            self.complain(f"{outbox.bytes} bytes are held where {self._settings.max_bytes} is the limit")
        held = sum(item.size for item in chain(outbox._in_flight, outbox._retained, outbox._unsent))
        if held != outbox.bytes:
            self.complain(f"{held} bytes are held, and {outbox.bytes} is what the outbox says")

    # In the end

    def finish(self, left: list[object]) -> None:
        """Everything is healed, stopped and over."""
        if left:
            self.complain(f"left behind: {left}")
        stored = self.server.stored
        for batch in self.batches:
            missing = [line for line in batch.lines if line not in stored and line not in self._excused]
            if missing and batch.fate == "delivered":
                self.complain(f"delivered, says the ledger, but the server has no {missing[0]!r}")
        nowhere = sum(len(batch.lines) for batch in self.batches if not batch.fate)
        by_spools = sum(self._finish_generation(generation) for generation in self.generations)
        by_spools -= min(by_spools, self.torn_points)
        # Of a frame whose header the disk does not give, nobody knows how many points it had.
        unknown = self.disk.ever_failed and sum(generation.damaged_frames for generation in self.generations)
        if nowhere > by_spools and not unknown:
            self.complain(f"nothing became of {nowhere - by_spools} points")
        if by_spools and self._roomy() and not self.disk.ever_failed:
            self.complain(f"the spool has dropped {by_spools} points although nothing forced it")
        if self.wrong:
            raise ViolationError(self.wrong)

    def _roomy(self) -> bool:
        """Whether the spool has room for all there is."""
        return self._settings.spool_bytes > 2 * sum(batch.size + 100 for batch in self.batches)

    def _finish_generation(self, generation: Generation) -> int:
        """The points that its spool has dropped, of which the ledger alone tells."""
        self._check_ledger(generation)
        ledger = generation.ledger
        if (ledger.queued or ledger.retained) and not generation.crashed:
            self.complain(f"a stopped delivery holds something: {ledger}")
        unexplained = Tally({"delivered": ledger.delivered, **ledger.dropped})
        unexplained.subtract(generation.fates)
        by_spool = unexplained.pop("damaged", 0) + unexplained.pop("overflow", 0)
        if any(unexplained.values()) or by_spool < 0:
            self.complain(f"the ledger is {ledger}, and what happened was {dict(generation.fates)}")
        return by_spool

    # Secrets

    def look_for_key(self, text: str, where: str) -> None:
        if any(form in text for form in self._key_forms):
            self.complain(f"the API key shows in {where}")

    def log_event(self, event: dict[str, Any]) -> None:
        """Observe one event of the log."""
        self.seen["log events"] += 1
        failure = event.get("log_failure")
        error = event.get("isError") or event["log_level"] in (LogLevel.error, LogLevel.critical)
        headline = failure is None and event.get("log_namespace") == "twisted.internet.defer"
        if error and not headline and not (isinstance(failure, Failure) and failure.check(Killed)):
            self.complain(f"logged: {formatEvent(event)} {failure or ''}")
        if self._key_forms:
            trace = failure.getTraceback() if isinstance(failure, Failure) else ""
            self.look_for_key(f"{formatEvent(event)} {event!r} {trace}", "the log")


def _forms(key: str) -> list[str]:
    """How a key could be written."""
    if not key:
        return []
    encoded = base64.b64encode(key.encode()).decode().rstrip("=")
    return [key, key[::-1], encoded[:-1], urllib.parse.quote(key, safe=""), key.encode().hex()]
