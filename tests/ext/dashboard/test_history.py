"""History: three tiers of rows, each right by itself, in bounded memory."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ext.dashboard.stand import BEGIN, Hands
from txmetrics.ext.dashboard._history import RANGES


def test_a_second_of_each_kind_of_metric() -> None:
    """Counters and meters have a rate, gauges a value, histograms and timers a rate and percentiles."""
    hands = Hands()
    registry = hands.registry
    counter, meter, gauge = registry.counter("c"), registry.meter("m"), registry.gauge("g")
    histogram, timer = registry.histogram("h"), registry.timer("t")
    hands.look()
    counter.inc(4)
    meter.mark(3)
    gauge.set(2.5)
    for value in range(1, 101):
        histogram.add(value)
        timer.add(value / 1000)
    hands.after(1)
    expected = {"c.rate": 4, "m.rate": 3, "g": 2.5}
    expected |= {"h.rate": 100, "h.p50": 50, "h.p95": 95, "h.p99": 99, "h.max": 100}
    expected |= {"t.rate": 100, "t.p50": 0.05, "t.p95": 0.095, "t.p99": 0.099, "t.max": 0.1}
    assert {name: hands.told(name) for name in hands.kept()} == {name: {1: value} for name, value in expected.items()}


def test_the_first_look_is_no_row() -> None:
    """What a metric has counted in its life before did not happen in the first second."""
    hands = Hands()
    hands.registry.counter("c").inc(1_000_000)
    hands.registry.timer("t").add(77.0)
    hands.look()
    assert all(not tier.rows for tier in hands.history.tiers.values())
    hands.after(1)
    assert hands.told("c.rate") == {1: 0}
    assert hands.told("t.max") == {1: None}


def test_a_metric_that_appears_has_counted_from_nothing() -> None:
    """In every tier: it cannot have been there at that tier's look before."""
    hands = Hands()
    hands.look()
    for second in range(1, 61):
        if second == 35:
            hands.registry.counter("c").inc(12)
        hands.after(1)
    assert hands.told("c.rate")[34] is None
    assert hands.told("c.rate")[35] == 12
    assert hands.told("c.rate")[36] == 0
    assert hands.told("c.rate", "1h") == {10: None, 20: None, 30: None, 40: 1.2, 50: 0, 60: 0}
    assert hands.told("c.rate", "24h") == {60: 0.2}


def test_a_quiet_second_has_no_percentiles() -> None:
    """Its rate is 0, and nothing of the second before is repeated."""
    hands = Hands()
    timer = hands.registry.timer("t")
    hands.look()
    timer.add(0.5)
    hands.after(1)
    hands.after(1)
    assert hands.told("t.p99") == {1: 0.5, 2: None}
    assert hands.told("t.rate") == {1: 1, 2: 0}


def test_percentiles_of_a_tier_are_those_of_its_own_interval() -> None:
    """The median of ten seconds is the median of all values, which no mean of the seconds' medians is."""
    hands = Hands()
    timer = hands.registry.timer("t")
    hands.look()
    for second in range(1, 11):
        for _ in range(1000 if second == 1 else 1):
            timer.add(float(second))
        hands.after(1)
    assert list(hands.told("t.p50").values()) == [*range(1, 11)]
    assert hands.told("t.p50", "1h") == {10: 1}
    assert hands.told("t.max", "1h") == {10: 10}
    assert hands.told("t.rate", "1h") == {10: 100.9}


def test_other_readers_are_not_robbed() -> None:
    """A reporter sees all values, and the history too."""
    hands = Hands()
    timer, reporter = hands.registry.timer("t"), hands.registry.reader()
    [*reporter.collect()]
    hands.look()
    timer.add(1.0)
    hands.after(1)
    timer.add(2.0)
    [reading] = reporter.collect()
    hands.after(1)
    assert (reading.fields()["count"], reading.fields()["max"], reading.fields()["min"]) == (2, 2.0, 1.0)
    assert hands.told("t.max") == {1: 1, 2: 2}


def test_rates_are_of_the_time_that_passed() -> None:
    """A process that stood still for nine seconds has a gap, and then a row of all that time."""
    hands = Hands()
    counter = hands.registry.counter("c")
    hands.look()
    counter.inc(2)
    hands.after(1)
    counter.inc(18)
    hands.after(9)
    assert hands.told("c.rate") == {1: 2, 10: 2}


def test_a_clock_set_forward_leaves_a_gap() -> None:
    """An hour on the wall that was a second."""
    hands = Hands()
    counter = hands.registry.counter("c")
    hands.look()
    counter.inc(5)
    hands.after(1, wall=3600)
    assert hands.told("c.rate") == {3600: 5}
    assert hands.told("c.rate", "1h") == {3600: 5}


def test_a_clock_set_back_a_little_is_waited_for() -> None:
    """No second is told twice, and nothing that was counted meanwhile is lost."""
    hands = Hands()
    counter = hands.registry.counter("c")
    hands.look()
    hands.after(1)
    hands.after(1, wall=0)
    counter.inc(6)
    hands.after(1)
    assert hands.told("c.rate") == {1: 0, 2: 3}


