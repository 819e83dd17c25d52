"""What a part of the suite tells: tables, plots, and the figures that a goal is about.

A part fills a ``Results``, shows it on the terminal, and writes it as JSON for the page::

    results = Results("scale")
    results.tables.append(Table("An operation", ["metrics", "ns"], [["1,000", "41"]], note="Less is better."))
    results.plots.append(Plot("An operation", "metrics", "ns", {"counter": [(1000, 41)]}, logx=True))
    results.figures["counter at 100,000"] = 43.5
    results.show()
    results.write(path)
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

__all__ = ["Plot", "Results", "Run", "Table"]


@dataclass
class Table:
    """Columns and rows of texts as they are to be shown."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    note: str = ""

    def numbers(self, column: int) -> bool:
        """Whether that column has mostly numbers in it, which stand at its right."""
        return 2 * sum(bool(re.match(r"[-+]?\d", row[column])) for row in self.rows) > len(self.rows)

    def show(self) -> None:
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        signs = ["<>"[self.numbers(column)] for column in range(len(self.columns))]
        print(f"\n{self.title}")
        for line in (self.columns, *self.rows):
            cells = zip(line, signs, widths, strict=True)
            print("  " + "  ".join(f"{cell:{sign}{width}}" for cell, sign, width in cells).rstrip())
        if self.note:
            print(fill(self.note, 110))


@dataclass
class Plot:
    """Some series of points over one pair of axes.

    Of ``bars`` the x may be a text, which names the bar, or the group of bars if there are several series.
    """

    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float | str, float]]] = field(default_factory=dict)
    note: str = ""
    kind: Literal["lines", "bars"] = "lines"
    logx: bool = False
    logy: bool = False


@dataclass
class Results:
    """All that ``part`` found out."""

    part: str
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def add(self, *found: Table | Plot | dict[str, float]) -> None:
        """Take in tables, plots and figures."""
        for each in found:
            if isinstance(each, Table):
                self.tables.append(each)
            elif isinstance(each, Plot):
                self.plots.append(each)
            else:
                self.figures.update(each)

    def show(self) -> None:
        """Print the tables, readable on a terminal."""
        for table in self.tables:
            table.show()

    def write(self, path: str | Path) -> None:
        """Write it all as JSON. Raises ValueError for a figure that is no finite number."""
        Path(path).write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Results:
        """What ``write`` wrote there."""
        return cls.of(json.loads(Path(path).read_text(encoding="utf-8")))

    @classmethod
    def of(cls, told: dict[str, Any]) -> Results:
        tables = [Table(**each) for each in told["tables"]]
        plots = [Plot(**each) for each in told["plots"]]
        return cls(told["part"], tables, plots, told["figures"])


@dataclass
class Run:
    """That a part was run: when, where, and what came of it."""

    part: str
    machine: dict[str, str]
    began: str
    seconds: float
    load: float
    """How many processes wanted a processor in the minute before."""
    quick: bool
    results: Results | None = None
    failure: str = ""

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Run:
        """What ``write`` wrote there."""
        told = json.loads(path.read_text(encoding="utf-8"))
        results = told.pop("results")
        return cls(**told, results=None if results is None else Results.of(results))
