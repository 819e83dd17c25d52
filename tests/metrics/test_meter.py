"""A meter's rates are Dropwizard's, tick by tick."""

from __future__ import annotations

import random
from math import exp

import pytest

from txmetrics.metrics import Meter
from txmetrics.testing import FakeReactor


def _rates(meter: Meter) -> tuple[float, float, float]:
    return meter.m1_rate, meter.m5_rate, meter.m15_rate


def _straight(events: list[tuple[float, int]], ticks: int) -> tuple[float, ...]:
    """The three rates after ``ticks`` ticks, from the formula; ``events`` are (seconds since the start, how many)."""
    counts = [0] * (ticks + 1)
    for seconds, n in events:
        counts[min(int(seconds // 5), ticks)] += n
    rates = []
    for minutes in (1, 5, 15):
        alpha = 1 - exp(-5 / 60 / minutes)
        rate = counts[0] / 5
        for count in counts[1:ticks]:
            rate = rate + alpha * (count / 5 - rate)
        rates.append(rate)
    return tuple(rates)


def test_three_events_and_then_silence() -> None:
    """The published vector of the moving averages, to eight decimals, minute by minute after the first tick."""
    reactor = FakeReactor()
    meter = Meter(reactor.clock)
    meter.mark(3)
    reactor.advance(5.001)
    assert _rates(meter) == (0.6, 0.6, 0.6)
    told = []
    for _ in range(5):
        reactor.advance(60)
        told.append(tuple(round(rate, 8) for rate in _rates(meter)))
    assert told[0] == (0.22072766, 0.49123845, 0.56130419)
    assert [m1 for m1, _, _ in told] == [0.22072766, 0.08120117, 0.02987224, 0.01098938, 0.00404277]


def test_all_three_averages_over_fifteen_minutes() -> None:
    """The five and fifteen minutes' averages decay by exp(-1 / 5) and exp(-1 / 15) a minute, to eight decimals."""
    reactor = FakeReactor()
    meter = Meter(reactor.clock)
    meter.mark(3)
    reactor.advance(5.001)
    assert _rates(meter) == (0.6, 0.6, 0.6)
    for minute in range(1, 16):
        reactor.advance(60)
        for rate, minutes in zip(_rates(meter), (1, 5, 15), strict=True):
            assert rate == pytest.approx(0.6 * exp(-minute / minutes), abs=5e-9)


@pytest.mark.parametrize("seed", range(20))
def test_rates_are_those_of_a_straight_loop(seed: int) -> None:
    """Of a meter that is read before each tick that follows events, whenever that is; silence may last for long."""
    rng = random.Random(seed)
    reactor = FakeReactor()
    start = reactor.seconds()
    meter = Meter(reactor.clock)
    events = []
    for _ in range(rng.randrange(1, 300)):
        # Binary fractions, so that the fake time adds up exactly; never on a tick, which has a test of its own.
        reactor.advance(rng.choice((0, 3, 17, 300)) * rng.random() // 0.0078125 * 0.0078125)
        if (reactor.seconds() - start) % 5 == 0:
            reactor.advance(0.0078125)
        _ = meter.m5_rate  # what was marked until now belongs to the ticks until now
        n = rng.randrange(5)
        meter.mark(n)
        events.append((reactor.seconds() - start, n))
        reactor.advance(5.0078125 - (reactor.seconds() - start) % 5)
        _ = meter.m1_rate
    ticks = int((reactor.seconds() - start) // 5)
    assert _rates(meter) == pytest.approx(_straight(events, ticks), rel=1e-12)
    assert meter.count == sum(n for _, n in events)


@pytest.mark.parametrize("interval", [10, 25, 60])
def test_events_at_a_steady_rate_have_it_however_rarely_somebody_reads(interval: int) -> None:
    """Each tick gets an equal share of the events between two readings, so steady ones are where they belong."""
    reactor = FakeReactor()
    meter = Meter(reactor.clock)
    reactor.advance(0.5)  # a reading falls between two ticks
    events = []
    for second in range(600):
        meter.mark(2 if second < 300 else 7)
        events.append((second + 0.5, 2 if second < 300 else 7))
        reactor.advance(1)
        if (second + 1) % interval == 0:
            told = _rates(meter)
    assert told == pytest.approx(_straight(events, 120), rel=1e-12)


def test_ticks_stay_in_phase_with_the_creation() -> None:
    """A late reading runs the ticks that were due, and the next one is due when it always was."""
    reactor = FakeReactor()
    meter = Meter(reactor.clock)
    meter.mark(5)
    reactor.advance(9)
    assert meter.m1_rate == 1.0
    meter.mark(10)
    reactor.advance(1)  # ten seconds old: due, but not over
    assert meter.m1_rate == 1.0
    reactor.advance(0.25)
    assert _rates(meter) == _straight([(0, 5), (9, 10)], 2)


def test_exactly_five_seconds_are_not_yet_a_tick() -> None:
    """A tick runs when its age is over five seconds, so an event at the very edge still belongs to it."""
    reactor = FakeReactor()
    meter = Meter(reactor.clock)
    reactor.advance(5)
    meter.mark(5)
    assert _rates(meter) == (0.0, 0.0, 0.0)
    reactor.advance(0.001)
    assert _rates(meter) == (1.0, 1.0, 1.0)


def test_a_long_silence_is_made_up_for_at_once() -> None:
    """Half a day without events and without readings leaves what as many single ticks would have left."""
    ticks = 9000
    reactor = FakeReactor()
    meter = Meter(reactor.clock)
    meter.mark(10**15)
    reactor.advance(5.5)
    _ = meter.m1_rate
    reactor.advance(5 * (ticks - 1))
    _, m5, m15 = _straight([(0, 10**15)], ticks)
    assert meter.m1_rate == 0.0
    assert (meter.m5_rate, meter.m15_rate) == pytest.approx((m5, m15), rel=1e-9, abs=1e-2)
    assert meter.count == 10**15


def test_what_nobody_read_is_spread_over_the_time_in_which_it_may_have_been() -> None:
    """A meter cannot know when its events were, only between which readings."""
    reactor = FakeReactor()
    meter = Meter(reactor.clock)
    reactor.advance(95)
    meter.mark(50)
    reactor.advance(5.5)
    assert _rates(meter) == (0.5, 0.5, 0.5)


def test_the_mean_rate_is_count_by_age() -> None:
    """Events a second since the making; 0.0 before the first event and in the moment of the making."""
    reactor = FakeReactor()
    meter = Meter(reactor.clock)
    meter.mark(8)
    assert meter.mean_rate == 0.0
    reactor.advance(16)
    assert meter.mean_rate == 0.5
    idle = Meter(reactor.clock)
    reactor.advance(16)
    assert idle.mean_rate == 0.0


def test_a_reading_has_count_and_all_rates() -> None:
    """What a report sends is what the properties tell."""
    reactor = FakeReactor()
    meter = Meter(reactor.clock)
    meter.mark(4)
    reactor.advance(8)
    reading = meter.read("hits")
    assert reading.name == "hits"
    assert reading.fields() == {"count": 4, "m1_rate": 0.8, "m5_rate": 0.8, "m15_rate": 0.8, "mean_rate": 0.5}


def test_the_system_clock_is_the_default() -> None:
    """Without a clock a meter runs on the machine's monotonic one."""
    meter = Meter()
    meter.mark()
    assert meter.count == 1
    assert meter.mean_rate >= 0.0
