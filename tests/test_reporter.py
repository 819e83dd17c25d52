"""The reporter: every interval it collects, encodes and delivers, and it never dies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from zope.interface.verify import verifyObject

from tests.delivery.network import Endpoint, Pipe, check_books
from tests.strict import Logged
from txmetrics import Clock, MetricsRegistry, backends
from txmetrics.delivery import Stream
from txmetrics.reporter import STOP, TURN, Backend, Reporter, check_interval
from txmetrics.testing import FakeReactor, GraphiteReceiver
from txmetrics.wire import Graphite

BEGIN = 1_000_000_000
"""When a FakeReactor begins: a multiple of ten."""


class Rig:
    """A registry, a reporter and a Graphite in virtual time, with a network in memory between them."""

    def __init__(self, interval: float = 10, reactor: FakeReactor | None = None, registry: Any = None) -> None:
        self.reactor = FakeReactor() if reactor is None else reactor
        self.registry = MetricsRegistry(self.reactor.clock) if registry is None else registry
        self.wire: Any = Graphite()
        self.between: Callable[[Stream], Any] = lambda stream: stream
        self.endpoint = Endpoint(self.reactor)
        self.graphite = GraphiteReceiver()
        self.streams: list[Stream] = []
        self.pipe: Any = None
        self.reporter = Reporter(self.registry, self.backend, interval, reactor=self.reactor)

    def backend(self, reactor: Any) -> Backend:
        self.streams.append(Stream(reactor, self.endpoint, "tcp:graphite:2003", random=lambda: 0.0))
        return Backend(self.wire, self.between(self.streams[-1]))

    def start(self) -> Rig:
        """Start the reporter, and let Graphite accept."""
        self.reporter.startService()
        self.accept()
        return self

    def accept(self) -> None:
        self.pipe = self.endpoint.latest.accept(peer=self.graphite.buildProtocol(None))

    def stop(self) -> list[None]:
        """Stop the reporter; the list holds the answer once there is one."""
        answers: list[None] = []
        self.reporter.stopService().addCallback(answers.append)
        return answers

    def advance(self, seconds: float) -> None:
        """In steps of an eighth, which adds up without a rounding."""
        for _ in range(round(seconds * 8)):
            self.reactor.advance(0.125)

    def stamps(self, name: str = "txmetrics.reports.count") -> list[float]:
        """When the points under `name` were taken, in seconds since `BEGIN`, in the order of their arrival."""
        return [point.timestamp - BEGIN for point in self.graphite.points if point.name == name]

    def latest(self, name: str) -> float | None:
        return self.graphite.latest(name)


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    """Makes rigs; when the test is over each is stopped, and nothing may wait in its reactor any more."""
    rigs: list[Rig] = []

    def make_one(*args: Any, **kwargs: Any) -> Rig:
        rigs.append(Rig(*args, **kwargs))
        return rigs[-1]

    yield make_one
    for rig in rigs:
        stopped = rig.stop()
        rig.advance(STOP + 0.2)
        assert stopped == [None]
        for stream in rig.streams:
            check_books(stream)
    for rig in rigs:
        assert rig.reactor.getDelayedCalls() == []
        assert rig.graphite.wrong == []


# When


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
    [(1, [1, 2, 3, 4, 5, 6, 7]), (2.5, [2, 5, 7]), (3, [2, 5]), (1.5, [0, 2, 3, 5, 6])],
)
def test_any_interval_has_distinct_stamps(make: Callable[..., Rig], interval: float, stamps: list[int]) -> None:
    """A boundary between two seconds, such as BEGIN + 0.5 for 1.5, is written as the second that it lies in."""
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
    assert rig.stamps() == [1, 2, 3, 4]


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


# What


def test_each_kind_is_reported(make: Callable[..., Rig]) -> None:
    """Counts are cumulative, the rest is the interval's."""
    rig = make().start()
    registry = rig.registry
    registry.counter("jobs").inc(3)
    registry.gauge("depth").set(7)
    registry.gauge("age", lambda: rig.reactor.seconds() - BEGIN)
    registry.meter("hits").mark(50)
    registry.histogram("sizes").add(15)
    registry.timer("waits").add(0.25)
    rig.advance(10)
    assert rig.latest("jobs.count") == 3
    assert rig.latest("depth") == 7
    assert rig.latest("age") == 10
    assert rig.latest("hits.count") == 50
    assert rig.latest("hits.mean_rate") == 5
    assert rig.latest("sizes.p99") == 15
    assert rig.latest("waits.max") == 0.25
    assert rig.latest("waits.mean_rate") == 0.1


