"""Samples: some of the values that came, in bounded number or of a bounded time."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable
from math import exp
from typing import Any, Protocol

from .._clock import tick_of
from .snapshot import Snapshot

__all__ = ["DEFAULT_ALPHA", "DEFAULT_SIZE", "ExpDecayingSample", "Sample", "SlidingTimeWindowSample"]

DEFAULT_SIZE = 1028
DEFAULT_ALPHA = 0.015

_RESCALE = 3600.0  # seconds after which the weights begin anew
_LARGEST = 600.0  # a weight is at most exp of this, far from what a double cannot hold
_LEAST = 2.0**-54  # in place of a random 0, by which nothing can be divided


class Sample(Protocol):
    """What a histogram asks of its sample."""

    def clear(self) -> None: ...

    def update(self, value: float) -> None: ...

    def get_snapshot(self) -> Snapshot: ...


class ExpDecayingSample:
    """At most ``size`` values, drawn at random so that newer ones are likelier to be among them.

    The forward decay of Cormode, Shkapenyuk, Srivastava and Xu (ICDE 2009): a value's priority is exp(``alpha`` times
    its time in seconds) over a random number, and the highest priorities stay.
    """

    def __init__(self, size: int = DEFAULT_SIZE, alpha: float = DEFAULT_ALPHA, clock: Any = time) -> None:
        self.clock = clock
        self.size = size
        self.alpha = alpha
        self._tick = tick_of(clock)
        self.clear()

    def clear(self) -> None:
        self._begin(self._tick(), {})

    def get_size(self) -> int:
        return len(self.values)

    def update(self, value: float) -> None:
        """Perhaps keep ``value``."""
        if not self.size:
            return
        now = self._tick()
        if now >= self._rescale_at or self.alpha * (now - self._start) > _LARGEST:
            self._rescale(now)
        priority = exp(self.alpha * (now - self._start)) / (random.random() or _LEAST)
        if len(self.values) < self.size:
            self._keep(priority, value)
        elif priority > self._lowest[0] and priority not in self.values:
            self._keep(priority, value)
            del self.values[heapq.heappop(self._lowest)]

    def get_snapshot(self) -> Snapshot:
        return Snapshot(self.values.values())

    def _keep(self, priority: float, value: float) -> None:
        if priority not in self.values:
            heapq.heappush(self._lowest, priority)
        self.values[priority] = value

    def _rescale(self, now: float) -> None:
        """Let time begin now, and priorities be as if it always had; what is of no weight by now shares one place."""
        fade = exp(-self.alpha * (now - self._start))
        self._begin(now, {priority * fade: value for priority, value in self.values.items()})

    def _begin(self, now: float, values: dict[float, float]) -> None:
        self.values = values
        """By priority."""
        self._lowest = sorted(values)  # a heap
        self._start = now
        self._rescale_at = now + _RESCALE


class SlidingTimeWindowSample:
    """All values of the last ``window`` seconds; older ones are forgotten when another comes or somebody looks."""

    DEFAULT_WINDOW = 300

    def __init__(self, window: float = DEFAULT_WINDOW, clock: Any = time) -> None:
        self.window = window
        self.clock = clock
        self._tick: Callable[[], float] = tick_of(clock)
        self.clear()

    def clear(self) -> None:
        self.values: list[tuple[float, float]] = []
        """With the time of each before it; a heap, since a clock may go back."""

    def update(self, value: float) -> None:
        heapq.heappush(self.values, (self._tick(), value))
        self._trim()

    def get_snapshot(self) -> Snapshot:
        self._trim()
        return Snapshot(value for _, value in self.values)

    def _trim(self) -> None:
        oldest = self._tick() - self.window
        while self.values and self.values[0][0] < oldest:
            heapq.heappop(self.values)
