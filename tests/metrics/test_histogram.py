"""A histogram's numbers: exact where that is promised, within the promised error elsewhere."""

from __future__ import annotations

import datetime
import math
import statistics
import tracemalloc
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import article
from tests.metrics.streams import (
    ERROR,
    MAGNITUDES,
    MODEST,
    SHAPES,
    any_size,
    filled,
    large,
    order_statistic,
    worst_error,
)
from txmetrics.metrics import Histogram
from txmetrics.snapshot import Distribution, HistogramReading

few_examples = settings(deadline=None, max_examples=50)
many_examples = settings(deadline=None, max_examples=200)


def _spread(values: list[float]) -> Distribution:
    spread = filled(values).distribution
    assert spread is not None
    return spread


def _check_moments(histogram: Histogram, values: list[float]) -> None:
    """Count, sum, min and max to the last bit, mean and standard deviation as closely as doubles tell them."""
    assert histogram.count == len(values)
    assert histogram.sum == math.fsum(values)
    assert histogram.min == min(values)
    assert histogram.max == max(values)
    assert histogram.mean == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-300)
    assert histogram.mean is not None
    assert min(values) <= histogram.mean <= max(values)
    true = statistics.stdev(values) if len(values) > 1 else 0.0
    rounding = 4 * max(math.ulp(value) for value in values)
    assert histogram.stddev == pytest.approx(true, rel=1e-9, abs=rounding)


# The promises


@many_examples
@given(any_size())
def test_moments_of_any_stream(values: list[float]) -> None:
    """Count, sum, min and max are exact, mean and stddev are those of the statistics module."""
    _check_moments(filled(values), values)


@many_examples
@given(any_size())
def test_quantiles_of_any_stream(values: list[float]) -> None:
    """Every quantile is within 0.5 % of the true order statistic."""
    assert worst_error(_spread(values), values) <= ERROR


@pytest.mark.parametrize("shape", SHAPES)
def test_a_large_stream(shape: str) -> None:
    """So it is for twenty thousand values of every shape that servers know, and of some that they do not."""
    values = large(shape)
    histogram = filled(values)
    _check_moments(histogram, values)
    assert histogram.distribution is not None
    assert worst_error(histogram.distribution, values) <= ERROR


@few_examples
@given(st.lists(st.integers(-256, 256), min_size=300, max_size=900))
def test_integers_up_to_256_are_exact(values: list[int]) -> None:
    """Where a value is counted in a bucket, that bucket is the very integer."""
    spread = _spread(list(map(float, values)))
    assert worst_error(spread, values) == 0


def test_each_integer_up_to_256_has_its_own_bucket() -> None:
    """After thousands of values the quantiles of 0..256 are the integers themselves, ends included."""
    spread = _spread([float(n) for _ in range(10) for n in range(257)])
    assert [spread.quantile((n + 1) / 257) for n in range(257)] == list(range(257))


@few_examples
@given(MODEST)
def test_a_modest_stream_has_exact_quantiles(values: list[float]) -> None:
    """A few values are kept as they are."""
    assert worst_error(_spread(values), values) == 0


def test_the_numbers_of_the_article() -> None:
    """After 3, 3 and 15 a histogram says what it said in 2013."""
    assert filled([3, 3, 15]).read("world_size").fields() == article.WORLD_SIZE


def test_one_value_is_all_its_statistics() -> None:
    """The sample of one has no deviation."""
    histogram = filled([0.1])
    told = {histogram.min, histogram.max, histogram.mean, histogram.sum, histogram.quantile(0), histogram.quantile(1)}
    assert told == {0.1}
    assert histogram.stddev == 0.0


@pytest.mark.parametrize("count", [2, 3, 10, 255, 256, 257, 1000, 3001])
def test_equal_values_do_not_deviate(count: int) -> None:
    """However often the same value comes, the mean is that value and the deviation 0, not a rounding error."""
    histogram = filled([0.1] * count)
    assert histogram.mean == 0.1
    assert histogram.stddev == 0.0
    assert {histogram.quantile(q) for q in (0, 0.5, 1)} == {0.1}


@many_examples
@given(st.lists(st.lists(MAGNITUDES, min_size=1, max_size=5), min_size=1, max_size=8))
def test_looking_changes_nothing(parts: list[list[float]]) -> None:
    """The sum of all is correctly rounded, however the stream was looked at on its way."""
    histogram = Histogram()
    for part in parts:
        for value in part:
            histogram.add(value)
        _ = histogram.sum, histogram.quantile(0.5)
    _check_moments(histogram, [value for part in parts for value in part])


def test_a_small_value_survives_between_two_large_ones() -> None:
    """What rounding would swallow comes back when the large ones cancel out, over any number of batches."""
    histogram = Histogram()
    for value in (1e300, 1e100, 1.0, 1e-100, -1e300, -1e100, -1.0):
        histogram.add(value)
        _ = histogram.sum
    assert histogram.sum == 1e-100


