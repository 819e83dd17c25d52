"""The benchmark of a request runs; its figures are for people, and no test depends on how large they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "request.py"
TABLES = "CPU microseconds a request", "thousand instructions a request"
ROW = re.compile(r"  (.+?) +([\d.]+) +([\d.]+) +([+-][\d.]+) x([\d.]+) +([\d.]+) +([+-][\d.]+) x([\d.]+)")


def run(**variables: str) -> str:
    """What a very short run prints."""
    command = [sys.executable, PROGRAM, "--rounds=1", "--instructions=10"]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_table(told: str, title: str) -> None:
    """There is a row for each site, and it adds up."""
    [table] = re.findall(rf"^{title} .*\n((?:  .*\n)+)", told, re.MULTILINE)
    rows = [ROW.fullmatch(line) for line in table.splitlines()]
    assert [row and row[1] for row in rows] == ["hello world", "five segments", "a Klein route"]
    for row in rows:
        assert row is not None
        bare, timed, more, ratio, in_place, more_in_place, ratio_in_place = map(float, row.groups()[1:])
        assert abs(bare + more - timed) < 0.2
        assert abs(bare + more_in_place - in_place) < 0.2
        assert abs(timed / bare - ratio) < 0.02
        assert abs(in_place / bare - ratio_in_place) < 0.02


def test_without_valgrind_there_is_a_table_and_a_sentence(tmp_path: Path) -> None:
    """The microseconds need nothing but this package and Klein."""
    told = run(PATH=str(tmp_path))
    check_table(told, TABLES[0])
    assert TABLES[1] not in told
    assert "\nno instructions are counted, which takes valgrind: " in told


def test_with_valgrind_there_are_two_tables() -> None:
    """And nothing is told that was not counted."""
    told = run()
    check_table(told, TABLES[0])
    if shutil.which("valgrind") is None:
        assert "\nno instructions are counted, which takes valgrind: " in told
    else:
        check_table(told, TABLES[1])