def test_an_idle_interval_sends_no_percentile(make: Callable[..., Rig]) -> None:
    """What happened before is not told again; count and sum go on."""
    rig = make().start()
    rig.registry.histogram("sizes").add(15)
    rig.advance(30)
    assert rig.stamps("sizes.p99") == rig.stamps("sizes.mean") == rig.stamps("sizes.max") == [10]
    assert rig.stamps("sizes.count") == rig.stamps("sizes.sum") == [10, 20, 30]


def test_two_reporters_do_not_disturb_each_other(make: Callable[..., Rig]) -> None:
    """Each tells the spread of its own interval, and all counts, of one registry."""
    fast = make(1)
    slow = make(5, fast.reactor, fast.registry)
    sizes = fast.registry.histogram("sizes")
    fast.start()
    slow.start()
    for second in range(1, 11):
        sizes.add(second)
        fast.advance(1)
    assert [fast.graphite.values("sizes.max")[BEGIN + second] for second in range(1, 11)] == list(range(1, 11))
    assert fast.graphite.values("sizes.min") == fast.graphite.values("sizes.max")
    assert slow.graphite.values("sizes.max") == {BEGIN + 5: 5, BEGIN + 10: 10}
    assert slow.graphite.values("sizes.min") == {BEGIN + 5: 1, BEGIN + 10: 6}
    assert slow.latest("sizes.count") == fast.latest("sizes.count") == 10


def test_what_a_restart_missed_is_told_after_it(make: Callable[..., Rig]) -> None:
    """The first report after a pause covers the pause, and not once more what was told before it."""
    rig = make().start()
    sizes = rig.registry.histogram("sizes")
    sizes.add(1000)
    rig.advance(12)
    rig.stop()
    rig.advance(1)
    sizes.add(1)
    rig.start()
    rig.advance(10)
    assert rig.graphite.values("sizes.max") == {BEGIN + 10: 1000, BEGIN + 20: 1}
    assert rig.latest("sizes.count") == 2


JUNK = [10**400, float("nan"), float("inf"), None, "1", b"1", [], Deferred(), 1j, "x\ny 1 2"]


@pytest.mark.parametrize(
    ("shown", "value"),
    [(True, 1), (Decimal("2.5"), 2.5), (2**70, 2**70), (-0.5, -0.5), *((junk, None) for junk in JUNK)],
    ids=lambda shown: repr(shown)[:20],
)
def test_a_gauge_shows_a_number_or_nothing(make: Callable[..., Rig], shown: object, value: float | None) -> None:
    """Whatever it is, it disturbs no other line, and a refusal is counted."""
    rig = make().start()
    rig.registry.gauge("odd").set(shown)
    rig.registry.gauge("even").set(2)
    rig.advance(20)
    assert rig.latest("odd") == value
    assert rig.latest("even") == 2
    assert rig.latest("txmetrics.values_refused.value.count") == (1 if value is None else None)


# What goes wrong


def test_a_raising_gauge_costs_its_own_line_and_one_log_entry(make: Callable[..., Rig], logged: Logged) -> None:
    """One entry until it has recovered and fails again; all others are told all the time."""
    rig = make(1).start()
    failing = True

    def tell() -> float:
        if failing:
            raise ZeroDivisionError("no divisor")
        return 5.0

    rig.registry.gauge("before").set(1)
    rig.registry.gauge("odd", tell)
    rig.registry.gauge("after").set(2)
    rig.advance(5)
    [entry] = logged.flush(ZeroDivisionError)
    assert "no divisor" in entry.getErrorMessage()
    assert "test_reporter.py" in entry.getTraceback()
    assert [event["log_level"] for event in logged.events if "odd" in str(event.get("name"))] == [LogLevel.warn]
    assert rig.stamps("odd") == []
    failing = False
    rig.advance(2)
    assert rig.stamps("odd") == [6, 7]
    failing = True
    rig.advance(3)
    assert len(logged.flush(ZeroDivisionError)) == 1
    assert rig.stamps("odd") == [6, 7]
    assert rig.stamps("before") == rig.stamps("after") == list(range(1, 11))
    assert rig.latest("txmetrics.unreadable_gauges.count") == 7  # until the report before this one


