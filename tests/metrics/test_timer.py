"""A timer is a histogram of durations and a meter of events, fed by itself or by a ``with`` block."""

from __future__ import annotations

import math
from collections.abc import Generator
from types import coroutine

import pytest

from txmetrics.metrics import FOLD, Meter, Timer
from txmetrics.testing import FakeReactor


@coroutine
def _pause() -> Generator[None, None, None]:
    yield


def test_durations_are_added_in_seconds() -> None:
    """What is added is spread like a histogram's values."""
    timer = Timer(FakeReactor().clock)
    for seconds in (3, 3, 15):
        timer.add(seconds)
    assert (timer.count, timer.sum, timer.mean, timer.stddev) == (3, 21.0, 7.0, 6.928203230275509)
    assert timer.quantile(0.75) == 15.0


def test_a_block_is_timed() -> None:
    """The time between entering and leaving, on the timer's own clock."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)
    with timer.time():
        reactor.advance(0.25)
    reactor.advance(9)
    with timer.time():
        pass
    assert (timer.count, timer.max, timer.min) == (2, 0.25, 0.0)


def test_the_way_to_a_block_is_not_timed() -> None:
    """The measurement begins when the block is entered, not when it is asked for."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)
    timing = timer.time()
    reactor.advance(7)
    with timing:
        reactor.advance(1)
    assert timer.sum == 1.0


def test_a_block_that_raises_is_timed_too() -> None:
    """The exception goes on as it was."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)
    error = KeyError("k")

    def work() -> None:
        with timer.time():
            reactor.advance(2)
            raise error

    with pytest.raises(KeyError) as caught:
        work()
    assert caught.value is error
    assert (timer.count, timer.sum) == (1, 2.0)


def test_blocks_may_nest() -> None:
    """Each block has a beginning of its own, also on the same timer."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)
    with timer.time():
        reactor.advance(1)
        with timer.time():
            reactor.advance(2)
        reactor.advance(4)
    assert (timer.min, timer.max, timer.count) == (2.0, 7.0, 2)


def test_coroutines_may_interleave() -> None:
    """Blocks that overlap without nesting are each timed from their own beginning to their own end."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)

    async def work() -> None:
        with timer.time():
            await _pause()

    first, second = work(), work()
    first.send(None)
    reactor.advance(1)
    second.send(None)
    reactor.advance(2)
    with pytest.raises(StopIteration):
        first.send(None)
    assert timer.max == 3.0
    reactor.advance(8)
    with pytest.raises(StopIteration):
        second.send(None)
    assert (timer.min, timer.max, timer.count) == (3.0, 10.0, 2)


def test_a_closed_coroutine_is_timed() -> None:
    """A block that ends because its coroutine is thrown away has ended."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)

    async def work() -> None:
        with timer.time():
            await _pause()

    cancelled = work()
    cancelled.send(None)
    reactor.advance(4)
    cancelled.close()
    assert (timer.count, timer.sum) == (1, 4.0)


def test_the_rates_are_those_of_a_meter() -> None:
    """A timer's events have the rates that a meter beside it has, tick by tick."""
    reactor = FakeReactor()
    timer, meter = Timer(reactor.clock), Meter(reactor.clock)
    for step in (0, 1, 5, 0.5, 3.5, 5, 11, 60, 2, 5, 5):
        reactor.advance(step)
        timer.add(0.1)
        meter.mark()
        fields, expected = timer.read("calls").fields(), meter.read("calls").fields()
        assert {name: fields[name] for name in expected} == expected


def test_many_events_between_two_ticks_are_all_counted() -> None:
    """Also those that are still being collected when somebody reads."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)
    for _ in range(1000):
        timer.add(0.001)
    reactor.advance(6)
    assert timer.read("calls").fields()["m1_rate"] == 200.0


def test_merged_events_happen_when_they_are_merged() -> None:
    """They count in the rates of what follows the last reading."""
    reactor = FakeReactor()
    timer, other = Timer(reactor.clock), Timer(reactor.clock)
    for _ in range(5):
        timer.add(1)
        other.add(2)
    reactor.advance(9)
    assert timer.read("calls").fields()["m1_rate"] == 1.0
    timer.merge(other)
    reactor.advance(5)
    assert timer.read("calls").fields()["m1_rate"] == 1.0
    assert (timer.count, timer.sum) == (10, 15.0)


def test_a_refused_duration_is_no_event() -> None:
    """A NaN is counted as refused and in no rate."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)
    timer.add(1)
    timer.add(math.nan)
    timer.add(10**400)
    reactor.advance(5.5)
    fields = timer.read("calls").fields()
    assert (fields["count"], fields["m1_rate"], fields["refused"]) == (1, 0.2, 2)


