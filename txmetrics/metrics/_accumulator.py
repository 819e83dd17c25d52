"""Accumulator: values in, a Distribution out, in bounded memory and C-speed batches.

The first values are kept as they are, so that a modest set has exact order statistics. Beyond that each value
is counted in the nearest number with eight significant bits (the upper nineteen bits of a double: sign, exponent
and seven bits of the fraction, rounded). That number is at most 2**-8 = 0.39 % away, and every integer up to 256
is one of them. (The doubles below 2.2e-308 have fewer bits than that, and are off by 1e-310 at most.)
"""

from __future__ import annotations

from array import array
from collections import Counter as Tally
from collections.abc import Sequence
from itertools import accumulate
from math import copysign, dist, fsum, hypot, inf, isfinite, sqrt
from sys import byteorder

from txmetrics.snapshot import Distribution

__all__ = ["Accumulator", "add_up"]

_ALIKE = 2.0**52  # a sum that is less often the smallest value than this lacks less than a double can hold
_HUGE = 1e300  # up to here, the sum of any batch is finite
_UPPER_HALF = 1 if byteorder == "little" else 0
_DROPPED = 13  # of the 32 bits in a double's upper half, these are rounded away
_ROUND = 1 << (_DROPPED - 1)
_NEGATIVE = 1 << (31 - _DROPPED)  # the sign bit of a bucket's key


def add_up(parts: tuple[float, ...], values: Sequence[float]) -> tuple[float, ...]:
    """Add ``values`` to an exact sum, kept as parts of which the first is the sum, correctly rounded.

    The next part is what the first one lacks, and so on (Shewchuk's expansion); there are seldom more than two. A
    sum that leaves the doubles on the way becomes an infinity and stays one; nothing is raised.
    """
    if parts and not isfinite(parts[0]):
        return parts
    rest = [*parts, *values]
    exact: list[float] = []
    try:
        while part := fsum(rest):
            if not isfinite(part):
                return (part,)
            exact.append(part)
            rest.append(-part)
    except OverflowError:
        return (copysign(inf, sum(rest)),)
    return tuple(exact) or (0.0,)


def _add_up_ascending(values: list[float]) -> tuple[float, ...]:
    """The exact sum of ``values``, which ascend, as add_up tells it; quicker where they are as alike as most are."""
    if values[0] <= 0 or values[-1] > _HUGE:
        return add_up((), values)
    total = fsum(values)
    if total >= values[0] * _ALIKE:
        return add_up((), values)
    # All are multiples of the first one's last bit, so what the sum lacks, less than that many of them, is a double.
    lacks = fsum([*values, -total])
    return (total, lacks) if lacks else (total,)


def _mean(total: float, count: int, low: float, high: float) -> float:
    """No rounding (or infinite total) leads outside of the values, so that equal ones do not deviate."""
    return min(max(total / count, low), high)


def _deviation(values: Sequence[float], mean: float) -> float:
    """The root of the sum of squared distances from ``mean``, without overflow on the way."""
    return dist(values, [mean] * len(values))


def _sample_stddev(deviation: float, count: int) -> float:
    if count < 2:
        return 0.0
    if 1e-150 < deviation < 1e150:  # the square is exact enough here, and one rounding fewer
        return sqrt(deviation * deviation / (count - 1))
    return deviation / sqrt(count - 1)


class Batch:
    """Some finite doubles, prepared for all accumulators that take them in: in order, packed, and added up."""

    __slots__ = ("packed", "total", "values")

    def __init__(self, values: list[float]) -> None:
        """``values``, of which there is at least one, are sorted in place."""
        values.sort()
        self.values = values
        self.packed = array("d", values)
        self.total = _add_up_ascending(values)


