"""ExpWeightedMovingAvg: how many a second lately, where what is longer ago weighs less."""

from __future__ import annotations

import time
from math import exp
from typing import Any

from .._clock import tick_of

__all__ = ["ExpWeightedMovingAvg"]


class ExpWeightedMovingAvg:
    """A rate, averaged over about ``period`` minutes.

    What was added since the last tick becomes a part of the rate with the next one; ticks come of themselves, when
    somebody asks and the last one is ``interval`` seconds ago or more. The first tick's rate is just its events by
    its seconds.
    """

    INTERVAL = 5.0
    SECONDS_PER_MINUTE = 60.0

    def __init__(self, period: float, interval: float = INTERVAL, clock: Any = time) -> None:
        self.clock = clock
        self.interval = interval
        self.period = period * self.SECONDS_PER_MINUTE
        self.uncounted = 0.0
        self.rate: float | None = None
        """None before the first tick."""
        self._tick = tick_of(clock)
        self.last_tick = self._tick()

    def add(self, value: float) -> None:
        self.uncounted += value

    def get_rate(self) -> float:
        """Events a second; 0 before the first tick."""
        if self._tick() - self.last_tick >= self.interval:
            self.tick()
        return 0 if self.rate is None else self.rate

    def tick(self) -> None:
        """Take in what was added since the last tick, unless no time has passed."""
        now = self._tick()
        seconds = now - self.last_tick
        if seconds <= 0:
            return
        recent = self.uncounted / seconds
        if self.rate is None:
            self.rate = recent
        else:
            # However long it is since the last tick: the weight of the past is what many short ticks would leave it.
            self.rate += (1 - exp(-seconds / self.period)) * (recent - self.rate)
        self.uncounted = 0.0
        self.last_tick = now
