"""Temporality: whether a report tells what there was in all or since the last one, and which timestamps it may have.

A store keeps one value of a series and a slot, the last. Where counts are in all, no harm is done when one report falls
into another's slot, as long as it is the later one: the last report, on stop, carries the second it was taken in, or
the next if that one was reported; who starts within a second or two leaves both alone. Where they are deltas each
report needs a slot of its own: the last one carries the next boundary, and the first one of who comes then the boundary
after that. Who comes and goes in order within one slot would need a third, of which its successor knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from math import floor

from txmetrics.interfaces import ISource
from txmetrics.registry import Deltas
from txmetrics.snapshot import Reading
from txmetrics.stamps import Stamps, first_boundary

__all__ = ["Cumulative", "Delta"]


class Cumulative:
    """Everything that was counted since the metric was made, as ``reader`` tells it, every ``interval`` seconds."""

    def __init__(self, reader: ISource, interval: float) -> None:
        self._reader = reader
        self._interval = interval
        self._stamps = Stamps()

    def begin(self, wall: float, anew: Iterable[str]) -> float:
        """When to report first, by the wall clock; the reporter's own counts that are called ``anew`` are 0 again."""
        return first_boundary(wall, self._interval)

    def claim(self, stamp: int) -> bool:
        """Whether the second ``stamp`` is free; it is given away now."""
        return self._stamps.claim(stamp)

    def last_stamp(self, wall: float) -> int:
        """The second of the last report, which is given away now."""
        return self._stamps.claim_from(int(wall))

    def readings(self, own: Iterable[Reading]) -> Iterator[Reading]:
        """All that is to be told: the reporter's ``own`` readings and the registry's, each taken in its turn."""
        return chain(own, self._reader.collect())


class Delta(Cumulative):
    """What was counted and added up since the last report, which is what ``reader`` tells."""

    def __init__(self, reader: ISource, interval: float) -> None:
        super().__init__(reader, interval)
        self._own = Deltas()
        self._first = 0.0

    def begin(self, wall: float, anew: Iterable[str]) -> float:
        for name in anew:
            self._own.forget(name)
        # The next boundary may be that of the last report of who was here before.
        self._first = (floor(wall / self._interval) + 2) * self._interval
        return self._first

    def last_stamp(self, wall: float) -> int:
        return self._stamps.claim_boundary(max(wall, self._first), self._interval)

    def readings(self, own: Iterable[Reading]) -> Iterator[Reading]:
        return super().readings(map(self._own.of, own))
