"""CsvReporter: a file of comma-separated values, or otherwise separated ones, for each metric."""

from __future__ import annotations

import os
from collections import Counter as Tally
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from txmetrics.compat.pyformance.registry import Told
from txmetrics.compat.pyformance.reporters.reporter import Reporter
from txmetrics.interfaces import IEncoder, IWire
from txmetrics.snapshot import Reading

__all__ = ["CsvReporter"]


class CsvReporter(Reporter):
    """Adds a row to ``path/name.csv`` for each metric; ``path`` is made if it is not there, None: where we are now.

    The columns are ``timestamp``, a date and time of UTC, and the fields in the order of their names. A file that is
    new begins with their names. No file stays open. A / in a metric's name is %2F in the file's.
    Needs no reactor for ``report_now``.
    """

    def __init__(
        self,
        registry: Any = None,
        reporting_interval: float = 30,
        path: str | os.PathLike[str] | None = None,
        separator: str = "\t",
        clock: Any = None,
    ) -> None:
        super().__init__(registry, reporting_interval, clock)
        self.path = path or os.getcwd()
        self.separator = separator
        os.makedirs(self.path, exist_ok=True)

    def __enter__(self) -> CsvReporter:
        return self

    def __exit__(self, *ignored: object) -> None:
        """Nothing is open."""

    def _write_as(self) -> IWire:
        return _Files(Path(self.path), self.separator)


@implementer(IWire)
class _Files:
    log = Logger()

    def __init__(self, folder: Path, separator: str) -> None:
        self._folder = folder
        self._separator = separator
        self._troubled = False

    def encoder(self, timestamp: int) -> IEncoder:
        return _Rows(self, datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S"))

    def append(self, name: str, head: list[str], row: list[str]) -> None:
        """Add ``row`` to the file of the metric ``name``, after a ``head`` if it is new."""
        with (self._folder / f"{name}.csv").open("a", encoding="utf-8", newline="") as file:
            rows = [row] if file.tell() else [head, row]
            file.write("".join([f"{self._separator.join(map(_one_line, each))}\n" for each in rows]))

    def tell(self, error: OSError | None) -> None:
        """Log that rows cannot be written, when that begins."""
        if error is not None and not self._troubled:
            text = "rows cannot be written to {folder} ({error}); trying again with each report"
            self.log.warn(text, folder=str(self._folder), error=error)
        self._troubled = error is not None


@implementer(IEncoder)
class _Rows:
    """One report."""

    def __init__(self, files: _Files, time: str) -> None:
        self.refused: Tally[str] = Tally()
        self._files = files
        self._time = time
        self._error: OSError | None = None

    def add(self, reading: Reading | Told) -> None:
        if not isinstance(reading, Told):
            return
        fields = sorted(reading.fields)
        row = [self._time, *(str(reading.fields[field]) for field in fields)]
        try:
            self._files.append(_file_name(str(reading.name)), ["timestamp", *fields], row)
        except OSError as error:  # the other metrics have files of their own
            self._error = error
            self.refused["unwritable"] += 1

    def finish(self) -> None:
        self._files.tell(self._error)


def _file_name(name: str) -> str:
    return name.replace("/", "%2F").replace("\0", "%00")


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
