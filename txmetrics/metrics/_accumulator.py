"""Accumulator: values in, a Distribution out, in bounded memory.

The first values are kept as they are, so that a modest set has exact order statistics. Beyond that each value
is counted in its bucket; see Batch.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import _count_elements  # type: ignore[attr-defined]  # what collections.Counter counts with
from collections.abc import Sequence
from itertools import accumulate
from math import dist, fsum, hypot, inf, sqrt
from struct import pack

from txmetrics.metrics._batch import NEGATIVE, Batch, add_up, buckets, clamp, middles, sample_stddev
from txmetrics.snapshot import Distribution

__all__ = ["Accumulator"]

FEW = 128
"""Batches smaller than this wait until they are more than twice as many values."""

PARTS = 16
"""An exact sum is brought into order when it has more parts than this."""


class Accumulator:
    """Takes any number of finite doubles; the first ``exact`` of them are answered for exactly."""

    __slots__ = ("_exact", "_high", "_low", "_parts", "_raw", "_sketch", "count", "sum")

    def __init__(self, exact: int) -> None:
        self._exact = exact
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0
        self.sum = 0.0
        """Correctly rounded."""
        self._parts: list[float] = []
        self._low, self._high = inf, -inf
        self._raw = array("d")
        self._sketch: _Sketch | None = None

    def extend(self, batch: Batch) -> None:
        """Take in the values of ``batch``."""
        values = batch.values
        self._add_moments(len(values), batch.parts, batch.low, batch.high)
        if self._sketch is not None and len(values) >= FEW:
            self._sketch.add(pack(f"{len(values)}d", *values), batch.mean, batch.deviation)
            return
        self._raw.fromlist(values)
        if len(self._raw) > (self._exact if self._sketch is None else 2 * FEW):
            self._sketch_raw()

    def merge(self, other: Accumulator) -> None:
        """Take in all that ``other`` has, which keeps it."""
        self._add_moments(other.count, other._parts, other._low, other._high)
        self._raw += other._raw
        if other._sketch is not None:
            self._sketch_raw().merge(other._sketch)
        elif len(self._raw) > self._exact:
            self._sketch_raw()

    def distribution(self) -> Distribution | None:
        """What was taken in so far, None if nothing was."""
        if not self.count:
            return None
        if self._sketch is None:
            return Batch(sorted(self._raw), ascending=True).distribution()
        values, ranks = self._sketch_raw().order()
        stddev = sample_stddev(self._sketch.deviation, self.count)
        return Distribution(self.count, self.sum, self._low, self._high, stddev, values, ranks)

    def _add_moments(self, count: int, parts: Sequence[float], low: float, high: float) -> None:
        self.count += count
        if low < self._low:
            self._low = low
        if high > self._high:
            self._high = high
        self._parts += parts
        if len(self._parts) > PARTS:
            self._parts = [*add_up(self._parts)]
        try:
            self.sum = fsum(self._parts)
        except (OverflowError, ValueError):
            self.sum = add_up(self._parts)[0]

    def _sketch_raw(self) -> _Sketch:
        """From now on values are counted in buckets, and those that were kept are so, too."""
        if self._sketch is None:
            self._sketch = _Sketch()
        if self._raw:
            values = self._raw.tolist()
            mean = clamp(add_up(values)[0] / len(values), self._low, self._high)
            deviation = dist(values, [mean] * len(values)) if self._low < self._high else 0.0
            self._sketch.add(self._raw.tobytes(), mean, deviation)
            self._raw = array("d")
        return self._sketch


class _Sketch:
    """Counts by bucket, and how they deviate, which buckets would blur."""

    __slots__ = ("_buckets", "_count", "_mean", "deviation")

    def __init__(self) -> None:
        # No collections.Counter: of a plain dict of integers the garbage collector knows that it need not look inside.
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._mean = 0.0
        self.deviation = 0.0
        """As a Batch's."""

    def add(self, packed: bytes, mean: float, deviation: float) -> None:
        """Take in doubles of this mean and deviation."""
        _count_elements(self._buckets, buckets(packed))
        self._add_moments(len(packed) // 8, mean, deviation)

    def merge(self, other: _Sketch) -> None:
        mine = self._buckets
        for key, count in other._buckets.items():
            mine[key] = mine.get(key, 0) + count
        self._add_moments(other._count, other._mean, other.deviation)

    def order(self) -> tuple[list[float], list[int]]:
        """The buckets from the lowest up, and how many values there are up to and with each."""
        keys = sorted(self._buckets)
        negative = bisect_left(keys, NEGATIVE)
        keys = keys[negative:][::-1] + keys[:negative]
        return middles(keys), list(accumulate(map(self._buckets.__getitem__, keys)))

    def _add_moments(self, count: int, mean: float, deviation: float) -> None:
        """Chan, Golub and LeVeque's merging of variances, on roots so that nothing overflows."""
        if self._count:
            share = count / (self._count + count)
            distance = mean - self._mean
            deviation = hypot(self.deviation, deviation, distance * sqrt(self._count * share))
            mean = self._mean + distance * share
        self._mean = mean
        self.deviation = deviation
        self._count += count
