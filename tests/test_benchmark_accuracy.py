"""The benchmark of accuracy runs, and judges by hand-made truths; its figures are for people, no test needs them."""

from __future__ import annotations

import re
import subprocess
import sys
from array import array
from math import inf, sqrt
from pathlib import Path
from random import Random

import pytest

from benchmarks import accuracy
from benchmarks.accuracy import Outcome, Truth, both, error, figures, measure, shown, truths
from benchmarks.goals import GOALS
from benchmarks.quantiles.percentiles import LIBRARIES, LIFE, REPORT, exponentially, linearly
from benchmarks.quantiles.streams import STREAMS, Stream
from benchmarks.results import Results

ROOT = Path(__file__).parent.parent

COUNTING = Stream("1, 2, 3 ...", lambda random, count: map(float, range(1, count + 1)), late=0.1)


def test_it_runs_without_peers_and_tells_what_its_goals_are_about(tmp_path: Path) -> None:
    """Each library has its row, or a note that it is missing."""
    told = tmp_path / "accuracy.json"
    command = [sys.executable, "-m", "benchmarks.accuracy", "--quick", f"--json={told}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    results = Results.read(told)
    goals = {goal.figure for goal in GOALS if goal.part == "accuracy"}
    assert goals
    assert goals <= set(results.figures)
    missing = set(re.findall(r"Without ([\w-]+):", results.tables[0].note))
    for table in results.tables:
        assert {row[0] for row in table.rows} == {name for name, _ in LIBRARIES} - missing
    assert all(y >= accuracy.SHOWN for points in results.plots[0].series.values() for _, y in points)


def test_the_truth_is_the_nearest_rank() -> None:
    """Of the numbers up to 10, 100 and 1,000, where everybody can count; and with the neighbours of that rank."""
    assert [each.nearest for each in truths(range(1, 11))] == [5, 8, 10, 10, 10, 10]
    assert [each.nearest for each in truths(range(1, 101))] == [50, 75, 95, 98, 99, 100]
    assert [each.nearest for each in truths(range(1, 1001))] == [500, 750, 950, 980, 990, 999]
    assert truths(range(1, 11))[:2] == [Truth(5, 5, 6), Truth(8, 7, 9)]
    assert truths([7.0]) == [Truth(7.0, 7.0, 7.0)] * 6


def test_an_error_is_a_share_of_the_truth() -> None:
    """To the nearer end of what is true; nothing can be a share of zero."""
    assert error(1.25, 1.0, 1.0) == 25
    assert error(-0.75, -1.0, -1.0) == 25
    assert error(3.0, 4.0, 8.0) == 25
    assert error(10.0, 4.0, 8.0) == 25
    assert error(5.0, 4.0, 8.0) == 0
    assert error(0.0, 0.0, 0.0) == 0
    assert error(1e-9, 0.0, 0.0) == inf


def test_a_liar_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the percentile where it lies, and by how much; who is not installed has no errors, but a reason."""

    def honest(stream: Stream, values: array[float]) -> list[float]:
        return [5, 8, 10, 10, 10, 10]

    def lying(stream: Stream, values: array[float]) -> list[float]:
        return [5.5, 8, 10, 10, 12, 10]

    def absent(stream: Stream, values: array[float]) -> list[float]:
        raise ImportError("no such module")

    monkeypatch.setattr(accuracy, "LIBRARIES", (("honest", honest), ("lying", lying), ("absent", absent)))
    outcomes, missing = measure([(COUNTING, 10)], 1)
    assert outcomes == [
        Outcome("honest", COUNTING.name, 10, [0] * 6, [0] * 6),
        Outcome("lying", COUNTING.name, 10, [10, 0, 0, 0, 20, 0], [0, 0, 0, 0, 20, 0]),
    ]
    assert missing == {"absent": "no such module"}


def test_each_figure_is_the_worst_of_its_own() -> None:
    """Up to 2,048 values, beyond, of integers, and of a life; peers are in none of them."""
    outcomes = [
        Outcome(library, stream, size, [0.0, worst], [0.0, 0.0])
        for library, stream, size, worst in [
            (REPORT, "lognormal", 10, 1.0),
            (REPORT, "lognormal", 2048, 5.0),
            (REPORT, "lognormal", 2049, 4.0),
            (REPORT, "lognormal", 10**6, 3.0),
            (REPORT, "integers 0..256", 10, 0.5),
            (LIFE, "lognormal", 10, 8.0),
            ("ddsketch", "lognormal", 10, 99.0),
        ]
    ]
    assert list(figures(outcomes).values()) == [5.0, 4.0, 0.5, 8.0]


def test_a_quantile_is_interpolated_as_prometheus_does_it() -> None:
    """Between the bounds of the bucket that it is in, from 0 in the first; above the last bound, that bound."""
    bounds, ranks = [1.0, 2.0, 4.0], [2, 2, 6, 10]
    assert linearly(bounds, ranks, 0.1) == 0.5
    assert linearly(bounds, ranks, 0.2) == 1.0
    assert linearly(bounds, ranks, 0.4) == 3.0
    assert linearly(bounds, ranks, 0.6) == 4.0
    assert linearly(bounds, ranks, 0.9) == 4.0


def test_between_powers_it_is_interpolated_by_the_exponent() -> None:
    """And the values below them all are zeros."""
    bounds, ranks = [1.0, 2.0, 4.0], [2, 4, 8]
    assert exponentially(bounds, ranks, 0.25) == 0
    assert exponentially(bounds, ranks, 0.5) == 2.0
    assert exponentially(bounds, ranks, 0.75) == pytest.approx(2 * sqrt(2))
    assert exponentially(bounds, ranks, 1) == 4.0


def test_all_values_arrive_in_their_order_within_a_minute() -> None:
    """In the last second as many as are said to be late; a stream is the same again with the same seed."""
    values = COUNTING.values(Random(1), 1000)
    arrived = list(COUNTING.by_second(values))
    assert len(arrived) == 60
    assert [*map(len, arrived[:3]), len(arrived[-1])] == [15, 15, 15, 100]
    assert [value for second in arrived for value in second] == values.tolist()
    for stream in STREAMS:
        values = stream.values(Random(1), 50)
        assert len(values) == 50
        assert values == stream.values(Random(1), 50)


def test_an_error_is_shown_as_large_as_it_is() -> None:
    """Only a true zero is 0; in brackets is what a lenient judge leaves of it, if that is much less."""
    assert [shown(each) for each in (0, 1e-9, 0.389, 12.34, 1234.5)] == ["0", "<0.01", "0.39", "12.3", "1,234"]
    assert both([Outcome("", "", 1, [0.0, 20.0], [1.0, 2.0])]) == "20.0 (2.00)"
    assert both([Outcome("", "", 1, [0.0, 20.0], [1.0, 12.0])]) == "20.0"
