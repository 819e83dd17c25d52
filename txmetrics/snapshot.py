"""The frozen readings: the only thing that travels between the metrics and whoever writes them down.

A reading is one metric at one moment. Its ``fields()`` are the numbers under the names that Dropwizard gave
them; a wire may translate the names, nothing else. ``numbers()`` are the same without the names, in their order.
Durations are in seconds, rates in events a second.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import ceil
from operator import itemgetter
from struct import pack, unpack
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "FIELDS",
    "SHAPES",
    "CounterReading",
    "Distribution",
    "GaugeReading",
    "HistogramReading",
    "MeterReading",
    "Reading",
    "TimerReading",
    "Unreadable",
    "make",
]

Number: TypeAlias = int | float

make: Any = tuple.__new__
"""``make(CounterReading, (name, count))`` takes half as long as ``CounterReading(name, count)``."""

QUANTILES = (("p50", 0.5), ("p75", 0.75), ("p95", 0.95), ("p98", 0.98), ("p99", 0.99), ("p999", 0.999))
"""The percentiles that are told."""


class Distribution(NamedTuple):
    """How a set of values, never an empty one, is spread. Immutable.

    ``count``, ``sum``, ``min``, ``max`` and ``mean`` are exact; ``stddev`` is the sample's (divided by
    n - 1; 0.0 for a single value). ``quantile`` is within 0.4 % of the true order statistic.
    """

    count: int  # type: ignore[assignment]  # it hides tuple.count, which nobody misses
    sum: float
    min: float
    max: float
    stddev: float
    values: Sequence[float]
    """They ascend; each stands for itself, or for all that are near it."""
    ranks: Sequence[int] | None = None
    """``ranks[i]`` counts the values up to and with ``values[i]``. None: one each."""

    @property
    def mean(self) -> float:
        mean, low, high = self.sum / self.count, self.min, self.max
        if low <= mean <= high:
            return mean
        return low if mean < low else high  # no rounding may lead outside

    def quantile(self, q: float) -> float:
        """The smallest value that at least ``q`` (0..1) of all values do not exceed: the nearest rank.

        Raises ValueError for a ``q`` outside 0..1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, not at {q!r}")
        return self._of_rank(_nearest_rank(q, self.count))

    def at_most(self, bounds: Iterable[float]) -> list[int]:
        """For each of ``bounds`` how many of the values are at most so large, as far as a bucket can tell.

        A bucket is the nearest number with eight significant bits. A value counts if its bucket is the bound's, or a
        lower one: all that are at most so large, and some that are larger by less than 0.8 %. That is so from the first
        value on and however the values are kept, so that no count of a life is ever taken back. Integers up to 256 are
        told apart. Raises ValueError for a bound that is NaN.
        """
        places = [bisect_right(self.values, _edge(bound)) for bound in bounds]
        if self.ranks is None:
            return places
        return [self.ranks[place - 1] if place else 0 for place in places]

    def numbers(self) -> tuple[Number, ...]:
        """``max mean min stddev`` and the percentiles."""
        if self.ranks is None:
            percentiles = _percentiles(self.count)(self.values)
        else:
            percentiles = tuple(self._of_rank(_nearest_rank(q, self.count)) for _, q in QUANTILES)
        return self.max, self.mean, self.min, self.stddev, *percentiles

    def _of_rank(self, rank: int) -> float:
        if self.ranks is None:
            return self.values[rank - 1]
        return min(max(self.values[bisect_left(self.ranks, rank)], self.min), self.max)


_DROPPED = 45
"""Of a double's 64 bits, a bucket rounds these away."""

_HALF = 1 << (_DROPPED - 1)
_INFINITE = 0x7FF << 52


@lru_cache(maxsize=4096)
def _edge(bound: float) -> float:
    """The largest double in the bucket of ``bound``. What rounds to -0.0 and what rounds to 0.0 is one bucket."""
    if bound != bound:
        raise ValueError(f"a bound is a number, not {bound!r}")
    [bits] = unpack("<Q", pack("<d", abs(bound)))
    middle = (bits + _HALF) >> _DROPPED << _DROPPED
    if bound < 0 and middle:
        return -_double(middle - _HALF)
    return _double(min(middle + _HALF - 1, _INFINITE))


def _double(bits: int) -> float:
    [number] = unpack("<d", pack("<Q", bits))
    return float(number)


def _nearest_rank(q: float, count: int) -> int:
    # 0.07 * 100 is 7.000000000000001, and the seventh of a hundred values is meant.
    return max(1, ceil(round(q * count, 6)))


