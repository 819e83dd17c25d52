"""Loops: lateness and skips are those that the loop itself knows, and it goes on as if nobody looked."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.application.internet import TimerService
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from tests.strict import Logged, the_reactor
from txmetrics import Clock, MetricsRegistry
from txmetrics.instrument._loops import TYPES, measure_loop
from txmetrics.testing import FakeReactor


def looping(reactor: FakeReactor, function: Callable[..., Any], *args: Any, **kwargs: Any) -> LoopingCall:
    loop = LoopingCall(function, *args, **kwargs)
    loop.clock = reactor
    return loop


class Calls:
    """A function that remembers when it was called, and takes its time if it is told to."""

    def __init__(self, reactor: FakeReactor) -> None:
        self.at: list[float] = []
        self.takes = 0.0
        self._reactor = reactor

    def __call__(self, *args: Any) -> Any:
        self.at.append(self._reactor.seconds())
        return deferLater(self._reactor, self.takes) if self.takes else None


@pytest.fixture
def calls(reactor: FakeReactor) -> Calls:
    return Calls(reactor)


def spread(registry: MetricsRegistry, name: str) -> tuple[Any, ...]:
    """Count, min and max of a timer of the loop."""
    read = registry.read(f"loop.{name}")
    return read["count"], read.get("min"), read.get("max")


def count(registry: MetricsRegistry, name: str) -> object:
    return registry.read(f"loop.{name}")["count"]


def names(registry: MetricsRegistry) -> set[str]:
    return {reading.name.removeprefix("loop.") for reading in registry.snapshot()}


# Lateness and skips


def test_every_number_has_its_name(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """These, and no others; an error has one when it happens."""
    loop = looping(reactor, lambda: fail(LookupError("on purpose")))
    measure_loop(loop, registry, "loop")
    assert names(registry) == {"lateness", "run", "skipped", "measuring_errors"}
    loop.start(1).addErrback(lambda failure: None)
    assert names(registry) == {"lateness", "run", "skipped", "measuring_errors", "errors.LookupError"}


@pytest.mark.parametrize("now", [True, False])
def test_a_loop_in_time_is_not_late(reactor: FakeReactor, registry: MetricsRegistry, calls: Calls, now: bool) -> None:
    """Neither is the call that start makes itself, nor is a tenth of a second a rounding error."""
    loop = looping(reactor, calls)
    measure_loop(loop, registry, "loop")
    loop.start(0.1, now=now)
    while len(calls.at) < 200:
        reactor.advance(loop.call.getTime() - reactor.seconds())
    assert count(registry, "lateness") == count(registry, "run") == 200
    assert spread(registry, "lateness")[2] < 1e-6
    assert count(registry, "skipped") == 0
    loop.stop()


def test_a_call_that_begins_late(reactor: FakeReactor, registry: MetricsRegistry, calls: Calls) -> None:
    """By a quarter of a second; the next one is in time again."""
    loop = looping(reactor, calls)
    measure_loop(loop, registry, "loop")
    loop.start(1, now=False)
    reactor.advance(1.25)
    assert spread(registry, "lateness") == (1, 0.25, 0.25)
    reactor.advance(0.75)
    assert spread(registry, "lateness") == (2, 0, 0.25)
    assert count(registry, "skipped") == 0
    loop.stop()


def test_a_call_that_begins_intervals_late_skips_them(
    reactor: FakeReactor, registry: MetricsRegistry, calls: Calls
) -> None:
    """Due at 1, begun at 3.5: there is no call at 2 and 3, and the one at 4 is in time."""
    loop = looping(reactor, calls)
    measure_loop(loop, registry, "loop")
    loop.start(1)
    reactor.advance(3.5)
    assert spread(registry, "lateness") == (2, 0, 2.5)
    assert count(registry, "skipped") == 2
    reactor.advance(0.5)
    assert spread(registry, "lateness") == (3, 0, 2.5)
    assert count(registry, "skipped") == 2
    loop.stop()


def test_a_call_that_runs_for_intervals_skips_them(
    reactor: FakeReactor, registry: MetricsRegistry, calls: Calls
) -> None:
    """From 0 to 2.5: there is no call at 1 and 2; the one at 3 is in time, and its time is its own."""
    loop = looping(reactor, calls)
    measure_loop(loop, registry, "loop")
    calls.takes = 2.5
    loop.start(1)
    reactor.advance(2.5)
    assert spread(registry, "run") == (1, 2.5, 2.5)
    calls.takes = 0
    reactor.advance(0.5)
    assert spread(registry, "run") == (2, 0, 2.5)
    assert spread(registry, "lateness") == (2, 0, 0)
    assert count(registry, "skipped") == 2
    loop.stop()


@pytest.mark.parametrize("seed", range(20))
def test_it_knows_what_the_loop_knows(reactor: FakeReactor, registry: MetricsRegistry, seed: int) -> None:
    """Whatever happens, a call is late by as much as the loop's delayed call was."""
    chance, lateness = random.Random(seed), []
    due: float | None = None

    def work() -> Any:
        lateness.append(0.0 if due is None else reactor.seconds() - due)
        return deferLater(reactor, chance.choice([0.25, 1, 1.75])) if chance.random() < 0.4 else None

    loop = looping(reactor, work)
    measure_loop(loop, registry, "loop")
    running = loop.start(1, now=chance.random() < 0.5)
    for _ in range(300):
        due = None if loop.call is None else loop.call.getTime()
        if loop.call is not None and chance.random() < 0.05:
            loop.reset()
        elif loop.call is not None and chance.random() < 0.05:
            loop.stop()
            due = None
            running = loop.start(1, now=chance.random() < 0.5)
        else:
            reactor.advance(chance.choice([0.25, 0.25, 0.5, 1, 3.25]))
    if loop.running:
        loop.stop()
    reactor.advance(10)
    assert running.called
    assert len(lateness) > 100
    read = registry.read("loop.lateness")
    assert (read["count"], read["max"], read["sum"]) == (len(lateness), max(lateness), sum(lateness))
    assert count(registry, "run") == len(lateness)


