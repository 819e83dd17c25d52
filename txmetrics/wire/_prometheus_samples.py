"""Samples: what a reading says in its family, whatever the format."""

from __future__ import annotations

from functools import lru_cache
from math import inf
from typing import NamedTuple

from txmetrics.snapshot import CounterReading, GaugeReading, HistogramReading, MeterReading, Reading, TimerReading
from txmetrics.wire._numbers import Number, number
from txmetrics.wire._prometheus_plan import Family

__all__ = ["Sample", "bound_text", "counts", "samples", "value"]


class Sample(NamedTuple):
    """One number."""

    suffix: str
    """After the family's name."""
    le: str | None
    """The label of a bucket."""
    value: Number


def value(reading: Reading) -> Number | None:
    """The number of a counter, meter or gauge.

    None if there is none, which for a counter means also: if it is NaN or negative, as no counter can be.
    """
    if isinstance(reading, GaugeReading):
        return number(reading.value)
    if isinstance(reading, CounterReading | MeterReading):
        count = number(reading.count)
        return count if count is not None and count >= 0 else None
    return None


def counts(family: Family, reading: HistogramReading | TimerReading) -> list[int]:
    """How many values are in each bucket of the family or in one below it; the infinite one is the last."""
    if reading.spread is None:
        return [0] * (len(family.bounds) + 1)
    return [*reading.spread.at_most(family.bounds), reading.spread.count]


def samples(family: Family, reading: Reading, *, strict: bool) -> list[Sample] | None:
    """All samples of one reading, None if it has none that can be told.

    ``strict``: as OpenMetrics demands, a histogram that has, or may have, negative values has neither sum nor count
    beside its buckets: a sum that may fall is no counter, and the one does not go without the other.
    """
    if family.type != "histogram":
        one = value(reading)
        suffix = "_total" if family.type == "counter" else ""
        return None if one is None else [Sample(suffix, None, one)]
    if not isinstance(reading, HistogramReading | TimerReading):
        return None
    bounds = [*map(bound_text, family.bounds), "+Inf"]
    buckets = counts(family, reading)
    told = [Sample("_bucket", le, count) for le, count in zip(bounds, buckets, strict=True)]
    if strict and _may_fall(family, reading):
        return told
    return [*told, Sample("_count", None, buckets[-1]), Sample("_sum", None, reading.sum)]


def _may_fall(family: Family, reading: HistogramReading | TimerReading) -> bool:
    return family.bounds[0] < 0 or (reading.spread is not None and reading.spread.min < 0)


@lru_cache(maxsize=1024)
def bound_text(bound: float) -> str:
    """A bound as OpenMetrics writes it, and Prometheus itself: with a point, or with an exponent from a million on.

    All formats have the same, so that a series stays the same whichever of them is asked for.
    """
    text = repr(float(bound))
    if bound == inf:
        return "+Inf"
    if not 1e6 <= abs(bound) < 1e16:
        return text
    digits = text.lstrip("-").replace(".", "").rstrip("0")
    exponent = text.lstrip("-").index(".") - 1
    return f"{'-' if bound < 0 else ''}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e+{exponent:02d}"
