"""The benchmarks run, and their page tells what they found; their figures are for people, and no test depends on them.

(Each part has tests of its own, in test_benchmark_*.py, and what compares lost points in test_lost_points.py.)
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from math import nan
from pathlib import Path

import pytest

from benchmarks import PARTS
from benchmarks.__main__ import watch
from benchmarks.costs.operations import FLOOR, LIBRARIES
from benchmarks.goals import GOALS, HEADLINES, REMARKS
from benchmarks.page import BEGIN, END, page, summary, write
from benchmarks.results import Plot, Results, Run, Table

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"

MACHINE = {"processor": "Abacus, 2 cores", "Python": "CPython 3.11"}


def run_of(part: str, figures: dict[str, float] | None = None, failure: str = "") -> Run:
    """A run with these figures, a table and a plot, or one that failed."""
    table = Table("Speed", ["", "how", "ns"], [["add", "a|b", "1,234"], ["sub", "-", "7"]], note="Less is better.")
    plot = Plot("Speed, drawn", "values", "ns", {"ours": [(10, 1.0), (100, 2.0)], "theirs": [(10, 5.0)]})
    results = None if failure else Results(part, [table], [plot], figures or {})
    return Run(part, MACHINE, "2026-11-24 08:00 UTC", 12.5, 0.25, False, results, failure)


def goal_rows(text: str) -> dict[str, list[str]]:
    """The table of goals, by what each is about."""
    table = text.split("## Goals and results\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_a_goal_stands_beside_what_was_measured() -> None:
    """With the figures of the peers, from the same run."""
    figures = {"counter.inc, txmetrics": 1.043, "counter.inc, pyformance": 5.12, "counter.inc, prometheus_client": 8.3}
    rows = goal_rows(page([run_of("hot_path", figures)]))
    assert rows["`counter.inc()`"] == ["≤ 1.2 x REF", "1.04 x REF", "reached", "pyformance 5.12, prometheus_client 8.3"]


def test_a_missed_goal_is_told_twice() -> None:
    """In its row, and by name below the table; one that is reached is not."""
    figures = {"counter.inc, txmetrics": 1.3, "meter.mark, txmetrics": 1.0}
    figures["everything included, times cheaper than pyformance, timer"] = 4.9
    text = page([run_of("hot_path", figures)])
    assert goal_rows(text)["`counter.inc()`"][2] == "**missed**"
    missed = text.split("Not reached:\n")[1].split("\n## ")[0]
    assert re.findall(r"^- (.+?): ", missed, re.MULTILINE) == [
        "`counter.inc()`",
        "the same of a timer, so often cheaper than pyformance",
    ]


def test_a_goal_without_a_figure_is_not_reached() -> None:
    """Whether its part was not run, has failed, or told no such figure."""
    for runs, judged in [
        ([run_of("request")], "not measured"),
        ([run_of("hot_path", failure="it ended with 1")], "failed"),
        ([run_of("hot_path", {})], "not measured"),
    ]:
        assert goal_rows(page(runs))["`meter.mark()`"][1:3] == ["-", judged]


def test_a_part_that_failed_takes_nothing_from_the_others() -> None:
    """The page tells why it did, and what the other has found out."""
    text = page([run_of("hot_path", failure="it ended with 1: no such thing"), run_of("request")])
    assert "This part failed, and there are no figures of it: it ended with 1: no such thing" in text
    assert text.count("### Speed\n") == 1
    assert text.index("This part failed") < text.index("### Speed\n")


def test_a_table_arrives_as_it_is() -> None:
    """With its note, numbers at the right, and no cell that ends early."""
    text = page([run_of("request")])
    lines = ["|  | how | ns |", "| --- | --- | ---: |", "| add | a\\|b | 1,234 |", "| sub | - | 7 |"]
    assert "\n".join(["### Speed\n", *lines, "\nLess is better."]) in text


def test_the_page_tells_where_and_how_it_was_measured() -> None:
    """A part that was run on another machine than the last one says so; a quick run warns of its figures."""
    last, other = run_of("hot_path"), run_of("request")
    other.began, other.machine = "2026-11-23 08:00 UTC", {**MACHINE, "Python": "CPython 3.13"}
    text = page([last, other])
    assert "| processor | Abacus, 2 cores |" in text
    assert "`python -m benchmarks.request`, 2026-11-23 08:00 UTC; it took 12.5 s. 0.25 processes" in text
    assert text.count("Not the machine above, but: Python CPython 3.13.") == 1
    assert "A quick run" not in text
    last.quick = True
    assert "A quick run" in page([last, other])


def test_every_plot_is_drawn_and_linked(tmp_path: Path) -> None:
    """Also bars, whose places have names; a plot of an earlier run is gone."""
    run = run_of("request")
    assert run.results is not None
    run.results.add(
        Plot("By name", "", "ns", {"ours": [("add", 1.0), ("sub", 2.0)], "theirs": [("sub", 3)]}, "", "bars")
    )
    files = tmp_path / "performance"
    files.mkdir()
    (files / "request-earlier.svg").touch()
    run.write(files / "request.json")
    write(tmp_path)
    links = re.findall(r"!\[.+?\]\((.+?)\)", (tmp_path / "performance.md").read_text("utf-8"))
    assert links == ["performance/request-speed-drawn.svg", "performance/request-by-name.svg"]
    assert {path.name for path in files.glob("*.svg")} == {Path(link).name for link in links}
    assert ">theirs</text>" in (tmp_path / links[1]).read_text("utf-8")


def test_what_a_part_found_out_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A run's tables, plots and figures; a figure that is no number is refused."""
    run = run_of("request", {"bytes": 200.0})
    assert run.results is not None
    run.write(tmp_path / "run.json")
    run.results.write(tmp_path / "results.json")
    assert page([Run.read(tmp_path / "run.json")]) == page([run])
    assert Results.read(tmp_path / "results.json").figures == {"bytes": 200.0}
    run.results.figures["bytes"] = nan
    with pytest.raises(ValueError, match="JSON"):
        run.results.write(tmp_path / "results.json")


