"""What an operation costs stays what it was: instructions, which do not depend on what else the machine does.

The limits are about one and a half times what was counted when they were written, on CPython 3.11, 3.12 and 3.13: a
doubled cost fails, another interpreter does not. What things cost, in time and beside others: docs/performance.md.
"""

from __future__ import annotations

import shutil
from itertools import count
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from benchmarks import valgrind
from benchmarks.reports.registries import Nowhere
from tests.costs.work import BARE, BY_TAGS, INCLUDED, MEASURED, REPORT, TAGGED_REPORT
from txmetrics import MetricsRegistry
from txmetrics.clock import Clock
from txmetrics.reporter import PAUSE, TURN, Backend, Reporter
from txmetrics.wire import Graphite

LIMITS = {
    "counter.inc": 1.6,
    "counter by name": 3.0,
    BY_TAGS: 16.0,
    "meter.mark": 1.6,
    "gauge.set": 1.2,
    "histogram.add": 2.5,
    "timer.add": 2.5,
    "with timer": 10.5,
    "with timer by name": 13.5,
    INCLUDED: 7.5,
    REPORT: 24.0,
}
"""Of what is done, how many times the instructions of REF it may take."""


@pytest.fixture(scope="module")
def counts() -> dict[str, float]:
    """The instructions of each piece of work."""
    assert shutil.which("valgrind"), "valgrind is not installed; .ci/receivers does that, from Debian's packages"
    return valgrind.count("tests.costs.work", seconds=300)


@pytest.mark.parametrize("what", LIMITS)
def test_an_operation_costs_what_it_did(counts: dict[str, float], what: str) -> None:
    """As a ratio to the least that a counter can be in Python."""
    loop = counts["nothing"]
    ratio = (counts[what] - loop) / (counts["REF"] - loop)
    assert 0.3 < ratio < LIMITS[what]


def test_a_report_with_tags_costs_what_one_without_does(counts: dict[str, float]) -> None:
    """As a ratio to one of names that are as long."""
    assert 0.9 < counts[TAGGED_REPORT] / counts[REPORT] < 1.15


def test_to_measure_a_request_costs_what_it_did(counts: dict[str, float]) -> None:
    """As a ratio to what a hello world costs without."""
    assert 1.0 < counts[MEASURED] / counts[BARE] < 1.45


class Turns(MemoryReactorClock):
    """Counts what is to be done in a moment."""

    turns = 0

    def callLater(self, when: float, *what: Any, **named: Any) -> Any:
        self.turns += when <= PAUSE
        return super().callLater(when, *what, **named)


def test_a_turn_collects_as_many_as_it_did() -> None:
    """One look at the clock for each metric, and one each at the beginning and the end, are all that a turn takes."""
    metrics, seconds, looks, reactor = 10_000, 1e-6, count(), Turns()
    registry = MetricsRegistry(Clock(wall=lambda: 1e9 + reactor.seconds(), tick=lambda: seconds * next(looks)))
    for number in range(metrics):
        registry.counter(f"app.counter{number}")
    backend = Backend(Graphite(), Nowhere())
    Reporter(registry, lambda _: backend, 1, reactor=reactor).startService()
    for _ in range(3):  # it may let a second or two pass before its first report
        if not reactor.turns:
            reactor.advance(1)
    for _ in range(metrics):
        reactor.advance(PAUSE)
        if not reactor.getDelayedCalls() or reactor.getDelayedCalls()[0].getTime() > reactor.seconds() + PAUSE:
            break
    assert metrics * seconds / TURN <= 1 + reactor.turns <= 1.1 * metrics * seconds / TURN
