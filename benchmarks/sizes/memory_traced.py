"""How many bytes metrics take, by tracemalloc."""

from __future__ import annotations

import gc
import tracemalloc
from array import array
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from benchmarks.sizes.memory_subjects import Subject
from txmetrics import MetricsRegistry
from txmetrics.wire import Graphite

__all__ = ["INTERVALS", "OPERATIONS", "States", "idle", "in_use", "known_name", "lognormal", "states", "traced"]

INTERVALS, OPERATIONS = 10, 100
"""In use is one that had so many operations in each of so many intervals, and was reported after each."""


class States(NamedTuple):
    """The bytes of a timer in its second interval."""

    before: float
    """When it has reported the first one."""
    end: float
    """When it has taken all values of the second."""
    after: float
    """When it has reported them; if there are two readers, to one of them."""
    peak: float
    """The most while it took them. Of a single timer only: several have theirs at different times."""
    reporting: float
    """The most during the report; also of a single timer only."""


def traced(build: Callable[[], Any]) -> int:
    """The bytes that ``build`` allocates and that are held when nothing but what it returns is left."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = build()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        del kept
        return held
    finally:
        tracemalloc.stop()


def names(count: int) -> list[str]:
    return [f"servers.front.requests.{number}" for number in range(count)]


def lognormal(count: int) -> array[float]:
    """So many values; each becomes an object of its own whenever it is taken out."""
    random = Random(1)
    return array("d", (random.lognormvariate(-5, 1) for _ in range(count)))


def idle(fresh: Callable[[], Subject], count: int) -> float | None:
    """The bytes of a metric that was just made, and reported once if it has a reader; None if use alone makes it."""

    def fill(subject_: Subject, names_: Sequence[str]) -> Subject:
        assert subject_.make is not None
        for name in names_:
            subject_.make(name)
        for report in subject_.reports:
            report()
        return subject_

    empty, names_ = fresh(), names(count)
    if empty.make is None:
        return None
    fill(fresh(), names_[:2])
    return traced(lambda: fill(empty, names_)) / count


def in_use(fresh: Callable[[], Subject], count: int) -> float:
    """The bytes of a metric that had values, and reported them, in some intervals."""
    intervals = [lognormal(INTERVALS * OPERATIONS)[number::INTERVALS] for number in range(INTERVALS)]

    def fill(subject_: Subject, names_: Sequence[str]) -> Subject:
        for values in intervals:
            for name in names_:
                for value in values:
                    subject_.use(name, value)
            for report in subject_.reports:
                report()
        return subject_

    empty, names_ = fresh(), names(count)
    fill(fresh(), names_[:2])
    return traced(lambda: fill(empty, names_)) / count


def states(fresh: Callable[[], Subject], timers: int, values: array[float]) -> States:
    """Of each of so many timers, among which the ``values`` of both intervals are divided."""
    empty, names_ = fresh(), names(timers)
    share = len(values) // (2 * timers)
    seen: list[tuple[int, int]] = []

    def look() -> None:
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect()  # a report may leave garbage behind, which is not held
        seen.append((tracemalloc.get_traced_memory()[0], peak))
        tracemalloc.reset_peak()

    def fill(subject_: Subject) -> Subject:
        source = iter(values)
        for reports in subject_.reports, subject_.reports[:1]:
            look()
            for name in names_:
                for _ in range(share):
                    subject_.use(name, next(source))
            look()
            for report in reports:
                report()
        look()
        return subject_

    traced(lambda: fill(empty))
    _, _, (before, _), (end, peak), (after, reporting) = seen
    return States(*(each / timers for each in (before, end, after, peak, reporting)))


def known_name(count: int) -> float:
    """The bytes with which a reporter's wire remembers one name."""
    registry = MetricsRegistry()
    for name in names(count):
        registry.counter(name)

    def remember() -> Graphite:
        wire = Graphite()
        encoder = wire.encoder(0)
        for reading in registry.collect():
            encoder.add(reading)
        return wire

    remember()
    return traced(remember) / count
