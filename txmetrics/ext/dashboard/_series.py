"""Which series are kept, and where in a row of numbers each of them stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import NamedTuple, TypeAlias

from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer

__all__ = ["SUFFIXES", "Kept", "Metric", "Place", "Table", "kind_of"]

Metric: TypeAlias = Counter | Gauge | Histogram | Meter | Timer

_SPREAD = (".rate", ".p50", ".p95", ".p99", ".max")

SUFFIXES: Mapping[type[Metric], tuple[str, ...]] = {
    Counter: (".rate",),
    Gauge: ("",),
    Histogram: _SPREAD,
    Meter: (".rate",),
    Timer: _SPREAD,
}
"""What stands behind a metric's name in the names of its series. A gauge has one of its own name."""


def kind_of(metric: Metric) -> str:
    """The word for what ``metric`` is: counter, gauge, histogram, meter or timer."""
    return metric.__class__.__name__.lower()


class Place(NamedTuple):
    """Where the numbers of a series are: in ``slot``, in the rows from the walk ``since`` on."""

    slot: int
    since: int


class Kept:
    """A metric with a slot for each of its series, in the order of SUFFIXES."""

    __slots__ = ("counted", "metric", "name", "seen", "since", "slots")

    def __init__(self, name: str, metric: Metric, slots: tuple[int, ...], walk: int, tiers: int) -> None:
        self.name = name
        self.metric = metric
        self.slots = slots
        self.since = walk
        """The walk through the registry that met it first; what older rows have in its slots was another's."""
        self.seen = walk
        """The last walk that met it."""
        self.counted: list[tuple[float, float] | None] = [None] * tiers
        """By tier: how much had been counted at its last walk, and the tick of the clock then."""

    def series(self) -> Iterator[tuple[str, int]]:
        """The names of its series, each with its slot."""
        for suffix, slot in zip(SUFFIXES[self.metric.__class__], self.slots, strict=True):
            yield self.name + suffix, slot


class Table:
    """Finds slots for the series of at most so many metrics that all of them together are ``most``.

    A slot that became free is used again, the lowest first, so that rows are as short as can be.
    """

    def __init__(self, most: int, tiers: int) -> None:
        self._most = most
        self._tiers = tiers
        self._free: list[int] = []
        self.width = 0
        """So many slots were ever in use at a time: the length of a row."""
        self.kept: dict[str, Kept] = {}

    def __len__(self) -> int:
        """How many series there are."""
        return self.width - len(self._free)

    def enter(self, name: str, metric: Metric, walk: int) -> Kept | None:
        """The slots of ``metric``, new ones if it is not known; None if there is no room for all its series."""
        kept = self.kept.get(name)
        if kept is not None:
            if kept.metric is metric:
                kept.seen = walk
                return kept
            self.release(kept)
        needed = len(SUFFIXES[metric.__class__])
        if len(self) + needed > self._most:
            return None
        slots = tuple(self._slot() for _ in range(needed))
        kept = self.kept[name] = Kept(name, metric, slots, walk, self._tiers)
        return kept

    def release(self, kept: Kept) -> None:
        """Forget a metric; its slots are free."""
        del self.kept[kept.name]
        for slot in kept.slots:
            heappush(self._free, slot)

    def release_unseen(self, walk: int) -> None:
        """Forget all that this walk has not met: they are in the registry no more."""
        for kept in [each for each in self.kept.values() if each.seen != walk]:
            self.release(kept)

    def find(self, series: str) -> Place | None:
        """Where ``series`` is. If a gauge has the name of another metric's series, it is the gauge that is meant."""
        kept, suffix = self.kept.get(series), ""
        if kept is None or kept.metric.__class__ is not Gauge:
            owner, _, last = series.rpartition(".")
            kept, suffix = self.kept.get(owner), f".{last}"
        if kept is None:
            return None
        suffixes = SUFFIXES[kept.metric.__class__]
        return Place(kept.slots[suffixes.index(suffix)], kept.since) if suffix in suffixes else None

    def _slot(self) -> int:
        if self._free:
            return heappop(self._free)
        self.width += 1
        return self.width - 1
