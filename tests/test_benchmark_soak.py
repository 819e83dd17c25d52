"""The soak runs, and sees what grows, what is late and what is missing; how much that is, no test depends on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.goals import GOALS
from benchmarks.results import Plot, Results, Table
from benchmarks.soaking.judgement import Soaked, medians, quarters, slope, tell
from benchmarks.soaking.server import USES, Churn, Pace, Size
from benchmarks.soaking.world import Reports
from txmetrics import MetricsRegistry
from txmetrics.testing import FakeReactor

ROOT = Path(__file__).parent.parent
BEGAN = 1000.5
MINUTES = 4
SLOTS = range(1001, 1001 + 60 * MINUTES)


def report(stamp: int, points: int = 3) -> bytes:
    """The lines of one, which has so many points, without its last newline."""
    lines = [f"txmetrics.reports.count {stamp - 1001} {stamp}", f"txmetrics.reports_skipped.count 2 {stamp}"]
    return "\n".join([*lines, *[f"app.gauge {stamp} {stamp}"] * (points - 2)]).encode()


def soaked(*, growth: float = 0.0, drift: float = 0.0, missing: int = 0, **books: Any) -> Soaked:
    """A soak of some minutes, whose memory grows by so many bytes, and lateness by so many seconds, in a second."""
    reports = Reports()
    for stamp in SLOTS:
        if stamp != missing:
            reports.take(report(stamp), stamp + 0.002 + drift * (stamp - 1001))
    points = reports.points.total()
    ledger = {"collected": points, "delivered": points, "retained": 0, "queued": 0, "spooled": 0, "dropped": {}}
    sizes = [(BEGAN + at, Size(50_000_000 + round(growth * at), 600, at / 10, None)) for at in range(0, 240, 10)]
    sizes[0] = sizes[0][0], sizes[0][1]._replace(objects=5000)
    return Soaked(BEGAN, SLOTS[-1] + 0.5, sizes, reports, 100, 100, {"ledger": {**ledger, **books}, "requests": 100})


def figures(soak: Soaked) -> dict[str, float]:
    return next(each for each in tell(soak) if isinstance(each, dict))


def test_it_runs_without_peers_and_tells_all_figures(tmp_path: Path) -> None:
    """A quick run against a real server: reports arrive in each second, and all books agree; no process stays."""
    told = tmp_path / "soak.json"
    command = [sys.executable, "-m", "benchmarks.soak", "--quick", f"--json={told}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    results = Results.read(told)
    assert {goal.figure for goal in GOALS if goal.part == "soak"} <= set(results.figures)
    assert set(results.figures) >= {"RSS last to first quarter", "RSS slope", "drift"}
    differences = "reports missed", "reports twice", "requests uncounted", "points unaccounted"
    assert [results.figures[each] for each in differences] == [0, 0, 0, 0]
    [_, requests, points] = results.tables[2].rows
    assert int(requests[1].replace(",", "")) > 500
    assert int(points[1].replace(",", "")) > 3000
    assert len(results.plots) == 2


def test_a_server_that_ends_is_a_failure() -> None:
    """And is not waited for until the half hour is over."""
    program = (
        "from benchmarks import soak; soak.QUICK = soak.QUICK._replace(pace=soak.QUICK.pace._replace(new=None));"
        "soak.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "TypeError" in done.stderr  # of the server's
    assert "the server has ended too early" in done.stderr


def test_steady_is_steady() -> None:
    """Where nothing grows and nothing is late or missing, the figures say so."""
    assert figures(soaked()) == pytest.approx(
        {
            "RSS last to first quarter": 1.0,
            "RSS slope": 0.0,
            "drift": 0.0,
            "reports missed": 0,
            "reports twice": 0,
            "requests uncounted": 0,
            "points unaccounted": 0,
        },
        abs=1e-6,
    )


def test_growth_and_drift_are_told_in_their_units() -> None:
    """100 bytes a second are 6 kB a minute; a microsecond a second is 3.6 ms an hour."""
    told = figures(soaked(growth=100, drift=1e-6))
    assert told["RSS slope"] == pytest.approx(6)
    assert told["drift"] == pytest.approx(3.6, rel=1e-3)
    # Samples each ten seconds, 24 of them: the quarters' means are those of 0..50 s and 180..230 s.
    assert told["RSS last to first quarter"] == pytest.approx(50_020_500 / 50_002_500)


def test_a_report_that_is_missing_or_came_twice_is_seen() -> None:
    """One each; what was not sent is in nobody's books."""
    assert figures(soaked(missing=1100))["reports missed"] == 1
    soak = soaked()
    soak.reports.take(report(1100), 1105.0)
    told = figures(soak)
    assert (told["reports missed"], told["reports twice"], told["points unaccounted"]) == (0, 1, 3)


