"""ConsoleReporter: for people, on the console."""

from __future__ import annotations

import sys
from collections import Counter as Tally
from datetime import UTC, datetime
from typing import Any

from zope.interface import implementer

from txmetrics.compat.pyformance.registry import Told
from txmetrics.compat.pyformance.reporters.reporter import Reporter
from txmetrics.interfaces import IEncoder, IWire
from txmetrics.snapshot import Reading

__all__ = ["ConsoleReporter"]


class ConsoleReporter(Reporter):
    """Prints all metrics to ``stream``, or to the standard error (None); a report stays together.

    Needs no reactor for ``report_now``. A stream that makes others wait makes the reactor wait, as any print to it.
    """

    def __init__(
        self, registry: Any = None, reporting_interval: float = 30, stream: Any = None, clock: Any = None
    ) -> None:
        super().__init__(registry, reporting_interval, clock)
        self.stream = stream

    def _write_as(self) -> IWire:
        return _Page(self)


@implementer(IWire)
class _Page:
    def __init__(self, reporter: ConsoleReporter) -> None:
        self._reporter = reporter

    def encoder(self, timestamp: int) -> IEncoder:
        stream = self._reporter.stream
        return _Printed(sys.stderr if stream is None else stream, timestamp)


@implementer(IEncoder)
class _Printed:
    """One report; written when it is whole."""

    def __init__(self, stream: Any, timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self._stream = stream
        time = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")
        self._lines = [f"== {time} ==================================="]

    def add(self, reading: Reading | Told) -> None:
        if isinstance(reading, Told):
            self._lines.append(f"{reading.name}:")
            self._lines += [f"{field:>20} = {value}" for field, value in reading.fields.items()]

    def finish(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._stream.write("\n".join([*lines, "", ""]))