@lru_cache(maxsize=2048)
def _percentiles(count: int) -> itemgetter[Any]:
    """Picks them out of ``count`` values that ascend."""
    return itemgetter(*(_nearest_rank(q, count) - 1 for _, q in QUANTILES))


class CounterReading(NamedTuple):
    """What was counted since the counter was made."""

    name: str
    count: Number  # type: ignore[assignment]  # it hides tuple.count, which nobody misses

    def numbers(self) -> tuple[Number, ...]:
        return self[1:]

    def fields(self) -> dict[str, Number]:
        return {"count": self.count}


class GaugeReading(NamedTuple):
    """What a gauge shows: whatever was set or returned, unchecked."""

    name: str
    value: object

    def numbers(self) -> tuple[object, ...]:
        return self[1:]

    def fields(self) -> dict[str, object]:
        return {"value": self.value}


class MeterReading(NamedTuple):
    """How many events since the meter was made, and how many a second."""

    name: str
    count: int  # type: ignore[assignment]  # it hides tuple.count, which nobody misses
    m1_rate: float
    m5_rate: float
    m15_rate: float
    mean_rate: float

    def numbers(self) -> tuple[Number, ...]:
        return self[1:]

    def fields(self) -> dict[str, Number]:
        return _fields(self)


class HistogramReading(NamedTuple):
    """``count`` and ``sum`` since the histogram was made, and the ``spread`` of what this reading is about.

    ``spread`` is None where nothing happened: a quiet interval has no percentiles. ``refused`` counts the
    NaNs and infinities since the histogram was made; it is a field only where there were any.
    """

    name: str
    count: int  # type: ignore[assignment]  # it hides tuple.count, which nobody misses
    sum: float
    spread: Distribution | None
    refused: int = 0

    def numbers(self) -> tuple[Number, ...]:
        _, count, total, spread, refused = self
        refusals = (refused,) if refused else ()
        return (count, total, *refusals) if spread is None else (count, total, *spread.numbers(), *refusals)

    def fields(self) -> dict[str, Number]:
        return _fields(self)


class TimerReading(NamedTuple):
    """A histogram of durations in seconds, and the rates of the events that took them."""

    name: str
    count: int  # type: ignore[assignment]  # it hides tuple.count, which nobody misses
    sum: float
    spread: Distribution | None
    m1_rate: float
    m5_rate: float
    m15_rate: float
    mean_rate: float
    refused: int = 0

    def numbers(self) -> tuple[Number, ...]:
        _, count, total, spread, *rates, refused = self
        refusals = (refused,) if refused else ()
        if spread is None:
            return count, total, *rates, *refusals
        return count, total, *spread.numbers(), *rates, *refusals

    def fields(self) -> dict[str, Number]:
        return _fields(self)


class Unreadable(NamedTuple):
    """A gauge whose callable raised ``error``; it has no fields, and every other metric is still there."""

    name: str
    error: Exception

    def numbers(self) -> tuple[Number, ...]:
        return ()

    def fields(self) -> dict[str, Number]:
        return {}


_SPREAD = ("max", "mean", "min", "stddev", *(name for name, _ in QUANTILES))
_RATES = ("m1_rate", "m5_rate", "m15_rate", "mean_rate")

FIELDS: Mapping[type, tuple[str, ...]] = {
    CounterReading: ("count",),
    GaugeReading: ("value",),
    MeterReading: ("count", *_RATES),
    HistogramReading: ("count", "sum", *_SPREAD, "refused"),
    TimerReading: ("count", "sum", *_SPREAD, *_RATES, "refused"),
}
"""Every name that ``fields()`` may have, in its order, by the kind of reading."""


def _shapes(fields: tuple[str, ...]) -> Mapping[int, tuple[str, ...]]:
    """The fields without those that are not always there, by the number of those that are."""
    shapes = {len(fields): fields}
    for optional in (("refused",), _SPREAD, (*_SPREAD, "refused")):
        shape = tuple(field for field in fields if field not in optional)
        shapes[len(shape)] = shape
    return shapes


SHAPES: Mapping[type, Mapping[int, tuple[str, ...]]] = {kind: _shapes(fields) for kind, fields in FIELDS.items()}
"""The names of a reading's ``numbers()``, by its kind and by how many they are."""


def _fields(reading: MeterReading | HistogramReading | TimerReading) -> dict[str, Number]:
    numbers = reading.numbers()
    return dict(zip(SHAPES[type(reading)][len(numbers)], numbers, strict=True))


Reading: TypeAlias = CounterReading | GaugeReading | MeterReading | HistogramReading | TimerReading | Unreadable