def test_each_raising_gauge_has_its_own_entry(make: Callable[..., Rig], logged: Logged) -> None:
    """A second one that begins to fail is told although the first goes on."""
    rig = make(1).start()
    rig.registry.gauge("first", lambda: 1 / 0)
    rig.advance(2)
    rig.registry.gauge("second", lambda: [][1])
    rig.advance(2)
    assert len(logged.flush(ZeroDivisionError)) == 1
    assert len(logged.flush(IndexError)) == 1


class BoomError(Exception):
    """What the tests let explode."""


class Fuse:
    """Raises when it is called, the first few times."""

    def __init__(self, error: BaseException, times: int = 2) -> None:
        self._error = error
        self._left = times

    def __call__(self) -> float:
        if self._left:
            self._left -= 1
            raise self._error
        return 0.0


class Faulty:
    """A part of the reporter behind one of the seams, one of whose methods or attributes has a fuse."""

    def __init__(self, part: Any, method: str, fuse: Fuse) -> None:
        self._part, self._method, self._fuse = part, method, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name != self._method:
            return found
        if not callable(found):
            self._fuse()
            return found
        return lambda *args: (self._fuse(), found(*args))[1]


class FaultyEncoders:
    """A wire whose encoders explode at one of their methods."""

    def __init__(self, method: str, fuse: Fuse) -> None:
        self._method, self._fuse = method, fuse

    def encoder(self, timestamp: int) -> Any:
        return Faulty(Graphite().encoder(timestamp), self._method, self._fuse)


class FaultyRegistry(MetricsRegistry):
    """A registry whose readers explode."""

    fuse = Fuse(BoomError(), 0)

    def reader(self) -> Any:
        return Faulty(super().reader(), "collect", self.fuse)


@pytest.mark.parametrize(
    "part",
    ["wire.encoder", "encoder.add", "encoder.finish", "delivery.deliver", "delivery.levels", "reader.collect", "gauge"],
)
def test_nothing_that_explodes_stops_the_crank(make: Callable[..., Rig], logged: Logged, part: str) -> None:
    """It is logged and counted, and the report after it is as if nothing had happened."""
    owner, _, method = part.partition(".")
    fuse = Fuse(SystemExit(3) if owner == "gauge" else BoomError())
    reactor = FakeReactor()
    registry = FaultyRegistry(reactor.clock)
    registry.fuse = fuse if owner == "reader" else registry.fuse
    rig = make(10, reactor, registry)
    if owner == "wire":
        rig.wire = Faulty(Graphite(), method, fuse)
    elif owner == "encoder":
        rig.wire = FaultyEncoders(method, fuse)
    elif owner == "delivery":
        rig.between = lambda stream: Faulty(stream, method, fuse)
    elif owner == "gauge":
        registry.gauge("exit", fuse)
    registry.counter("jobs").inc(5)
    rig.start()
    rig.advance(40)
    assert rig.stamps("jobs.count")[-2:] == [30, 40]
    assert rig.stamps()[-2:] == [30, 40]
    broken = 1 if method == "finish" else 2  # the second time in the attempt to save what was written down
    assert rig.latest("txmetrics.reports_broken.count") == broken
    assert len(logged.flush(BoomError, SystemExit)) == broken


def test_a_broken_report_delivers_what_was_written_down(make: Callable[..., Rig], logged: Logged) -> None:
    """The readings before the one that exploded arrive; nothing that was collected is in no book."""
    rig = make()
    rig.registry.counter("before").inc(3)
    rig.registry.gauge("exit", Fuse(SystemExit(3)))
    rig.registry.counter("after").inc(4)
    rig.start()
    rig.advance(30)
    assert rig.graphite.values("before.count").keys() == {1_000_000_010, 1_000_000_020, 1_000_000_030}
    assert rig.graphite.values("after.count").keys() == {1_000_000_030}
    assert len(logged.flush(SystemExit)) == 2


