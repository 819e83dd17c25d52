"""The protobuf format: messages of the type io.prometheus.client.MetricFamily, each with its length before it.

It is the only one that has native histograms: buckets of which each is 2**(1/8) times as wide as the one before
(schema 3), told only where there are values. They stand beside the classic ones, and a scraper takes what it knows.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import groupby
from math import frexp, inf, ldexp
from struct import pack

from txmetrics.snapshot import Distribution, HistogramReading, Reading, TimerReading
from txmetrics.wire._prometheus_names import labels_of
from txmetrics.wire._prometheus_plan import Family
from txmetrics.wire._prometheus_samples import counts, value

__all__ = ["PrometheusProtobuf", "native_counts"]

SCHEMA = 3
WIDTHS = tuple(2 ** (step / 8 - 1) for step in range(8))
"""From a half up, where the buckets between two powers of two begin."""

NOTHING = 2.0**-128
"""What is no farther from zero than this is in the zero bucket, as client_golang has it."""

_TYPES = {"counter": 0, "gauge": 1, "histogram": 4}


class PrometheusProtobuf:
    """Delimited protobuf, with classic and native histograms."""

    content_type = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    end = b""
    """What stands behind the last family."""

    def head(self, family: Family, size: int) -> bytes:
        """What stands before the metrics of ``family``, which are ``size`` bytes together."""
        name = f"{family.name}_total" if family.type == "counter" else family.name
        unit = _part(5, family.unit.encode()) if family.unit else b""
        head = _part(1, name.encode()) + _part(2, family.help.encode()) + _integer(3, _TYPES[family.type]) + unit
        return _varint(len(head) + size) + head

    def block(self, family: Family, labels: str, reading: Reading) -> bytes | None:
        """The message of one metric, None if it has no value that can be told."""
        if isinstance(reading, HistogramReading | TimerReading):
            what = _part(7, _histogram(family, reading))
        else:
            one = value(reading)
            if one is None:
                return None
            what = _part(3 if family.type == "counter" else 2, _double(1, one))
        pairs = labels_of(reading.name, labels)
        written = [_part(1, _part(1, name.encode()) + _part(2, text.encode())) for name, text in pairs]
        return _part(4, b"".join(written) + what)


# Histograms


def _histogram(family: Family, reading: HistogramReading | TimerReading) -> bytes:
    *classic, count = counts(family, reading)
    buckets = [
        _part(3, _integer(1, below) + _double(2, bound))
        for bound, below in zip([*family.bounds, inf], [*classic, count], strict=True)
    ]
    negative, zero, positive = native_counts(reading.spread)
    native = [
        _signed(5, SCHEMA),
        _double(6, NOTHING),
        _integer(7, zero),
        *_native(negative, 9),
        *(
            _native(positive, 12) or [_part(12, _signed(1, 0) + _integer(2, 0))]
        ),  # an empty span says that this is a native histogram
    ]
    return b"".join([_integer(1, count), _double(2, reading.sum), *buckets, *native])


def native_counts(spread: Distribution | None) -> tuple[dict[int, int], int, dict[int, int]]:
    """How many values are in each native bucket: the negative ones, those near zero, and the positive ones.

    Bucket ``n`` ends at 2**(n/8), and that is part of it; as far as ``Distribution.at_most`` can tell. No count is
    ever taken back.
    """
    if spread is None:
        return {}, 0, {}
    below_zero, negative = {}, 0
    if spread.min < -NOTHING:
        below_zero = _one_sided(_mirrored(spread))
        negative = sum(below_zero.values())
    [near] = spread.at_most([NOTHING])
    return below_zero, near - negative, _one_sided(spread)


def _one_sided(spread: Distribution) -> dict[int, int]:
    """How many values are in each bucket above NOTHING."""
    found = {_bucket(value) for value in spread.values if value > NOTHING}
    # A value that is just above a bound may count as at it, and then is in the bucket before its own.
    keys = sorted(found | {key - 1 for key in found})
    counts = spread.at_most([NOTHING, *map(_end, keys)])
    return {key: more for key, low, high in zip(keys, counts, counts[1:], strict=False) if (more := high - low)}


def _mirrored(spread: Distribution) -> Distribution:
    """The negative values, without their sign."""
    many = bisect_left(spread.values, 0.0)
    values = [-value for value in spread.values[:many][::-1]]
    if spread.ranks is None:
        return spread._replace(values=values)
    ranks = [0, *spread.ranks[:many]]
    return spread._replace(values=values, ranks=[ranks[-1] - rank for rank in ranks[-2::-1]])


def _bucket(value: float) -> int:
    if value == inf:  # the middle of the last bucket of doubles
        return 8 * 1024
    fraction, exponent = frexp(value)
    return bisect_left(WIDTHS, fraction) + 8 * (exponent - 1)


def _end(key: int) -> float:
    octave, step = divmod(key, 8)
    return inf if octave >= 1024 else ldexp(WIDTHS[step], octave + 1)


def _native(counts: dict[int, int], number: int) -> list[bytes]:
    """Spans of buckets that follow each other, and by how much each has more values than the one before."""
    spans: list[bytes] = []
    deltas: list[bytes] = []
    end = before = 0
    for _, run in groupby(enumerate(counts), lambda place: place[1] - place[0]):
        keys = [key for _, key in run]
        spans.append(_part(number, _signed(1, keys[0] - end) + _integer(2, len(keys))))
        end = keys[-1] + 1
        for key in keys:
            deltas.append(_varint(_zigzag(counts[key] - before)))
            before = counts[key]
    return [*spans, _part(number + 1, b"".join(deltas))] if spans else []


# Protobuf's wire format: a field's number and type, then its value


def _varint(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    seven = bytearray()
    while number > 127:
        seven.append(number & 127 | 128)
        number >>= 7
    seven.append(number)
    return bytes(seven)


def _zigzag(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def _integer(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _signed(field: int, number: int) -> bytes:
    return _integer(field, _zigzag(number))


def _double(field: int, number: float) -> bytes:
    return pack("<Bd", field << 3 | 1, number)


def _part(field: int, content: bytes) -> bytes:
    """Text, a message inside, or several numbers in one."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content
