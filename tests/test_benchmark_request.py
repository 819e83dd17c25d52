"""The benchmark of a request runs; its figures are for people, and no test depends on how large they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import request
from benchmarks.results import Results, Table

ROOT = Path(__file__).parent.parent


def run(directory: Path, **variables: str) -> Results:
    """What a very short run tells."""
    told = directory / "request.json"
    command = [sys.executable, "-m", "benchmarks.request", "--quick", f"--json={told}"]
    done = subprocess.run(command, cwd=ROOT, env=variables or None, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Results.read(told)


def check(table: Table, title: str) -> None:
    """There is a row for each site."""
    assert table.title == title
    assert [row[0] for row in table.rows] == ["hello world", "five segments", "a Klein route"]
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_without_valgrind_there_is_a_table_and_a_sentence(tmp_path: Path) -> None:
    """The microseconds need nothing but this package and Klein."""
    microseconds, instructions = run(tmp_path, PATH=str(tmp_path)).tables
    check(microseconds, request.MICROSECONDS)
    assert instructions.rows == []
    assert instructions.note.startswith("Not counted, which takes valgrind: ")


def test_with_valgrind_there_are_two_tables(tmp_path: Path) -> None:
    """And a request that is measured takes more instructions than one that is not."""
    results = run(tmp_path)
    for table, title in zip(results.tables, (request.MICROSECONDS, request.INSTRUCTIONS), strict=True):
        check(table, title)
    more = [
        results.figures[f"{request.INSTRUCTIONS} more, {name}, {how}"] for name in request.SITES for how in request.OURS
    ]
    assert min(more) > 0


def test_a_row_adds_up() -> None:
    """What it costs without, with, how much more that is, and how many times as much."""
    taken = dict(zip(HOWS, (10.0, 11.0, 12.5, 15.0), strict=True))
    table, figures = request.tell("Cost", 1, {(name, how): taken[how] for name in request.SITES for how in HOWS})
    row = ["hello world", "10.0", "11.0", "+1.0", "1.10", "12.5", "+2.5", "1.25", "15.0", "+5.0", "1.50"]
    assert table.rows[0] == row
    assert figures["Cost more, hello world, TimedResource"] == pytest.approx(2.5)


HOWS = request.BARE, *request.MEASURED
