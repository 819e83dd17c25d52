"""The log's own numbers: each event once, from whatever thread, and nothing that disturbs the log."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.python import log as legacy

from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, backends
from txmetrics.instrument import MeasuredLog, _logs
from txmetrics.testing import FakeReactor

log = Logger()


class Turns:
    """A reactor that is asked for turns, and takes them when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], object]] = []
        self.times = 0

    def callFromThread(self, function: Callable[[], object]) -> None:
        self.times += 1
        self.asked.append(function)

    def turn(self) -> None:
        asked, self.asked = self.asked, []
        for function in asked:
            function()


class Measured:
    """A MeasuredLog that runs, and what a reporter reads of it."""

    def __init__(self) -> None:
        self.registry = MetricsRegistry()
        self.turns = Turns()
        self.service = MeasuredLog(self.registry, reactor=self.turns)
        self.service.startService()

    def counts(self) -> dict[str, Any]:
        """After a turn of the reactor: counts by name, without the scope, and without those that are 0."""
        self.turns.turn()
        counts = {reading.name.removeprefix("log."): reading.fields()["count"] for reading in self.registry.snapshot()}
        return {name: count for name, count in counts.items() if count}


@pytest.fixture
def measured() -> Iterator[Measured]:
    observers = list(globalLogPublisher._observers)
    measured = Measured()
    yield measured
    measured.service.stopService()
    assert globalLogPublisher._observers == observers


def raise_error() -> None:
    raise ArithmeticError("on purpose")


def test_the_counters_are_there_from_the_beginning(measured: Measured) -> None:
    """These and no others, until an error comes."""
    names = {reading.name for reading in measured.registry.snapshot()}
    assert names == {f"log.{name}" for name in ("debug", "info", "warn", "error", "critical", "unhandled_errors")}


def test_each_level_has_its_counter(measured: Measured, logged: Logged) -> None:
    """At once, without a turn of the reactor."""
    for times, level in enumerate(LogLevel.iterconstants(), 1):
        for _ in range(times):
            log.emit(level, "on purpose")
    assert measured.turns.asked == []
    assert measured.counts() == {"debug": 1, "info": 2, "warn": 3, "error": 4, "critical": 5}
    logged.flush_text("on purpose")


def test_the_legacy_log_is_heard_as_well(measured: Measured, logged: Logged) -> None:
    """A message is information, an error is critical and has a type."""
    legacy.msg("on purpose")
    try:
        raise_error()
    except ArithmeticError:
        legacy.err()
    assert measured.counts() == {"info": 1, "critical": 1, "errors.ArithmeticError": 1}
    logged.flush(ArithmeticError)


def test_an_error_in_a_deferred_that_nobody_handles_counts_once(measured: Measured, logged: Logged) -> None:
    """In the log it is two events, and when it is handled it is none."""
    for _ in range(3):
        fail(ArithmeticError("on purpose"))
    fail(ValueError("handled")).addErrback(lambda failure: None)
    gc.collect()
    assert measured.counts() == {"critical": 6, "unhandled_errors": 3, "errors.ArithmeticError": 3}
    assert len(logged.flush(ArithmeticError)) == 3


def test_an_error_that_somebody_logs_is_not_unhandled(measured: Measured, logged: Logged) -> None:
    """Also if it is Twisted's Deferred that does."""

    def canceller(deferred: Deferred[None]) -> None:
        raise_error()

    one: Deferred[None] = Deferred(canceller)
    both = DeferredList([one])
    both.addErrback(lambda failure: failure.trap(CancelledError))
    both.cancel()
    assert measured.counts() == {"critical": 1, "errors.ArithmeticError": 1}
    assert len(logged.flush(ArithmeticError)) == 1


def test_more_types_of_errors_than_there_is_room_for_share_a_counter(measured: Measured, logged: Logged) -> None:
    """What an application raises cannot fill the memory, and the sum is right."""
    for number in range(60):
        log.failure("on purpose", _failure(type(f"Error{number}", (Exception,), {})()))
    counts = {name: count for name, count in measured.counts().items() if name.startswith("errors.")}
    assert len(counts) == 51
    assert counts["errors._other"] == 10
    logged.flush()


def _failure(error: Exception) -> Any:
    found: list[Any] = []
    fail(error).addErrback(found.append)
    return found[0]


