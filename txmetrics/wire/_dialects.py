"""Dialects: the field names that other libraries made familiar.

A dialect says, for each kind of reading, which fields to write, in which order, and under which names. A field
that a reading does not have at the moment (the percentiles of an idle interval) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from txmetrics.snapshot import CounterReading, GaugeReading, HistogramReading, MeterReading, TimerReading

__all__ = ["DIALECTS", "Dialect"]

Dialect: TypeAlias = Mapping[type, Mapping[str, str]]
"""Kind of reading -> field -> the name it is written under; "" is the metric's bare name."""


def _as_they_are(*fields: str) -> dict[str, str]:
    return {field: field for field in fields}


_RATES = ("m1_rate", "m5_rate", "m15_rate", "mean_rate")
_SPREAD = ("max", "mean", "min", "stddev", "p50", "p75", "p95", "p98", "p99", "p999")

DROPWIZARD: Dialect = {
    CounterReading: _as_they_are("count"),
    GaugeReading: {"value": ""},
    MeterReading: _as_they_are("count", *_RATES),
    HistogramReading: _as_they_are("count", "sum", *_SPREAD, "refused"),
    TimerReading: _as_they_are("count", "sum", *_SPREAD, *_RATES, "refused"),
}

_PYFORMANCE_RATES = {
    "m15_rate": "15m_rate",
    "m5_rate": "5m_rate",
    "m1_rate": "1m_rate",
    "mean_rate": "mean_rate",
}
_PYFORMANCE_TAIL = {
    "p75": "75_percentile",
    "p95": "95_percentile",
    "p99": "99_percentile",
    "p999": "999_percentile",
}
_PYFORMANCE_SPREAD = {"mean": "avg", "count": "count", "max": "max", "min": "min", "stddev": "std_dev"}

PYFORMANCE: Dialect = {
    CounterReading: {"count": "count"},
    GaugeReading: {"value": "value"},
    MeterReading: {"count": "count", **_PYFORMANCE_RATES},
    HistogramReading: {**_PYFORMANCE_SPREAD, **_PYFORMANCE_TAIL},
    TimerReading: {
        "mean": "avg",
        "sum": "sum",
        **_PYFORMANCE_SPREAD,
        **_PYFORMANCE_RATES,
        "p50": "50_percentile",
        **_PYFORMANCE_TAIL,
    },
}

DIALECTS: Mapping[str, Dialect] = {"dropwizard": DROPWIZARD, "pyformance": PYFORMANCE}
