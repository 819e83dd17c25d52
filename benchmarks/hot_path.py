"""What the server pays where it measures: each operation of txmetrics and of its peers, as a ratio to REF.

    python -m benchmarks.hot_path                # some minutes; --quick: a look at whether it runs

REF is a method of a class with __slots__ whose body is ``self.n += 1``. Whatever the machine does to an operation in
a moment, it does to REF as well; so both are measured right after each other, again and again, in several processes
one after the other, and the ratio is taken of each pair. pyperf does not measure in pairs, therefore the loops here
are timeit's; but what they took is stored in pyperf's format beside the JSON, so that ``python -m pyperf compare_to``
compares two versions. Then the same in instructions, which valgrind counts, and which do not depend on what else the
machine does; the cost of a value with everything included (see ``costs/included.py``); and that of importing
(``costs/imports.py``).
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from timeit import Timer

from benchmarks.costs import imports, included, instructions
from benchmarks.costs.operations import EMPTY, PIECE, REFERENCE, Operation, all_operations, peer
from benchmarks.results import Plot, Results, Table

ROOT = Path(__file__).parent.parent

SLICE = 0.0003
"""Seconds that an operation is measured before it is the next one's turn, about."""

Pair = tuple[float, float]
"""Nanoseconds, and that as a ratio to REF."""


class Stopwatch:
    """Measures one operation."""

    def __init__(self, operation: Operation) -> None:
        self._before = operation.before
        self._timer = Timer(operation.code, globals=operation.names)
        self._pieces = 1
        shortest = min(self.nanoseconds() for _ in range(5)) * PIECE / 1e9
        self._pieces = min(100, max(1, round(SLICE / shortest)))

    def nanoseconds(self) -> float:
        """Of one operation and its part of the loop."""
        seconds = 0.0
        for _ in range(self._pieces):
            if self._before is not None:
                self._before()
            seconds += self._timer.timeit(PIECE)
        return seconds / (self._pieces * PIECE) * 1e9


def measure(rounds: int) -> list[list[Pair]]:
    """The pairs of each operation by round."""
    operations, _ = all_operations()
    empty, reference = Stopwatch(EMPTY), Stopwatch(REFERENCE)
    watches = [Stopwatch(operation) for operation in operations]
    taken: list[list[Pair]] = [[] for _ in watches]
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for pairs, watch in zip(taken, watches, strict=True):
            loop = empty.nanoseconds()
            one = reference.nanoseconds() - loop
            cost = watch.nanoseconds() - loop
            pairs.append((cost, cost / one))
    return taken


def tell(operations: list[Operation], processes: list[list[list[Pair]]]) -> tuple[Table, Plot, dict[str, float]]:
    """A table, a plot and the figures of what ``measure`` took in each process."""
    columns = ["", "library", "", "ns", "x REF", "lowest process", "highest process"]
    table = Table("One operation", columns)
    table.note = (
        "Median of pairs; the last columns are the medians of single processes. `histogram.add`, `timer.add` and "
        "`with` are the call alone; what becomes of the value later is in the table of everything included. "
        "prometheus_client's histogram counts in 14 buckets and knows no percentiles; the pipeline of statsd is not "
        "sent."
    )
    plot = Plot("One operation, as a ratio to REF", "", "x REF", kind="bars", logy=True)
    figures = {}
    for number, operation in enumerate(operations):
        each = [median(ratio for _, ratio in process[number]) for process in processes]
        nanoseconds = median(ns for process in processes for ns, _ in process[number])
        ratio = median(each)
        cells = [f"{nanoseconds:,.0f}", f"{ratio:.2f}", f"{min(each):.2f}", f"{max(each):.2f}"]
        table.rows.append([operation.what, operation.library, f"`{operation.code}`", *cells])
        plot.series.setdefault(operation.library, []).append((operation.what, ratio))
        figures[f"{operation.what}, {operation.library}"] = ratio
    return table, plot, figures


def in_a_process(rounds: int) -> list[list[Pair]]:
    """What ``measure`` takes in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.hot_path", f"--measure={rounds}"]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=600).stdout
    taken: list[list[Pair]] = json.loads(told)
    return taken


def store(path: Path, operations: list[Operation], processes: list[list[list[Pair]]]) -> None:
    """Write the seconds in pyperf's format."""
    pyperf = peer("pyperf")
    suite = []
    for number, operation in enumerate(operations):
        metadata = {"name": f"{operation.library}: {operation.code}", "unit": "second", "loops": PIECE}
        taken = ([ns / 1e9 for ns, _ in process[number]] for process in processes)
        runs = [pyperf.Run([max(each, 1e-12) for each in seconds], metadata=metadata) for seconds in taken]
        suite.append(pyperf.Benchmark(runs))
    pyperf.BenchmarkSuite(suite).dump(str(path), replace=True)


def compare_operations(quick: bool, json_file: str | None) -> tuple[Table, Plot, dict[str, float]]:
    operations, missing = all_operations()
    processes = [in_a_process(3 if quick else 61) for _ in range(1 if quick else 10)]
    table, plot, figures = tell(operations, processes)
    table.note += "".join(f" Without {library}: {reason}." for library, reason in missing.items())
    if json_file is not None and find_spec("pyperf"):
        store(Path(json_file).with_suffix(".pyperf.json"), operations, processes)
    return table, plot, figures


def compare_instructions(quick: bool) -> Table:
    operations, _ = all_operations()
    try:
        return instructions.tell(operations, instructions.count(50 if quick else 1000))
    except (OSError, subprocess.CalledProcessError) as reason:
        return Table(instructions.TITLE, [""], note=f"Not counted, which takes valgrind: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of each operation, as a ratio to REF.")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        print(json.dumps(measure(given.measure)))
        return
    results = Results("hot_path")
    results.add(*compare_operations(given.quick, given.json))
    results.add(compare_instructions(given.quick))
    sizes = included.SIZES[:3] if given.quick else included.SIZES
    results.add(*included.tell(included.measure(1 if given.quick else 21, sizes)))
    results.add(*imports.tell(imports.measure(1 if given.quick else 15)))
    results.show()
    if given.json is not None:
        results.write(given.json)


if __name__ == "__main__":
    main()
