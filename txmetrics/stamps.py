"""Which seconds were reported already: after the wall clock was set back they come again."""

from __future__ import annotations

from bisect import insort
from itertools import pairwise
from math import ceil, floor

__all__ = ["Stamps", "first_boundary"]

RANGES = 64


def first_boundary(wall: float, interval: float) -> float:
    """When a reporter that starts at ``wall`` reports first: at a boundary whose second no predecessor has reported.

    One that has ended just now, under the same names, may have stamped its last report with this very second or, if
    its last tick was in it, with the next. Stored over that, ours would make it as if it had never been.
    """
    slot = floor(wall / interval)
    taken = int(wall) + (int(slot * interval) == int(wall))
    slot += 1
    while int(slot * interval) <= taken:
        slot += 1
    return slot * interval


class Stamps:
    """The timestamps that were given away, each of them once, however the clock jumps; in bounded memory.

    They are kept as at most RANGES ranges of seconds. When there would be more the two that are nearest to each other
    become one: then the seconds between them count as given away, though they were not. The reports of an hour so
    grow together to an hour, and a jump of the clock stays the gap that it was.
    """

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []  # first and last, in order, none within another

    def claim(self, stamp: int) -> bool:
        """Whether the second ``stamp`` is free; it is given away now."""
        if self._first_free(stamp) != stamp:
            return False
        insort(self._ranges, (stamp, stamp))
        if len(self._ranges) > RANGES:
            self._join()
        return True

    def claim_from(self, stamp: int) -> int:
        """The first second from ``stamp`` on that is free; it is given away now."""
        free = self._first_free(stamp)
        self.claim(free)
        return free

    def claim_boundary(self, wall: float, interval: float) -> int:
        """The first multiple of ``interval`` from ``wall`` on, in whole seconds, that is free; it is given away now."""
        slot = ceil(wall / interval)
        while not self.claim(stamp := int(slot * interval)):
            slot = max(slot + 1, ceil(self._first_free(stamp) / interval))
        return stamp

    def _first_free(self, stamp: int) -> int:
        for first, last in self._ranges:
            if first <= stamp <= last:
                stamp = last + 1
        return stamp

    def _join(self) -> None:
        gaps = [after[0] - before[1] for before, after in pairwise(self._ranges)]
        at = gaps.index(min(gaps))
        self._ranges[at : at + 2] = [(self._ranges[at][0], self._ranges[at + 1][1])]
