"""Timer: how fast, how many a second, and how spread."""

from __future__ import annotations

from collections.abc import Callable

from txmetrics.clock import SYSTEM, Clock
from txmetrics.metrics._histogram import FOLD, Histogram, Window
from txmetrics.metrics._meter import MovingAverages
from txmetrics.snapshot import TimerReading

__all__ = ["Timer"]

ALMOST = FOLD - 1


class Timer(Histogram):
    """A histogram of durations in seconds, and a meter of the events that took them.

    ``now()`` is the clock that durations are measured with, in seconds from anywhere.
    """

    __slots__ = ("_averages", "now")

    def __init__(self, clock: Clock = SYSTEM) -> None:
        super().__init__()
        self.now: Callable[[], float] = clock.tick
        self._averages = MovingAverages(self.now())

    def add(self, seconds: float) -> None:
        """Something took ``seconds``. Raises and refuses as Histogram.add does."""
        now = self.now()
        if now > self._averages.due:
            self._averages.advance(now, self.count)
        pending = self._pending
        if type(seconds) is float and seconds - seconds == 0 and len(pending) < ALMOST:
            pending.append(seconds)  # what Histogram.add would come to: most calls, at half the price
        else:
            Histogram.add(self, seconds)

    @property
    def due(self) -> float:
        """The tick of the clock after which the rates are to be advanced."""
        return self._averages.due

    def advance(self, now: float) -> None:
        """For the rates, what was taken in so far happened before ``now``, and what comes happens then."""
        if now > self._averages.due:
            self._averages.advance(now, self.count)

    def merge(self, other: Histogram) -> None:
        """As a histogram does; for the rates, the events of ``other`` happen now."""
        self.advance(self.now())
        super().merge(other)

    def time(self) -> _Timing:
        """``with timer.time(): ...`` adds how long the block took, also when it raises.

        Each call makes a measurement of its own, so blocks may nest and coroutines may interleave.
        """
        return _Timing(self)

    def read(self, name: str, window: Window | None = None) -> TimerReading:
        spread = self._spread(window)
        rates = self._averages.rates(self.now(), self.count)
        return TimerReading(name, self.count, self.sum, spread, *rates, self.refused)


class _Timing:
    """One run of a ``with`` block."""

    __slots__ = ("_start", "_timer")

    def __init__(self, timer: Timer) -> None:
        self._timer = timer

    def __enter__(self) -> None:
        self._start = self._timer.now()

    def __exit__(self, *raised: object) -> None:
        self._timer.add(self._timer.now() - self._start)
