"""Fleets of four workers in virtual time, one of which is restarted in the middle, and the Graphite they report to."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from twisted.internet.defer import succeed
from zope.interface import implementer

from tests.carbon import Carbon
from tests.graphite_web import GraphiteWeb
from txmetrics import MetricsRegistry, Reporter
from txmetrics.interfaces import Chunk, IDelivery, Ledger
from txmetrics.reporter import Backend
from txmetrics.testing import FakeReactor
from txmetrics.wire import Graphite

__all__ = [
    "ACTIVE",
    "FIRST_PIDS",
    "GAP",
    "REBORN",
    "RESTART",
    "STEP",
    "STEPS",
    "Fleet",
    "Kept",
    "Stand",
    "Worker",
    "stored",
]

STEP = 10
"""Seconds between two reports, and between two points of the store."""

STEPS = 30
"""So many of them the fleet has requests in."""

RESTART = 15
"""In this one the worker of slot w2 ends, and its successor begins."""

FIRST_PIDS = (1000, 1001, 1002, 1003)
"""The processes that begin as w0 to w3."""

REBORN = 2002
"""The process that takes the place of 1002."""

GAP = 19
"""The step whose requests worker w1 counts in the report that gets lost."""

ACTIVE = 10
"""What the gauge of every process shows."""


@implementer(IDelivery)
class Kept:
    """The lines of all reports in the order in which they were sent, but for the reporters' own numbers."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.levels: dict[str, float] = {}
        self.ledger = Ledger(0, 0, 0, 0, 0, {})
        self.lines: list[str] = []

    def start(self) -> None:
        """There is nothing to open."""

    def deliver(self, chunk: Chunk) -> None:
        self.lines += [line for line in chunk.data.decode().splitlines() if ".txmetrics." not in line]

    def stop(self, seconds: float) -> Any:
        return succeed(None)


class Worker:
    """A process: its counter of requests, its gauge, and a reporter for each `wire`, told whether it says deltas."""

    def __init__(self, reactor: FakeReactor, kept: Kept, wires: Iterable[tuple[Graphite, bool]]) -> None:
        registry = MetricsRegistry(reactor.clock)
        self.requests = registry.counter("req")
        registry.gauge("active").set(ACTIVE)
        self._reporters = [
            Reporter(registry, _backend(wire, kept), STEP, deltas=deltas, reactor=reactor) for wire, deltas in wires
        ]
        for reporter in self._reporters:
            reporter.startService()

    def end(self) -> None:
        """As after a SIGTERM: with a last report."""
        for reporter in self._reporters:
            reporter.stopService()


def _backend(wire: Graphite, kept: Kept) -> Callable[[Any], Backend]:
    return lambda reactor: Backend(wire, kept)


