"""Batch: some values with their moments, worked out once for all who take them in; and the buckets of values.

A bucket is the nearest number with eight significant bits: the upper nineteen bits of a double (sign, exponent and
seven bits of the fraction), rounded. That number is at most 2**-8 = 0.39 % away, and every integer up to 256 is one of
them. (The doubles below 2.2e-308 have fewer bits than that, and are off by 1e-310 at most.)
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from math import copysign, dist, fsum, inf, isfinite, sqrt
from sys import byteorder

from txmetrics.snapshot import Distribution, make

__all__ = ["NEGATIVE", "Batch", "add_up", "buckets", "clamp", "middles", "sample_stddev"]

_ALIKE = 2.0**52  # a sum that is less often the smallest value than this lacks less than a double can hold
_HUGE = 1e300  # up to here, the sum of any batch is finite

_DROPPED = 45  # of a double's 64 bits, these are rounded away
NEGATIVE = 1 << (63 - _DROPPED)
"""The sign bit of a bucket's key."""

_SIZE = 8 * 256  # the bytes of so many doubles are rounded in one go, as one large integer
_ONES = int.from_bytes(array("Q", [1]) * (_SIZE // 8), byteorder)
_ROUND = _ONES << (_DROPPED - 1)
_MASK = _ONES * (2 * NEGATIVE - 1)


class Batch:
    """Finite doubles, at least one. Values that are not finite make it one of which ``parts[0]`` is not finite."""

    __slots__ = ("_deviation", "high", "low", "parts", "values")

    def __init__(self, values: list[float], *, ascending: bool = False) -> None:
        self.values = values
        low, high = (values[0], values[-1]) if ascending else (min(values), max(values))
        self.low, self.high = low, high
        self.parts: tuple[float, ...]
        """The exact sum, as ``add_up`` tells it."""
        self._deviation: float | None = None
        if low > 0 and high <= _HUGE:
            total = fsum(values)
            if total < low * _ALIKE:
                # All are multiples of the least one's last bit; what the sum lacks, less than that many, is a double.
                values.append(-total)
                lacks = fsum(values)
                values.pop()
                self.parts = (total, lacks) if lacks else (total,)
                return
        self.parts = add_up(values)

    @property
    def mean(self) -> float:
        return clamp(self.parts[0] / len(self.values), self.low, self.high)

    @property
    def deviation(self) -> float:
        """The root of the sum of squared distances from the mean, without overflow on the way."""
        if self._deviation is None:
            self._deviation = dist(self.values, [self.mean] * len(self.values)) if self.low < self.high else 0.0
        return self._deviation

    def distribution(self) -> Distribution:
        """Of values that ascend."""
        values, count, total = self.values, len(self.values), self.parts[0]
        stddev = sample_stddev(self.deviation, count) if count > 1 else 0.0
        spread: Distribution = make(Distribution, (count, total, self.low, self.high, stddev, values, None))
        return spread


def clamp(mean: float, low: float, high: float) -> float:
    """No rounding (or infinite sum) leads outside of the values, so that equal ones do not deviate."""
    return mean if low <= mean <= high else min(max(mean, low), high)


def sample_stddev(deviation: float, count: int) -> float:
    """The standard deviation of a sample of ``count``, of which ``deviation`` is the Batch's."""
    if count < 2:
        return 0.0
    if 1e-150 < deviation < 1e150:  # the square is exact enough here, and one rounding fewer
        return sqrt(deviation * deviation / (count - 1))
    return deviation / sqrt(count - 1)


def buckets(packed: bytes) -> list[int]:
    """The bucket of each of these doubles."""
    keys: list[int] = []
    for start in range(0, len(packed), _SIZE):
        keys += _round(packed[start : start + _SIZE])
    return keys


def _round(packed: bytes) -> list[int]:
    spare = 8 * (_SIZE - len(packed))
    bits = int.from_bytes(packed, byteorder) + (_ROUND >> spare)
    keys = (bits >> _DROPPED) & (_MASK >> spare)
    return memoryview(keys.to_bytes(len(packed), byteorder)).cast("Q").tolist()


def middles(keys: Iterable[int]) -> list[float]:
    """The numbers that the buckets stand for."""
    bits = array("Q", [key << _DROPPED for key in keys])
    return array("d", bits.tobytes()).tolist()


def add_up(parts: Sequence[float]) -> tuple[float, ...]:
    """The exact sum of ``parts``, as parts of which the first is the sum, correctly rounded.

    The next part is what the first one lacks, and so on (Shewchuk's expansion); there are seldom more than two. A
    sum that leaves the doubles on the way becomes an infinity and stays one; nothing is raised.
    """
    rest = [*parts]
    exact: list[float] = []
    try:
        while part := fsum(rest):
            if not isfinite(part):
                return (part,)
            exact.append(part)
            rest.append(-part)
    except (OverflowError, ValueError):  # the latter for infinities of both signs
        return (next((part for part in rest if not isfinite(part)), copysign(inf, sum(rest))),)
    return tuple(exact) or (0.0,)
