"""A window tells one reader what happened since that reader last looked, and disturbs nobody."""

from __future__ import annotations

import random
import tracemalloc
from weakref import ref

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.streams import ERROR, MODEST, filled, large, worst_error
from txmetrics.metrics import Histogram
from txmetrics.snapshot import Distribution

few_examples = settings(deadline=None, max_examples=50)

EXACT = 2048
"""So many values of an interval are answered for exactly."""


def _taken(spread: Distribution | None) -> Distribution:
    assert spread is not None
    return spread


def test_the_first_look_covers_the_life() -> None:
    """A reader that comes late still learns of everything that was there before."""
    histogram = filled([1.0, 2.0, 3.0])
    window = histogram.window()
    histogram.add(4.0)
    spread = _taken(window.take())
    assert (spread.count, spread.sum, spread.min, spread.max) == (4, 10.0, 1.0, 4.0)


def test_each_later_look_covers_the_interval() -> None:
    """Only what came since the last look is in it, and nothing at all is None."""
    histogram = filled([100.0])
    window = histogram.window()
    assert _taken(window.take()).count == 1
    assert window.take() is None
    histogram.add(5.0)
    histogram.add(7.0)
    spread = _taken(window.take())
    assert (spread.count, spread.sum, spread.min, spread.max, spread.mean) == (2, 12.0, 5.0, 7.0, 6.0)
    assert window.take() is None


def test_the_life_is_untouched_by_looks() -> None:
    """A window takes from its own share only."""
    histogram = filled([1.0])
    window = histogram.window()
    for n in range(2, 600):
        histogram.add(float(n))
        if n % 7 == 0:
            window.take()
    assert (histogram.count, histogram.min, histogram.max) == (599, 1.0, 599.0)


@few_examples
@given(st.lists(st.tuples(st.integers(0, 2), MODEST), max_size=12))
def test_readers_do_not_disturb_each_other(steps: list[tuple[int, list[float]]]) -> None:
    """Whoever looks whenever, each of three readers sees every value exactly once."""
    histogram = Histogram()
    windows = [histogram.window() for _ in range(3)]
    expected: list[list[float]] = [[], [], []]
    for reader, values in steps:
        for value in values:
            histogram.add(value)
        for waiting in expected:
            waiting += values
        spread = _taken(windows[reader].take())
        assert spread.count == len(expected[reader])
        assert worst_error(spread, expected[reader]) == 0
        expected[reader] = []
    for window, rest in zip(windows, expected, strict=True):
        spread_or_none = window.take()
        assert (0 if spread_or_none is None else spread_or_none.count) == len(rest)


def test_an_interval_of_2048_values_is_exact() -> None:
    """Up to there every order statistic of the interval is the true one, beyond it within the error."""
    rng = random.Random(2048)
    histogram = filled(large("pareto"))
    window = histogram.window()
    window.take()
    for count in (EXACT, EXACT - 1, EXACT):
        values = [rng.lognormvariate(0, 3) for _ in range(count)]
        for value in values:
            histogram.add(value)
        assert worst_error(_taken(window.take()), values) == 0
    values = [rng.lognormvariate(0, 3) for _ in range(EXACT + 500)]
    for value in values:
        histogram.add(value)
    spread = _taken(window.take())
    assert spread.count == len(values)
    assert 0 < worst_error(spread, values) <= ERROR


def test_a_merge_reaches_every_window() -> None:
    """What is merged into a histogram happened, for each of its readers, in the interval of the merge."""
    histogram = filled([1.0])
    early, late = histogram.window(), histogram.window()
    late.take()
    histogram.merge(filled([2.0, 3.0]))
    assert (_taken(early.take()).sum, _taken(late.take()).sum) == (6.0, 5.0)
    assert late.take() is None
    many = large("lognormal")
    histogram.merge(filled(many))
    spread = _taken(late.take())
    assert spread.count == len(many)
    assert worst_error(spread, many) <= ERROR


def test_a_window_of_parts_is_the_whole() -> None:
    """A reader of the sum of several histograms sees in each interval what happened in all of them."""
    values = large("bimodal")
    total = Histogram()
    window = total.window()
    for part in (values[:200], values[200:9000], values[9000:]):
        total.merge(filled(part))
    spread = _taken(window.take())
    assert (spread.count, spread.min, spread.max) == (len(values), min(values), max(values))
    assert worst_error(spread, values) <= ERROR


def test_a_dropped_window_is_forgotten() -> None:
    """A reader that goes away without a word leaves nothing in the histogram."""
    histogram = filled([1.0])
    window = histogram.window()
    gone = ref(window)
    del window
    assert gone() is None
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(2000):
            histogram.window().take()
            histogram.add(float(n % 100))
        _ = histogram.sum
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000


def test_a_value_that_is_refused_is_in_no_window() -> None:
    """An interval in which nothing but a NaN came is an idle one."""
    histogram = filled([1.0])
    window = histogram.window()
    window.take()
    histogram.add(float("nan"))
    histogram.add(10**400)
    assert window.take() is None