@pytest.mark.parametrize("seed", range(20))
def test_it_counts_skips_as_the_loop_does(reactor: FakeReactor, registry: MetricsRegistry, seed: int) -> None:
    """withCount tells its function how many intervals a call stands for; all but one of them were skipped."""
    chance, counts = random.Random(seed), []

    def work(number: int) -> Any:
        counts.append(number)
        return deferLater(reactor, chance.choice([0.25, 1.5, 2.75])) if chance.random() < 0.5 else None

    loop = LoopingCall.withCount(work)
    loop.clock = reactor
    measure_loop(loop, registry, "loop")
    loop.start(1, now=chance.random() < 0.5)
    for _ in range(300):
        reactor.advance(chance.choice([0.25, 0.5, 0.75, 2.25]))
    assert count(registry, "skipped") == sum(number - 1 for number in counts) > 20
    loop.stop()
    reactor.advance(10)


def test_a_loop_without_an_interval(reactor: FakeReactor, registry: MetricsRegistry, calls: Calls) -> None:
    """As often as can be: late by how long the reactor took to come back to it, and it skips nothing."""
    loop = looping(reactor, lambda: calls() if len(calls.at) < 3 else loop.stop())
    measure_loop(loop, registry, "loop")
    loop.start(0)
    reactor.advance(0.5)
    assert spread(registry, "lateness") == (4, 0, 0.5)
    assert registry.read("loop.lateness")["sum"] == 0.5
    assert count(registry, "skipped") == 0


@pytest.mark.parametrize("during", [True, False])
def test_a_loop_without_an_interval_that_runs_already(
    reactor: FakeReactor, registry: MetricsRegistry, during: bool
) -> None:
    """What it was late by before is not known; from then on it is."""
    ends: list[Deferred[None]] = []
    loop = looping(reactor, lambda: ends.append(Deferred()) or ends[-1])
    loop.start(0)
    if during:
        measure_loop(loop, registry, "loop")
    ends[0].callback(None)
    if not during:
        measure_loop(loop, registry, "loop")
    for _ in range(2):
        reactor.advance(0.5)
        ends[-1].callback(None)
    assert spread(registry, "lateness") == (2, 0, 0.5)
    assert count(registry, "skipped") == 0
    loop.stop()


