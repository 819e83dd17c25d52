"""Quantiles of a whole fleet, out of the buckets that Graphite has added up.

graphite-web has no function for this. It adds up what each process has counted, which is right for buckets and for
nothing else; what is left to do is done here, wherever its JSON is read:

    quantile(json.load(urlopen(f"{graphite}/render?format=json&from=-1h&target={target}")), 0.99)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import exp2, inf
from typing import Any

from txmetrics.wire import BUCKET_NUMBERS, BUCKET_ORIGIN

__all__ = ["buckets", "quantile"]

LOWEST, HIGHEST = BUCKET_NUMBERS[0], BUCKET_NUMBERS[-1]

_NUMBER = re.compile(r"(?:^|[.(]|;b=)([0-9]+)(?=$|[,;)])")
"""A node that ends a path, also where a function is around that: ``lat.b.512``, ``consolidateBy(512,"sum")``."""


def quantile(series: Sequence[Mapping[str, Any]], q: float) -> float | None:
    """The value that a share ``q`` (0 to 1) of the fleet's values is not above: in seconds, or the histogram's unit.

    ``series`` is Graphite's answer to ``/render?format=json`` for a target of buckets, such as
    ``groupByNode(web.*.http.requests.b.*,-1,'sum')`` or ``groupByTags(seriesByTag('name=http.requests.bucket'),'sum',
    'b')``, parsed: a list with a bucket of one process, or of several together, in each entry. All points of all
    entries are added up, so the quantile is that of the whole time that was asked for.

    It is in the same bucket as the true order statistic, which is 9 % wide. In its bucket it is where it would be if
    the logarithms of the values were evenly spread there, as Prometheus has it for native histograms. Below the lowest
    bucket (2**-30) they are taken for evenly spread from zero on; above the highest (2**60) the answer is 2**60. None
    without values.

    Raises ValueError if ``q`` is not from 0 to 1, and what `buckets` raises. That points were averaged on their way,
    as Graphite does for ``maxDataPoints`` without ``consolidateBy(...,'sum')``, cannot be seen in the answer.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"q is a share, from 0 to 1, such as 0.99 for the 99th percentile; not {q!r}")
    counts = sorted((number, count) for number, count in buckets(series).items() if count)
    if not counts:
        return None
    rank = q * sum(count for _, count in counts)
    below = 0.0
    for number, count in counts:
        if below + count >= rank:
            return _within(number, (rank - below) / count)
        below += count
    return _within(counts[-1][0], 1.0)  # the sums were rounded


def buckets(series: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """How many values there were in each bucket, by its number; ``series`` is as for `quantile`.

    The bucket ``512 + k`` holds what is above 2**((k-1)/8) and at most 2**(k/8). Which one an entry is of, its tag
    ``b`` says, or else the number that ends a path in its target.

    Raises ValueError for what is no answer of Graphite's, and for an entry that is no bucket, or counts less than
    nothing.
    """
    counts: dict[int, float] = {}
    for target, tags, points in map(_entry, _listed(series)):
        number = _number(target, tags)
        counts[number] = counts.get(number, 0) + sum(_count(value, target) for value, _ in points if value is not None)
    return counts


def _within(number: int, share: float) -> float:
    """Where a value is that has such a share of the bucket's values not above it."""
    if number == LOWEST:
        return share * exp2((LOWEST - BUCKET_ORIGIN) / 8)
    return exp2((number - 1 - BUCKET_ORIGIN + (share if number < HIGHEST else 0)) / 8)


def _listed(series: Any) -> Iterable[Any]:
    if isinstance(series, list | tuple):
        return series
    raise _no_answer(series)


def _entry(each: Any) -> tuple[str, Mapping[str, Any], list[tuple[Any, Any]]]:
    """The target, the tags and the points of an entry."""
    try:
        return str(each["target"]), each.get("tags") or {}, [(value, at) for value, at in each["datapoints"]]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise _no_answer(each) from None


def _number(target: str, tags: Mapping[str, Any]) -> int:
    found = {str(tags["b"])} if "b" in tags else {*_NUMBER.findall(target)}
    numbers = {int(text) for text in found if text.isdecimal() and int(text) in BUCKET_NUMBERS}
    if len(numbers) != 1:
        raise ValueError(
            f"{target!r} is no bucket: it has no tag b, and no path in it ends with one number from {LOWEST} to "
            f"{HIGHEST}; ask for groupByTags(...,'sum','b') or groupByNode(...,-1,'sum')"
        )
    return numbers.pop()


def _count(value: Any, target: str) -> float:
    if isinstance(value, int | float) and 0 <= value < inf:
        return value
    raise ValueError(f"{target!r} has a point of {value!r}, which is no count; ask for the buckets as they were sent")


def _no_answer(what: Any) -> ValueError:
    return ValueError(
        f"{_short(what)} is no answer of Graphite's /render?format=json, parsed: a list of objects, each with a target "
        "and datapoints"
    )


def _short(what: Any) -> str:
    text = repr(what)
    return text if len(text) <= 60 else f"{text[:60]}..."
