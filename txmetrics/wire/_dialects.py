"""Dialects: the field names that other libraries made familiar.

A dialect says, for each kind of reading, which fields to write, in which order, and under which names. A field
that a reading does not have at the moment (the percentiles of an idle interval) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from txmetrics.snapshot import FIELDS, CounterReading, GaugeReading, HistogramReading, MeterReading, TimerReading

__all__ = ["DELTAS", "DIALECTS", "DIGITS", "DURATIONS", "STATISTICS", "UNITS", "Dialect", "one_of"]

T = TypeVar("T")

Dialect: TypeAlias = Mapping[type, Mapping[str, str]]
"""Kind of reading -> field -> the name it is written under; "" is the metric's bare name."""

DROPWIZARD: Dialect = {
    **{kind: {field: field for field in fields} for kind, fields in FIELDS.items()},
    GaugeReading: {"value": ""},
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

DELTAS: Mapping[str, str] = {"count": "delta", "sum": "sum_delta", "refused": "refused_delta"}
"""What the fields are called, in every dialect, that are told of the time since the last report instead of in all."""

STATISTICS: Mapping[str, frozenset[str]] = {
    "dropwizard": frozenset(TimerReading._fields[4:-1]) | frozenset(FIELDS[HistogramReading][2:-1]),
    "pyformance": frozenset(),
}
"""The fields of a dialect that are worked out, not counted, set or added up: they have DIGITS significant digits."""

DIGITS = 14
"""The shortest decimal that is exactly a certain double takes twice as long to find."""

UNITS = {"seconds": 1, "milliseconds": 1000}

DURATIONS = frozenset({"sum", "max", "mean", "min", "stddev", "p50", "p75", "p95", "p98", "p99", "p999"})
"""The fields of a timer that have one of these units."""


def one_of(word: str, choices: Mapping[str, T], what: str) -> T:
    """The choice that is called ``word``; ValueError, with ``what`` that is, if none is."""
    try:
        return choices[word]
    except KeyError:
        raise ValueError(f"{what} {word!r} is unknown; choose one of {', '.join(choices)}") from None
