"""Native buckets: each is 2**(1/8) times as wide as the one before, and told only where there are values.

They are those of Prometheus' native histograms of schema 3; OTLP's of scale 3 and VictoriaMetrics' ranges can have the
same bounds, so that all of them are told from one count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import groupby
from math import frexp, inf, ldexp

from txmetrics.snapshot import Distribution
from txmetrics.wire._protobuf import integer, part, signed, varint, zigzag

__all__ = ["HIGHEST", "LOWEST", "NOTHING", "SCHEMA", "bucket_end", "native_counts", "native_spans"]

SCHEMA = 3
WIDTHS = tuple(2 ** (step / 8 - 1) for step in range(8))
"""From a half up, where the buckets between two powers of two begin."""

NOTHING = 2.0**-128
"""What is no farther from zero than this is in the zero bucket, as client_golang has it."""

LOWEST, HIGHEST = -240, 480
"""Of the buckets that are told one by one in text, from a billionth to a quintillion: what is outside is in one more
bucket on either side, LOWEST and HIGHEST + 1."""


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
    found: set[int] = set()
    values = spread.values
    at = bisect_right(values, NOTHING)
    while at < len(values):  # from the first value of a bucket to that of the next
        key = _bucket(values[at])
        found.add(key)
        at = bisect_right(values, bucket_end(key), at + 1)
    # A value that is just above a bound may count as at it, and then is in the bucket before its own.
    keys = sorted(found | {key - 1 for key in found})
    counts = spread.at_most([NOTHING, *map(bucket_end, keys)])
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


def bucket_end(key: int) -> float:
    octave, step = divmod(key, 8)
    return inf if octave >= 1024 else ldexp(WIDTHS[step], octave + 1)


def native_spans(counts: dict[int, int], number: int) -> list[bytes]:
    """Spans of buckets that follow each other, and by how much each has more values than the one before."""
    spans: list[bytes] = []
    deltas: list[bytes] = []
    end = before = 0
    for _, run in groupby(enumerate(counts), lambda place: place[1] - place[0]):
        keys = [key for _, key in run]
        spans.append(part(number, signed(1, keys[0] - end) + integer(2, len(keys))))
        end = keys[-1] + 1
        for key in keys:
            deltas.append(varint(zigzag(counts[key] - before)))
            before = counts[key]
    return [*spans, part(number + 1, b"".join(deltas))] if spans else []