class Fleet:
    """
    The fleet, reporting under several names at once.

    The requests come within STEPS steps from `start`, a multiple of STEP, on. The processes of a `warm` fleet have none
    before they have reported a zero, so the first ones begin in the step before; the others have some from their birth.
    `served` tells by pid and step (the first is 0) how many requests there were. The names begin with `name`, then:

    * ``none``: the same for all; ``pid.<pid>``; ``slot.<slot>``: what was counted in all
    * ``tags``: the same, with the tags host, pid and worker
    * ``delta.<slot>``: since the last report; ``told``: the same, with the tags host and worker
    """

    def __init__(self, name: str, start: int, *, warm: bool) -> None:
        self.name, self.start = name, start
        self.served: Tally[tuple[int, int]] = Tally()
        self._kept = Kept()
        self._reactor = FakeReactor()
        self._random = Random(8)
        self._workers: dict[int, Worker] = {}
        self._warm = warm
        self._live()

    @property
    def lines(self) -> list[str]:
        """All that was sent, in its order."""
        return self._kept.lines

    def sum(self, pids: Iterable[int] = (*FIRST_PIDS, REBORN), steps: Iterable[int] = range(STEPS)) -> int:
        """How many requests these processes have served in these steps."""
        return sum(self.served[pid, step] for pid in pids for step in steps)

    def _live(self) -> None:
        self._reactor.rightNow = self.start - 9.0 if self._warm else self.start + 1.0
        for slot, pid in enumerate(FIRST_PIDS):
            self._begin(pid, slot)
        self._pass_until(self.start + 2)
        for step in range(STEPS):
            self._serve(step, [pid for pid in self._workers if pid != REBORN])
            if step == RESTART:
                self._restart()
            if step > RESTART or (step == RESTART and not self._warm):
                self._serve(step, [REBORN])
            self._pass_until(self.start + STEP * (step + 1) + 2)

    def _restart(self) -> None:
        self._pass_until(self.start + STEP * RESTART + 3)
        self._workers.pop(FIRST_PIDS[2]).end()
        self._pass_until(self.start + STEP * RESTART + 4)
        self._begin(REBORN, 2)

    def _begin(self, pid: int, slot: int) -> None:
        who = {"host": "h1", "worker": f"w{slot}"}
        wires = [
            (Graphite(f"{self.name}.none"), False),
            (Graphite(f"{self.name}.pid.{pid}"), False),
            (Graphite(f"{self.name}.slot.w{slot}"), False),
            (Graphite(f"{self.name}.tags", tags={**who, "pid": str(pid)}), False),
            (Graphite(f"{self.name}.delta.w{slot}", deltas=True), True),
            (Graphite(f"{self.name}.told", tags=who, deltas=True), True),
        ]
        self._workers[pid] = Worker(self._reactor, self._kept, wires)

    def _serve(self, step: int, pids: Iterable[int]) -> None:
        for pid in pids:
            requests = self._random.randint(60, 140)
            self._workers[pid].requests.inc(requests)
            self.served[pid, step] += requests

    def _pass_until(self, moment: float) -> None:
        while self._reactor.rightNow < moment:
            self._reactor.advance(1)


def stored(lines: Iterable[str]) -> dict[str, dict[int, float]]:
    """What a store has of such lines: by series and step the last value that came."""
    series: dict[str, dict[int, float]] = {}
    for name, value, stamp in map(str.split, lines):
        series.setdefault(name, {})[int(stamp) // STEP * STEP] = float(value)
    return series


class Stand:
    """The fleets, and a Graphite that holds what they have reported.

    Of ``cold`` the processes have requests from their birth; those of ``warm`` have reported a zero before. ``gap`` is
    ``warm`` without the report of w1 at the end of the step GAP.
    """

    def __init__(self, carbon: Carbon, web: GraphiteWeb) -> None:
        self.carbon, self.web = carbon, web
        # Where graphite-web begins to put five points of ten seconds into one, for a smaller answer.
        start = (int(time.time()) - STEP * (STEPS + 3)) // 50 * 50 - 20
        self.cold, self.warm = Fleet("cold", start, warm=False), Fleet("warm", start, warm=True)
        self.first, self.last = start, start + STEP * STEPS
        self.hole = start + STEP * (GAP + 1)
        self.lost = [line.replace("warm.", "gap.", 1) for line in self.warm.lines if self._is_lost(line)]
        kept = [line.replace("warm.", "gap.", 1) for line in self.warm.lines if not self._is_lost(line)]
        self.store([*self.cold.lines, *self.warm.lines, *kept])

    def _is_lost(self, line: str) -> bool:
        is_of_w1 = any(who in line for who in (f".{FIRST_PIDS[1]}.", ".w1.", "worker=w1"))
        return is_of_w1 and line.endswith(f" {self.hole}")

    def store(self, lines: list[str]) -> None:
        """Send them, and return when all is on the disk that graphite-web reads."""
        expected = stored(lines)
        self.carbon.send("".join(f"{line}\n" for line in lines))
        self.carbon.wait_for(
            lambda: all(points.items() <= self.carbon.stored(name).items() for name, points in expected.items())
        )
        if tagged := [name for name in expected if ";" in name]:
            self.web.index(tagged)

    def points(self, target: str) -> dict[int, float]:
        """The one line that a target shows of the fleets' time, from that of the zeros on."""
        [points] = self.web.between(target, self.first, self.last).values()
        return points

    def total(self, target: str) -> float:
        """What the points of that line add up to."""
        return sum(self.points(target).values())
