"""Histograms in remote write: classic buckets, native ones, or VictoriaMetrics' ranges.

Each class holds what the series of one metric have in common, and what of them has been told.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import inf
from typing import Protocol

from txmetrics.snapshot import HistogramReading, TimerReading
from txmetrics.wire._native import HIGHEST, LOWEST, bucket_end, native_counts
from txmetrics.wire._prometheus_plan import Family
from txmetrics.wire._prometheus_samples import bound_text, counts
from txmetrics.wire._remote_write_bytes import Around, Moment, histogram, label, series

__all__ = ["STYLES", "Spread", "Written"]

Written = tuple[bytes, int]
"""Series, and how many samples are in them."""


class Spread(Protocol):
    """The series of one histogram or timer."""

    def __init__(self, family: Family, around: Around) -> None: ...

    def write(self, reading: HistogramReading | TimerReading, now: Moment, zero: Moment | None) -> Written:
        """What the reading says ``now``; what is told for the first time was nothing at ``zero``, if that is given."""

    def end(self, moment: Moment) -> Written:
        """The end of all series."""


class _Classic:
    """``_bucket`` by the bounds of the family, ``_count`` and ``_sum``."""

    bucket = "le"

    def __init__(self, family: Family, around: Around) -> None:
        self._name = family.name
        self._family = family
        self._around = around
        self._told = False

    def write(self, reading: HistogramReading | TimerReading, now: Moment, zero: Moment | None) -> Written:
        below = counts(self._family, reading)
        before = b"" if zero is None or self._told else zero.sample(0)
        self._told = True
        values = [*below, below[-1], reading.sum]
        written = [
            series(labels, before + now.sample(value)) for labels, value in zip(self._labels(), values, strict=True)
        ]
        return b"".join(written), len(values) * (2 if before else 1)

    def end(self, moment: Moment) -> Written:
        written = [series(labels, moment.end()) for labels in self._labels()]
        return b"".join(written), len(written)

    def _labels(self) -> list[bytes]:
        around, name = self._around, self._name
        buckets = [around.labels(f"{name}_bucket", le) for le in _les(tuple(self._family.bounds))]
        return [*buckets, around.labels(f"{name}_count"), around.labels(f"{name}_sum")]


class _Native:
    """One series of native histograms, as ``PrometheusProtobuf`` has them."""

    bucket = "le"

    def __init__(self, family: Family, around: Around) -> None:
        self._labels = around.labels(family.name)
        self._told = False

    def write(self, reading: HistogramReading | TimerReading, now: Moment, zero: Moment | None) -> Written:
        spread = reading.spread
        count = 0 if spread is None else spread.count
        before = b"" if zero is None or self._told else histogram(0, 0.0, native_counts(None), zero)
        self._told = True
        value = histogram(count, reading.sum, native_counts(spread), now)
        return series(self._labels, before + value), 2 if before else 1

    def end(self, moment: Moment) -> Written:
        return series(self._labels, moment.end()), 1


class _Ranges:
    """``_bucket`` by ``vmrange``, only those in which there ever was a value; ``_count`` and ``_sum``."""

    bucket = "vmrange"

    def __init__(self, family: Family, around: Around) -> None:
        self._name = family.name
        self._around = around
        self._told: set[bytes] = set()

    def write(self, reading: HistogramReading | TimerReading, now: Moment, zero: Moment | None) -> Written:
        spread = reading.spread
        values = [(self._label(range_), count) for range_, count in _ranges(native_counts(spread)).items()]
        values.append((self._around.labels(f"{self._name}_count"), 0 if spread is None else spread.count))
        written, points = [], 0
        for labels, value in [*values, (self._around.labels(f"{self._name}_sum"), reading.sum)]:
            before = b"" if zero is None or labels in self._told else zero.sample(0)
            written.append(series(labels, before + now.sample(value)))
            points += 2 if before else 1
            self._told.add(labels)
        return b"".join(written), points

    def end(self, moment: Moment) -> Written:
        written = [series(labels, moment.end()) for labels in self._told]
        return b"".join(written), len(written)

    def _label(self, range_: str) -> bytes:
        return self._around.labels(f"{self._name}_bucket", label("vmrange", range_))


STYLES: Mapping[str, type[_Classic] | type[_Native] | type[_Ranges]] = {
    "classic": _Classic,
    "native": _Native,
    "vmrange": _Ranges,
}


@lru_cache(maxsize=64)
def _les(bounds: tuple[float, ...]) -> list[bytes]:
    return [label("le", bound_text(bound)) for bound in (*bounds, inf)]


def _ranges(buckets: tuple[dict[int, int], int, dict[int, int]]) -> dict[str, int]:
    """How many values there are in each range in which there are any."""
    negative, zero, positive = buckets
    told: dict[str, int] = {}
    found = [(_range(LOWEST, False), zero)] if zero else []
    for below, side in ((True, negative), (False, positive)):
        found += [(_range(min(max(key, LOWEST), HIGHEST + 1), below), count) for key, count in side.items()]
    for range_, count in found:
        told[range_] = told.get(range_, 0) + count
    return told


@lru_cache(maxsize=2048)
def _range(key: int, negative: bool) -> str:
    """The bucket of that number, or its mirror image below zero. Buckets that touch have the same text there."""
    low = "0" if key == LOWEST else f"{bucket_end(key - 1):.6g}"
    high = "Inf" if key > HIGHEST else f"{bucket_end(key):.6g}"
    if negative:
        return f"-{high}...{low if low == '0' else f'-{low}'}"
    return f"{low}...{'+' if high == 'Inf' else ''}{high}"
