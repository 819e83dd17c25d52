"""Meter: how many, and how many a second."""

from __future__ import annotations

import time
from threading import RLock
from typing import Any

from .._clock import tick_of
from ..stats.moving_average import ExpWeightedMovingAvg

__all__ = ["Meter"]


class Meter:
    """Counts events, from any thread; tells their rates a second over 1, 5 and 15 minutes and since its making."""

    def __init__(self, clock: Any = time) -> None:
        self.lock = RLock()  # a finalizer that counts may run while it is held
        self.clock = clock
        self._tick = tick_of(clock)
        self.clear()

    def mark(self, value: float = 1) -> None:
        """``value`` events happened."""
        with self.lock:
            self.counter += value
            for rate in self._rates:
                rate.add(value)

    def tick(self) -> None:
        """Let what was marked until now be a part of the rates; they ask for it themselves when they are old."""
        with self.lock:
            for rate in self._rates:
                rate.tick()

    def clear(self) -> None:
        """Forget everything, and begin now."""
        with self.lock:
            self.start_time = self._tick()
            self.counter = 0.0
            self._rates = [ExpWeightedMovingAvg(minutes, clock=self.clock) for minutes in (1, 5, 15)]
            self.m1rate, self.m5rate, self.m15rate = self._rates

    def get_count(self) -> float:
        return self.counter

    def get_mean_rate(self) -> float:
        """Events a second since the making; 0 before any time has passed."""
        seconds = self._tick() - self.start_time
        return self.counter / seconds if self.counter and seconds > 0 else 0

    def get_one_minute_rate(self) -> float:
        return self._rate(self.m1rate)

    def get_five_minute_rate(self) -> float:
        return self._rate(self.m5rate)

    def get_fifteen_minute_rate(self) -> float:
        return self._rate(self.m15rate)

    def _rate(self, average: ExpWeightedMovingAvg) -> float:
        with self.lock:  # it may tick
            return average.get_rate()