class Accumulator:
    """Takes any number of finite doubles; the first ``exact`` of them are answered for exactly."""

    __slots__ = ("_exact", "_raw", "_raw_sum", "_sketch")

    def __init__(self, exact: int) -> None:
        self._exact = exact
        self._raw = array("d")
        self._raw_sum: tuple[float, ...] = ()
        self._sketch: _Sketch | None = None

    def extend(self, batch: Batch) -> None:
        """Take in the values of ``batch``."""
        if self._sketch is not None:
            self._sketch.add(batch)
            return
        self._raw.extend(batch.packed)
        self._raw_sum = add_up(self._raw_sum, batch.total)
        if len(self._raw) > self._exact:
            self._begin_sketch()

    def clear(self) -> None:
        """Forget everything."""
        self._raw, self._raw_sum = array("d"), ()
        self._sketch = None

    def merge(self, other: Accumulator) -> None:
        """Take over everything that ``other`` has seen; ``other`` keeps it."""
        if other._raw:
            self.extend(Batch(other._raw.tolist()))
        if other._sketch is not None:
            (self._sketch or self._begin_sketch()).merge(other._sketch)

    def _begin_sketch(self) -> _Sketch:
        """From now on values are counted in buckets, and those that were kept are so, too."""
        sketch = self._sketch = _Sketch()
        if self._raw:
            sketch.add(Batch(self._raw.tolist()))
            self._raw, self._raw_sum = array("d"), ()
        return sketch

    def distribution(self) -> Distribution | None:
        """What was taken in so far, None if nothing was."""
        if self._sketch is None:
            return _exactly(sorted(self._raw), self._raw_sum[0]) if self._raw else None
        return self._sketch.distribution()


def _exactly(values: list[float], total: float) -> Distribution:
    """The distribution of ``values``, which ascend and add up to ``total``."""
    count = len(values)
    mean = _mean(total, count, values[0], values[-1])
    stddev = _sample_stddev(_deviation(values, mean), count)
    return Distribution(count, total, values[0], values[-1], stddev, values)


class _Sketch:
    """Counts by bucket, and the moments that buckets would blur."""

    __slots__ = ("_buckets", "_count", "_deviation", "_max", "_min", "_sum")

    def __init__(self) -> None:
        self._buckets: Tally[int] = Tally()
        self._count = 0
        self._sum: tuple[float, ...] = ()
        self._min, self._max = inf, -inf
        self._deviation = 0.0

    def add(self, batch: Batch) -> None:
        """Take in the values of ``batch``."""
        values, total = batch.values, batch.total
        count, low, high = len(values), values[0], values[-1]
        halves = memoryview(batch.packed).cast("B").cast("I")[_UPPER_HALF::2]
        if low == high:
            self._buckets[(halves[0] + _ROUND) >> _DROPPED] += count
        else:
            self._buckets.update([(half + _ROUND) >> _DROPPED for half in halves.tolist()])
        deviation = _deviation(values, _mean(total[0], count, low, high))
        self._add_moments(count, total, low, high, deviation)

    def merge(self, other: _Sketch) -> None:
        self._buckets.update(other._buckets)
        self._add_moments(other._count, other._sum, other._min, other._max, other._deviation)

    def _add_moments(self, count: int, total: tuple[float, ...], low: float, high: float, deviation: float) -> None:
        """Chan, Golub and LeVeque's merging of variances, on roots so that nothing overflows."""
        if self._count:
            mean = _mean(self._sum[0], self._count, self._min, self._max)
            distance = _mean(total[0], count, low, high) - mean
            weight = sqrt(self._count * count / (self._count + count))
            deviation = hypot(self._deviation, deviation, distance * weight)
        self._deviation = deviation
        self._count += count
        self._sum = add_up(self._sum, total)
        self._min = min(self._min, low)
        self._max = max(self._max, high)

    def distribution(self) -> Distribution:
        keys = sorted((key for key in self._buckets if key >= _NEGATIVE), reverse=True)
        keys += sorted(key for key in self._buckets if key < _NEGATIVE)
        bits = array("Q", [key << (32 + _DROPPED) for key in keys])
        values = memoryview(bits).cast("B").cast("d").tolist()
        ranks = list(accumulate(map(self._buckets.__getitem__, keys)))
        stddev = _sample_stddev(self._deviation, self._count)
        return Distribution(self._count, self._sum[0], self._min, self._max, stddev, values, ranks)