def test_a_reset_loop_is_due_an_interval_later(reactor: FakeReactor, registry: MetricsRegistry, calls: Calls) -> None:
    """Nothing is late by it, and nothing skipped."""
    loop = looping(reactor, calls)
    measure_loop(loop, registry, "loop")
    loop.start(1)
    reactor.advance(0.75)
    loop.reset()
    reactor.advance(1)
    reactor.advance(1)
    assert spread(registry, "lateness") == (3, 0, 0)
    assert count(registry, "skipped") == 0
    loop.stop()


def test_a_loop_that_is_started_again_begins_anew(
    reactor: FakeReactor, registry: MetricsRegistry, calls: Calls
) -> None:
    """The time between is nobody's lateness; also with another interval, and at the same moment."""
    loop = looping(reactor, calls)
    measure_loop(loop, registry, "loop")
    loop.start(1)
    loop.stop()
    reactor.advance(7.25)
    loop.start(1)
    loop.stop()
    loop.start(3, now=False)
    reactor.advance(3)
    reactor.advance(3)
    assert spread(registry, "lateness") == (4, 0, 0)
    assert count(registry, "skipped") == 0
    loop.stop()


@pytest.mark.parametrize("interval", [0.1, 2])
def test_a_loop_that_runs_already(
    reactor: FakeReactor, registry: MetricsRegistry, calls: Calls, interval: float
) -> None:
    """It is measured from its next call on, when that was due."""
    loop = looping(reactor, calls)
    loop.start(interval)
    for _ in range(7):
        reactor.advance(interval)
    measure_loop(loop, registry, "loop")
    reactor.advance(loop.call.getTime() - reactor.seconds() + interval * 2.25)
    number, least, most = spread(registry, "lateness")
    assert (number, least, most) == (1, most, pytest.approx(interval * 2.25, abs=1e-6))
    assert count(registry, "skipped") == 2
    loop.stop()


@pytest.mark.parametrize("late", [0, 0.25])
@pytest.mark.parametrize("interval", [0.1, 2])
def test_a_loop_in_the_middle_of_a_call(reactor: FakeReactor, calls: Calls, interval: float, late: float) -> None:
    """The end of that is not seen; when the next call was due is known all the same, but for whole intervals."""
    loop = looping(reactor, calls)
    for tenths in range(100):
        registry = MetricsRegistry(reactor.clock)
        calls.takes = 2.51 + tenths / 10
        loop.start(interval)
        undo = measure_loop(loop, registry, "loop")
        reactor.advance(calls.takes)
        calls.takes = 0
        reactor.advance(loop.call.getTime() - reactor.seconds() + late * interval)
        assert count(registry, "lateness") == 1
        assert spread(registry, "lateness")[2] == pytest.approx(late * interval, abs=1e-6)
        assert count(registry, "skipped") == 0
        loop.stop()
        undo()


@pytest_twisted.ensureDeferred
async def test_a_held_reactor_makes_a_loop_late(registry: MetricsRegistry) -> None:
    """A real one, by a callback that sleeps: at least as late as that slept after the call was due."""
    loop, done = LoopingCall(lambda: None), the_reactor()
    measure_loop(loop, registry, "loop")
    loop.start(0.02, now=False)
    time.sleep(0.1)
    await deferLater(done, 0.05)
    loop.stop()
    number, _, most = spread(registry, "lateness")
    assert number >= 1
    assert most >= 0.07
    assert count(registry, "skipped") >= 3


# What is not changed


async def coroutine(result: Any) -> Any:
    return result