def test_a_forked_child_reports_nothing(make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ticks do nothing; in the parent everything goes on."""
    rig = make(10).start()
    rig.registry.counter("jobs").inc()
    rig.advance(10)
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: 0)
        rig.advance(10)
    rig.advance(10)
    assert rig.stamps("jobs.count") == [10, 30]


def test_the_ledger_tells_where_every_point_is(make: Callable[..., Rig]) -> None:
    """As a dict, before the first start, on the way, and when all is over; what was no number is told as well."""
    rig = make(10)
    nothing = {"collected": 0, "delivered": 0, "retained": 0, "queued": 0, "spooled": 0, "dropped": {}, "refused": {}}
    assert rig.reporter.ledger() == nothing
    rig.registry.gauge("strange").set("five")
    rig.start()
    rig.advance(15)
    lines = len(rig.graphite.points)
    assert rig.reporter.ledger() == nothing | {"collected": lines, "retained": lines, "refused": {"value": 1}}
    rig.advance(70)
    ledger = rig.reporter.ledger()
    assert ledger["delivered"] > 0
    assert ledger["collected"] == len(rig.graphite.points) == ledger["delivered"] + ledger["retained"]
    rig.stop()
    rig.advance(1)
    ledger = rig.reporter.ledger()
    assert ledger["collected"] == len(rig.graphite.points) == ledger["delivered"]


def test_a_backend_that_cannot_be_made_is_the_starters_problem(make: Callable[..., Rig]) -> None:
    """The exception reaches whoever starts the service, which then does not run; a later start may succeed."""
    rig = make()
    fuse = Fuse(BoomError(), times=1)
    rig.between = lambda stream: (fuse(), stream)[1]
    with pytest.raises(BoomError):
        rig.reporter.startService()
    assert not rig.reporter.running
    assert rig.stop() == [None]
    rig.start()
    rig.advance(10)
    assert rig.stamps() == [10]


def test_a_delivery_that_cannot_stop_does_not_keep_the_reporter(make: Callable[..., Rig], logged: Logged) -> None:
    """The service ends all the same, and says what happened."""
    rig = make()
    rig.between = lambda stream: Faulty(stream, "stop", Fuse(BoomError()))
    rig.start()
    assert rig.stop() == [None]
    assert len(logged.flush(BoomError)) == 1
    rig.streams[0].stop(0)


# How long


class SlowGauges:
    """Gauges of a rig, each reading of which takes so many `seconds`."""

    def __init__(self, rig: Rig, gauges: int, seconds: float) -> None:
        self.names = {f"slow.{number}" for number in range(gauges)}
        self.seconds = seconds
        self._reactor = rig.reactor
        for name in self.names:
            rig.registry.gauge(name, self.read)

    def read(self) -> float:
        self._reactor.rightNow += self.seconds
        return 1.0


READING = 2**-12  # 0.24 milliseconds, and exact in a sum with seconds


def test_one_turn_of_the_reactor_exceeds_its_budget_by_one_reading_at_most(make: Callable[..., Rig]) -> None:
    """And others have their turn between any two, however many metrics there are."""
    rig = make()
    slow = SlowGauges(rig, 1000, READING)
    requests: list[float] = []

    def request() -> None:
        requests.append(rig.reactor.seconds())
        if len(requests) < 2000:
            rig.reactor.callLater(0, request)

    rig.reactor.callLater(10, request)
    rig.start()
    rig.advance(10)
    busy = [later - earlier for earlier, later in pairwise(requests) if later > earlier]
    assert sum(busy) == 1000 * READING
    assert max(busy) < TURN + READING
    assert len(busy) == pytest.approx(1000 / 3, abs=1)
    assert slow.names <= rig.graphite.names()
    assert rig.reporter.longest_turn == max(busy)
    slow.seconds = 0
    rig.advance(10)
    assert rig.latest("txmetrics.longest_turn") == max(busy)  # of the report before this one
    assert rig.latest("txmetrics.report_seconds") == 1000 * READING
    assert rig.reporter.longest_turn == 0


def test_a_report_of_many_turns_carries_one_timestamp(make: Callable[..., Rig]) -> None:
    """Although it takes longer than a second."""
    rig = make().start()
    slow = SlowGauges(rig, 30, seconds=0.125)
    rig.advance(15)
    slow.seconds = 0
    assert {tuple(rig.stamps(name)) for name in slow.names} == {(10,)}


def test_a_tick_during_an_unfinished_report_is_skipped(make: Callable[..., Rig]) -> None:
    """It is counted, and reports never overlap: each of them has each line once."""
    rig = make(1).start()
    slow = SlowGauges(rig, 10, seconds=0.375)
    rig.advance(12)
    slow.seconds = 0
    rig.advance(10)
    assert {tuple(rig.stamps(name)) for name in slow.names} == {tuple(rig.stamps())}
    assert rig.stamps() == sorted(set(rig.stamps()))
    assert rig.stamps()[-10:] == list(range(rig.stamps()[-10], rig.stamps()[-10] + 10))
    assert rig.latest("txmetrics.reports_skipped.count") >= 6


def test_the_self_metrics_balance(make: Callable[..., Rig]) -> None:
    """In every report: points collected = delivered + retained + queued + dropped, also while Graphite is away."""
    rig = make(1).start()
    rig.registry.histogram("sizes").add(1)
    rig.advance(3)
    rig.pipe.lose()
    for _ in range(20):
        rig.advance(1)
        if rig.endpoint.latest.waits:
            rig.endpoint.latest.refuse()
    while not rig.endpoint.latest.waits:
        rig.advance(1)
    rig.accept()
    rig.advance(3)

    def told(name: str) -> dict[int, float]:
        return rig.graphite.values(f"txmetrics.{name}")

    collected, delivered = told("points_collected.count"), told("points_delivered.count")
    retained, queued = told("retained_points"), told("queue_points")
    assert len(collected) > 20
    assert queued[max(queued)] < max(queued.values()) / 10  # the report before, unacknowledged yet
    assert max(queued.values()) > 0
    assert max(retained.values()) > 0
    for stamp, points in collected.items():
        dropped = sum(
            rig.graphite.values(name).get(stamp, 0) for name in rig.graphite.names() if ".points_dropped." in name
        )
        assert points == delivered[stamp] + retained[stamp] + queued[stamp] + dropped
    assert told("reports.count")[max(collected)] == len(set(rig.stamps())) - 1
    assert told("connections.count")[max(collected)] == 2


# Start and stop


def test_nothing_is_opened_before_the_start(make: Callable[..., Rig]) -> None:
    """A reporter that is only made asks nobody for anything: under twistd it is made before the fork."""
    rig = make()
    assert rig.streams == []
    assert rig.endpoint.attempts == []
    assert rig.reactor.getDelayedCalls() == []


def test_stop_before_start_is_done_at_once(make: Callable[..., Rig]) -> None:
    """There is nothing to report and nobody to report to."""
    rig = make()
    assert rig.stop() == [None]
    assert rig.streams == []


def test_starting_twice_starts_once(make: Callable[..., Rig]) -> None:
    """One connection, one report an interval."""
    rig = make().start()
    rig.reporter.startService()
    rig.advance(10)
    assert len(rig.endpoint.attempts) == 1
    assert rig.stamps() == [10]


def test_every_stop_is_answered_when_all_is_done(make: Callable[..., Rig]) -> None:
    """A second stop waits for the first, or a reactor would end before the last interval has left."""
    rig = make()
    rig.reporter.startService()
    rig.reactor.advance(12)
    first, second = rig.stop(), rig.stop()
    assert first == second == []
    rig.accept()
    rig.reactor.advance(0)
    assert first == second == [None]
    assert rig.stop() == [None]
    assert rig.stamps() == [10, 12]


def test_a_stopped_reporter_can_start_again(make: Callable[..., Rig]) -> None:
    """With a new connection, and everything goes on."""
    rig = make().start()
    rig.registry.counter("jobs").inc()
    rig.advance(12)
    rig.stop()
    rig.advance(20)
    assert rig.stamps("jobs.count") == [10, 12]
    rig.start()
    rig.advance(20)
    assert rig.stamps("jobs.count") == [10, 12, 40, 50]
    assert len(rig.endpoint.attempts) == 2


def test_a_start_during_a_stop_follows_it(make: Callable[..., Rig]) -> None:
    """What the first run still has to deliver is delivered, then the second begins, with a delivery of its own."""
    rig = make()
    rig.reporter.startService()
    rig.advance(12)
    stopped = rig.stop()
    rig.reporter.startService()
    assert stopped == []
    assert len(rig.streams) == 1
    rig.accept()
    rig.reactor.advance(0)
    assert stopped == [None]
    assert rig.pipe.ended == "ConnectionDone"
    assert len(rig.streams) == 2
    rig.accept()
    rig.advance(10)
    assert rig.stamps() == [10, 12, 20]


def test_start_and_stop_during_a_stop_cancel_out(make: Callable[..., Rig]) -> None:
    """The second run never begins."""
    rig = make()
    rig.reporter.startService()
    rig.advance(12)
    first = rig.stop()
    rig.reporter.startService()
    second = rig.stop()
    rig.advance(STOP)
    assert first == second == [None]
    assert len(rig.streams) == 1
    assert rig.reactor.getDelayedCalls() == []


def test_a_start_in_answer_to_a_stop(make: Callable[..., Rig]) -> None:
    """Whoever waits for the end may begin anew at once."""
    rig = make().start()
    rig.reporter.stopService().addCallback(lambda _: rig.reporter.startService())
    rig.reactor.advance(0)
    assert len(rig.streams) == 2
    rig.accept()
    rig.advance(10)
    assert rig.stamps()[-1] == 10


def test_a_stop_during_a_report_completes_it(make: Callable[..., Rig]) -> None:
    """The interval that is being told is told to its end, and the last one after it."""
    rig = make().start()
    slow = SlowGauges(rig, 1200, READING)  # of more than one chunk
    stopped: list[list[None]] = []
    rig.reactor.callLater(10, lambda: stopped.append(rig.stop()))
    rig.advance(10)
    assert stopped == [[None]]
    assert {tuple(rig.stamps(name)) for name in slow.names} == {(10, 11)}
    stamps = [point.timestamp for point in rig.graphite.points]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("gauges", [2000, 10_000])
@pytest.mark.parametrize("deaf", [False, True])
def test_a_stop_ends_in_time_however_long_the_collecting_takes(
    make: Callable[..., Rig], logged: Logged, gauges: int, deaf: bool
) -> None:
    """On a busy reactor a report of many turns is broken off at half the time, so that what was told is delivered."""
    rig = make().start()
    rig.pipe.full = deaf
    slow = SlowGauges(rig, gauges, seconds=0.002)  # and with them everybody else in the same turn
    begin = rig.reactor.seconds()
    answered: list[float] = []
    rig.reporter.stopService().addCallback(lambda _: answered.append(rig.reactor.seconds() - begin))
    rig.advance(7)
    assert answered
    assert answered[0] <= STOP + 0.1
    assert len(logged.flush(TimeoutError)) == 1
    assert any(rig.stamps(name) for name in slow.names) == (not deaf)
    assert rig.pipe.ended == ("ConnectionAborted" if deaf else "ConnectionDone")


def test_a_graphite_that_never_reads_does_not_hold_up_a_stop(make: Callable[..., Rig]) -> None:
    """The service ends after STOP seconds."""
    rig = make().start()
    rig.pipe.full = True
    stopped = rig.stop()
    rig.advance(STOP - 0.1)
    assert stopped == []
    rig.advance(0.2)
    assert stopped == [None]
    assert rig.pipe.ended == "ConnectionAborted"


def test_start_with_a_reactor_adds_one_trigger(make: Callable[..., Rig]) -> None:
    """The service starts when the reactor runs, and the reactor waits for its end, once."""
    rig = make()
    assert rig.reporter.start_with(rig.reactor) is rig.reporter
    assert not rig.reporter.running
    assert rig.streams == []
    [(start, args, kwargs)] = rig.reactor.whenRunningHooks
    assert rig.reactor.triggers == {"before": {"shutdown": [(rig.reporter.stopService, (), {})]}}
    start(*args, **kwargs)
    assert rig.reporter.running
    rig.accept()
    [(stop, args, kwargs)] = rig.reactor.triggers["before"]["shutdown"]
    assert isinstance(stop(*args, **kwargs), Deferred)
    rig.reactor.advance(0)
    assert rig.stamps() == [0]
    assert rig.reactor.triggers == {"before": {"shutdown": [(rig.reporter.stopService, (), {})]}}


def test_host_and_pid_are_taken_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the reporter is made: under twistd that is another process."""
    reactor, receiver = FakeReactor(), GraphiteReceiver()
    registry = MetricsRegistry(reactor.clock)
    reporter = backends.graphite(registry, "tcp:h:2003", 10, "{host}.p{pid}.x", reactor=reactor)
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    monkeypatch.setattr(socket, "gethostname", lambda: "web1.example.org")
    reporter.startService()
    client, server = reactor.tcpClients[0][2].buildProtocol(None), receiver.buildProtocol(None)
    pipe = Pipe(reactor, client, server)
    client.makeConnection(pipe)
    reporter.stopService()
    reactor.advance(0)
    assert receiver.latest("web1_example_org.p4711.x.txmetrics.reports.count") == 0
    assert pipe.ended == "ConnectionDone"
    assert reactor.getDelayedCalls() == []


def test_no_module_imports_the_reactor() -> None:
    """Which reactor it is, the application chooses, after it has imported txmetrics."""
    program = (
        "import sys, txmetrics, txmetrics.backends, txmetrics.reporter, txmetrics.delivery, txmetrics.testing\n"
        "from txmetrics import *\n"
        "txmetrics.backends.graphite(txmetrics.MetricsRegistry(), 'tcp:127.0.0.1:2003')\n"
        "print('twisted.internet.reactor' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


class Life(RuleBasedStateMachine):
    """Any order of starts, stops, waits and faults of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(2)
        self.rig.registry.gauge("now", self.rig.reactor.seconds)
        self.answers: list[list[None]] = []
        self.starts = 0

    @rule()
    def start(self) -> None:
        self.rig.reporter.startService()
        self.starts += 1

    @rule()
    def stop(self) -> None:
        self.answers.append(self.rig.stop())

    @rule(seconds=st.sampled_from([0, 0.3, 1, 2, 7, 37]))
    def wait(self, seconds: float) -> None:
        self.rig.reactor.advance(seconds)

    @precondition(lambda self: self.rig.endpoint.attempts and self.rig.endpoint.latest.waits)
    @rule(full=st.booleans())
    def accept(self, full: bool) -> None:
        self.rig.accept()
        self.rig.pipe.full = full

    @precondition(lambda self: self.rig.endpoint.attempts and self.rig.endpoint.latest.waits)
    @rule()
    def refuse(self) -> None:
        self.rig.endpoint.latest.refuse()

    @precondition(lambda self: self.rig.pipe is not None and self.rig.pipe.ended is None)
    @rule()
    def lose(self) -> None:
        self.rig.pipe.lose()

    @precondition(lambda self: self.rig.pipe is not None and self.rig.pipe.ended is None)
    @rule()
    def read(self) -> None:
        self.rig.pipe.read()

    @precondition(lambda self: self.rig.pipe is not None and self.rig.pipe.ended is None)
    @rule()
    def stop_reading(self) -> None:
        self.rig.pipe.full = True

    @invariant()
    def the_books_balance(self) -> None:
        for stream in self.rig.streams:
            check_books(stream)

    @invariant()
    def no_second_has_two_values(self) -> None:
        told: dict[tuple[str, int], float] = {}
        for name, value, timestamp in self.rig.graphite.points:
            assert told.setdefault((name, timestamp), value) == value

    @invariant()
    def one_run_at_a_time(self) -> None:
        assert len(self.rig.streams) <= self.starts
        assert sum(bool(stream.levels["connected"]) for stream in self.rig.streams) <= 1

    def teardown(self) -> None:
        """After a last stop everything ends in time: each answer is there, and nothing waits in the reactor."""
        self.stop()
        for _ in range(60):
            self.rig.reactor.advance(0.1)
        assert self.answers == [[None]] * len(self.answers)
        assert not self.rig.reporter.running
        assert self.rig.reactor.getDelayedCalls() == []
        assert all(stream.levels["queue_points"] == 0 for stream in self.rig.streams)
        assert self.rig.graphite.wrong == []


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
