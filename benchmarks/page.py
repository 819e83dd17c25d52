"""Makes docs/performance.md, with its plots, of what the parts have found out.

    python -m benchmarks.page docs

Reads docs/performance/*.json, which ``python -m benchmarks`` has written, and nothing else. The README beside that
folder gets its table, too.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import PARTS
from benchmarks.goals import GOALS, HEADLINES, REMARKS, Goal
from benchmarks.results import Plot, Run

__all__ = ["draw", "page", "summary", "write"]

HERE = Path(__file__).parent

BEGIN, END = "<!-- costs: written by python -m benchmarks -->", "<!-- end of costs -->"
"""Between these the README has its table."""

BEGINNING = """\
# What txmetrics costs

<!-- Written by `python -m benchmarks`. What is changed here by hand is lost with its next run. -->

Everything below was measured by one command, on one machine, txmetrics and its peers in the same run. What a machine
does beside changes figures from one minute to the next; so what is compared was measured in turns, and most figures
are ratios. `REF` is a method of a class with `__slots__` whose body is `self.n += 1`: the least that a counter can be
in Python.

## How to run it again

From a checkout, on a machine that has nothing else to do:

```
python -m benchmarks                  # everything, more than an hour; writes this page
python -m benchmarks hot_path         # one part; the rest of the page stays
python -m benchmarks --quick          # a look at whether everything runs; its page goes elsewhere
python -m benchmarks.hot_path         # one part without the page, beside the peers that are installed
```

