"""How late the reactor is, by a probe that is never where one looks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from txmetrics.instrument import Lag
from txmetrics.testing import FakeReactor


class HeldReactor(FakeReactor):
    """One that can be held, and whose clock can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.steady = 0.0

    def hold(self, seconds: float) -> None:
        """Time passes and nothing comes."""
        self.rightNow += seconds
        self.steady += seconds

    def advance(self, seconds: float) -> None:
        self.steady += seconds
        super().advance(seconds)


@pytest.fixture
def reactor() -> HeldReactor:
    return HeldReactor()


@pytest.fixture
def probed() -> list[float]:
    """What each probe told."""
    return []


@pytest.fixture
def lag(reactor: HeldReactor, probed: list[float]) -> Iterator[Lag]:
    """It runs."""
    lag = Lag(lambda: reactor.steady, reactor, probed.append)
    lag.start()
    yield lag
    lag.stop()
    assert reactor.getDelayedCalls() == []


def test_a_reactor_in_time_does_not_lag(reactor: HeldReactor, lag: Lag, probed: list[float]) -> None:
    """Four probes a second, none late."""
    for _ in range(40):
        reactor.advance(0.125)
        assert lag.seconds() == 0
    assert probed == [0.0] * 20


def test_a_reactor_that_was_held_lags_at_once(reactor: HeldReactor, lag: Lag, probed: list[float]) -> None:
    """Before the probe, and after it until the next one, which is in time."""
    reactor.advance(0.125)
    reactor.hold(2)
    assert lag.seconds() == 1.875
    assert probed == []
    reactor.advance(0)
    assert probed == [1.875]
    reactor.advance(0.125)
    assert lag.seconds() == 1.875
    reactor.hold(3)
    assert lag.seconds() == 2.875
    reactor.advance(0)
    reactor.advance(0.25)
    assert lag.seconds() == 0
    assert probed == [1.875, 2.875, 0.0]


def test_what_is_not_yet_due_is_not_late(reactor: HeldReactor, lag: Lag) -> None:
    """A reactor may be held for a moment between two probes."""
    reactor.hold(0.2)
    assert lag.seconds() == 0


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_is_set_is_no_lag(reactor: HeldReactor, lag: Lag, probed: list[float], seconds: float) -> None:
    """And the probe goes on, once it has been asked."""
    reactor.rightNow += seconds
    reactor.advance(0)
    assert lag.seconds() == 0
    del probed[:]
    for _ in range(4):
        reactor.advance(0.25)
    assert probed == [0.0] * 4
    reactor.hold(1.25)
    assert lag.seconds() == 1


def test_a_clock_that_is_set_back_a_little_is_no_lag(reactor: HeldReactor, lag: Lag, probed: list[float]) -> None:
    """The probe comes later for once, which is nobody's fault."""
    reactor.rightNow -= 0.375
    reactor.advance(0.5)
    assert lag.seconds() == 0
    reactor.advance(0.125)
    assert probed == [0.0]


def test_it_lags_while_it_runs_only(reactor: HeldReactor, lag: Lag) -> None:
    """What was before a stop is not after it; starting or stopping twice is as good as once."""
    reactor.hold(5)
    reactor.advance(0)
    assert lag.seconds() == 4.75
    lag.stop()
    lag.stop()
    assert lag.seconds() == 0
    assert reactor.getDelayedCalls() == []
    lag.start()
    lag.start()
    assert len(reactor.getDelayedCalls()) == 1
    assert lag.seconds() == 0


def test_a_probe_may_stop_the_probing(reactor: HeldReactor) -> None:
    """As ShedLoad's does."""
    lag = Lag(lambda: reactor.steady, reactor, lambda late: lag.stop())
    lag.start()
    reactor.advance(1)
    assert reactor.getDelayedCalls() == []


def test_the_global_reactor_is_the_default() -> None:
    """Taken when it starts."""
    from twisted.internet import reactor

    before = reactor.getDelayedCalls()
    lag = Lag(lambda: 0.0)
    lag.start()
    assert len(reactor.getDelayedCalls()) == len(before) + 1
    lag.stop()
