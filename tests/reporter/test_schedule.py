"""When a reporter reports: at the boundaries of its interval, and no second twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.application.service import IService, MultiService
from zope.interface.verify import verifyObject

from tests.reporter.rig import BEGIN, Rig
from txmetrics import Clock, MetricsRegistry
from txmetrics.reporter import Reporter, check_interval
from txmetrics.testing import FakeReactor


def test_the_backend_is_made_once_and_as_root() -> None:
    """twistd starts a service in two steps, and what an endpoint reads may be unreadable after the first."""
    rig = Rig()
    rig.reporter.privilegedStartService()
    assert len(rig.streams) == 1
    assert rig.endpoint.attempts == []
    rig.start()
    assert len(rig.streams) == 1
    rig.advance(10)
    assert rig.graphite.latest("txmetrics.reports.count") == 0
    answers = rig.stop()
    rig.advance(1)
    assert answers == [None]


def test_a_reporter_is_a_service(make: Callable[..., Rig]) -> None:
    """It has what IService asks for, and starts and stops with its parent."""
    rig = make()
    assert verifyObject(IService, rig.reporter)
    parent = MultiService()
    rig.reporter.setServiceParent(parent)
    parent.startService()
    assert rig.reporter.running
    rig.accept()
    stopped: list[object] = []
    parent.stopService().addCallback(stopped.append)
    rig.reactor.advance(0)
    assert len(stopped) == 1
    assert not rig.reporter.running


@pytest.mark.parametrize("late", [0, 0.1, 3.3, 9.9])
def test_reports_are_stamped_with_the_boundaries_of_the_interval(make: Callable[..., Rig], late: float) -> None:
    """Whenever the service starts, the first report comes at the next boundary, then one at each."""
    rig = make(10)
    rig.reactor.advance(late)
    rig.start()
    rig.advance(45 - late)
    assert rig.stamps() == [10, 20, 30, 40]


@pytest.mark.parametrize(
    ("interval", "stamps"),
    [(1, [2, 3, 4, 5, 6, 7]), (2.5, [2, 5, 7]), (3, [2, 5]), (1.5, [2, 3, 5, 6])],
)
def test_any_interval_has_distinct_stamps(make: Callable[..., Rig], interval: float, stamps: list[int]) -> None:
    """A boundary between two seconds, such as BEGIN + 0.5 for 1.5, is written as the second that it lies in.

    The second of the start, and the next if the interval ended in that of the start, are perhaps a predecessor's.
    """
    rig = make(interval).start()
    rig.advance(7.75)
    assert rig.stamps() == stamps


def test_the_last_report_carries_its_own_second(make: Callable[..., Rig]) -> None:
    """It is taken early, at the stop, and arrives before the service has stopped."""
    rig = make().start()
    rig.registry.counter("jobs").inc()
    rig.advance(13.3)
    rig.registry.counter("jobs").inc()
    stopped = rig.stop()
    rig.reactor.advance(0)
    assert stopped == [None]
    assert rig.graphite.values("jobs.count") == {BEGIN + 10: 1, BEGIN + 13: 2}
    assert rig.pipe.ended == "ConnectionDone"


def test_no_second_is_ever_told_twice(make: Callable[..., Rig]) -> None:
    """A stop in the very second of a report is stamped with the next; a start right after it respects that."""
    rig = make(1).start()
    rig.advance(2.1)
    rig.stop()
    rig.reactor.advance(0)
    rig.start()
    rig.advance(2)
    assert rig.stamps() == [2, 3, 4]


def test_a_stop_before_the_first_report_still_reports(make: Callable[..., Rig]) -> None:
    """A service that lived for a moment tells what it did."""
    rig = make(60).start()
    rig.registry.counter("jobs").inc()
    rig.reactor.advance(0.5)
    rig.stop()
    assert rig.graphite.values("jobs.count") == {BEGIN: 1}


def test_a_stalled_reactor_gives_one_late_report(make: Callable[..., Rig]) -> None:
    """After 37 seconds without a turn there is one report, dated by its collection, and then the grid again."""
    rig = make().start()
    rig.advance(12)
    rig.reactor.advance(37)
    rig.advance(12)
    assert rig.stamps() == [10, 40, 50, 60]


def test_a_late_beginning_does_not_shift_the_grid(make: Callable[..., Rig]) -> None:
    """A server that stalls while it starts is measured at the boundaries all the same, from the second report on."""
    rig = make()
    rig.registry.gauge("now", lambda: rig.reactor.seconds() - BEGIN)
    rig.advance(9.875)
    rig.start()
    rig.reactor.advance(3)
    rig.advance(30)
    taken = rig.graphite.values("now")
    assert {stamp - BEGIN: at for stamp, at in taken.items()} == {10: 12.875, 20: 20, 30: 30, 40: 40}


def test_a_timer_that_fires_a_hair_early_reports_its_boundary(make: Callable[..., Rig]) -> None:
    """Wall clocks and timers differ by microseconds; the report still belongs to the second that it was due in."""
    reactor = FakeReactor()
    early = Clock(wall=lambda: reactor.seconds() - 1e-4, tick=reactor.seconds)
    rig = make(1, reactor, MetricsRegistry(early))
    rig.reactor.advance(0.5)
    rig.reporter.startService()
    rig.reporter._begin.reset(0.5)
    rig.accept()
    rig.advance(3)
    assert rig.stamps() == [1, 2, 3]


def test_a_wall_clock_that_is_set_back_tells_no_second_twice(make: Callable[..., Rig]) -> None:
    """Ticks in seconds that were told already are skipped and counted; the numbers resume after them."""
    reactor, shift = FakeReactor(), [0.0]
    rig = make(10, reactor, MetricsRegistry(Clock(wall=lambda: reactor.seconds() + shift[0], tick=reactor.seconds)))
    rig.start()
    rig.advance(32)
    shift[0] = -20
    rig.advance(40)
    assert rig.stamps() == [10, 20, 30, 40, 50]
    assert rig.latest("txmetrics.reports_skipped.count") == 2


def test_a_wall_clock_that_is_set_forward_gives_no_burst(make: Callable[..., Rig]) -> None:
    """One report for each tick, with the new time."""
    reactor, shift = FakeReactor(), [0.0]
    rig = make(10, reactor, MetricsRegistry(Clock(wall=lambda: reactor.seconds() + shift[0], tick=reactor.seconds)))
    rig.start()
    rig.advance(12)
    shift[0] = 3600
    rig.advance(20)
    assert rig.stamps() == [10, 3620, 3630]


@pytest.mark.parametrize("seconds", [0, 0.999, -1, float("nan"), float("inf"), float("-inf")])
def test_an_interval_that_graphite_cannot_keep_is_refused(seconds: float) -> None:
    """Whole seconds are the finest there is; the sentence says so."""
    with pytest.raises(ValueError, match=r"an interval of .* seconds is too short: Graphite keeps whole seconds"):
        check_interval(seconds)
    with pytest.raises(ValueError, match="is too short"):
        Reporter(MetricsRegistry(), lambda reactor: None, seconds)
