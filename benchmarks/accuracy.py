"""How far the percentiles that txmetrics and its peers tell are from the true ones, in ordinary and in evil streams.

    python -m benchmarks.accuracy                # some minutes; --quick: a look at whether it runs

The truth is the nearest rank: the smallest of the values that at least so many of them do not exceed, found by
sorting them all. An error is the distance from it in relation to it; what is shown is the worst of the percentiles
50, 75, 95, 98, 99 and 99.9, and of some streams of the same kind that differ in their random seed. Others define a
percentile a little differently, which makes a difference where values are few; therefore they are also judged
leniently, where everything between the two values around the rank is true. (See ``streams.py`` for the values, and
``percentiles.py`` for how each library is used.)
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple

from benchmarks.quantiles.percentiles import LIBRARIES, LIFE, PER_MILLE, REPORT
from benchmarks.quantiles.streams import LOGNORMAL, SMALL_INTEGERS, STREAMS, Stream
from benchmarks.results import Plot, Results, Table

EXACT = 2_048
FEW = 1, 2, 3, 5, 10
SIZES = *FEW, 100, 1_000, EXACT, 10_000, 100_000, 1_000_000
QUICK_SIZES = *FEW, 100, 1_000, EXACT, 10_000
LARGEST = 10_000_000
"""So many values are of one stream only."""

SEEDS = 5
REPEATED = 100_000
"""More values than this are of one seed only."""

SHOWN = 1e-4
"""An error that is less is drawn as this, as there is no zero on a logarithmic axis."""


class Truth(NamedTuple):
    """The true value of a percentile, and the values around it, between which other definitions lead."""

    nearest: float
    low: float
    high: float


class Outcome(NamedTuple):
    """The errors of a library in a stream, in %, by percentile."""

    library: str
    stream: str
    size: int
    strict: list[float]
    lenient: list[float]


def truths(ordered: Sequence[float]) -> list[Truth]:
    """Of each percentile of these values, which ascend."""
    found, count = [], len(ordered)
    for per_mille in PER_MILLE:
        nearest = ceiling(per_mille * count) - 1
        low, high = per_mille * (count - 1) // 1000, min(ceiling(per_mille * (count + 1)), count) - 1
        found.append(Truth(ordered[nearest], ordered[low], ordered[high]))
    return found


def ceiling(per_mille: int) -> int:
    """A thousandth of that, rounded up."""
    return -(-per_mille // 1000)


def error(told: float, low: float, high: float) -> float:
    """In %, none from ``low`` to ``high``; infinite for what is told instead of a zero."""
    true = min(max(told, low), high)
    if told == true:
        return 0.0
    return abs(told - true) / abs(true) * 100 if true else inf


def judge(library: str, stream: str, told: Sequence[float], values: Sequence[float], truth: list[Truth]) -> Outcome:
    strict = [error(each, true.nearest, true.nearest) for each, true in zip(told, truth, strict=True)]
    lenient = [error(each, true.low, true.high) for each, true in zip(told, truth, strict=True)]
    return Outcome(library, stream, len(values), strict, lenient)


def measure(plan: Iterable[tuple[Stream, int]], seeds: int) -> tuple[list[Outcome], dict[str, str]]:
    """The outcomes of each library in streams of these sizes; and why a library has none."""
    outcomes, missing = [], {}
    for stream, size in plan:
        for seed in range(seeds if size <= REPEATED else 1):
            values = stream.values(random.Random(f"{size} {seed}"), size)
            truth = truths(sorted(values))
            random.seed(seed)  # pyformance draws its sample with this
            for library, tell in LIBRARIES:
                try:
                    outcomes.append(judge(library, stream.name, tell(stream, values), values, truth))
                except ImportError as reason:
                    missing[library] = str(reason)
    return outcomes, missing


def worst(errors: Iterable[float]) -> float:
    return max(errors, default=0.0)


def by_stream(outcomes: list[Outcome], size: int) -> Table:
    names = list(dict.fromkeys(stream.name for stream in STREAMS))
    table = Table(f"Worst error in {size:,} values, %", ["", *names])
    of_size = [each for each in outcomes if each.size == size]
    for library, found in group(of_size):
        errors = {name: worst(max(each.strict) for each in found if each.stream == name) for name in names}
        table.rows.append([library, *map(shown, errors.values())])
    table.note = (
        "txmetrics is read as a reporter reads it, in its second report, alone and beside another reader that reads "
        "in between; `since it was made` is what `registry.read` tells, which is exact up to 256 values. The peers "
        "have no intervals, and begin anew with each stream. pyformance keeps a sample that decays; the values are "
        "spread over a minute of its clock, and of `burst at the end`, 4 % arrive in the last second, ten times as "
        "large. ddsketch is set to 1 %. hdrhistogram has two digits and microseconds, and so none of the values under "
        "half of one. Prometheus' quantiles are interpolated in its default buckets, 5 ms to 10 s, and those of "
        "opentelemetry-sdk in its exponential ones. `bucket edges` is the worst of four streams: the values that are "
        "the worst for txmetrics, for ddsketch, for hdrhistogram and for Prometheus."
    )
    return table


def by_size(outcomes: list[Outcome]) -> tuple[Table, Plot]:
    """Of the ordinary stream, as a table in which small sizes are one, and as a plot."""
    outcomes = [each for each in outcomes if each.stream == LOGNORMAL]
    sizes = sorted({each.size for each in outcomes})
    columns = [FEW, *((size,) for size in sizes if size not in FEW)]
    table = Table("Worst error by the number of values, lognormal, %", ["values", "1 to 10"])
    table.columns = [*table.columns, *(f"{size:,}" for size, *_ in columns[1:])]
    table.note = (
        "In brackets: what is left of it if any value between the two around the rank is taken for true, where that is "
        "less than half. What is gone then comes of another definition of a percentile: pyformance interpolates "
        "between values, ddsketch and hdrhistogram round to another rank. pyformance's errors are "
        "those of a random sample of 1,028 values, and a matter of luck. The worst of "
        f"{SEEDS} seeds up to {REPEATED:,} values, of a single one beyond."
    )
    plot = Plot("Worst error by the number of values, lognormal", "values", "%", logx=True, logy=True)
    plot.note = (
        "Any value between the two around the rank is taken for true, so that nobody's definition of a percentile "
        f"shows as an error. What is less than {SHOWN:g} %, or exact, is drawn as {SHOWN:g} %."
    )
    for library, found in group(outcomes):
        table.rows.append([library, *(both([each for each in found if each.size in column]) for column in columns)])
        lenient = {size: worst(max(each.lenient) for each in found if each.size == size) for size in sizes}
        plot.series[library] = [(size, max(SHOWN, error)) for size, error in lenient.items()]
    return table, plot


def by_percentile(outcomes: list[Outcome], size: int) -> Table:
    table = Table(
        f"Worst error by percentile, {size:,} values, lognormal, %", ["", *(f"p{each / 10:g}" for each in PER_MILLE)]
    )
    for library, found in group(each for each in outcomes if each.size == size and each.stream == LOGNORMAL):
        by_rank = zip(*(each.strict for each in found), strict=True)
        table.rows.append([library, *(shown(worst(errors)) for errors in by_rank)])
    return table


def group(outcomes: Iterable[Outcome]) -> Iterable[tuple[str, list[Outcome]]]:
    """By their library."""
    groups: dict[str, list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault(each.library, []).append(each)
    return groups.items()


def both(outcomes: list[Outcome]) -> str:
    strict, lenient = worst(max(each.strict) for each in outcomes), worst(max(each.lenient) for each in outcomes)
    return f"{shown(strict)} ({shown(lenient)})" if lenient < strict / 2 else shown(strict)


def shown(error: float) -> str:
    if 0 < error < 0.005:
        return "<0.01"
    return f"{error:,.{0 if error >= 100 else 1 if error >= 10 else 2 if error else 0}f}"


def figures(outcomes: list[Outcome]) -> dict[str, float]:
    """What the goals are about, and the same of a life."""
    reports = [each for each in outcomes if each.library == REPORT]
    chosen = {
        f"worst error up to {EXACT:,}": [each for each in reports if each.size <= EXACT],
        f"worst error beyond {EXACT:,}": [each for each in reports if each.size > EXACT],
        "worst error of small integers": [each for each in reports if each.stream == SMALL_INTEGERS],
        "worst error since it was made": [each for each in outcomes if each.library == LIFE],
    }
    return {name: max(max(each.strict) for each in found) for name, found in chosen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="How far the percentiles that are told are from the true ones.")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    given = parser.parse_args()
    sizes = QUICK_SIZES if given.quick else SIZES
    plan = [(stream, size) for size in sizes for stream in STREAMS]
    plan += [] if given.quick else [(stream, LARGEST) for stream in STREAMS if stream.name == LOGNORMAL]
    outcomes, missing = measure(plan, 1 if given.quick else SEEDS)
    results = Results("accuracy")
    results.add(by_stream(outcomes, sizes[-1]), *by_size(outcomes))
    results.add(by_percentile(outcomes, min(sizes[-1], REPEATED)))
    results.add(figures(outcomes))
    results.tables[0].note += "".join(f" Without {library}: {reason}." for library, reason in missing.items())
    results.show()
    if given.json is not None:
        results.write(given.json)


if __name__ == "__main__":
    main()
