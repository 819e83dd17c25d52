"""Buckets as Graphite can add them up: a series each, of how many values came into it since the last report.

    lat.b.512                     without tags: the bucket of that number
    lat.bucket;host=a;b=512       with tags
    lat.le.0_25, lat.le.inf       of those that were asked for: at most so large
    lat.le;host=a;le=0.25         the same with tags

Bucket number 512 + k ends at 2**(k/8), and that is part of it: the index k is that of a native histogram of Prometheus.
A bucket is told when there is something in it. What is at most so large is told always.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from math import inf, isfinite

from txmetrics.snapshot import Distribution
from txmetrics.wire._native import HIGHEST, LOWEST, native_counts
from txmetrics.wire._prometheus_samples import bound_text

__all__ = ["BUCKET_NUMBERS", "BUCKET_ORIGIN", "BUCKET_TAG", "Buckets"]

BUCKET_ORIGIN = 512
"""The number of the bucket that ends at one: so that none is negative, for a minus is no digit."""

BUCKET_NUMBERS = range(BUCKET_ORIGIN + LOWEST, BUCKET_ORIGIN + HIGHEST + 2)
"""In the first is what is above zero only a little, or not at all; in the last what is above all the others."""

BUCKET_TAG = "b"

LARGEST = 500_000
"""The lines of one metric's buckets are at most so many bytes: carbon hangs up on a frame of twice as many."""


class Buckets:
    """Which histograms and timers have buckets.

    ``sparse`` are names, or patterns as in a shell, of those whose buckets are told; ``slo`` has for such a name the
    bounds that are told always, in the metric's unit (seconds of a timer). Raises ValueError for bounds that are none.
    """

    def __init__(self, sparse: Iterable[str], slo: Mapping[str, Sequence[float]]) -> None:
        self._sparse = _patterns(sparse)
        self._slo = {name: _bounds(name, bounds) for name, bounds in slo.items()}
        self._asked_for = lru_cache(maxsize=4096)(self._look_up)

    def __bool__(self) -> bool:
        return bool(self._sparse or self._slo)

    def lines(
        self, name: str, spread: Distribution | None, place: tuple[str, str], end: str, refused: Tally[str]
    ) -> str:
        """The lines of the metric ``name``; ``place`` is what stands before and behind the field."""
        is_sparse, bounds = self._asked_for(name.partition(";")[0])
        if not is_sparse and not bounds:
            return ""
        try:
            told = [_bucket(number, place, count) for number, count in _numbered(spread).items()] if is_sparse else []
            told += [_at_most(bound, place, count) for bound, count in _counted(spread, bounds)]
        except Exception:  # whatever the parts of somebody else's distribution may raise
            refused["value"] += 1
            return ""
        block = "".join(line + end for line in told)
        if len(block) > LARGEST:
            refused["buckets"] += len(told)
            return ""
        return block

    def _look_up(self, path: str) -> tuple[bool, tuple[float, ...]]:
        bounds = next((bounds for pattern, bounds in self._slo.items() if fnmatchcase(path, pattern)), ())
        return any(fnmatchcase(path, pattern) for pattern in self._sparse), bounds


def _patterns(sparse: Iterable[str]) -> tuple[str, ...]:
    told = sparse if isinstance(sparse, str) else tuple(sparse)
    if isinstance(told, str) or not all(isinstance(pattern, str) and pattern for pattern in told):
        raise ValueError(f"buckets {told!r} are no list of names; give one, such as ['http.requests']")
    return told


def _bounds(name: str, bounds: Sequence[float]) -> tuple[float, ...]:
    told = () if isinstance(bounds, str | int | float) else tuple(bounds)
    if not told or not all(isinstance(bound, int | float) and isfinite(bound) for bound in told):
        raise ValueError(f"slo {name!r}: {bounds!r} are no bounds; give some numbers, such as [0.1, 0.25, 1]")
    return (*sorted({*map(float, told)}), inf)


def _numbered(spread: Distribution | None) -> dict[int, int]:
    """How many values there are in each bucket in which there are any, by their numbers."""
    negative, zero, positive = native_counts(spread)
    lowest = zero + sum(negative.values())
    told = {BUCKET_NUMBERS[0]: lowest} if lowest else {}
    for key, count in positive.items():
        number = BUCKET_ORIGIN + min(max(key, LOWEST), HIGHEST + 1)
        told[number] = told.get(number, 0) + count
    return told


def _counted(spread: Distribution | None, bounds: tuple[float, ...]) -> Iterable[tuple[float, int]]:
    return zip(bounds, [0] * len(bounds) if spread is None else spread.at_most(bounds), strict=True)


def _bucket(number: int, place: tuple[str, str], count: int) -> str:
    path, tags = place
    return f"{path}.bucket{tags};{BUCKET_TAG}={number} {count}" if tags else f"{path}.b.{number} {count}"


def _at_most(bound: float, place: tuple[str, str], count: int) -> str:
    path, tags = place
    text = bound_text(bound)
    if tags:
        return f"{path}.le{tags};le={text} {count}"
    return f"{path}.le.{'inf' if bound == inf else text.replace('.', '_')} {count}"
