"""A real reactor that reports: how long its turns are then, and for how long it stands still.

    python -m benchmarks.reports.reactor --mode txmetrics --values 50000 --reports 10 --port 2003

``flush.py`` starts this program for each of MODES, and takes the reports. It prints a line of JSON: a Pair for each
report.

The reactor has a heart: a call that calls itself with ``callLater(0)``, and so beats in every turn. It stands still
for the time from one beat to the next, and a report's stall is the longest of these times. CPU time of the whole
process is measured, because the wall time has the machine's other work in it; when another thread holds the
interpreter, its CPU time is the process's, too. A turn is what happens between two polls, in CPU time of its thread.

The values for the timers come in after each report, in steps, and the time in which they do is not looked at.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from math import inf
from typing import Any, NamedTuple

from twisted.internet import reactor as _reactor
from twisted.internet.task import LoopingCall

from benchmarks.costs.operations import peer
from benchmarks.reports.registries import Add, age, carbon_reporter, feed, fill_prometheus, fill_txmetrics
from txmetrics import MetricsRegistry, backends

__all__ = ["MODES", "SKIPPED", "Pair", "Passed", "Spans", "pairs"]

reactor: Any = _reactor

BEFORE = 0.05
"""Seconds before the beginning that belong to a report: txmetrics tells of itself before it reads the first metric."""

AFTER = 0.05
"""Seconds after a report's end that belong to it at least: what was left is written then."""

SHORT = 0.00005
"""Seconds of CPU; what is shorter is not remembered."""

SKIPPED = 2
"""The first reports are not told: the connection is made, and caches are filled."""

SIZE = 20
"""So many values each timer gets in an interval."""

AT_A_TIME = 20
"""So many timers get their values in one step."""


class Spans:
    """How long something took that happens again and again, found again by when it ended."""

    def __init__(self) -> None:
        self.ends, self.lengths = array("d"), array("d")

    def add(self, length: float) -> None:
        if length > SHORT:
            self.ends.append(time.perf_counter())
            self.lengths.append(length)

    def longest(self, since: float, until: float) -> float:
        """Of those that ended in this time, SHORT if there are none."""
        there = slice(bisect_left(self.ends, since), bisect_left(self.ends, until))
        return max(self.lengths[there], default=SHORT)


@dataclass
class Passed:
    """A report that has passed by: when it began and ended, and when the timers had got their values after it."""

    began: float
    ended: float = inf
    fed: float = inf


class Pair(NamedTuple):
    """Of one report: seconds of CPU in it, and in as much time without a report just before it."""

    turn: float
    idle_turn: float
    stall: float
    idle_stall: float


def pairs(passed: Iterable[Passed], turns: Spans, beats: Spans, window: float) -> Iterator[Pair]:
    """What was longest in ``window`` seconds from the beginning of a report on, and in as many before it.

    None for the first report, nor for those before which there was not half as much time without any.
    """
    for last, report in pairwise(passed):
        begin, end = report.began - BEFORE, max(report.began + window, report.ended + AFTER)
        idle = max(last.fed, begin - window)
        if report.fed < inf and begin - idle >= window / 2:
            yield Pair(
                turns.longest(begin, end),
                turns.longest(idle, begin),
                beats.longest(begin, end),
                beats.longest(idle, begin),
            )


class Turns:
    """Measures each turn of an epoll reactor, in whose poller's place it is put."""

    def __init__(self, spans: Spans) -> None:
        self._poller, self._spans = reactor._poller, spans
        self._began = time.thread_time()

    def poll(self, *args: Any) -> Any:
        self._spans.add(time.thread_time() - self._began)
        events = self._poller.poll(*args)
        self._began = time.thread_time()
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


@dataclass
class Watch:
    """Looks on while ``reports`` pass by, and gives the timers values when each is over, after ``window`` seconds."""

    reports: int
    window: float
    passed: list[Passed] = field(default_factory=list)
    adds: list[Add] = field(default_factory=list)
    parent: int = field(default_factory=os.getppid)

    def begins(self) -> float:
        """May be called in any thread, as is ``ends``."""
        self.passed.append(Passed(time.perf_counter()))
        return 0.0

    def ends(self) -> float:
        report = self.passed[-1]
        report.ended = time.perf_counter()
        wait = max(AFTER, report.began + self.window - report.ended)
        reactor.callFromThread(reactor.callLater, wait, self._feed, report, feed(self.adds, SIZE))
        return 0.0

    def around(self, write: Callable[[], object]) -> Callable[..., None]:
        """``write``, which is one report."""

        def watched(*_: object) -> None:
            self.begins()
            write()
            self.ends()

        return watched

    def _feed(self, report: Passed, steps: Iterator[None]) -> None:
        if sum(1 for _ in islice(steps, AT_A_TIME)):
            reactor.callLater(0, self._feed, report, steps)
            return
        if len(self.passed) == SKIPPED:
            freeze()
        report.fed = time.perf_counter()
        if len(self.passed) >= SKIPPED + self.reports or os.getppid() != self.parent:
            reactor.stop()  # at once, without a last report


