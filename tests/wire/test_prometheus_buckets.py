"""How many values are at most so large: the same answer for raw values and for buckets, and never taken back."""

from __future__ import annotations

from bisect import bisect_right
from math import ceil, inf, log2, nan
from struct import pack
from sys import float_info

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from txmetrics.metrics import Histogram
from txmetrics.metrics._accumulator import Accumulator
from txmetrics.metrics._batch import Batch, buckets, middles
from txmetrics.snapshot import Distribution
from txmetrics.wire._native import NOTHING, native_counts
from txmetrics.wire._prometheus_plan import BYTES, NUMBERS, RATIOS, SECONDS

BOUNDS = (-1e300, -100.0, -3.3, -0.001, -5e-324, 0.0, 5e-324, *SECONDS, 100.0, 255.0, 256.0, 257.0, 1e9, 1.797e308)

near_bounds = st.tuples(
    st.sampled_from(BOUNDS), st.integers(-40, 40), st.sampled_from([2.0**-52, 2.0**-10, 2.0**-9])
).map(lambda chosen: max(min(chosen[0] * (1 + chosen[1] * chosen[2]), float_info.max), -float_info.max))
values = (
    near_bounds
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(1e-4, 20.0)
    | st.integers(0, 300).map(float)
)
batches = st.lists(st.lists(values, min_size=1, max_size=30), min_size=1, max_size=8)


def middle(value: float) -> float:
    """What the bucket of a value stands for."""
    return middles(buckets(pack("d", value)))[0]


def brute(numbers: list[float], bound: float) -> int:
    """How many of the numbers are in the bound's bucket or in one below."""
    return sum(middle(number) <= middle(bound) for number in numbers)


@settings(deadline=None)
@given(batches)
def test_what_is_told_agrees_with_the_buckets_and_never_falls(stream: list[list[float]]) -> None:
    """While a life goes from raw values to buckets, each count is what counting by buckets says, and only grows."""
    life, seen, before = Accumulator(8), [], [0] * len(BOUNDS)
    for batch in stream:
        life.extend(Batch(batch))
        seen += batch
        told = life.distribution().at_most(BOUNDS)
        assert told == [brute(seen, bound) for bound in BOUNDS]
        assert told == sorted(told)
        assert all(now >= then for now, then in zip(told, before, strict=True))
        before = told


@settings(deadline=None)
@given(batches, st.sampled_from([*SECONDS, *BYTES, *NUMBERS, *RATIOS]))
def test_it_is_right_but_for_a_bucket(stream: list[list[float]], bound: float) -> None:
    """All values that are at most so large count, and none that is larger by a bucket."""
    life = Accumulator(8)
    for batch in stream:
        life.extend(Batch(batch))
    exact = sorted(value for batch in stream for value in batch)
    [told] = life.distribution().at_most([bound])
    assert bisect_right(exact, bound) <= told <= bisect_right(exact, bound * (1 + 2**-7))


def test_integers_up_to_256_are_exact() -> None:
    """Of the integers, and also of those that are kept in buckets."""
    histogram = Histogram()
    for _ in range(3):
        histogram.take_in(map(float, range(300)))
    spread = histogram.distribution
    assert spread is not None
    assert spread.ranks is not None
    assert spread.at_most(range(257)) == [3 * (bound + 1) for bound in range(257)]


def test_bounds_outside_of_all_values() -> None:
    """None is below the least, all are below infinity, and NaN is no bound."""
    spread = Distribution(2, 3.0, 1.0, 2.0, 0.7, [1.0, 2.0])
    assert spread.at_most([0.5, inf, 1.5]) == [0, 2, 1]
    assert spread.at_most([]) == []
    with pytest.raises(ValueError, match="a bound is a number, not nan"):
        spread.at_most([nan])


def native(number: float) -> int | str:
    """The native bucket of a number: the first whose end, 2**(n/8), is in the number's own bucket or above."""
    size = abs(middle(number))
    if size <= NOTHING:
        return "zero"
    key = 8192 if size == inf else ceil(round(log2(size) * 8, 9))
    return key - 1 if size <= middle(2 ** ((key - 1) / 8)) else key


@settings(deadline=None)
@given(batches)
def test_native_buckets_never_fall_either(stream: list[list[float]]) -> None:
    """Each value is in one native bucket, which its own bucket says, from the first moment on."""
    life, seen = Accumulator(8), []
    before: list[dict[int, int]] = [{}, {}, {}]
    for batch in stream:
        life.extend(Batch(batch))
        seen += batch
        negative, zero, positive = native_counts(life.distribution())
        told = [negative, {0: zero}, positive]
        assert sum(negative.values()) + zero + sum(positive.values()) == len(seen)
        assert all(now.get(key, 0) >= then[key] for now, then in zip(told, before, strict=True) for key in then)
        before = told
    assert [*positive] == sorted(positive)
    assert positive == _tally(number for number in seen if number > 0)
    assert negative == _tally(number for number in seen if number < 0)


def _tally(numbers: object) -> dict[int, int]:
    keys = [native(number) for number in numbers]
    return {key: keys.count(key) for key in keys if key != "zero"}
