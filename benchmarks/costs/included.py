"""What a value costs with everything included: taking it in, folding it, and reading the percentiles at the end.

An interval is so many values for each of some metrics, and then one reading of them all, as a reporter takes it:
count, sum or mean, min, max, standard deviation and the percentiles. The values are lognormal and all differ.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import ceil
from random import Random
from statistics import median, quantiles
from typing import NamedTuple

from benchmarks.costs.operations import peer
from benchmarks.results import Plot, Table
from txmetrics import MetricsRegistry

__all__ = ["SIZES", "measure", "tell"]

SIZES = 10, 100, 1_000, 10_000, 100_000
VALUES = 20_000
"""So many values are measured in one go, in as many intervals as that takes, or a single larger one."""

METRICS = 100
"""So many metrics share the values of small intervals, and fewer those of larger ones, because a server has many."""

PERCENTILES = 0.5, 0.75, 0.95, 0.98, 0.99, 0.999
HISTOGRAM, TIMER = "txmetrics, histogram", "txmetrics, timer"
TWO_READERS = ", two readers"
PEERS = {HISTOGRAM: "pyformance, histogram", TIMER: "pyformance, timer"}


class Subject(NamedTuple):
    """Takes values in, each metric by a function of its own, and tells at the end of an interval what they were."""

    name: str
    adds: Sequence[Callable[[float], None]]
    read: Callable[[], object]


def of_txmetrics(name: str, readers: int, metrics: int) -> Subject:
    registry = MetricsRegistry()
    make = registry.timer if name == TIMER else registry.histogram
    adds = [make(f"metric{number}").add for number in range(metrics)]
    all_readers = [registry.reader() for _ in range(readers)]

    def read() -> None:
        for reader in all_readers:
            for reading in reader.collect():
                reading.numbers()

    return Subject(name + (TWO_READERS if readers == 2 else ""), adds, read)


def of_pyformance(metrics: int) -> Iterator[Subject]:
    """Read as its reporters read: all that it knows, with four percentiles."""
    pyformance = peer("pyformance")
    names = [f"metric{number}" for number in range(metrics)]
    registry = pyformance.MetricsRegistry()
    yield Subject(PEERS[HISTOGRAM], [registry.histogram(name).add for name in names], registry.dump_metrics)
    registry = pyformance.MetricsRegistry()
    yield Subject(PEERS[TIMER], [registry.timer(name)._update for name in names], registry.dump_metrics)


class DDSketches:
    """A new sketch for each interval, as there is no way to empty one."""

    def __init__(self) -> None:
        self._make = peer("ddsketch").DDSketch
        self._sketch = self._make()

    def add(self, value: float) -> None:
        self._sketch.add(value)

    def read(self) -> None:
        sketch, self._sketch = self._sketch, self._make()
        _ = sketch.count, sketch.sum, sketch.avg
        for q in PERCENTILES:
            sketch.get_quantile_value(q)


def of_ddsketch(metrics: int) -> Iterator[Subject]:
    sketches = [DDSketches() for _ in range(metrics)]

    def read() -> None:
        for sketch in sketches:
            sketch.read()

    yield Subject("ddsketch", [sketch.add for sketch in sketches], read)


class SortedList:
    """The least that tells percentiles: a list that is sorted, without a sum that is right, deviations or a past."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def read(self) -> None:
        values = self.values
        values.sort()
        count = len(values)
        _ = count, sum(values), values[0], values[-1], [values[ceil(q * count) - 1] for q in PERCENTILES]
        values.clear()


def of_floor(metrics: int) -> Subject:
    lists = [SortedList() for _ in range(metrics)]

    def read() -> None:
        for each in lists:
            each.read()

    return Subject("floor: a sorted list", [each.values.append for each in lists], read)


def subjects(metrics: int) -> Iterator[Subject]:
    for readers in (1, 2):
        for name in (HISTOGRAM, TIMER):
            yield of_txmetrics(name, readers, metrics)
    yield of_floor(metrics)
    for of_peer in (of_pyformance, of_ddsketch):
        with suppress(ImportError):  # the table of operations tells what is missing
            yield from of_peer(metrics)


def measure(rounds: int, sizes: tuple[int, ...]) -> dict[str, dict[int, list[float]]]:
    """Nanoseconds of CPU a value, by subject, size of an interval and round; the subjects take turns."""
    taken: dict[str, dict[int, list[float]]] = {}
    random = Random(1)
    values = [random.lognormvariate(-5, 1) for _ in range(max(VALUES, *sizes))]
    for size in sizes:
        used = max(VALUES, size)
        metrics = max(1, min(METRICS, VALUES // 2 // size))
        shares = [values[start : start + size] for start in range(0, used, size)]
        intervals = [shares[start : start + metrics] for start in range(0, len(shares), metrics)]
        alike = list(subjects(metrics))
        gc.collect()
        for number in range(rounds + 1):
            for subject in alike:
                ns = nanoseconds(subject, intervals) / used
                if number:  # the first one warms up
                    taken.setdefault(subject.name, {}).setdefault(size, []).append(ns)
    return taken


def nanoseconds(subject: Subject, intervals: list[list[list[float]]]) -> int:
    adds, read = subject.adds, subject.read
    begun = time.thread_time_ns()
    for interval in intervals:
        for add, values in zip(adds, interval, strict=True):
            for value in values:
                add(value)
        read()
    return time.thread_time_ns() - begun


def tell(taken: dict[str, dict[int, list[float]]]) -> tuple[Table, Plot, dict[str, float]]:
    """A table, a plot and the figures of what ``measure`` took."""
    least = {name: {size: _tenth(each) for size, each in by_size.items()} for name, by_size in taken.items()}
    sizes = list(next(iter(least.values())))
    table = Table("Everything included, ns of CPU a value", ["values an interval", *(f"{size:,}" for size in sizes)])
    table.note = (
        "Adding, folding and one reading an interval, the loop around it included (5 to 10 ns), in a registry of 100 "
        "metrics (10 at 1,000 values, one at more). 10th percentile of "
        "rounds that alternate; `times cheaper` is the median of the rounds' ratios. pyformance keeps a sample, of all "
        "values that there ever were; ddsketch begins anew with each interval, at 1 % accuracy. The floor is a list "
        "without bounds, whose only statistics are count, sum, least, most and percentiles."
    )
    for name, by_size in least.items():
        table.rows.append([name, *(f"{by_size[size]:,.0f}" for size in sizes)])
    figures = {f"everything included, {name}": max(by_size.values()) for name, by_size in least.items()}
    for ours, theirs in PEERS.items():
        if theirs in taken:
            ratios = [_ratio(taken[theirs][size], taken[ours][size]) for size in sizes]
            table.rows.append([f"times cheaper than {theirs}", *(f"{ratio:.1f}" for ratio in ratios)])
            figures[f"everything included, times cheaper than {theirs}"] = min(ratios)
    plot = Plot(table.title, "values an interval", "ns a value", logx=True, logy=True)
    plot.series = {name: [(size, ns) for size, ns in by_size.items()] for name, by_size in least.items()}
    return table, plot, figures


def _tenth(values: list[float]) -> float:
    return quantiles(values, n=10, method="inclusive")[0] if len(values) > 1 else values[0]


def _ratio(theirs: list[float], ours: list[float]) -> float:
    """Of measurements that belong together, in pairs."""
    return median(each / our for each, our in zip(theirs, ours, strict=True))