def test_an_idle_timer_has_rates_and_no_spread() -> None:
    """Nothing happened: zeros for what is counted, nothing for what would be a percentile."""
    assert Timer(FakeReactor().clock).read("calls").fields() == {
        "count": 0,
        "sum": 0.0,
        "m1_rate": 0.0,
        "m5_rate": 0.0,
        "m15_rate": 0.0,
        "mean_rate": 0.0,
    }


def test_a_window_is_about_its_interval() -> None:
    """A reading through a window has the interval's spread beside the life's count, sum and rates."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)
    window = timer.window()
    timer.add(1)
    first = timer.read("calls", window)
    timer.add(3)
    second = timer.read("calls", window)
    third = timer.read("calls", window)
    assert [reading.count for reading in (first, second, third)] == [1, 2, 2]
    assert [reading.spread and reading.spread.max for reading in (first, second, third)] == [1.0, 3.0, None]
    assert third.sum == 4.0


def test_text_is_no_duration() -> None:
    """As with a histogram, a text is an error that names it."""
    with pytest.raises(TypeError, match="'2 s'"):
        Timer(FakeReactor().clock).add("2 s")


def test_values_by_the_dozen_are_the_timers_as_all_others() -> None:
    """Sum, spread and rates are the same, however many come at a time."""
    reactor = FakeReactor()
    usual, fast = Timer(reactor.clock), Timer(reactor.clock)
    for start in range(0, 3 * FOLD, 12):
        reactor.advance(0.5)
        values = [n / 7 for n in range(start, start + 12)]
        for value in values:
            usual.add(value)
        fast.take_in(values)
    assert fast.count == usual.count == 3 * FOLD
    assert fast.read("a").fields() == usual.read("a").fields()


class Keeper:
    """Keeps durations for some timers until somebody looks."""

    def __init__(self, *timers: Timer) -> None:
        self.kept: list[float] = []
        self._timers = timers
        for timer in timers:
            timer.feed(self.bring)

    def bring(self) -> None:
        for timer in self._timers:
            timer.take_in(self.kept)
        self.kept.clear()


def test_what_a_source_has_kept_is_told() -> None:
    """By whatever way somebody looks, and in the interval in which it happened."""
    timer = Timer(FakeReactor().clock)
    keeper = Keeper(timer)
    window = timer.window()
    looks = (
        lambda: timer.count,
        lambda: timer.read("a").count,
        lambda: timer.read("a", window).count,
        lambda: timer.read("a", timer.window()).count,
        lambda: timer.distribution.count,
        lambda: timer.read("a", window).count,
    )
    for number, look in enumerate(looks, 1):
        keeper.kept.append(1.0)
        assert look() == number
    keeper.kept.extend((2.0, 3.0))
    assert window.take().count == 2
    assert window.take() is None


def test_several_sources_feed_several_timers() -> None:
    """What each has kept reaches all of its own, whoever is read first, and a source that is gone is forgotten."""
    clock = FakeReactor().clock
    one, other = Timer(clock), Timer(clock)
    first, second = Keeper(one, other), Keeper(one)
    first.kept.append(1.0)
    second.kept.append(2.0)
    assert other.count == 1
    assert one.sum == 3.0
    del second
    first.kept.append(4.0)
    assert (one.sum, other.sum) == (7.0, 5.0)


def test_rates_after_idle_looks_are_those_of_a_meter() -> None:
    """However long nothing has happened, and however often somebody has looked meanwhile."""
    reactor = FakeReactor()
    timer, meter = Timer(reactor.clock), Meter(reactor.clock)
    for step in (3, 1, 5, 0.5, 60, 2.5):
        reactor.advance(step)
        assert timer.read("calls").m1_rate == meter.read("calls").m1_rate == 0.0
    for events in (3, 0, 7):
        for _ in range(events):
            timer.add(0.1)
        meter.mark(events)
        reactor.advance(6)
        fields, expected = timer.read("calls").fields(), meter.read("calls").fields()
        assert {name: fields[name] for name in expected} == expected
