"""The frozen readings: the same fields for whoever writes them down, in Dropwizard's names."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests import article
from txmetrics.snapshot import (
    CounterReading,
    Distribution,
    GaugeReading,
    HistogramReading,
    MeterReading,
    TimerReading,
    Unreadable,
)

SPREAD = Distribution(3, 21.0, 3.0, 15.0, 6.928203230275509, [3.0, 3.0, 15.0])

RATES = {"m1_rate": 1.0, "m5_rate": 2.0, "m15_rate": 3.0, "mean_rate": 4.0}

READINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "counter": (CounterReading("a", 7), {"count": 7}),
    "gauge": (GaugeReading("a", "anything"), {"value": "anything"}),
    "meter": (MeterReading("a", 7, 1.0, 2.0, 3.0, 4.0), {"count": 7, **RATES}),
    "histogram": (HistogramReading("a", 9, 30.0, SPREAD), {"count": 9, "sum": 30.0, **article.SPREAD}),
    "idle histogram": (HistogramReading("a", 9, 30.0, None), {"count": 9, "sum": 30.0}),
    "histogram that refused": (HistogramReading("a", 9, 30.0, None, 2), {"count": 9, "sum": 30.0, "refused": 2}),
    "timer": (
        TimerReading("a", 9, 30.0, SPREAD, 1.0, 2.0, 3.0, 4.0),
        {"count": 9, "sum": 30.0, **article.SPREAD, **RATES},
    ),
    "idle timer": (TimerReading("a", 9, 30.0, None, 1.0, 2.0, 3.0, 4.0), {"count": 9, "sum": 30.0, **RATES}),
    "timer that refused": (
        TimerReading("a", 9, 30.0, None, 1.0, 2.0, 3.0, 4.0, 1),
        {"count": 9, "sum": 30.0, **RATES, "refused": 1},
    ),
    "unreadable": (Unreadable("a", RuntimeError("gone")), {}),
}


@pytest.mark.parametrize("kind", READINGS)
def test_each_reading_has_its_fields(kind: str) -> None:
    """In the order of the names, without those that have no value at the moment."""
    reading, fields = READINGS[kind]
    assert list(reading.fields().items()) == list(fields.items())
    assert reading.name == "a"


@pytest.mark.parametrize("kind", READINGS)
def test_a_reading_is_frozen(kind: str) -> None:
    """Nobody on the way changes what was read: neither the reading nor, through its fields, its numbers."""
    reading, fields = READINGS[kind]
    for name in ("name", "count", "anything"):
        with pytest.raises(AttributeError):
            setattr(reading, name, 1)
    reading.fields().clear()
    assert reading.fields() == fields


def test_the_mean_lies_between_the_extremes() -> None:
    """Also where the division of the sum would be rounded out of them."""
    assert Distribution(3, math.fsum([0.1] * 3), 0.1, 0.1, 0.0, [0.1] * 3).mean == 0.1
    assert Distribution(2, 7.0, 3.0, 4.0, 0.5, [3.0, 4.0]).mean == 3.5


def test_a_quantile_is_the_nearest_rank() -> None:
    """The smallest value that at least the share ``q`` of all values do not exceed."""
    spread = Distribution(4, 10.0, 1.0, 4.0, 1.0, [1.0, 2.0, 3.0, 4.0])
    shares = (0, 0.01, 0.25, 0.2501, 0.5, 0.51, 0.75, 0.76, 1)
    assert [spread.quantile(q) for q in shares] == [1, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_quantile_of_buckets_is_the_bucket_of_the_rank() -> None:
    """Each value stands for as many as the ranks say, and none is told beyond the extremes that were seen."""
    spread = Distribution(10, 100.0, 1.01, 39.9, 1.0, [1.0, 20.0, 40.0], [2, 9, 10])
    assert [spread.quantile(n / 10) for n in range(11)] == [1.01] * 3 + [20.0] * 7 + [39.9]


@pytest.mark.parametrize("count", [1, 2, 99, 100, 1000, 12_345, 1_000_000])
def test_every_rank_of_many_values_can_be_asked_for(count: int) -> None:
    """n / count is the n-th value, whatever the rounding of the product."""
    spread = Distribution(count, 0.0, 0.0, count - 1.0, 1.0, range(count))
    step = max(1, count // 1000)
    for n in range(step, count + 1, step):
        assert spread.quantile(n / count) == n - 1


@pytest.mark.parametrize("q", [-1e-9, 1.0000001, 95, math.nan, math.inf])
def test_a_share_is_between_0_and_1(q: float) -> None:
    """Anything else is an error that shows it."""
    with pytest.raises(ValueError, match="between 0 and 1") as caught:
        SPREAD.quantile(q)
    assert repr(q) in str(caught.value)
