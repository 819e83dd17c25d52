"""Meter: how many, and how many a second over the last one, five and fifteen minutes.

The moving averages are Dropwizard's (``ExponentialMovingAverages``): one tick every 5 s, in phase with the
meter's creation. The first tick sets a rate to count / 5; each later one adds alpha * (count / 5 - rate), with
alpha = 1 - exp(-5 / 60 / minutes). Ticks run late, at the next event or reading, and then as many as are due;
after 9,231 missed ones no count, however large, leaves an average above 0.0001, and all are set to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp

from txmetrics.clock import SYSTEM, Clock
from txmetrics.snapshot import MeterReading

__all__ = ["Meter", "MovingAverages"]

TICK = 5.0
FORGOTTEN = 9231
ALPHAS = tuple(1 - exp(-TICK / 60 / minutes) for minutes in (1, 5, 15))


class MovingAverages:
    """The three averages of an event count that somebody else keeps.

    Whoever counts calls ``advance(now, count)`` when ``now`` has passed ``due`` and before the count grows.
    """

    __slots__ = ("_counted", "_rates", "_start", "_ticks", "due")

    def __init__(self, now: float) -> None:
        self._start = now
        self._ticks = 0
        self._counted = 0
        self._rates: tuple[float, ...] | None = None
        self.due = now + TICK

    def advance(self, now: float, count: int) -> None:
        """Run the ticks that are due at ``now``; all events not yet ticked belong to the first of them."""
        ticks = int((now - self._start) // TICK)
        missed = ticks - self._ticks
        if missed < 1:  # `due` and `ticks` may differ by a rounding: at the next event, then
            return
        self._ticks = ticks
        self.due = self._start + (ticks + 1) * TICK
        if missed >= FORGOTTEN:
            self._rates = self._rates and (0.0, 0.0, 0.0)  # the first tick of all is still to come if it was
        else:
            self._tick((count - self._counted) / TICK)
            for _ in range(missed - 1):
                self._tick(0.0)
        self._counted = count

    def _tick(self, instant: float) -> None:
        if self._rates is None:
            self._rates = (instant, instant, instant)
        else:
            self._rates = tuple(
                rate + alpha * (instant - rate) for rate, alpha in zip(self._rates, ALPHAS, strict=True)
            )

    def rates(self, now: float, count: int) -> tuple[float, float, float, float]:
        """One, five and fifteen minutes' average and the mean since the start, in events a second."""
        if now > self.due:
            self.advance(now, count)
        m1, m5, m15 = self._rates or (0.0, 0.0, 0.0)
        age = now - self._start
        return m1, m5, m15, count / age if count and age > 0 else 0.0


class Meter:
    """Counts events and knows their rates."""

    __slots__ = ("_averages", "_now", "count")

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._now: Callable[[], float] = clock.tick
        self._averages = MovingAverages(self._now())
        self.count = 0

    def mark(self, n: int = 1) -> None:
        """``n`` events happened."""
        now = self._now()
        if now > self._averages.due:
            self._averages.advance(now, self.count)
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
        return MeterReading(name, self.count, *self._averages.rates(self._now(), self.count))
