"""Where pyformance's numbers were wrong: the list in the layer's docstring, item by item, beside the original."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from math import inf, nan
from types import ModuleType
from typing import Any

import pytest

import txmetrics.compat.pyformance as layer
from tests.compat.clocks import Clock
from txmetrics.compat.pyformance.meters import Histogram
from txmetrics.compat.pyformance.stats import ExpWeightedMovingAvg
from txmetrics.compat.pyformance.stats.samples import ExpDecayingSample, SlidingTimeWindowSample


@pytest.mark.parametrize("values", [(-1, 5), (-2, 0, 8), (-1.0, -1, -1, 4)])
def test_a_mean_of_minus_one(original: ModuleType, values: tuple[float, ...]) -> None:
    """The variance began anew whenever the mean was -1."""

    def variance(histogram: Any) -> float:
        for value in values:
            histogram.add(value)
        return float(histogram.get_var())

    mean = sum(values) / len(values)
    true = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    assert variance(original.meters.Histogram(clock=Clock())) < 0.9 * true
    assert variance(Histogram(clock=Clock())) == pytest.approx(true, rel=1e-15)


def test_a_rate_below_zero(original: ModuleType) -> None:
    """It was told as 0, and began anew with the next tick."""

    def rates(average: Any, clock: Clock) -> list[float]:
        told = []
        for value in (-30, -30, 60):
            average.add(value)
            clock.now += 5
            told.append(average.get_rate())
        return told

    clock = Clock()
    assert rates(original.stats.ExpWeightedMovingAvg(1, clock=clock), clock) == [0, 0, 12]
    assert rates(ExpWeightedMovingAvg(1, clock=clock), clock) == [-6, -6, pytest.approx(-6 + 18 * 0.07995558537067671)]


def test_values_beyond_the_first_extremes(original: ModuleType) -> None:
    """The minimum was 2147483647 at the most and the maximum -2147483647 at the least, also without any values."""
    for library in (original, layer):
        high, low, none = (library.meters.Histogram(clock=Clock()) for _ in range(3))
        high.add(3e9)
        low.add(-3e9)
        told = [high.get_min(), high.get_max(), low.get_min(), low.get_max(), none.get_min(), none.get_max()]
        if library is original:
            assert told == [2147483647, 3e9, -3e9, -2147483647, 2147483647, -2147483647]
        else:
            assert told == [3e9, 3e9, -3e9, -3e9, 0, 0]


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_not_finite(original: ModuleType, value: float) -> None:
    """One NaN or infinity made the mean one for ever; here it is left out."""
    means = []
    for library in (original, layer):
        histogram = library.meters.Histogram(clock=Clock())
        histogram.add(3)
        histogram.add(value)
        means.append(histogram.get_mean())
    assert means[0] != 3
    assert means[1] == 3


@pytest.mark.parametrize("value", ["7", None, 1j])
def test_what_is_no_number(original: ModuleType, value: Any) -> None:
    """It raised TypeError, and stayed in the sample, so that no percentile could be told any more."""
    broken = original.meters.Histogram(clock=Clock())
    broken.add(3)
    with pytest.raises(TypeError):
        broken.add(value)
    with pytest.raises(TypeError):
        broken.get_snapshot()
    histogram = Histogram(clock=Clock())
    histogram.add(3)
    with pytest.raises(TypeError, match="a histogram takes numbers, not"):
        histogram.add(value)
    assert histogram.get_snapshot().values == [3]
    assert histogram.get_count() == 1


@pytest.mark.parametrize("values", [(1.7e308, -1.7e308), (2**1023, -(2**1023), 3), (10**400, 1)])
def test_what_a_double_has_no_room_for(original: ModuleType, values: tuple[float, ...]) -> None:
    """It raised from ``add``, or from every report thereafter; here the deviation is infinite."""

    def told(library: Any) -> Any:
        histogram = library.MetricsRegistry(Clock()).histogram("huge")
        for value in values:
            histogram.add(value)
        return histogram.get_stddev()

    with pytest.raises((ValueError, OverflowError)):
        told(original)
    assert told(layer) in (inf, 0.0)


def test_a_rate_in_the_moment_of_its_making(original: ModuleType) -> None:
    """A meter that had no age raised ZeroDivisionError, and the report was lost."""
    for library, right in ((original, False), (layer, True)):
        registry = library.MetricsRegistry(Clock())
        registry.meter("new").mark()
        if right:
            assert registry.dump_metrics()["new"]["mean_rate"] == 0
        else:
            with pytest.raises(ZeroDivisionError):
                registry.dump_metrics()


def test_a_quick_decay(original: ModuleType) -> None:
    """With an alpha of 0.99, ``add`` raised OverflowError after twelve minutes."""

    def sizes(kind: Callable[..., Any]) -> list[int]:
        clock = Clock()
        sample = kind(100, 0.99, clock)
        for number in range(20):
            sample.update(number)
            clock.now += 60
        return [sample.get_size(), sample.get_snapshot().get_size(), sample.get_snapshot().values[-1]]

    with pytest.raises(OverflowError):
        sizes(original.stats.ExpDecayingSample)
    size, kept, newest = sizes(ExpDecayingSample)
    assert newest == 19
    assert size == kept > 9


def test_a_random_zero(original: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in many, many calls, ``add`` raised ZeroDivisionError."""
    monkeypatch.setattr(random, "random", lambda: 0.0)
    with pytest.raises(ZeroDivisionError):
        original.stats.ExpDecayingSample(9, clock=Clock()).update(1)
    sample = ExpDecayingSample(9, clock=Clock())
    sample.update(1)
    assert sample.get_snapshot().values == [1]


def test_a_window_that_nobody_looks_at(original: ModuleType) -> None:
    """It kept all values there ever were; here those of its time."""
    kept = []
    for kind in (original.stats.samples.SlidingTimeWindowSample, SlidingTimeWindowSample):
        clock = Clock()
        sample = kind(10, clock)
        for number in range(1000):
            clock.now += 1
            sample.update(number)
        kept.append(len(sample.values))
    assert kept == [1000, 11]
    assert heapq.nsmallest(1, sample.values) == [(990, 989)]
