"""Histogram: how spread."""

from __future__ import annotations

import time
from math import inf, isfinite, sqrt
from threading import RLock
from typing import Any

from ..stats.samples import DEFAULT_ALPHA, DEFAULT_SIZE, ExpDecayingSample, Sample
from ..stats.snapshot import Snapshot

__all__ = ["DEFAULT_ALPHA", "DEFAULT_SIZE", "Histogram"]


class Histogram:
    """Takes numbers, from any thread; tells the moments of all of them and the percentiles of a sample.

    The sample is a new ExpDecayingSample of ``size`` and ``alpha``, or the ``sample`` that is given, which is emptied.
    """

    counter: float
    sum: float
    max: float
    min: float
    _mean: float
    _deviation: float

    def __init__(
        self,
        size: int = DEFAULT_SIZE,
        alpha: float = DEFAULT_ALPHA,
        clock: Any = time,
        sample: Sample | None = None,
    ) -> None:
        self.lock = RLock()  # a finalizer that counts may run while it is held
        self.clock = clock
        self.sample: Any = ExpDecayingSample(size, alpha, clock) if sample is None else sample
        self.clear()

    def add(self, value: float) -> None:
        """Take ``value`` in; NaN, infinities and what a double cannot hold are left out.

        Raises TypeError for what is no number, and then nothing has changed.
        """
        with self.lock:
            try:
                total = self.sum + value
                if not isfinite(value):
                    return
            except TypeError:
                raise TypeError(f"a histogram takes numbers, not {value!r}") from None
            except OverflowError:
                return
            self.sample.update(value)
            first = not self.counter
            self.counter += 1
            self.sum = total
            self.max = value if first or value > self.max else self.max
            self.min = value if first or value < self.min else self.min
            self._add_deviation(value, first)

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self.sample.clear()
            self.counter = 0.0
            self.sum = 0.0
            self.max = 0
            self.min = 0
            self._mean = 0.0
            self._deviation = 0.0

    def get_count(self) -> float:
        return self.counter

    def get_sum(self) -> float:
        return self.sum

    def get_max(self) -> float:
        """The largest value there was; 0 without values."""
        return self.max

    def get_min(self) -> float:
        """The smallest value there was; 0 without values."""
        return self.min

    def get_mean(self) -> float:
        """0 without values."""
        return self.sum / self.counter if self.counter else 0

    def get_stddev(self) -> float:
        return sqrt(self.get_var()) if self.counter else 0

    def get_var(self) -> float:
        """The sample variance (divided by n - 1), 0 for fewer than two values; infinite if no double holds it."""
        if self.counter < 2:
            return 0
        variance = self._deviation / (self.counter - 1)
        return variance if variance >= 0 else inf

    def get_snapshot(self) -> Snapshot:
        """The sample's values at this moment."""
        with self.lock:
            snapshot: Snapshot = self.sample.get_snapshot()
            return snapshot

    def _add_deviation(self, value: float, first: bool) -> None:
        """Welford's method: the running mean, and the sum of squared distances from it."""
        mean = self._mean
        if first:
            self._mean = value
            return
        try:
            self._mean = mean + (value - mean) / self.counter
            self._deviation += (value - mean) * (value - self._mean)
        except OverflowError:  # large integers
            self._deviation = inf
