"""Meter: how many, and how many a second over the last one, five and fifteen minutes.

The moving averages are Dropwizard's (``ExponentialMovingAverages``): one tick every 5 s, in phase with the
meter's creation. The first tick sets a rate to count / 5; each later one adds alpha * (count / 5 - rate), with
alpha = 1 - exp(-5 / 60 / minutes). Ticks run late, when somebody reads, for an event has no time to look at a clock.
So of the events between two readings it is not known in which of the ticks they happened: each gets an equal share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp

from txmetrics.clock import SYSTEM, Clock
from txmetrics.snapshot import MeterReading, make

__all__ = ["Meter", "MovingAverages"]

TICK = 5.0


@lru_cache(maxsize=64)
def _weights(ticks: int) -> tuple[float, float, float]:
    """How much of an average so many ticks with the same share of the events replace."""
    m1, m5, m15 = (1 - exp(-TICK * ticks / 60 / minutes) for minutes in (1, 5, 15))
    return m1, m5, m15


class MovingAverages:
    """The three averages of an event count that somebody else keeps."""

    # Three numbers and no tuple: a new container for each of many meters at every tick is one that the garbage
    # collector has to look at.
    __slots__ = ("_counted", "_due", "_m1", "_m5", "_m15", "_start")

    def __init__(self, now: float) -> None:
        self._start = now
        self._due = now + TICK
        self._counted = 0
        self._m1 = self._m5 = self._m15 = 0.0

    def rates(self, now: float, count: int) -> tuple[float, float, float, float]:
        """One, five and fifteen minutes' average and the mean since the start, in events a second."""
        if now > self._due:
            self._advance(now, count)
        age = now - self._start
        return self._m1, self._m5, self._m15, count / age if count and age > 0 else 0.0

    def _advance(self, now: float, count: int) -> None:
        """Run the ticks that are due at ``now``; all events not yet counted belong to them."""
        ticks = int((now - self._due) // TICK) + 1
        first = self._due == self._start + TICK
        self._due += ticks * TICK
        instant = (count - self._counted) / (ticks * TICK)
        self._counted = count
        w1, w5, w15 = (1.0, 1.0, 1.0) if first else _weights(ticks)
        self._m1 += w1 * (instant - self._m1)
        self._m5 += w5 * (instant - self._m5)
        self._m15 += w15 * (instant - self._m15)


class Meter:
    """Counts events and knows their rates."""

    __slots__ = ("_averages", "_now", "count")

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._now: Callable[[], float] = clock.tick
        self._averages = MovingAverages(self._now())
        self.count = 0

    def mark(self, n: int = 1) -> None:
        """``n`` events happened."""
        self.count += n

    @property
    def m1_rate(self) -> float:
        return self.read("").m1_rate

    @property
    def m5_rate(self) -> float:
        return self.read("").m5_rate

    @property
    def m15_rate(self) -> float:
        return self.read("").m15_rate

    @property
    def mean_rate(self) -> float:
        """Events a second since the meter was made; 0.0 without events."""
        return self.read("").mean_rate

    def read(self, name: str) -> MeterReading:
        rates = self._averages.rates(self._now(), self.count)
        reading: MeterReading = make(MeterReading, (name, self.count, *rates))
        return reading