def test_a_clock_set_back_by_an_hour_goes_on_at_once() -> None:
    """What the wrong clock told of the hour to come is dropped, and what was before it stays."""
    hands = Hands()
    counter = hands.registry.counter("c")
    hands.look()
    hands.after(1)
    hands.after(1, wall=3600)
    counter.inc(7)
    hands.after(1, wall=-3598)
    assert hands.told("c.rate") == {1: 0, 3: 7}
    times = [row.time for row in hands.history.tiers["5m"].rows]
    assert times == sorted(set(times))


def test_a_timer_that_fires_a_hair_early_is_in_time() -> None:
    """The row belongs to the second that was meant."""
    hands = Hands()
    hands.registry.counter("c")
    hands.look()
    hands.after(0.9995)
    assert hands.told("c.rate") == {1: 0}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(-100, 100), st.integers(0, 50)), max_size=30))
def test_whatever_the_clock_does_times_ascend_and_rates_are_real(steps: list[tuple[float, float, int]]) -> None:
    """No rate is higher than what was counted in any time that passed, and no two rows have one time."""
    hands = Hands()
    counter = hands.registry.counter("c")
    hands.look()
    fastest = 0.0
    for passed, wall, events in steps:
        counter.inc(events)
        fastest = max(fastest, events / passed)
        hands.after(passed, wall)
    for name in RANGES:
        times = [row.time for row in hands.history.tiers[name].rows]
        assert times == sorted(set(times))
        rates = [rate for rate in hands.told("c.rate", name).values() if rate is not None] if steps else []
        assert all(0 <= rate <= fastest * 1.00001 for rate in rates)


@pytest.mark.parametrize(("range_", "step", "length"), [(name, *of) for name, of in RANGES.items()])
def test_a_tier_keeps_so_many_rows_and_no_more(range_: str, step: int, length: int) -> None:
    """The oldest go; a row is four bytes a series and an object."""
    hands = Hands()
    for n in range(100):
        hands.registry.timer(f"t{n}")
    hands.look()
    for _ in range(length + 3):
        hands.after(step)
    rows = hands.history.tiers[range_].rows
    assert len(rows) == length
    assert rows[-1].time - rows[0].time == (length - 1) * step
    assert all(sys.getsizeof(row.numbers) <= 4 * 500 + 200 for row in rows)


def test_values_that_are_no_numbers_are_unknown() -> None:
    """Whatever a gauge shows, the history goes on."""
    hands = Hands()
    shown = {"text": "7", "none": None, "nan": float("nan"), "huge": 10**400, "inf": 1e308, "true": True}
    for name, value in shown.items():
        hands.registry.gauge(name, lambda value=value: value)
    hands.registry.gauge("raises", lambda: 1 / 0)
    hands.registry.counter("strange").count = "many"
    hands.look()
    hands.after(1)
    assert [hands.told(name)[1] for name in ("text", "none", "nan", "huge", "raises", "strange.rate")] == [None] * 6
    assert hands.told("true") == {1: 1}
    assert hands.told("inf") == {1: float("inf")}  # beyond four bytes; the JSON says null


def test_the_latest_row_is_of_the_last_interval_or_the_one_before() -> None:
    """So that it is there while the next one is being made, and nothing stale is told as new."""
    hands = Hands()
    hands.registry.counter("c")
    assert hands.history.latest("1h") is None
    hands.look()
    hands.after(10)
    latest = hands.history.latest("1h")
    assert latest is not None
    assert latest.time == BEGIN + 10
    _begin_a_row_of_ten(hands, BEGIN + 20)
    assert hands.history.latest("1h") is latest
    _begin_a_row_of_ten(hands, BEGIN + 40)
    assert hands.history.latest("1h") is None


def _begin_a_row_of_ten(hands: Hands, wall: float) -> None:
    """Walk until that row is under way, and break off."""
    for _ in hands.history.collect(wall):
        if hands.history.tiers["1h"].last == wall:
            return


def test_a_walk_that_breaks_off_makes_no_row_and_no_wrong_one_later() -> None:
    """A metric that the broken walk would have met counts from the walk after it."""
    hands = Hands()
    hands.registry.counter("a")
    hands.look()
    bomb = hands.registry.gauge("bomb", _exit)
    hands.registry.counter("b").inc(9)
    with pytest.raises(SystemExit):
        hands.after(1)
    bomb.set(1)
    hands.after(1)
    hands.registry.counter("b").inc(2)
    hands.after(1)
    assert hands.told("a.rate") == {2: 0, 3: 0}
    assert hands.told("b.rate") == {2: None, 3: 2}


def _exit() -> object:
    raise SystemExit


def test_a_rate_is_of_the_time_between_two_looks_at_its_own_metric() -> None:
    """A long walk meets some metrics later than others, and not always equally late."""
    hands, late = Hands(), 0.0

    def tell() -> float:
        hands.tick += late
        return 1.0

    hands.registry.gauge("slow", tell)
    counter = hands.registry.counter("c")
    hands.look()
    late = 0.6
    hands.after(1)
    late = 0.0
    counter.inc(4)
    hands.after(0.4, wall=1)
    assert hands.told("c.rate")[2] == 10
