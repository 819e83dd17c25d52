"""The benchmark of being looked at runs; its figures are for people, and no test depends on how large they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.looks import SCRAPES, Look, tell_page, tell_scrapes
from benchmarks.results import Results

ROOT = Path(__file__).parent.parent


@pytest.mark.seconds(120)
def test_a_short_run_tells_of_a_page_and_of_scrapes(tmp_path: Path) -> None:
    """Two tables, and a figure for each of the goals."""
    told = tmp_path / "looks.json"
    command = [sys.executable, "-m", "benchmarks.looks", "--quick", f"--json={told}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = Results.read(told)
    page, scrapes = results.tables
    assert [row[0] for row in scrapes.rows] == list(SCRAPES)
    assert len(page.rows) == 4
    assert results.figures["page, memory"] > 0
    assert min(results.figures[f"scrape, longest turn, {name}"] for name in SCRAPES) > 0


def test_a_page_costs_what_the_server_takes_more_with_it() -> None:
    """A second, in the middle of several runs; of the turns the longest counts."""
    bare = [Look(1.0, 0.0002, []), Look(1.1, 0.0001, []), Look(5.0, 0.0001, [])]
    shown = [Look(1.3, 0.0004, []), Look(1.2, 0.0006, []), Look(9.0, 0.0005, [])]
    _, figures = tell_page(bare, shown, 10, 44e6)
    expected = {"page, CPU a second": 20, "page, longest turn": 0.6, "page, memory": 44}
    assert figures == pytest.approx(expected)


def test_a_scrape_costs_its_share_of_what_the_server_takes_more() -> None:
    """By the number of scrapes, with and without gzip."""
    looks = Look(0.1, 0.0001, []), Look(0.5, 0.003, [0.2, 0.3, 0.7, 0.4]), Look(0.7, 0.004, [0.1, 0.2])
    table, figures = tell_scrapes({"counters": looks})
    assert table.rows == [["counters", "100", "3.00", "350", "300", "4.00", "150"]]
    assert figures == pytest.approx({"scrape, longest turn, counters": 4})
