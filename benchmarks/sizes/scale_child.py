"""One registry of so many metrics, in a process of its own, so that its memory and its garbage collector are its own.

python -m benchmarks.sizes.scale_child txmetrics timer 100000
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from benchmarks.costs.operations import Reference
from benchmarks.sizes.scale_subjects import SUBJECTS, Subject

__all__ = ["MEMORY", "SECONDS", "VALUES", "Operations", "Pauses", "measure"]

MEMORY, SECONDS = 6 * 2**30, 900
"""A process gets no more memory, and no more seconds of a processor."""

VALUES = 5
"""So many values has each metric that is not idle in an interval."""

ROUNDS, OPERATIONS = 101, 700_000
"""So often each operation is done on every metric, or as often as makes so many operations, but three times."""

REPORTS, REPORTED = 31, 1_000_000
"""So often all is reported, or as often as makes so many metrics, but twice. Of others than txmetrics, a tenth."""


class Pauses:
    """How long the garbage collector held everything up, at the longest, in ms."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._begun = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        gc.callbacks.append(self._called)
        try:
            yield
        finally:
            gc.callbacks.remove(self._called)

    def _called(self, phase: str, info: object) -> None:
        if phase == "start":
            self._begun = time.thread_time()
        else:
            self.longest = max(self.longest, 1000 * (time.thread_time() - self._begun))


class Operations:
    """Measures an operation on each of the metrics once, in ns, in turns with a loop that does nothing and with REF."""

    def __init__(self, subject_: Subject, names: Sequence[str], metrics: Sequence[Any]) -> None:
        shuffled = Random(1).sample(range(len(names)), len(names))
        setup = "registry, ref = known"
        known = subject_.registry, Reference()
        held, by_name = f"metric.{subject_.call}", f"registry.{subject_.find}(name).{subject_.call}"

        def loop(code: str, name: str, over: Sequence[Any]) -> timeit.Timer:
            names_ = {"known": known, "over": over}
            return timeit.Timer(f"for {name} in over: {code}", setup, time.thread_time, names_)

        nothing = [None] * len(names)  # what is looped over is none of the metrics, which would be fetched by that
        self._empty, self._ref = loop("pass", "_", nothing), loop("ref.inc()", "_", nothing)
        self.loops = {
            "in order": loop(held, "metric", metrics),
            "in random order": loop(held, "metric", [metrics[number] for number in shuffled]),
            "by name": loop(by_name, "name", [names[number] for number in shuffled]),
        }
        self._count = len(names)

    def round(self, what: str) -> tuple[float, float]:
        """The ns of that operation, and that as a ratio to REF."""
        loop = self.loops[what]
        loop.timeit(1)  # as if it had always been like that; and a timer has room for another value now
        empty = self._empty.timeit(1)
        one = self._ref.timeit(1) - empty
        taken = loop.timeit(1) - empty
        return taken / self._count * 1e9, taken / one


def report(subject_: Subject) -> tuple[float, float]:
    """The ns of CPU that a report takes by value, and that as a ratio to REF."""
    ref = timeit.Timer("ref.inc()", "ref = known", time.thread_time, {"known": Reference()})
    empty = timeit.Timer("pass", "", time.thread_time)
    begun = time.thread_time()
    told = subject_.report()
    taken = (time.thread_time() - begun) / subject_.count(told)
    one = (ref.timeit(100_000) - empty.timeit(100_000)) / 100_000
    return taken * 1e9, taken / one


def milliseconds(act: Callable[[], object]) -> float:
    begun = time.thread_time()
    act()
    return 1000 * (time.thread_time() - begun)


def resident() -> int:
    """The bytes of this process that are in memory, 0 where that cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def measure(library: str, kind: str, count: int) -> dict[str, float]:
    """All that is measured of a registry of so many metrics."""
    subject_ = SUBJECTS[library](kind)
    names = [f"servers.front.requests.{number}" for number in range(count)]
    metrics: list[Any] = [None] * count
    found: dict[str, float] = {}
    gc.collect()
    before, begun = resident(), time.thread_time()
    for number, name in enumerate(names):
        metrics[number] = subject_.make(name)
    found["making, ns"] = (time.thread_time() - begun) / count * 1e9
    found["bytes, made"] = (resident() - before) / count
    usual, frozen = Pauses(), Pauses()
    with usual.watched():
        subject_.report()
        measure_reports(subject_, metrics, REPORTED if library == "txmetrics" else REPORTED // 10, found)
    found["bytes, in use"] = (resident() - before) / count
    if subject_.call:
        measure_operations(subject_, names, metrics, found)
    found["full collection"] = min(milliseconds(gc.collect) for _ in range(3))
    gc.freeze()
    found["full collection, frozen"] = min(milliseconds(gc.collect) for _ in range(3))
    with frozen.watched():
        take_values(subject_, metrics, VALUES)
        subject_.report()
    found["longest pause"], found["longest pause, frozen"] = usual.longest, frozen.longest
    return found


def measure_reports(subject_: Subject, metrics: Sequence[Any], reported: int, found: dict[str, float]) -> None:
    """Idle ones, and ones of metrics with some values each."""
    for state, values in ("idle", 0), ("in use", VALUES):
        taken = []
        for _ in range(often(REPORTS, reported, len(metrics), 2)):
            take_values(subject_, metrics, values)
            taken.append(report(subject_))
        found[f"report, {state}, ns"] = median(ns for ns, _ in taken)
        found[f"report, {state}, x REF"] = median(ratio for _, ratio in taken)


def take_values(subject_: Subject, metrics: Sequence[Any], values: int) -> None:
    random = Random(1).random
    for metric in metrics:
        for _ in range(values):
            subject_.take(metric, random())


def measure_operations(
    subject_: Subject, names: Sequence[str], metrics: Sequence[Any], found: dict[str, float]
) -> None:
    operations = Operations(subject_, names, metrics)
    rounds = often(ROUNDS, OPERATIONS, len(metrics), 3)
    for what in operations.loops:  # one after the other: after the random order, a counter's numbers lie anywhere
        subject_.report()  # a timer of txmetrics folds 256 values when there are so many, and now there will not be
        taken = [operations.round(what) for _ in range(rounds)]
        found[f"{what}, ns"] = median(ns for ns, _ in taken)
        found[f"{what}, x REF"] = median(ratio for _, ratio in taken)


def often(most: int, in_all: int, count: int, least: int) -> int:
    return max(least, min(most, in_all // count))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    library, kind, count = sys.argv[1:]
    print(json.dumps(measure(library, kind, int(count))))


if __name__ == "__main__":
    main()
