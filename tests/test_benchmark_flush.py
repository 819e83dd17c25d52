"""The benchmark of a report runs, and judges rightly; its figures are for people, and no test depends on them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path

import pytest

from benchmarks.goals import GOALS
from benchmarks.reports import cost, turns
from benchmarks.reports.cost import LARGE, Cost
from benchmarks.reports.reactor import SHORT, Pair, Passed, Spans, pairs
from benchmarks.reports.registries import (
    LIBRARIES,
    OURS,
    OURS_DELTAS,
    OURS_TAGGED,
    PROMETHEUS,
    PYFORMANCE,
    Report,
    Sizes,
    told,
)
from benchmarks.reports.turns import OURS_LARGE, WAYS, Way, figures, in_a_process, percentile
from benchmarks.results import Results

ROOT = Path(__file__).parent.parent


def spans(*ended: tuple[float, float]) -> Spans:
    """What ended when, and how long it took."""
    made = Spans()
    for end, length in ended:
        made.ends.append(end)
        made.lengths.append(length)
    return made


def judge(passed: Sequence[Passed], turns: Spans, beats: Spans) -> list[Pair]:
    return list(pairs(passed, turns, beats, 0.4))


def test_a_quick_run_tells_every_figure_of_a_goal(tmp_path: Path) -> None:
    """And what is not installed, without which it goes on."""
    file = tmp_path / "flush.json"
    command = [sys.executable, "-m", "benchmarks.flush", "--quick", f"--json={file}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = Results.read(file)
    goals = {goal.figure for goal in GOALS if goal.part == "flush"}
    assert len(goals) >= 6
    assert goals <= set(results.figures)
    cost, turns, stalls, memory = results.tables
    for library in PYFORMANCE, PROMETHEUS:
        shown = [any(library in cell for cell in row[:2]) for table in results.tables for row in table.rows]
        missing = f"Without {library}" in cost.note and f"Without {library}" in turns.note
        assert any(shown) != missing
    assert {OURS, OURS_LARGE} <= {row[0] for row in turns.rows} & {row[0] for row in stalls.rows}
    assert OURS in {row[0] for row in memory.rows}


def test_a_report_is_compared_with_the_time_before_it() -> None:
    """Both are as long as the window; what came before or after it does not count."""
    passed = [Passed(10, 10.1, 10.5), Passed(11, 11.1, 11.5)]
    turns = spans((10.54, 0.09), (10.7, 0.002), (10.94, 0.001), (10.96, 0.003), (11.39, 0.004), (11.41, 0.08))
    beats = spans((10.5, 0.09), (10.7, 0.005), (11.05, 0.006), (11.39, 0.007), (11.41, 0.08))
    assert judge(passed, turns, beats) == [Pair(0.004, 0.002, 0.007, 0.005)]


def test_what_begins_before_a_report_and_ends_in_it_is_the_report_s() -> None:
    """A turn in which all of a report is made, and the gap between two beats around it, end after its beginning."""
    passed = [Passed(10, 10.3, 10.5), Passed(11, 11.6, 11.9)]
    inline = spans((11.61, 0.62))
    assert judge(passed, inline, inline) == [Pair(0.62, SHORT, 0.62, SHORT)]


def test_a_report_without_quiet_before_it_is_left_out() -> None:
    """Because values were added until shortly before, or it never ended."""
    nothing = spans()
    assert judge([Passed(10, 10.1, 10.9), Passed(11, 11.1, 11.5)], nothing, nothing) == []
    assert judge([Passed(10, 10.1), Passed(11, 11.1, 11.5)], nothing, nothing) == []
    assert judge([Passed(10, 10.1, 10.5), Passed(11, inf, inf)], nothing, nothing) == []


def test_reports_that_do_not_arrive_are_a_failure() -> None:
    """pyformance, for one, says nothing when it cannot connect."""
    with pytest.raises(RuntimeError, match="of silent's reports, 0 lines arrived"):
        in_a_process(Way("silent", "nothing", 1000, 0.7, 0.4, 1))


def test_the_figures_are_percentiles_of_reports() -> None:
    """The p90 of the longest turns, and the difference of the medians of the stalls, in milliseconds."""
    assert [percentile([*range(1, 11)], percent) for percent in (1, 50, 90, 91, 100)] == [1, 5, 9, 10, 10]
    ours = [Pair(n / 1000, 0.001, 2 * n / 1000, 0.003) for n in range(1, 11)]
    found = figures({OURS: ours, OURS_LARGE: [Pair(0.5, 0, 0, 0)]})
    assert found["longest turn"] == pytest.approx(9)
    assert found["longest turn at 500,000"] == pytest.approx(500)
    assert found["stall over idle"] == found[f"stall over idle, {OURS}"] == pytest.approx(8)


def test_a_value_s_cost_is_the_report_s_by_its_values() -> None:
    """The ratio of two sizes is that of reports of the same round, and so is that of tags to none."""
    ours = [Cost(100, 50), Cost(100, 70), Cost(100, 100)]
    large = [Cost(1000, 600), Cost(1000, 700), Cost(1000, 1100)]
    tagged = [Cost(100, 55), Cost(100, 70), Cost(100, 90)]
    found = cost.figures({20: {OURS: ours, LARGE: large, OURS_TAGGED: tagged}})
    assert found["us a value"] == found[f"us a value, {OURS}"] == pytest.approx(0.7)
    assert found["500,000 to 50,000"] == pytest.approx(1.1)
    assert found["tags to none"] == pytest.approx(1.0)


def test_memory_is_what_a_report_takes_at_most_and_in_the_end() -> None:
    """Three megabytes for a moment, one of which is the report."""

    def write() -> bytes:
        pieces = [bytes(1_000_000), bytes(1_000_000), bytes(1_000_000)]
        return pieces.pop()

    most, kept = cost.memory(Report("", [], write))
    assert 3_000_000 <= most < 3_010_000
    assert 1_000_000 <= kept < 1_010_000


@pytest.mark.parametrize("library", [OURS, OURS_TAGGED, OURS_DELTAS])
def test_the_registries_have_the_values_that_they_should(library: str) -> None:
    """50,000 of txmetrics', in every report; a comment is no value."""
    counters, gauges, meters, timers = Sizes.of(50_000)
    assert counters + gauges + 5 * meters + 16 * timers == 50_000
    report = LIBRARIES[library](2_000)
    values = [cost.one(report, 20).values for _ in range(3)]
    assert values[0] == values[1] == values[2]
    assert 2_000 <= values[0] <= 2_020  # the reporter reports itself, too
    assert cost.one(report, 0).values == values[0] - 10 * Sizes.of(2_000).timers  # idle ones have no percentiles
    assert told(b"# HELP a b\na 1\nb 2\n") == 2


def test_every_way_is_a_mode_and_has_a_name_of_its_own() -> None:
    """So that no way's figures are mixed with another's, and a quick run leaves none out."""
    assert len({way.name for way in WAYS}) == len(WAYS)
    assert [way.name for way in turns.QUICK.ways] == [way.name for way in WAYS]
