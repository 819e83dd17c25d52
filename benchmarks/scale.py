"""Whether it stays as cheap with very many metrics: operations, reports, memory and the garbage collector's pauses.

    python -m benchmarks.scale                   # some ten minutes; --quick: a look at whether it runs

Each registry is in a process of its own, so that its memory and its garbage collector are its own; see
``sizes/scale_child.py``. There, everything that is timed is so beside REF, and sizes are compared by those ratios: the
processor is not equally fast at the time of another process. The sizes alternate, some times, and the median is told.
Processes get 6 GB of memory at most; what does not fit in there, or takes too long, is told as not measured.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.costs.operations import peer
from benchmarks.results import Plot, Results, Table
from benchmarks.sizes.scale_child import MEMORY, SECONDS, VALUES

__all__ = ["Case", "Found", "figures", "measure", "run"]

ROOT = Path(__file__).parent.parent

SIZES = 1_000, 10_000, 100_000, 1_000_000
"""Of metrics. The first and the last but one are compared; the last is of txmetrics alone, and measured once."""

REPEATS = 3
"""So many processes measure each size of txmetrics."""

OURS, PEERS = "txmetrics", ("pyformance", "prometheus_client")
KINDS = {OURS: ("counter", "timer", "mixed"), **dict.fromkeys(PEERS, ("counter", "timer"))}

OPERATIONS = "in order", "in random order", "by name"
GARBAGE = "full collection", "longest pause", "full collection, frozen", "longest pause, frozen"


class Case(NamedTuple):
    library: str
    kind: str
    metrics: int

    def __str__(self) -> str:
        kind = "counters and timers" if self.kind == "mixed" else f"{self.kind}s"
        return f"{self.metrics:,} {kind} of {self.library}"


Found = dict[Case, dict[str, float]]
"""What scale_child has measured."""


def run(case: Case) -> dict[str, float]:
    """What a process of its own tells. Raises RuntimeError if it fails."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.sizes.scale_child", *map(str, case)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done in {2 * SECONDS} s") from None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1])
    told: dict[str, float] = json.loads(done.stdout)
    return told


def cases(sizes: Sequence[int], repeats: int, missing: Iterable[str]) -> list[Case]:
    """In the order in which they are measured."""
    ours = [Case(OURS, kind, count) for count in sizes[:-1] for kind in KINDS[OURS]] * repeats
    libraries = [library for library in PEERS if library not in missing]
    peers = [Case(library, kind, count) for library in libraries for kind in KINDS[library] for count in sizes[:-1]]
    return [*ours, *peers, *(Case(OURS, kind, sizes[-1]) for kind in KINDS[OURS])]


def measure(all_: Iterable[Case]) -> tuple[Found, dict[Case, str]]:
    """The medians of all that is measured, and why it is not."""
    found: dict[Case, list[dict[str, float]]] = {}
    failed: dict[Case, str] = {}
    for case in all_:
        if case in failed:
            continue
        try:
            found.setdefault(case, []).append(run(case))
        except RuntimeError as reason:
            failed[case] = str(reason)
    done = {case: each for case, each in found.items() if case not in failed}
    return {case: {what: median(one[what] for one in each) for what in each[0]} for case, each in done.items()}, failed


def figures(found: Found, sizes: Sequence[int]) -> dict[str, float]:
    """What the goals are about."""
    told = {}
    small, large = sizes[0], sizes[-2]
    for figure, kind, what in [
        ("operation", "counter", "in order, x REF"),
        ("operation in random order", "counter", "in random order, x REF"),
        ("operation of a timer", "timer", "in order, x REF"),
        ("collection", "mixed", "report, in use, x REF"),
        ("collection of idle metrics", "mixed", "report, idle, x REF"),
    ]:
        few, many = found.get(Case(OURS, kind, small)), found.get(Case(OURS, kind, large))
        if few and many:
            told[f"{figure} at 100,000 to 1,000"] = many[what] / few[what]
    told["most metrics"] = max(
        (size for size in sizes if all(Case(OURS, kind, size) in found for kind in KINDS[OURS])), default=0
    )
    return told