The command makes an environment of its own with the peers in it (`benchmarks/requirements.txt`), in
`~/.cache/txmetrics-benchmarks`. Instructions are counted where there is `valgrind`, and `wrk` is used where it is
installed; without them, the rest runs.
"""


def write(docs: Path) -> None:
    """Write the page and its plots into ``docs``, of the runs in ``docs/performance``."""
    files = [docs / "performance" / f"{part}.json" for part in PARTS]
    runs = [Run.read(file) for file in files if file.exists()]
    for old in (docs / "performance").glob("*.svg"):
        old.unlink()
    for run in runs:
        for plot in run.results.plots if run.results else ():
            draw(plot, docs / "performance" / picture(run, plot))
    (docs / "performance.md").write_text(page(runs), encoding="utf-8")
    readme = docs.parent / "README.md"
    if readme.exists():
        before, _, rest = readme.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        if after:
            readme.write_text(f"{before}{BEGIN}\n{summary(runs)}\n{END}{after}", encoding="utf-8")


def summary(runs: Sequence[Run]) -> str:
    """What the README shows."""
    by_part = {run.part: run for run in runs}
    lines = []
    for goal in GOALS:
        if goal.figure in HEADLINES:
            figure = measured(goal, goal.figure, by_part)
            told = f"{number(figure)} {goal.unit}" if isinstance(figure, float) else figure
            lines.append([goal.what, told, limit(goal), beside(goal, by_part)])
    return "\n".join(rows(["", "txmetrics", "goal", "peers, in the same run"], lines))


def page(runs: Sequence[Run]) -> str:
    lines = [BEGINNING]
    if any(run.quick for run in runs):
        lines += ["**A quick run, to see whether everything works. None of these figures means anything.**\n"]
    if runs:
        machine = max(runs, key=lambda run: run.began).machine
        lines += ["## The machine\n", *rows(["", ""], [[*fact] for fact in machine.items()]), ""]
        lines += [*goals(runs)]
        for run in runs:
            lines += [*section(run, machine)]
    return "\n".join(lines)


def goals(runs: Iterable[Run]) -> Iterator[str]:
    """Each goal beside what was measured, and what was not reached."""
    by_part = {run.part: run for run in runs}
    lines, missed = [], []
    for goal in GOALS:
        figure = measured(goal, goal.figure, by_part)
        if isinstance(figure, float):
            reached = goal.reached(figure)
            told, judged = f"{number(figure)} {goal.unit}", "reached" if reached else "**missed**"
            missed += (
                []
                if reached
                else [f"- {goal.what}: {told} instead of {limit(goal)}. {REMARKS.get(goal.figure, '')}".rstrip()]
            )
        else:
            told, judged = "-", figure
        lines.append([goal.what, limit(goal), told, judged, beside(goal, by_part)])
    yield "## Goals and results\n"
    yield from rows(["", "goal", "measured", "", "peers, in the same run"], lines)
    yield ""
    if missed:
        yield "Not reached:\n"
        yield from missed
        yield ""


def measured(goal: Goal, figure: str, by_part: dict[str, Run]) -> float | str:
    """The figure, or why there is none."""
    run = by_part.get(goal.part)
    if run is None or run.results is None:
        return "not measured" if run is None else "failed"
    found = run.results.figures.get(figure)
    return "not measured" if found is None else float(found)


def limit(goal: Goal) -> str:
    return f"{'≤' if goal.kind == 'at most' else '≥'} {number(goal.limit)} {goal.unit}"


def beside(goal: Goal, by_part: dict[str, Run]) -> str:
    figures = [(name, measured(goal, figure, by_part)) for name, figure in goal.peers]
    return ", ".join(f"{name} {number(figure)}" for name, figure in figures if isinstance(figure, float))


def number(figure: float) -> str:
    """With two digits after the point if it is small, and without any if it is large."""
    digits = 0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 2
    text = f"{figure:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def section(run: Run, machine: dict[str, str]) -> Iterator[str]:
    """What a part has found out."""
    yield f"## {run.part.replace('_', ' ').capitalize()}\n"
    yield f"{purpose(run.part)}\n"
    yield f"*`python -m benchmarks.{run.part}`, {run.began}; it took {number(run.seconds)} s. {run.load:.2f} processes"
    yield "wanted a processor in the minute before.*\n"
    other = [f"{what} {fact}" for what, fact in run.machine.items() if machine.get(what) != fact]
    if other:
        yield f"*Not the machine above, but: {'; '.join(other)}.*\n"
    if run.results is None:
        yield f"**This part failed, and there are no figures of it: {run.failure}**\n"
        return
    for table in run.results.tables:
        yield f"### {table.title}\n"
        if table.rows:
            signs = ["---:" if table.numbers(column) else "---" for column in range(len(table.columns))]
            yield from rows(table.columns, table.rows, signs)
            yield ""
        if table.note:
            yield f"{table.note}\n"
    for plot in run.results.plots:
        yield f"![{plot.title}](performance/{picture(run, plot)})\n"
        if plot.note:
            yield f"{plot.note}\n"


def purpose(part: str) -> str:
    """The sentence that the part's docstring opens with."""
    docstring = ast.get_docstring(ast.parse((HERE / f"{part}.py").read_text("utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def rows(columns: Sequence[str], lines: Iterable[Sequence[str]], signs: Sequence[str] = ()) -> Iterator[str]:
    """A table in Markdown."""
    for line in (columns, signs or ["---"] * len(columns), *lines):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"


def picture(run: Run, plot: Plot) -> str:
    """A plot's file."""
    return f"{run.part}-{re.sub('[^a-z0-9]+', '-', plot.title.lower()).strip('-')}.svg"


def draw(plot: Plot, path: Path) -> None:
    """Write the plot as SVG. Raises ImportError without matplotlib."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Text stays text, and the same numbers are the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": plot.title, "font.family": "sans-serif"}):
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        axes = figure.add_subplot(title=plot.title)
        _draw_bars(axes, plot) if plot.kind == "bars" else _draw_lines(axes, plot)
        if len(plot.series) > 1:
            axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")


def _draw_lines(axes: Any, plot: Plot) -> None:
    for label, points in plot.series.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=label)
    _scale(axes.xaxis, plot.x, plot.logx)
    _scale(axes.yaxis, plot.y, plot.logy)


def _draw_bars(axes: Any, plot: Plot) -> None:
    """They lie, because their names are long: a group for each x, in it a bar for each series that has one there."""
    groups = list(dict.fromkeys(x for points in plot.series.values() for x, _ in points))
    width = 0.8 / len(plot.series)
    for place, (label, points) in enumerate(plot.series.items()):
        at = [groups.index(x) + width * (place + 0.5) - 0.4 for x, _ in points]
        axes.barh(at, [y for _, y in points], width, label=label)
    axes.set_yticks(range(len(groups)), [str(group) for group in groups])
    axes.invert_yaxis()
    axes.set_ylabel(plot.x)
    _scale(axes.xaxis, plot.y, plot.logy)


def _scale(axis: Any, name: str, logarithmic: bool) -> None:
    from matplotlib.ticker import LogFormatter

    axis.set_label_text(name)
    axis.grid(alpha=0.3)
    if logarithmic:
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_minor_formatter(LogFormatter())
        axis.set_major_formatter("{x:,g}")
    axis.set_tick_params(labelsize="small", which="both")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
