"""The benchmark of memory runs, and counts what is held; its figures are for people, and no test depends on them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.goals import GOALS
from benchmarks.memory import cells
from benchmarks.results import Results
from benchmarks.sizes.memory_subjects import KINDS, LIBRARIES, OURS, Subject, subject
from benchmarks.sizes.memory_traced import idle, in_use, lognormal, states, traced

ROOT = Path(__file__).parent.parent


class Buffers:
    """Metrics of which each takes 10,000 bytes, and 1,000 more for each value until ``reports`` reports came."""

    def __init__(self, reports: int = 1) -> None:
        self.metrics: dict[str, bytes] = {}
        self.values: list[bytes] = []
        self.awaited = self.reports = reports

    def make(self, name: str) -> None:
        if name not in self.metrics:
            self.metrics[name] = bytes(10_000)

    def use(self, name: str, value: float) -> None:
        self.make(name)
        self.values.append(bytes(1_000))
        bytes(5_000)

    def report(self) -> None:
        garbage: list[object] = [bytes(30_000)]
        garbage.append(garbage)
        self.awaited -= 1
        if not self.awaited:
            self.values.clear()
            self.awaited = self.reports

    def subject(self) -> Subject:
        return Subject(self.make, self.use, [self.report] * self.reports)


def test_what_is_held_is_counted_and_garbage_is_not() -> None:
    """Neither is what was there before."""
    before = bytes(500_000)

    def build() -> list[bytes]:
        cycle: list[object] = [bytes(300_000)]
        cycle.append(cycle)
        return [bytes(200_000), before]

    assert traced(build) == pytest.approx(200_000, abs=1_000)


def test_the_bytes_are_those_of_one_metric() -> None:
    """Of one that was just made, and of one that had some intervals and has reported them."""
    assert idle(lambda: Buffers().subject(), 50) == pytest.approx(10_000, rel=0.02)
    assert in_use(lambda: Buffers().subject(), 50) == pytest.approx(10_000, rel=0.02)
    assert idle(lambda: Buffers().subject()._replace(make=None), 50) is None


def test_an_interval_is_watched_from_report_to_report() -> None:
    """What its values take is held at its end, and not after the report, unless there is another reader."""
    spare = 1_500  # what the measuring takes itself
    one = states(lambda: Buffers().subject(), 1, lognormal(2 * 100))
    assert [one.before, one.end, one.after] == pytest.approx([10_000, 114_000, 10_000], abs=spare)
    assert [one.peak - one.end, one.reporting - one.end] == pytest.approx([5_000, 30_000], abs=spare)
    two = states(lambda: Buffers(2).subject(), 1, lognormal(2 * 100))
    assert [two.before, two.end, two.after] == pytest.approx([10_000, 114_000, 114_000], abs=spare)
    several = states(lambda: Buffers().subject(), 4, lognormal(2 * 100))
    assert several.end == pytest.approx(10_000 + 25 * 1_040, abs=spare)


def test_readers_are_told_as_what_they_add() -> None:
    """Each to none, not to each other; where there are no readers or no metric, nothing is told."""
    assert cells([100.0, 150.4, 1_175.0]) == ["100", "+50", "+1,075"]
    assert cells([1_234.5]) == ["1,234", "-", "-"]
    assert cells([None]) == ["-", "-", "-"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_used_metric_is_in_each_readers_report(kind: str) -> None:
    """So that what is measured after a report was reported; without a reader there is one report, of all."""
    for readers, reports in (0, 1), (1, 1), (2, 2):
        ours = subject(OURS, kind, readers)
        ours.use("requests", 0.5)
        assert len(ours.reports) == reports
        for report in ours.reports:
            report()


def test_it_runs_without_peers_and_tells_what_the_goals_are_about(tmp_path: Path) -> None:
    """And what is missing."""
    told = tmp_path / "memory.json"
    command = [sys.executable, "-m", "benchmarks.memory", "--quick", f"--json={told}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = Results.read(told)
    goals = {goal.figure for goal in GOALS if goal.part == "memory"}
    assert goals
    assert goals <= set(results.figures)
    assert all(figure > 0 for figure in results.figures.values())
    kinds, timers = results.tables
    libraries = {row[1] for row in kinds.rows}
    assert {row[0] for row in kinds.rows if row[1] == OURS} == set(KINDS)
    for library in LIBRARIES:
        assert (library in libraries) != (f"Without {library}: " in kinds.note)
    assert "One metric, bytes" in done.stdout
    assert timers.rows
