"""Bytes of remote write: series and samples as protobuf has them, and the body around them as snappy has it.

Series are of the type prometheus.TimeSeries, a body is a prometheus.WriteRequest. Of snappy's block format only
literals are written, which every reader takes: a search for repetitions would hold the reactor longer than all the
rest, and a library that does it is a Rust or C++ extension of some megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import pack

from txmetrics.wire._native import NOTHING, SCHEMA, native_spans
from txmetrics.wire._protobuf import double, integer, part, signed, varint

__all__ = ["STALE", "Around", "Moment", "histogram", "label", "series", "snappy"]

STALE = bytes.fromhex("020000000000f07f")
"""The NaN that ends a series."""

NAN = pack("<d", float("nan"))
"""The one that every other NaN is written as, so that none is taken for the end."""

LITERAL = 2**16
"""Bytes of a literal with a length of two bytes."""


class Moment:
    """A time, in milliseconds since the epoch, and the samples of that time."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds
        self.seconds = milliseconds // 1000
        self._end = integer(2, milliseconds)
        self._begin = varint(2 << 3 | 2) + varint(9 + len(self._end)) + varint(1 << 3 | 1)

    def sample(self, value: float) -> bytes:
        """A sample as a part of a series. Infinities and NaN are values like others."""
        return self._begin + (pack("<d", value) if value == value else NAN) + self._end

    def end(self) -> bytes:
        """The sample after which a series is no more."""
        return self._begin + STALE + self._end


class Around(tuple[bytes, bytes, bytes]):
    """The labels of a metric's series, which differ in their names and buckets: what is before, between and after."""

    __slots__ = ()

    @classmethod
    def of(cls, labels: Mapping[str, str], bucket: str) -> Around:
        """``bucket`` is the label that some of them have besides."""
        ordered = sorted(labels.items())
        before = [pair for pair in ordered if pair[0] < "__name__"]
        after = [pair for pair in ordered if pair[0] > bucket]
        return cls((_labels(before), _labels(ordered[len(before) : len(ordered) - len(after)]), _labels(after)))

    def labels(self, name: str, bucket: bytes = b"") -> bytes:
        """All labels of the series of that name, in the order of their names; ``bucket`` is one more."""
        before, between, after = self
        return before + label("__name__", name) + between + bucket + after


def _labels(labels: Iterable[tuple[str, str]]) -> bytes:
    return b"".join([label(name, value) for name, value in labels])


def label(name: str, value: str) -> bytes:
    """One label, as a part of a series."""
    return part(1, part(1, name.encode()) + part(2, value.encode()))


def series(labels: bytes, samples: bytes) -> bytes:
    """A series, as a part of a request."""
    return b"\n" + _length(len(labels) + len(samples)) + labels + samples


_length = lru_cache(maxsize=4096)(varint)
"""Of most series it is one of a few."""


def histogram(count: int, total: float, buckets: tuple[dict[int, int], int, dict[int, int]], moment: Moment) -> bytes:
    """A native histogram, as a part of a series; ``buckets`` are as ``native_counts`` tells them."""
    negative, zero, positive = buckets
    parts = [
        integer(1, count),
        double(3, total),
        signed(4, SCHEMA),
        double(5, NOTHING),
        integer(6, zero),
        *native_spans(negative, 8),
        *native_spans(positive, 11),
        integer(15, moment.milliseconds),
    ]
    return part(4, b"".join(parts))


def snappy(data: bytes) -> bytes:
    """``data`` in snappy's block format."""
    pieces = [varint(len(data))]
    for start in range(0, len(data), LITERAL):
        piece = data[start : start + LITERAL]
        pieces += [_literal(len(piece) - 1), piece]
    return b"".join(pieces)


def _literal(last: int) -> bytes:
    """What stands before a literal; ``last`` is its length less one. In the shortest form, on which some insist."""
    if last < 60:
        return bytes((last << 2,))
    return pack("<BB", 60 << 2, last) if last < 256 else pack("<BH", 61 << 2, last)
