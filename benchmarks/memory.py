"""What metrics take of the memory: idle and in use, with the readers that report them, and with many values.

    python -m benchmarks.memory                  # two minutes; --quick: a look at whether it runs

The bytes are tracemalloc's: all that was allocated since just before the first metric was made, and is still held,
divided by the number of metrics. So a metric's part of the dict and the lists that keep it is in it; an empty registry
is not, and neither is the name, which the caller has made. A dict grows by doubling, and so its part depends on how
full it is; the numbers of metrics here fill it to about three quarters, which is between the best and the worst.
Everything is done once before, so that what a library makes only once is no metric's.
"""

from __future__ import annotations

import argparse
from array import array
from collections.abc import Sequence

from benchmarks.results import Plot, Results, Table
from benchmarks.sizes.memory_subjects import KINDS, OURS, TIMERS, Subject, subject
from benchmarks.sizes.memory_traced import INTERVALS, OPERATIONS, States, idle, in_use, known_name, lognormal, states

__all__ = ["cells", "measure", "of_size", "tell_kinds", "tell_timers"]

IDLE, IN_USE = 8_000, 250
"""So many metrics are idle, and so many in use. Of the latter at most 1,999: opentelemetry-sdk keeps no more."""

SIZES = 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000
"""The values of an interval. 1,000 and the last are what the figures are about."""

MANY_TIMERS, SHARED = 500, 100_000
"""So many timers take few values each; of more values there are as many timers as share these, or one."""

READERS = "", ", with a reader that has seen it", ", with two readers that have seen it"


def tell_kinds(idles: int, used: int) -> tuple[Table, dict[str, float]]:
    """The table of the kinds, and the figures in it."""
    columns = ["", "library", "just made", "one reader", "two readers", "in use", "one reader", "two readers"]
    table = Table("One metric, bytes", columns)
    table.note = (
        f"Just made are {idles:,} metrics; in use are {used:,} that had {INTERVALS} intervals of {OPERATIONS} "
        "operations, with lognormal values if they take values, and a report after each. The columns of readers tell "
        "what is held on top of that for the readers that have reported the metric; peers have none. A metric of "
        "opentelemetry-sdk is not there before it is used; of prometheus_client and opentelemetry-sdk it is one value "
        f"of a label. Besides, a reporter's wire remembers each name: {known_name(idles):,.0f} bytes."
    )
    figures: dict[str, float] = {}
    missing = {}
    for kind, libraries in KINDS.items():
        for library in libraries:
            try:
                each = [measure(library, kind, readers, idles, used) for readers in range(3 if library == OURS else 1)]
            except ImportError as reason:
                missing[library] = f" Without {library}: {reason}."
                continue
            table.rows.append([kind, library, *cells([made for made, _ in each]), *cells([used for _, used in each])])
            if library == OURS:
                for readers, (made, _) in zip(READERS, each, strict=True):
                    figures[f"idle {kind}{readers}"] = made or 0.0
            elif each[0][0] is not None:
                figures[f"idle {kind}, {library}"] = each[0][0]
    table.note += "".join(missing.values())
    figures["counter"] = figures["idle counter"]
    return table, figures


def measure(library: str, kind: str, readers: int, idles: int, used: int) -> tuple[float | None, float]:
    """What ``idle`` and ``in_use`` tell of it."""

    def fresh() -> Subject:
        return subject(library, kind, readers)

    return idle(fresh, idles), in_use(fresh, used)


def cells(by_readers: Sequence[float | None]) -> list[str]:
    """The bytes without a reader, and what one reader and two add to them."""
    alone, *others = by_readers
    if alone is None:
        return ["-"] * 3
    more = [f"{each - alone:+,.0f}" for each in others if each is not None]
    return [f"{alone:,.0f}", *(more or ["-", "-"])]


def tell_timers(sizes: Sequence[int], shared: int) -> tuple[Table, Plot, dict[str, float]]:
    """The table of a timer's values, its plot, and the figures in it; ``shared`` values are shared by some timers."""
    table = Table("One timer, by how many values it takes in an interval, bytes", ["", *(f"{n:,}" for n in sizes)])
    plot = Plot(table.title, "values in an interval", "bytes", logx=True, logy=True)
    values = lognormal(2 * max(shared, *sizes))
    ours = {n: of_size(OURS, "timer", 1, n, values, shared) for n in sizes}
    two = {n: of_size(OURS, "timer", 2, n, values, shared) for n in sizes}
    rows = {
        "txmetrics, before the report": {n: each.end for n, each in ours.items()},
        "txmetrics, after it": {n: each.after for n, each in ours.items()},
        "txmetrics, after that of one of two readers": {n: each.after for n, each in two.items()},
    }
    most = ours[sizes[-1]]
    table.note = (
        "Lognormal values, those of the second interval. What one of two readers has not reported yet is kept for it. "
        f"Of {sizes[-1]:,} values, txmetrics holds at most {most.peak:,.0f} bytes while they come in, and "
        f"{most.reporting:,.0f} during the report. pyformance's timer has a sample of "
        "1,028 values; prometheus_client has a histogram of 14 buckets, without percentiles; and of ddsketch there is "
        "a new sketch for each interval, with an accuracy of 1 %."
    )
    for library, kind in TIMERS.items():
        try:
            rows[library] = {n: of_size(library, kind, 0, n, values, shared).end for n in sizes}
        except ImportError as reason:
            table.note += f" Without {library}: {reason}."
    for row, by_size in rows.items():
        table.rows.append([row, *(f"{each:,.0f}" for each in by_size.values())])
        plot.series[row] = [*by_size.items()]
    figures = {
        "1,000 pending values": ours[1_000].end - ours[1_000].before,
        "timer of a million values": most.end,
        "timer of a million values, after the report": most.after,
        "timer of a million values, peak while they come in": most.peak,
        "timer of a million values, peak of the report": most.reporting,
    }
    return table, plot, figures


def of_size(library: str, kind: str, readers: int, size: int, values: array[float], shared: int) -> States:
    """``states`` of timers that take ``size`` values in an interval: as many as share so many, or a single one."""
    timers = max(1, min(MANY_TIMERS, shared // size))
    return states(lambda: subject(library, kind, readers), timers, values[: 2 * size * timers])


def main() -> None:
    parser = argparse.ArgumentParser(description="What metrics take of the memory.")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    given = parser.parse_args()
    results = Results("memory")
    results.add(*(tell_kinds(80, 2) if given.quick else tell_kinds(IDLE, IN_USE)))
    results.add(*(tell_timers((10, 1_000, 4_000), 4_000) if given.quick else tell_timers(SIZES, SHARED)))
    results.show()
    if given.json is not None:
        results.write(given.json)


if __name__ == "__main__":
    main()