@few_examples
@given(any_size(), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_ascend_between_min_and_max(values: list[float], one: float, other: float) -> None:
    """A larger share never has a smaller quantile, and none lies outside of what came in."""
    spread = _spread(values)
    low, high = spread.quantile(min(one, other)), spread.quantile(max(one, other))
    assert min(values) <= low <= high <= max(values)


def test_the_seventh_of_a_hundred() -> None:
    """0.07 * 100 is a little more than 7 in doubles, and still means the seventh value."""
    values = [float(n) for n in range(1, 101)]
    spread = _spread(values)
    assert [spread.quantile(n / 100) for n in range(1, 101)] == values


def test_a_quantile_outside_of_0_to_1_is_an_error() -> None:
    """Somebody who asks for the 99th of 1 meant something else."""
    histogram = filled([1.0])
    for q in (-0.01, 1.01, 99, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            histogram.quantile(q)


def test_an_empty_histogram_has_no_spread() -> None:
    """Nothing was seen: 0 values, sum 0.0, and None for all that there is not."""
    histogram = Histogram()
    assert (histogram.count, histogram.sum, histogram.refused) == (0, 0.0, 0)
    assert {histogram.min, histogram.max, histogram.mean, histogram.stddev, histogram.quantile(0.5)} == {None}
    assert histogram.distribution is None
    assert histogram.read("idle") == HistogramReading("idle", 0, 0.0, None, 0)
    assert histogram.read("idle").fields() == {"count": 0, "sum": 0.0}


# What no histogram takes


class _Mute:
    """Subtracts like a number and is none."""

    def __sub__(self, other: object) -> int:
        return 0

    def __float__(self) -> float:
        raise RuntimeError("not telling")


class _Liar(_Mute):
    """Says that it is a float, as the proxies of some libraries do."""

    @property
    def __class__(self) -> type:
        return float


class _Devious(_Mute):
    """Looks finite until it is asked."""

    def __float__(self) -> float:
        return math.inf


REFUSED: dict[str, Any] = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "10**400": 10**400,
    "-10**400": -(10**400),
    "a fraction of 10**400": Fraction(10**400),
    "a decimal nan": Decimal("NaN"),
    "a signalling decimal nan": Decimal("sNaN"),
    "a decimal infinity": Decimal("Infinity"),
    "a decimal over all doubles": Decimal("1e400"),
    "a decimal under all doubles": Decimal("-1e999999"),
    "what cannot be converted": _Mute(),
    "what becomes an infinity": _Devious(),
    "what lies about its class": _Liar(),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("before", [0, 3, 1000])
def test_what_no_double_can_hold_is_refused_and_counted(what: str, before: int) -> None:
    """It never reaches count, sum or spread, whether few values or many were there, or come after it."""
    histogram = filled([2.0] * before)
    histogram.add(REFUSED[what])
    assert (histogram.count, histogram.refused) == (before, 1)
    histogram.add(4)
    histogram.add(REFUSED[what])
    reading = histogram.read("sizes")
    assert (reading.count, reading.sum, reading.refused) == (before + 1, 2.0 * before + 4, 2)
    fields = reading.fields()
    assert (fields["count"], fields["max"], fields["refused"]) == (before + 1, 4.0, 2)
    assert all(math.isfinite(value) for value in fields.values())


def test_good_values_beside_refused_ones_are_kept() -> None:
    """One number that no double can hold costs none of its neighbours in the batch."""
    histogram = Histogram()
    for n in range(600):
        histogram.add(n)
        histogram.add([10**400, math.nan, REFUSED["a decimal over all doubles"]][n % 3])
    assert (histogram.count, histogram.refused) == (600, 600)
    assert histogram.sum == sum(range(600))
    assert (histogram.min, histogram.max) == (0.0, 599.0)


@pytest.mark.parametrize("what", ["3", b"3", None, [3], {3}, 3j, datetime.timedelta(seconds=3)], ids=repr)
def test_what_is_no_number_is_an_error_that_names_it(what: Any) -> None:
    """A text is a mistake in the program; the message shows it, and nothing is counted."""
    histogram = filled([1.0])
    with pytest.raises(TypeError) as caught:
        histogram.add(what)
    assert repr(what) in str(caught.value)
    assert (histogram.count, histogram.refused) == (1, 0)


def test_numbers_of_other_kinds_are_taken() -> None:
    """Whatever is a number and finite becomes a double."""
    for value in (True, 7, Fraction(1, 2), Decimal("2.5")):
        assert filled([value]).max == float(value)


class _Changing:
    """A number that is another one later."""

    value = 1.0

    def __sub__(self, other: object) -> float:
        return 0.0

    def __float__(self) -> float:
        return self.value


def test_a_number_is_taken_as_it_is_now() -> None:
    """It becomes a double when it is added, not when somebody looks."""
    histogram, number = Histogram(), _Changing()
    histogram.add(number)
    number.value = 5.0
    assert (histogram.max, histogram.sum) == (1.0, 1.0)


def test_a_sum_beyond_the_largest_double_raises_nothing() -> None:
    """It becomes an infinity and stays one; count, extremes and quantiles go on."""
    huge = 1.7e308
    histogram = filled([huge] * 300)
    assert histogram.sum == math.inf
    other = filled([-huge] * 700)
    assert other.sum == -math.inf
    for _ in range(300):
        histogram.add(-huge)
    histogram.merge(other)
    histogram.add(1.0)
    assert (histogram.count, histogram.min, histogram.max) == (1301, -huge, huge)
    assert histogram.sum == math.inf
    assert histogram.quantile(0.5) == pytest.approx(-huge, rel=ERROR)
    assert histogram.read("huge").fields()["count"] == 1301


def test_the_largest_double_keeps_its_place() -> None:
    """The upmost bucket would round to an infinity; its values are told as what they are at most."""
    top = math.nextafter(math.inf, 0)
    spread = _spread([top, -top] * 1000)
    assert (spread.quantile(0.25), spread.quantile(0.75)) == (-top, top)


# Merging


@few_examples
@given(st.lists(any_size(), min_size=2, max_size=4))
def test_merged_parts_are_the_whole(parts: list[list[float]]) -> None:
    """Moments of the merged are those of all values, quantiles as close as if one histogram had seen them."""
    merged = Histogram()
    for part in parts:
        merged.merge(filled(part))
    values = [value for part in parts for value in part]
    _check_moments(merged, values)
    assert merged.distribution is not None
    assert worst_error(merged.distribution, values) <= ERROR


def test_merging_buckets_loses_nothing() -> None:
    """Large parts merge to exactly the quantiles of one large histogram."""
    parts = [large("lognormal"), large("pareto"), large("both signs")]
    merged, whole = Histogram(), filled([value for part in parts for value in part])
    for part in parts:
        merged.merge(filled(part))
    assert merged.distribution is not None
    assert whole.distribution is not None
    for q in (0, 0.001, 0.1, 0.5, 0.9, 0.999, 1):
        assert merged.distribution.quantile(q) == whole.distribution.quantile(q)


def test_the_merged_histogram_keeps_its_own() -> None:
    """`other` is unchanged, refused values are carried over, and both go their own ways afterwards."""
    one, other = filled([1.0, 2.0]), filled([10.0, math.nan])
    one.merge(other)
    one.add(3.0)
    other.add(20.0)
    assert (one.count, one.sum, one.refused) == (4, 16.0, 1)
    assert (other.count, other.sum, other.refused) == (2, 30.0, 1)


def test_merged_sums_are_exact() -> None:
    """What the rounding of one sum leaves out is there when the other one cancels the rest."""
    one, other = filled([-1e16]), filled([1e16, 1.0])
    one.merge(other)
    assert one.sum == 1.0
    assert one.distribution is not None
    assert one.distribution.sum == 1.0


def test_merging_an_empty_histogram_changes_nothing() -> None:
    """Neither into an empty one nor into one with values."""
    empty = Histogram()
    empty.merge(Histogram())
    assert empty.distribution is None
    one = filled([1.0, 4.0])
    one.merge(Histogram())
    assert (one.count, one.sum, one.min, one.max) == (2, 5.0, 1.0, 4.0)


def test_a_histogram_is_not_merged_with_itself() -> None:
    """It would count everything twice."""
    histogram = filled([1.0])
    with pytest.raises(ValueError, match="with itself"):
        histogram.merge(histogram)
    assert histogram.count == 1


def test_values_since_a_look_are_merged_too() -> None:
    """What still waits to be folded, on either side, is part of the merge."""
    one, other = filled(range(10)), filled(range(10, 300))
    one.merge(other)
    assert (one.count, one.sum) == (300, sum(range(300)))
    assert one.quantile(0.5) == pytest.approx(order_statistic(range(300), 500), rel=ERROR)


# Memory


def _growth(histogram: Histogram, values: list[float]) -> int:
    """Bytes that stay allocated after ``values`` were added."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for value in values:
            histogram.add(value)
        _ = histogram.count, histogram.sum
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


@pytest.mark.parametrize("shape", ["lognormal", "both signs", "nanoseconds to terabytes"])
def test_memory_stays_bounded(shape: str) -> None:
    """Another hundred thousand values of a kind take next to nothing, with a window that nobody reads or without."""
    values = large(shape)
    histogram = filled(values)
    window = histogram.window()
    more = [value * (1 + n / 1000) for n in range(5) for value in values]
    assert _growth(histogram, more) < 1_000_000  # the values alone would be 2.4 MB, in each of the two
    assert histogram.count == 6 * len(values)
    spread = window.take()
    assert spread is not None
    assert spread.count == histogram.count


def test_the_widest_stream_is_bounded_too() -> None:
    """A bucket has eight significant bits, so that no stream has more than its magnitudes times 128 of them."""
    values = large("nanoseconds to terabytes")
    spread = _spread(values)
    distinct = {spread.quantile(n / len(values)) for n in range(len(values) + 1)}
    assert len(distinct) <= 71 * 128


def test_quantiles_are_monotone_in_the_buckets() -> None:
    """A negative value is below zero, zero below a positive one, and larger values have larger buckets."""
    values = sorted(large("every magnitude"))
    spread = _spread(values)
    told = [spread.quantile(n / 1000) for n in range(1001)]
    assert all(one <= other for one, other in pairwise(told))
    assert told[0] < 0 < told[-1]