def operations_of(found: Found) -> Table:
    table = Table("One operation, ns, and as a ratio to REF", ["", "library", "metrics", "making", *OPERATIONS])
    table.note = (
        "One on each of the metrics, in turn: a metric that is held, again and again in the order in which they were "
        "made, then in a random order, then looked up by its name, in that order. Where the metrics are many, it is "
        "the processor's caches that decide: in random order each metric, its number and its name have to be fetched "
        "from the memory. REF is one object, which stays in the caches. A counter counts; a timer is given a value "
        "(of prometheus_client: its histogram)."
    )
    for case, each in sorted(found.items(), key=_by_kind):
        if f"{OPERATIONS[0]}, ns" in each:
            cells = [f"{each[f'{what}, ns']:,.0f} ({each[f'{what}, x REF']:,.1f})" for what in OPERATIONS]
            table.rows.append([case.kind, case.library, f"{case.metrics:,}", f"{each['making, ns']:,.0f}", *cells])
    return table


def reports_of(found: Found, sizes: Sequence[int]) -> Table:
    table = Table("A report, ns of CPU a value, by the number of metrics", ["", "library", *(f"{n:,}" for n in sizes)])
    table.note = (
        "Collected and written as lines for Graphite, pyformance's by its CarbonReporter; prometheus_client's is "
        f"generate_latest. Mixed are as many counters as timers. In use is a timer that had {VALUES} values since the "
        "last report. A value is a number in the report: txmetrics tells 6 of an idle timer and 16 of one in use, "
        "pyformance always 15."
    )
    rows: dict[tuple[str, str], dict[int, str]] = {}
    for case, each in sorted(found.items(), key=_by_kind):
        for state in ("in use",) if case.kind == "counter" else ("idle", "in use"):
            row = rows.setdefault((f"{case.kind}, {state}", case.library), {})
            row[case.metrics] = f"{each[f'report, {state}, ns']:,.0f}"
    table.rows = [[*row, *(cells.get(size, "-") for size in sizes)] for row, cells in rows.items()]
    return table


def memory_of(found: Found, sizes: Sequence[int]) -> Table:
    columns = ["", "library", "metrics", "bytes, made", "in use", "full, ms", "pause", "full, frozen", "pause, frozen"]
    table = Table("Memory of a metric, and pauses by the garbage collector", columns)
    table.note = (
        "The bytes by which the process has grown in memory, by metric: when they were made, and after their reports "
        "(and what those took and gave back). `full` is a full collection of garbage, `pause` the longest one that "
        "came by itself while metrics took values and were reported; and the same after gc.freeze()."
    )
    for case, each in sorted(found.items(), key=_by_kind):
        if case.metrics in sizes[-2:]:
            cells = [f"{each[what]:,.0f}" for what in ("bytes, made", "bytes, in use")]
            cells += [f"{each[what]:,.1f}" for what in GARBAGE]
            table.rows.append([case.kind, case.library, f"{case.metrics:,}", *cells])
    return table


def plots_of(found: Found) -> list[Plot]:
    operation = Plot("A counter's operation by the number of metrics", "metrics", "x REF", logx=True, logy=True)
    report = Plot("A report by the number of metrics", "metrics", "ns a value", logx=True, logy=True)
    for case, each in sorted(found.items(), key=_by_kind):
        if case.kind == "counter":
            for what in OPERATIONS:
                operation.series.setdefault(f"{case.library}, {what}", []).append(
                    (case.metrics, each[f"{what}, x REF"])
                )
        series = report.series.setdefault(f"{case.library}, {case.kind}, in use", [])
        series.append((case.metrics, each["report, in use, ns"]))
    return [operation, report]


def _by_kind(item: tuple[Case, object]) -> tuple[str, int, int]:
    case = item[0]
    return case.kind, [OURS, *PEERS].index(case.library), case.metrics


def not_installed() -> dict[str, str]:
    missing = {}
    for library in PEERS:
        try:
            peer(library)
        except ImportError as reason:
            missing[library] = str(reason)
    return missing


def available() -> int:
    """The bytes of memory that are free on this machine, as far as that can be told."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return MEMORY


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether it stays as cheap with very many metrics.")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # which ends the process that measures, too
    sizes = (100, 200, 300) if given.quick else SIZES
    missing = not_installed()
    found, failed = measure(cases(sizes, 1 if given.quick else REPEATS, missing))
    results = Results("scale")
    operations = operations_of(found)
    operations.note += "".join(f" Without {library}: {reason}." for library, reason in missing.items())
    operations.note += "".join(f" Not measured are {case}: {reason}." for case, reason in failed.items())
    results.add(operations, reports_of(found, sizes), memory_of(found, sizes), *plots_of(found))
    results.add(figures(found, sizes))
    results.show()
    if given.json is not None:
        results.write(given.json)


if __name__ == "__main__":
    main()
