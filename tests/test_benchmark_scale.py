"""The benchmark of many metrics runs, and judges right; its figures are for people, and no test depends on them."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.goals import GOALS
from benchmarks.results import Results
from benchmarks.scale import OURS, PEERS, Case, cases, figures, measure, run
from benchmarks.sizes.scale_child import Operations, Pauses, often
from benchmarks.sizes.scale_subjects import SUBJECTS, Subject

ROOT = Path(__file__).parent.parent
SIZES = 1_000, 10_000, 100_000, 1_000_000


class Touched:
    """A metric that knows how often it was used."""

    def __init__(self) -> None:
        self.times = 0

    def inc(self) -> None:
        self.times += 1


class Cupboard:
    """A registry of them."""

    def __init__(self) -> None:
        self.metrics: dict[str, Touched] = {}
        self.looked_up: list[str] = []

    def make(self, name: str) -> Touched:
        self.looked_up.append(name)
        return self.metrics.setdefault(name, Touched())


def test_each_operation_is_done_once_on_every_metric() -> None:
    """Also by name; and in random order means another one than that of their making."""
    cupboard = Cupboard()
    names = [f"requests.{number}" for number in range(100)]
    metrics = [cupboard.make(name) for name in names]
    cupboard.looked_up.clear()
    subject = Subject(cupboard, cupboard.make, "inc()", "make", lambda metric, _: metric.inc(), lambda: None, int)
    operations = Operations(subject, names, metrics)
    for times, what in enumerate(operations.loops, 1):
        nanoseconds, ratio = operations.round(what)
        assert nanoseconds > 0
        assert ratio > 0
        assert {metric.times for metric in metrics} == {2 * times}  # the first of them is not measured
    assert sorted(cupboard.looked_up) == sorted(2 * names)
    assert cupboard.looked_up[:100] != names


@pytest.mark.parametrize(("kind", "idle", "used"), [("counter", 1, 1), ("timer", 6, 16), ("mixed", 3.5, 8.5)])
def test_the_values_of_a_report_are_counted(kind: str, idle: float, used: float) -> None:
    """As many as there are lines for Graphite: a quiet timer has no percentiles."""
    subject = SUBJECTS[OURS](kind)
    metrics = [subject.make(f"requests.{number}") for number in range(10)]
    assert subject.count(subject.report()) == 10 * idle
    for metric in metrics:
        subject.take(metric, 0.5)
    assert subject.count(subject.report()) == 10 * used


def test_the_longest_pause_is_that_of_the_garbage_collector() -> None:
    """While it is watched, and not any longer."""
    pauses, callbacks = Pauses(), [*gc.callbacks]
    with pauses.watched():
        gc.collect()
    longest = pauses.longest
    assert longest > 0
    assert gc.callbacks == callbacks
    with pauses.watched():
        gc.collect(0)
    assert pauses.longest >= longest


def test_the_more_metrics_the_fewer_rounds() -> None:
    """Within what is bearable, and what is needed."""
    assert [often(101, 700_000, size, 3) for size in SIZES] == [101, 70, 7, 3]


def test_the_sizes_are_compared_by_their_ratios_to_ref() -> None:
    """Not by nanoseconds of processes at different times; and a registry counts only if it held every kind."""
    found = {
        Case(OURS, "counter", 1_000): {"in order, x REF": 1.0, "in random order, x REF": 1.1, "in order, ns": 40.0},
        Case(OURS, "counter", 100_000): {"in order, x REF": 1.2, "in random order, x REF": 3.3, "in order, ns": 20.0},
        Case(OURS, "mixed", 1_000): {"report, in use, x REF": 10.0, "report, idle, x REF": 8.0},
        Case(OURS, "mixed", 100_000): {"report, in use, x REF": 14.0, "report, idle, x REF": 12.0},
        Case(OURS, "mixed", 1_000_000): {},
        Case(OURS, "counter", 1_000_000): {},
    }
    told = figures(found, SIZES)
    assert told == pytest.approx(
        {
            "operation at 100,000 to 1,000": 1.2,
            "operation in random order at 100,000 to 1,000": 3.0,
            "collection at 100,000 to 1,000": 1.4,
            "collection of idle metrics at 100,000 to 1,000": 1.5,
            "most metrics": 0,
        }
    )
    found |= {Case(OURS, "timer", size): {"in order, x REF": 2.0} for size in SIZES[2:]}
    assert figures(found, SIZES)["most metrics"] == 1_000_000


def test_processes_are_summed_up_by_their_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails is told, and not tried again; what it told before is not trusted."""
    good, bad = Case(OURS, "counter", 1_000), Case(OURS, "timer", 1_000)
    told = iter([{"ns": 5.0}, {"ns": 1.0}, None, {"ns": 900.0}, {"ns": 7.0}])

    def pretend(case: Case) -> dict[str, float]:
        each = next(told)
        if each is None:
            raise RuntimeError("MemoryError")
        return each

    monkeypatch.setattr(scale, "run", pretend)
    found, failed = measure([bad, good, bad, good, bad, good])
    assert found == {good: {"ns": 7.0}}
    assert failed == {bad: "MemoryError"}


def test_the_sizes_take_turns_and_the_largest_is_last() -> None:
    """So that what the machine does for a while is not one size's alone; peers that are missing are left out."""
    all_ = cases(SIZES, 2, [PEERS[0]])
    counters = [case.metrics for case in all_ if case.library == OURS and case.kind == "counter"]
    assert counters == [1_000, 10_000, 100_000, 1_000, 10_000, 100_000, 1_000_000]
    assert {case.library for case in all_} == {OURS, PEERS[1]}


def test_a_process_that_fails_says_why() -> None:
    """In one line."""
    with pytest.raises(RuntimeError, match=r"^KeyError: 'nonsense'$"):
        run(Case(OURS, "nonsense", 1))


def test_it_runs_without_peers_and_tells_what_the_goals_are_about(tmp_path: Path) -> None:
    """And what is missing."""
    told = tmp_path / "scale.json"
    command = [sys.executable, "-m", "benchmarks.scale", "--quick", f"--json={told}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = Results.read(told)
    goals = {goal.figure for goal in GOALS if goal.part == "scale"}
    assert goals
    assert goals <= set(results.figures)
    assert all(figure > 0 for figure in results.figures.values())
    operations, reports, memory = results.tables
    libraries = {row[1] for row in operations.rows}
    for library in PEERS:
        assert (library in libraries) != (f"Without {library}: " in operations.note)
    assert "Not measured are" not in operations.note
    assert reports.rows
    assert memory.rows
    assert "One operation, ns" in done.stdout
