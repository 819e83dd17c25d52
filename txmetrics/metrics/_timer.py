"""Timer: how fast, how many a second, and how spread."""

from __future__ import annotations

from collections.abc import Callable

from txmetrics.clock import SYSTEM, Clock
from txmetrics.metrics._histogram import FOLD, NOTHING, Histogram, Window
from txmetrics.metrics._meter import MovingAverages
from txmetrics.snapshot import TimerReading, make

__all__ = ["Timer"]


class Timer(Histogram):
    """A histogram of durations in seconds, and a meter of the events that took them.

    ``now()`` is the clock that durations are measured with, in seconds from anywhere.
    """

    __slots__ = ("_averages", "_idle", "_made", "now")

    def __init__(self, clock: Clock = SYSTEM) -> None:
        super().__init__()
        self.now: Callable[[], float] = clock.tick
        self._made = self.now()
        # Until something happens, the time of the last look, so that an idle timer is small.
        self._averages: MovingAverages | float = self._made
        self._idle: Timing | None = None

    def time(self) -> Timing:
        """``with timer.time(): ...`` adds how long the block took, also when it raises.

        Each block has a measurement of its own, so blocks may nest and coroutines may interleave.
        """
        timing = self._idle
        if timing is None:
            return Timing(self)
        self._idle = None
        return timing

    def read(self, name: str, window: Window | None = None) -> TimerReading:
        spread = self.distribution if window is None else window.take()
        life = self._life or NOTHING
        numbers = name, life.count, life.sum, spread, *self._rates(life.count), self._refused
        reading: TimerReading = make(TimerReading, numbers)
        return reading

    def _rates(self, count: int) -> tuple[float, float, float, float]:
        now, averages = self.now(), self._averages
        if not isinstance(averages, MovingAverages):
            if not count:
                self._averages = now
                return 0.0, 0.0, 0.0, 0.0
            looked, averages = averages, MovingAverages(self._made)
            averages.rates(looked, 0)
            self._averages = averages
        return averages.rates(now, count)


class Timing:
    """A ``with`` block's measurement; the timer keeps one that is over, for the next block."""

    __slots__ = ("_now", "_pending", "_start", "_timer")

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._pending = timer._pending
        self._now = timer.now

    def __enter__(self) -> None:
        self._start = self._now()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        seconds = self._now() - self._start
        self._timer._idle = self
        if type(seconds) is float and len(self._pending) < FOLD - 1:  # as ``add`` would, without the call
            self._pending.append(seconds)
        else:
            self._timer.add(seconds)
