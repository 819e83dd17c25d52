"""Deltas: what has changed since the last visit, where a reading tells of a whole life."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from txmetrics.registry._reader import Reader
from txmetrics.snapshot import CounterReading, HistogramReading, MeterReading, Number, Reading, TimerReading, make

if TYPE_CHECKING:
    from txmetrics.registry._registry import MetricsRegistry

__all__ = ["DeltaReader", "Deltas"]


class Deltas:
    """One visitor's memory of what it was told last; every reading has to go through ``of``, for what one of a metric
    has counted is not in its next."""

    def __init__(self) -> None:
        self._told: dict[str, Number] = {}
        self._refused: dict[str, int] = {}

    def of(self, reading: Reading) -> Reading:
        """``reading`` with what has been counted and added up since that metric's last one, the first time in all.

        Everything else is as it was: a gauge, a rate, the spread, which is an interval's already.
        """
        if type(reading) is CounterReading:  # the quickest way, for most are
            name, count = reading.name, reading.count
            before = self._told.get(name, 0)
            self._told[name] = count
            delta: Reading = make(CounterReading, (name, count - before))
            return delta
        return self._of_other(reading)

    def _of_other(self, reading: Reading) -> Reading:
        delta: Reading = reading
        if isinstance(reading, MeterReading):
            name, count = reading.name, reading.count
            delta = make(MeterReading, (name, count - self._told.get(name, 0), *reading[2:]))
            self._told[name] = count
        elif isinstance(reading, HistogramReading | TimerReading):
            name, spread, refused = reading.name, reading.spread, reading.refused
            happened = (0, 0.0) if spread is None else (spread.count, spread.sum)
            if refused:
                refused, self._refused[name] = refused - self._refused.get(name, 0), refused
            delta = make(type(reading), (name, *happened, *reading[3:-1], refused))
        return delta

    def forget(self, name: str) -> None:
        """The metric ``name`` is gone, or begins anew."""
        self._told.pop(name, None)
        self._refused.pop(name, None)


class DeltaReader(Reader):
    """A visitor who is told of counts and sums, too, what happened since its last visit, the first time all."""

    def __init__(self, registry: MetricsRegistry) -> None:
        super().__init__(registry)
        self._deltas = Deltas()

    def collect(self) -> Iterator[Reading]:
        return map(self._deltas.of, super().collect())

    def forget(self, name: str) -> None:
        super().forget(name)
        self._deltas.forget(name)
