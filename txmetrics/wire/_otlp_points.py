"""Points of OTLP: what a reading says, as fields of a NumberDataPoint or an ExponentialHistogramDataPoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import pack

from txmetrics.snapshot import Distribution, HistogramReading, TimerReading
from txmetrics.wire._native import NOTHING, native_counts
from txmetrics.wire._numbers import Number, number
from txmetrics.wire._protobuf import double, part, signed, varint

__all__ = ["SCALE", "WIDEST", "attributes", "fixed", "histogram", "plain"]

SCALE = 3
"""Each bucket is 2**(1/8) times as wide as the one before: those of Prometheus' schema 3, numbered from one less on."""

WIDEST = 320
"""From its first bucket to its last a histogram has so many on a side: forty octaves. What is wider is told coarser."""

INTEGERS = range(-(2**63), 2**63)


def attributes(field: int, pairs: Iterable[tuple[str, str]]) -> bytes:
    """Attributes, which in each type are another ``field``."""
    return b"".join([part(field, part(1, name.encode()) + part(2, part(1, text.encode()))) for name, text in pairs])


def fixed(field: int, value: int) -> bytes:
    """An integer of 64 bits without a sign."""
    return pack("<BQ", field << 3 | 1, value)


def plain(value: Number, *, whole: bool) -> bytes:
    """One number; ``whole`` ones are told as integers where one of 64 bits can be."""
    if whole and type(value) is int and value in INTEGERS:
        return pack("<Bq", 6 << 3 | 1, value)
    return double(4, float(value))


def histogram(reading: HistogramReading | TimerReading) -> bytes | None:
    """Count, sum, min, max and buckets, None if the sum is no number. May raise for parts that are somebody else's.

    Where there are negative values there is no sum, as OTLP demands: it might fall.
    """
    total, spread = number(reading.sum), reading.spread
    if total is None:
        return None
    head = [signed(6, SCALE), double(14, NOTHING)]
    if spread is None:
        return b"".join([fixed(4, 0), double(5, total), *head])
    ends = [double(12, spread.min), double(13, spread.max)]
    sum_ = b"" if spread.min < 0 else double(5, total)
    return b"".join([fixed(4, spread.count), sum_, *ends, *_buckets(spread)])


def _buckets(spread: Distribution) -> list[bytes]:
    negative, zero, positive = native_counts(spread)
    scale = SCALE
    below, above = _numbered(negative), _numbered(positive)
    while max(_width(below), _width(above)) > WIDEST:
        scale -= 1
        below, above = _coarser(below), _coarser(above)
    told = [signed(6, scale), double(14, NOTHING), fixed(7, zero)]
    return [*told, *_side(8, above), *_side(9, below)]


def _numbered(native: Mapping[int, int]) -> dict[int, int]:
    """Bucket ``n`` of OTLP begins at 2**(n/8), which is not part of it; Prometheus' ends there."""
    return {key - 1: count for key, count in native.items()}


def _width(counts: Mapping[int, int]) -> int:
    return max(counts) - min(counts) + 1 if counts else 0


def _coarser(counts: Mapping[int, int]) -> dict[int, int]:
    """Each two buckets as one, exactly."""
    merged: dict[int, int] = {}
    for key, count in counts.items():
        merged[key >> 1] = merged.get(key >> 1, 0) + count
    return merged


def _side(field: int, counts: Mapping[int, int]) -> list[bytes]:
    """Buckets without a gap, from the first in which there is something."""
    if not counts:
        return []
    first = min(counts)
    dense = [varint(counts.get(key, 0)) for key in range(first, max(counts) + 1)]
    return [part(field, signed(1, first) + part(2, b"".join(dense)))]
