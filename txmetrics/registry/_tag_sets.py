"""Tag sets: how many metrics of each name differ by their tags, so that their number is bounded."""

from __future__ import annotations

from typing import TypeAlias

from txmetrics import names
from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer

__all__ = ["TAG_SETS", "Metric", "TagSets"]

Metric: TypeAlias = Counter | Gauge | Histogram | Meter | Timer

TAG_SETS = 2000
"""So many metrics of one name differ by their tags, and one more is in the place of all others."""


class _OfAName:
    """The metrics of one name that have tags; they are of one kind."""

    __slots__ = ("kind", "overflow", "size")

    def __init__(self, kind: type[Metric]) -> None:
        self.kind = kind
        self.size = 0
        self.overflow = ""
        """The full name of the one that is in the place of others, if it is there. It is not in ``size``."""


class TagSets:
    """What metrics with tags there are, told by their full names."""

    def __init__(self) -> None:
        self._names: dict[str, _OfAName] = {}

    def kind_of(self, path: str) -> type[Metric] | None:
        """The kind of those of that name; None if there are none."""
        those = self._names.get(path)
        return None if those is None else those.kind

    def place(self, full: str) -> tuple[str, bool]:
        """The full name of the metric that a new one is to be, and whether that is for want of room.

        There is one such metric for a name, whatever tags those have that come later.
        """
        instead = names.overflow(full)
        those = self._names.get(full.partition(";")[0])
        if those is None or (full != instead and those.size < TAG_SETS):
            return full, False
        return those.overflow or instead, full != instead

    def add(self, full: str, kind: type[Metric]) -> None:
        """It is there now."""
        path = full.partition(";")[0]
        those = self._names.get(path)
        if those is None:
            those = self._names[path] = _OfAName(kind)
        if full == names.overflow(full):
            those.overflow = full
        else:
            those.size += 1

    def discard(self, full: str) -> None:
        """It is there no more."""
        path = full.partition(";")[0]
        those = self._names[path]
        if full == those.overflow:
            those.overflow = ""
        else:
            those.size -= 1
        if not those.size and not those.overflow:
            del self._names[path]