def test_books_that_do_not_agree_are_seen() -> None:
    """Whether points are nowhere, have not arrived, or requests were not counted."""
    points = 3 * len(SLOTS)
    assert figures(soaked(collected=points + 5))["points unaccounted"] == 5
    assert figures(soaked(collected=points + 5, dropped={"stopped": 5}))["points unaccounted"] == 0
    assert figures(soaked(collected=points + 4, delivered=points + 4))["points unaccounted"] == 4
    soak = soaked()
    soak.answered = 102
    assert figures(soak)["requests uncounted"] == 2


def test_lateness_does_not_depend_on_one_report() -> None:
    """The slope is that of medians; the table still shows the one."""
    soak = soaked()
    soak.reports.arrived[1230] += 0.7
    assert figures(soak)["drift"] == pytest.approx(0, abs=1e-6)
    table = next(each for each in tell(soak) if isinstance(each, Table) and each.title.startswith("How late"))
    assert table.rows[-1] == ["all", "2.00", "2.00", "702.00"]


def test_lines_are_counted_by_their_stamp() -> None:
    """A report may arrive in several pieces of whole lines; it is there with the first of them."""
    reports = Reports()
    first, rest = report(1001, 5).split(b"\n", 1)
    reports.take(first, 1001.1)
    reports.take(rest + b"\n" + report(1002), 1002.3)
    assert reports.arrived == {1001: 1001.1, 1002: 1002.3}
    assert reports.points == {1001: 5, 1002: 3}
    assert reports.times == {1001: 1, 1002: 1}
    assert reports.skipped == 2


def test_the_arithmetic_is_right() -> None:
    """By hand."""
    line = [(float(at), 3.0 + 2 * at) for at in range(8)]
    assert slope(line) == pytest.approx(2)
    assert quarters(line) == (4, 16)
    assert medians([(at, at % 3) for at in range(80)])[:2] == [(0, 1), (10, 1)]


def test_metrics_come_and_go() -> None:
    """Of all kinds, used, under new names; half of them are unregistered at their age, half expire a little later."""
    reactor = FakeReactor()
    registry = MetricsRegistry(reactor.clock)
    churn = Churn(registry, Pace(new=10, life=3, every=1, count_every=1))
    names: set[str] = set()
    for step in range(1, 15):
        reactor.advance(1)
        churn.step()
        there = set(registry)
        assert len({name for name in there if name.startswith("app.")}) == min(step, 3) * 5
        assert min(step, 3) * 5 <= len({name for name in there if name.startswith("idle.")}) <= min(step, 6) * 5
        names |= there
    assert len(names) == 140
    assert {name.split(".")[1].rstrip("0123456789") for name in names} == set(USES)
    assert all(registry.read(name).get("count", 1) >= 1 for name in registry)


def test_plots_begin_with_what_is_measured() -> None:
    """Their time is in minutes from there."""
    rss, lateness = (each for each in tell(soaked(growth=100)) if isinstance(each, Plot))
    assert rss.series["RSS"][6] == pytest.approx((1.0, 50.006))
    assert lateness.series["lateness"][6] == pytest.approx((60.5 / 60, 2.0))