def test_a_flood_before_the_reactors_turn_asks_for_one_turn(
    measured: Measured, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no room is not counted, the memory stays small, and what follows is counted again."""
    measured.service._waiting = type(measured.service._waiting)(maxlen=50)
    failure = _failure(ArithmeticError("on purpose"))
    for _ in range(80):
        log.failure("on purpose", failure)
    assert measured.turns.times == 1
    assert measured.counts() == {"critical": 50, "errors.ArithmeticError": 50}
    log.failure("on purpose", failure)
    assert measured.counts() == {"critical": 51, "errors.ArithmeticError": 51}
    logged.flush()


@pytest_twisted.ensureDeferred
async def test_events_of_all_threads_are_counted_in_the_reactors(logged: Logged) -> None:
    """None is lost, though several log at once."""
    registry = MetricsRegistry()
    service = MeasuredLog(registry)
    service.startService()
    heard_in: set[int] = set()
    counter = registry.counter("log.debug")
    service._levels[LogLevel.debug] = _Spy(counter, heard_in)

    def work() -> None:
        for _ in range(500):
            log.debug("on purpose")

    jobs = [deferToThread(work) for _ in range(4)]
    work()
    for job in jobs:
        await job
    await deferLater(the_reactor(), 0)
    await deferLater(the_reactor(), 0)
    service.stopService()
    assert counter.count == 2500
    assert heard_in == {threading.get_ident()}


class _Spy:
    """A counter that remembers in which threads it counted."""

    def __init__(self, counter: Any, threads: set[int]) -> None:
        self._counter = counter
        self._threads = threads

    def inc(self) -> None:
        self._threads.add(threading.get_ident())
        self._counter.inc()


def test_a_turn_may_be_over_before_it_was_asked_for(logged: Logged) -> None:
    """The reactor does not wait for the thread that asks; the next event asks again, also if the asking failed."""

    class Hasty(Turns):
        broken = False

        def callFromThread(self, function: Callable[[], object]) -> None:
            if self.broken:
                raise OSError("broken")
            function()

    registry, reactor = MetricsRegistry(), Hasty()
    service = MeasuredLog(registry, reactor=reactor)
    service.startService()
    for reactor.broken in (False, True, False):
        log.failure("on purpose", _failure(ArithmeticError("on purpose")))
    assert registry.read("log.critical") == {"count": 3}
    service.stopService()
    logged.flush()


def test_nothing_is_heard_before_the_start_and_after_the_stop(logged: Logged) -> None:
    """What waited at the stop is counted, and the service starts again."""
    registry, turns = MetricsRegistry(), Turns()
    service = MeasuredLog(registry, "events", turns)
    log.warn("on purpose")
    service.startService()
    log.warn("on purpose")
    log.failure("on purpose", _failure(ArithmeticError("on purpose")))
    service.stopService()
    assert registry.read("events.errors.ArithmeticError") == {"count": 1}
    log.warn("on purpose")
    turns.turn()
    service.startService()
    log.warn("on purpose")
    log.failure("on purpose", _failure(ArithmeticError("on purpose")))
    turns.turn()
    service.stopService()
    assert registry.read("events.warn") == {"count": 2}
    assert registry.read("events.errors.ArithmeticError") == {"count": 2}
    logged.flush()


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"log_level": "info"},
        {"log_level": None, "log_failure": None},
        {"log_level": LogLevel.info, "log_failure": "no failure"},
        {"log_level": []},
        None,
    ],
)
def test_an_odd_event_does_not_end_the_hearing(measured: Measured, event: Any, logged: Logged) -> None:
    """Twisted would listen to it no more if it raised, and would log that."""
    before = len(logged.events)
    measured.service._observe(event)
    known = {"info": 1} if event and event.get("log_level") is LogLevel.info else {}
    assert measured.counts() == known
    assert len(logged.events) == before
    log.warn("on purpose")
    assert measured.counts() == {**known, "warn": 1}


def test_an_error_in_the_metrics_is_logged_once(measured: Measured, logged: Logged) -> None:
    """Its own event is counted as any other, and no more follow."""
    measured.registry.meter("log.errors.ArithmeticError")
    for _ in range(5):
        log.failure("on purpose", _failure(ArithmeticError("on purpose")))
    for _ in range(5):
        measured.turns.turn()
    assert measured.counts() == {"critical": 6, "errors.ValueError": 1}
    assert len(logged.flush(ValueError)) == 1
    logged.flush(ArithmeticError)


def test_no_failure_is_kept(measured: Measured, logged: Logged) -> None:
    """What waits is a few words, as a Failure would keep the frames of its traceback."""
    assert _logs.WAITING >= 1000
    log.failure("on purpose", _failure(ArithmeticError("on purpose")))
    (waiting,) = measured.service._waiting
    assert waiting[1:] == ("ArithmeticError", False)
    logged.flush()


def test_a_report_that_goes_to_the_log_is_not_counted(measured: Measured) -> None:
    """Or each report would count that the one before was made. What else a reporter says is counted."""
    reactor = FakeReactor()
    reporter = backends.log(measured.registry, "log", reactor=reactor)
    reporter.startService()
    reactor.pump([10, *(0.01,) * 100])
    stopped = reporter.stopService()
    reactor.pump([0.01] * 100)
    assert stopped.called
    assert reporter.ledger()["delivered"] > 10
    assert measured.counts() == {}
    reporter.log.warn("something is wrong")
    assert measured.counts() == {"warn": 1}