Mode = Callable[[argparse.Namespace, Watch], None]


def nothing(given: argparse.Namespace, watch: Watch) -> None:
    """What this way of measuring finds where there is nothing to find."""
    LoopingCall(watch.around(lambda: None)).start(given.interval, now=False)


def txmetrics(given: argparse.Namespace, watch: Watch) -> None:
    """Two gauges, read at the beginning and at the end of each report, tell when that is.

    The delivery keeps its chunks for 10 seconds instead of a minute, so that letting go of them is in what is measured.
    """
    registry = MetricsRegistry()
    registry.gauge("begins", watch.begins)
    watch.adds += fill_txmetrics(registry, given.values)
    registry.gauge("ends", watch.ends)
    backends.graphite(registry, f"tcp:127.0.0.1:{given.port}", given.interval, replay_window=10).startService()


def pyformance_thread(given: argparse.Namespace, watch: Watch) -> None:
    """Its reporter as it is: in a thread of its own."""
    reporter, adds = carbon_reporter(given.values, given.interval, given.port)
    watch.adds += adds
    reporter.report_now = watch.around(reporter.report_now)
    reactor.callWhenRunning(reporter.start)


def pyformance_inline(given: argparse.Namespace, watch: Watch) -> None:
    """What the thread would do, in the reactor, with its blocking socket."""
    reporter, adds = carbon_reporter(given.values, given.interval, given.port)
    watch.adds += adds
    LoopingCall(watch.around(reporter.report_now)).start(given.interval, now=False)


def prometheus_inline(given: argparse.Namespace, watch: Watch) -> None:
    """As a resource would that renders it in the reactor; the text is not sent."""
    registry, adds = fill_prometheus(given.values)
    watch.adds += adds
    generate = peer("prometheus_client").generate_latest
    LoopingCall(watch.around(lambda: generate(registry))).start(given.interval, now=False)


MODES: dict[str, Mode] = {
    "nothing": nothing,
    "txmetrics": txmetrics,
    "pyformance in its thread": pyformance_thread,
    "pyformance inline": pyformance_inline,
    "prometheus_client inline": prometheus_inline,
}


def freeze() -> None:
    """Spare the garbage collector all that is there, as a server with much of it does once it is up; see the README."""
    gc.collect()
    gc.freeze()


def beat(beats: Spans, last: float) -> None:
    now = time.process_time()
    beats.add(now - last)
    reactor.callLater(0, beat, beats, now)


def main() -> None:
    parser = argparse.ArgumentParser(description="Reports in a reactor: its turns, and for how long it stands still.")
    parser.add_argument("--mode", choices=list(MODES), default="txmetrics")
    parser.add_argument("--values", type=int, default=50_000)
    parser.add_argument("--interval", type=float, default=1, help="seconds from one report to the next")
    parser.add_argument("--window", type=float, default=0.4, help="seconds that belong to a report")
    parser.add_argument("--reports", type=int, default=10)
    parser.add_argument("--port", type=int, required=True, help="of the local program that takes the reports")
    given = parser.parse_args()
    turns, beats, watch = Spans(), Spans(), Watch(given.reports, given.window)
    MODES[given.mode](given, watch)
    age(watch.adds)
    freeze()
    reactor.callWhenRunning(beat, beats, time.process_time())
    reactor.callWhenRunning(setattr, reactor, "_poller", Turns(turns))
    limit = 60 + 5 * given.interval * (SKIPPED + given.reports)
    reactor.callLater(limit, reactor.stop)
    reactor.run()
    passed = watch.passed[SKIPPED - 1 : SKIPPED + given.reports]
    print(json.dumps(list(pairs(passed, turns, beats, given.window))))


if __name__ == "__main__":
    main()
