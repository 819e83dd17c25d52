"""What goes wrong costs its own line or its own report; nothing stops the crank."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import LogLevel

from tests.reporter.rig import Rig
from tests.strict import Logged
from txmetrics import MetricsRegistry
from txmetrics.testing import FakeReactor
from txmetrics.wire import Graphite


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
    assert "test_faults.py" in entry.getTraceback()
    assert [event["log_level"] for event in logged.events if "odd" in str(event.get("name"))] == [LogLevel.warn]
    assert rig.stamps("odd") == []
    failing = False
    rig.advance(2)
    assert rig.stamps("odd") == [6, 7]
    failing = True
    rig.advance(3)
    assert len(logged.flush(ZeroDivisionError)) == 1
    assert rig.stamps("odd") == [6, 7]
    assert rig.stamps("before") == rig.stamps("after") == list(range(2, 11))
    assert rig.latest("txmetrics.unreadable_gauges.count") == 6  # until the report before this one


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
