"""What a report costs: CPU time a value, and memory."""

from __future__ import annotations

import gc
import time
import tracemalloc
from statistics import median
from typing import NamedTuple

from benchmarks.reports.registries import LIBRARIES, OURS, OURS_TAGGED, Report, age, feed, told
from benchmarks.results import Plot, Table

__all__ = ["Cost", "Memory", "measure", "measure_memory", "tell", "tell_memory"]

LARGE = "txmetrics, ten times the metrics"


class Cost(NamedTuple):
    """One report: how many values it had, and microseconds of CPU."""

    values: int
    microseconds: float

    @property
    def of_a_value(self) -> float:
        return self.microseconds / self.values


class Memory(NamedTuple):
    """Bytes that one report took at most, and that were still there when it was written."""

    most: int
    kept: int


Costs = dict[int, dict[str, list[Cost]]]
"""By how many values each timer had in the interval, by library, by round."""


def made(values: int) -> tuple[list[Report], str]:
    """A report of each library, and which are missing."""
    found, missing = [], ""
    for library, make in LIBRARIES.items():
        try:
            found.append(make(values))
        except ImportError as reason:
            missing += f" Without {library}: {reason}."
    return found, missing


def measure(values: int, rounds: dict[int, int]) -> Costs:
    """``rounds`` is how often, by how many values each timer has in an interval. The libraries take turns."""
    reports, _ = made(values)
    reports.append(LIBRARIES[OURS](10 * values)._replace(library=LARGE))
    for report in reports:
        warm_up(report)
    gc.collect()
    gc.freeze()  # as a server with many long-lived objects does once it is up
    taken: Costs = {}
    for size, times in rounds.items():
        for number in range(-1, times):
            for report in reports:
                if report.library == LARGE and size > 100:  # it would take long, and tell nothing new
                    continue
                cost = one(report, size)
                if number >= 0:
                    taken.setdefault(size, {}).setdefault(report.library, []).append(cost)
    gc.unfreeze()
    return taken


def warm_up(report: Report) -> None:
    """Two reports, with many values: the first one of txmetrics is about each metric's whole life."""
    for _ in range(2):
        age(report.adds)
        report.write()


def one(report: Report, size: int) -> Cost:
    for _ in feed(report.adds, size) if size else ():
        pass
    began = time.thread_time()
    written = report.write()
    microseconds = 1e6 * (time.thread_time() - began)
    return Cost(told(written), microseconds)


def tell(taken: Costs, missing: str) -> tuple[Table, Plot, dict[str, float]]:
    """A table, a plot and the figures of what ``measure`` took; ``missing`` is said in the note."""
    columns = ["values a timer in the interval", "", "values told", "ms a report", "us a value", "least", "most"]
    table = Table("Collecting and writing down a report, CPU time", columns)
    table.note = (
        "The same metrics in each library: 10,000 counters, 5,000 gauges, 1,000 meters and 1,875 timers, which are "
        "50,000 values of txmetrics' (fewer when the timers are idle). Medians of rounds in which the libraries take "
        "turns, and the least and the most of them. That the timers' values were added is not in it, but that they are "
        "sorted is: 1,000 in each timer are 1,875,000 in a report. txmetrics is a "
        "Reporter whose chunks are thrown away; its delivery compresses and keeps them. pyformance is its "
        "CarbonReporter without the socket: its timers keep a sample of up to 1,028 values, of which they have "
        "600 in the beginning. prometheus_client is `generate_latest`, with a histogram of 15 buckets for each timer. "
        "With tags each metric has one of its own; a fleet's worker has two on every line, and tells deltas. "
        "The floor is one join of lines with as many numbers, whole and with 17 digits, that are just there. "
        "All timers had 600 values before, and `gc.freeze()` was called, which the README recommends." + missing
    )
    plot = Plot("Collecting and writing down, us of CPU a value", "", "us a value", kind="bars")
    for size, by_library in taken.items():
        for library, costs in by_library.items():
            each = [cost.of_a_value for cost in costs]
            milliseconds = median(cost.microseconds for cost in costs) / 1000
            cells = [f"{costs[-1].values:,}", f"{milliseconds:,.1f}"]
            cells += [f"{value:.2f}" for value in (median(each), min(each), max(each))]
            table.rows.append([f"{size:,}" if size else "none", library, *cells])
            plot.series.setdefault(library, []).append((f"{size:,} values a timer", median(each)))
    return table, plot, figures(taken)


def figures(taken: Costs) -> dict[str, float]:
    usual = taken[20]
    ratios = [large.of_a_value / small.of_a_value for large, small in zip(usual[LARGE], usual[OURS], strict=True)]
    tags = [tagged.of_a_value / bare.of_a_value for tagged, bare in zip(usual[OURS_TAGGED], usual[OURS], strict=True)]
    by_library = {library: median(cost.of_a_value for cost in costs) for library, costs in usual.items()}
    peers = {f"us a value, {library}": cost for library, cost in by_library.items()}
    return {"us a value": by_library[OURS], "500,000 to 50,000": median(ratios), "tags to none": median(tags), **peers}


def measure_memory(values: int) -> tuple[dict[str, Memory], str]:
    """By library; and which are missing. Of the third report of each."""
    reports, missing = made(values)
    return {report.library: memory(report) for report in reports}, missing


def memory(report: Report) -> Memory:
    warm_up(report)
    for _ in feed(report.adds, 20):
        pass
    gc.collect()
    tracemalloc.start()
    written = report.write()
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del written
    return Memory(most, kept)


def tell_memory(taken: dict[str, Memory]) -> tuple[Table, dict[str, float]]:
    """A table and the figure of what ``measure_memory`` took."""
    table = Table("Memory that a report takes, MB", ["", "at most", "when it is written"])
    table.note = (
        "With 20 values for each timer. What is allocated from its beginning on, as tracemalloc counts it. In the end "
        "pyformance and prometheus_client have the report as one piece of text. txmetrics hands its chunks over one by "
        "one; its delivery holds them compressed, for as long as a crash of the backend could lose them (a minute, if "
        "nothing else is said), in at most 8 MiB."
    )
    for library, (most, kept) in taken.items():
        table.rows.append([library, f"{most / 1e6:.2f}", f"{kept / 1e6:.2f}"])
    peers = {f"extra memory, {library}": each.most / 1e6 for library, each in taken.items()}
    return table, {"extra memory": taken[OURS].most / 1e6, **peers}