def test_the_readme_shows_what_was_measured() -> None:
    """Its table is that of the runs whose results are in docs, and nobody has written into it."""
    runs = [Run.read(file) for part in PARTS if (file := ROOT / "docs" / "performance" / f"{part}.json").exists()]
    assert {run.part for run in runs} == set(PARTS)
    assert not any(run.quick or run.failure for run in runs)
    table = (ROOT / "README.md").read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    assert table.strip() == summary(runs)
    assert (ROOT / "docs" / "performance.md").read_text("utf-8") == page(runs)


def test_the_readmes_table_is_written_between_its_marks(tmp_path: Path) -> None:
    """And what stands around it stays."""
    (tmp_path / "docs" / "performance").mkdir(parents=True)
    run_of("hot_path", {"counter.inc, txmetrics": 1.043}).write(tmp_path / "docs" / "performance" / "hot_path.json")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    write(tmp_path / "docs")
    told = readme.read_text("utf-8")
    assert told.startswith(f"before\n{BEGIN}\n|")
    assert told.endswith(f"{END}\nafter\n")
    assert "| `counter.inc()` | 1.04 x REF | ≤ 1.2 x REF |" in told
    assert "old" not in told


def test_each_part_is_there_and_says_what_it_is() -> None:
    """And each goal belongs to one of them."""
    for part in PARTS:
        docstring = ast.get_docstring(ast.parse((BENCHMARKS / f"{part}.py").read_text("utf-8")))
        assert docstring, part
        assert docstring.split("\n\n")[0].endswith("."), part
    assert {goal.part for goal in GOALS} <= set(PARTS)
    assert {goal.figure for goal in GOALS} >= {*HEADLINES, *REMARKS}


def test_a_part_that_fails_or_hangs_is_reported() -> None:
    """With the last that it said; one that succeeds is not."""
    assert watch([sys.executable, "-c", "pass"], 30) == ""
    assert watch([sys.executable, "-c", "raise SystemExit('no room')"], 30) == "it ended with 1: no room"
    assert watch([sys.executable, "-c", "import time; time.sleep(60)"], 0.3).startswith("it was not done in ")


def test_the_hot_path_runs_without_peers_and_without_valgrind(tmp_path: Path) -> None:
    """It tells what is missing, and of txmetrics all figures that its goals are about."""
    told = tmp_path / "hot_path.json"
    command = [sys.executable, "-m", "benchmarks.hot_path", "--quick", f"--json={told}"]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = Results.read(told)
    operations, instructions, *_ = results.tables
    libraries = {row[1].split(" ")[0] for row in operations.rows}
    missing = set(re.findall(r"Without ([\w-]+):", operations.note))
    assert "txmetrics" in libraries
    assert libraries | missing == set(LIBRARIES)
    assert not libraries & missing
    assert instructions.note.startswith("Not counted, which takes valgrind: ")
    goals = {goal.figure for goal in GOALS if goal.part == "hot_path" and "pyformance" not in goal.figure}
    assert goals
    assert goals <= set(results.figures)
    assert "counter.inc()" in done.stdout


@pytest.mark.parametrize("part", PARTS)
def test_a_part_starts_by_itself(part: str) -> None:
    """As a module, and says what it can do."""
    command = [sys.executable, "-m", f"benchmarks.{part}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
    assert "--quick" in done.stdout


def test_what_the_benchmarks_compare_with_is_pinned() -> None:
    """So that the same command compares the same things tomorrow."""
    lines = (BENCHMARKS / "requirements.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("  #")[0].split("==") for line in lines if line and not line.startswith("#"))
    assert set(pins) >= {each.replace("_", "-") for each in LIBRARIES} - {"txmetrics", FLOOR}
    assert find_spec("benchmarks.hot_path")