def test_the_loop_gets_what_its_function_returns(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """The same value, the same Deferred, the same Failure, with the same arguments."""
    marker, waiting = object(), Deferred()
    given: list[Any] = []
    results = [marker, waiting, Failure(LookupError("on purpose"))]

    def work(*args: Any, **kwargs: Any) -> Any:
        given.append((args, kwargs))
        return results[len(given) - 1]

    loop = looping(reactor, work, 1, key=2)
    measure_loop(loop, registry, "loop")
    for result in results:
        assert loop.f(*loop.a, **loop.kw) is result
    assert given == [((1,), {"key": 2})] * 3
    assert count(registry, "run") == 2
    waiting.callback(marker)
    assert waiting.result is marker
    assert count(registry, "run") == 3


@pytest.mark.parametrize(
    "work",
    [
        lambda error: (_ for _ in ()).throw(error),
        lambda error: Failure(error),
        lambda error: fail(error),
        lambda error: succeed(None).addCallback(lambda _: Failure(error)),
        lambda error: failing(error),
    ],
    ids=["raise", "Failure", "Deferred", "later", "coroutine"],
)
def test_a_loop_ends_with_the_very_error(
    reactor: FakeReactor, registry: MetricsRegistry, work: Callable[[Exception], Any]
) -> None:
    """However it comes about; it counts once, by its type, and the call is timed."""
    error, ends = LookupError("on purpose"), []
    loop = looping(reactor, lambda: work(error))
    measure_loop(loop, registry, "loop")
    loop.start(1).addErrback(ends.append)
    assert not loop.running
    assert [end.value for end in ends] == [error]
    assert ends[0].value is error
    assert count(registry, "errors.LookupError") == 1
    assert count(registry, "run") == 1


async def failing(error: Exception) -> None:
    raise error


def test_a_coroutine_is_timed_to_its_end(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """And its result is its result."""
    results = []

    async def work() -> str:
        await deferLater(reactor, 0.25)
        return "well"

    loop = looping(reactor, work)
    measure_loop(loop, registry, "loop")
    loop.start(1)
    reactor.advance(0.25)
    assert spread(registry, "run") == (1, 0.25, 0.25)
    loop.stop()
    reactor.advance(5)
    Deferred.fromCoroutine(loop.f()).addCallback(results.append)
    reactor.advance(0.25)
    assert results == ["well"]
    assert spread(registry, "lateness") == (2, 0, 0)  # a call by hand is never late


def test_a_call_that_is_cancelled_is_an_error(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Of its type, and timed until then."""
    waiting: Deferred[None] = Deferred()
    loop = looping(reactor, lambda: waiting)
    measure_loop(loop, registry, "loop")
    ended = loop.start(1)
    reactor.advance(0.5)
    waiting.cancel()
    assert ended.addErrback(lambda failure: failure.trap(CancelledError)).result is CancelledError
    assert spread(registry, "run") == (1, 0.5, 0.5)
    assert count(registry, "errors.CancelledError") == 1


def test_a_loop_that_is_stopped_during_a_call(reactor: FakeReactor, registry: MetricsRegistry, calls: Calls) -> None:
    """The call is timed to its end, which the loop waits for as it always did."""
    loop = looping(reactor, calls)
    measure_loop(loop, registry, "loop")
    calls.takes = 1.5
    ended = loop.start(1)
    loop.stop()
    assert not ended.called
    reactor.advance(1.5)
    assert ended.result is loop
    assert spread(registry, "run") == (1, 1.5, 1.5)


def test_a_loop_looks_as_before(reactor: FakeReactor, registry: MetricsRegistry, calls: Calls) -> None:
    """In a log, say."""
    for function in (calls, test_a_loop_looks_as_before, reactor.advance, int):
        loop = looping(reactor, function)
        before = repr(loop)
        measure_loop(loop, MetricsRegistry(), "loop")
        assert repr(loop) == before


def test_the_types_of_errors_are_bounded(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """A loop that fails in ever new ways makes no more counters than a few."""
    loop = looping(reactor, lambda: fail(type(f"Error{len(names(registry))}", (Exception,), {})()))
    measure_loop(loop, registry, "loop")
    for _ in range(TYPES + 10):
        loop.start(1).addErrback(lambda failure: None)
    assert len(names(registry)) <= 4 + TYPES + 1


def test_measuring_that_fails_hurts_no_loop(reactor: FakeReactor, logged: Logged) -> None:
    """It is logged once and counted, and the calls go on."""
    broken = [0.0]
    registry, seen = MetricsRegistry(Clock(wall=time.time, tick=lambda: broken[0])), []
    loop = looping(reactor, seen.append, 1)
    measure_loop(loop, registry, "loop")
    broken.clear()
    loop.start(1)
    reactor.advance(1)
    broken.append(0.0)
    reactor.advance(1)
    assert len(seen) == 3
    assert loop.running
    assert len(logged.flush(IndexError)) == 1
    assert count(registry, "run") == 1
    assert count(registry, "measuring_errors") == 2
    loop.stop()


# The end of measuring


def test_the_end_of_measuring_gives_the_function_back(
    reactor: FakeReactor, registry: MetricsRegistry, calls: Calls
) -> None:
    """The very one; a call that is under way is measured to its end, and no other."""
    loop = looping(reactor, calls)
    before = dict(vars(loop))
    undo = measure_loop(loop, registry, "loop")
    assert loop.f is not calls
    undo()
    undo()
    assert vars(loop) == before
    undo = measure_loop(loop, registry, "loop")
    calls.takes = 0.5
    loop.start(1)
    undo()
    assert loop.f is calls
    reactor.advance(0.5)
    reactor.advance(0.5)
    reactor.advance(0.5)
    assert spread(registry, "run") == (1, 0.5, 0.5)
    assert len(calls.at) == 2
    loop.stop()


def test_what_somebody_put_around_it_stays(reactor: FakeReactor, registry: MetricsRegistry, calls: Calls) -> None:
    """Then it measures nothing more, and calls."""
    loop = looping(reactor, calls)
    undo = measure_loop(loop, registry, "loop")
    ours = loop.f
    loop.f = theirs = lambda: ours()
    undo()
    assert loop.f is theirs
    loop.start(1)
    assert len(calls.at) == 1
    assert count(registry, "run") == 0
    loop.stop()


# TimerService


@pytest.mark.parametrize("before", [True, False])
def test_a_service_is_measured_in_each_of_its_lives(
    reactor: FakeReactor, registry: MetricsRegistry, calls: Calls, before: bool
) -> None:
    """It makes a new loop whenever it starts, and may have done so before."""
    service = TimerService(1, calls, "argument")
    service.clock = reactor
    given = service.call
    if before:
        undo = measure_loop(service, registry, "loop")
    service.startService()
    if not before:
        for _ in range(7):
            reactor.advance(1)
        undo = measure_loop(service, registry, "loop")
    reactor.advance(1.25)
    assert spread(registry, "lateness")[::2] == (2 if before else 1, 0.25)
    service.stopService()
    reactor.advance(5)
    service.startService()
    reactor.advance(3)
    assert spread(registry, "lateness")[::2] == (4 if before else 3, 2)
    assert count(registry, "skipped") == 2
    undo()
    undo()
    assert service.call is given
    assert service._loop.f is calls
    reactor.advance(1)
    assert count(registry, "run") == (4 if before else 3)
    assert len(calls.at) == (5 if before else 12)
    service.stopService()


def test_a_service_that_was_stopped_is_measured_when_it_starts_again(
    reactor: FakeReactor, registry: MetricsRegistry, calls: Calls
) -> None:
    """Its last loop is no concern of ours."""
    service = TimerService(1, calls)
    service.clock = reactor
    service.startService()
    service.stopService()
    undo = measure_loop(service, registry, "loop")
    assert service._loop.f is calls
    service.startService()
    assert spread(registry, "lateness") == (1, 0, 0)
    service.stopService()
    undo()


def test_a_service_never_started_may_be_left_alone_again(registry: MetricsRegistry, calls: Calls) -> None:
    """Nothing is started by measuring."""
    service = TimerService(1, calls)
    before = dict(vars(service))
    measure_loop(service, registry, "loop")()
    assert vars(service) == before


def test_a_service_whose_function_fails_logs_it_as_ever(
    reactor: FakeReactor, registry: MetricsRegistry, logged: Logged
) -> None:
    """Once, and it can be started again."""
    service = TimerService(1, fail, LookupError("on purpose"))
    service.clock = reactor
    measure_loop(service, registry, "loop")
    for number in (1, 2):
        service.startService()
        assert len(logged.flush(LookupError)) == 1
        service.stopService()
        assert count(registry, "errors.LookupError") == number
