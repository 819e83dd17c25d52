"""``timed``: every kind of call is timed once, to its real end, and none of them notices."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import traceback
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, inlineCallbacks, returnValue, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.processes import run
from tests.strict import Logged
from txmetrics import MetricsRegistry, Timer, timed
from txmetrics.testing import FakeReactor


@pytest.fixture
def timer(reactor: FakeReactor) -> Timer:
    return MetricsRegistry(reactor.clock).timer("calls")


def sleep(reactor: FakeReactor, seconds: float) -> Deferred[None]:
    return deferLater(reactor, seconds, lambda: None)


def times(timer: Timer) -> list[float]:
    """What the timer was given, in ascending order, at most two values."""
    spread = timer.distribution
    if spread is None:
        return []
    return [spread.min] if spread.count == 1 else [spread.min, spread.max]


def outcome(deferred: Deferred[Any]) -> list[Any]:
    """A list with the result, or the exception, when there is one."""
    found: list[Any] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found


# Plain functions


def test_a_function_is_timed_until_it_returns(reactor: FakeReactor, timer: Timer) -> None:
    """Arguments and result go through as they are."""

    @timed(timer)
    def work(*args: object, **kwargs: object) -> object:
        reactor.advance(0.25)
        return args, kwargs

    marker = object()
    (args, kwargs) = work(marker, key=marker)
    assert args[0] is kwargs["key"] is marker
    assert times(timer) == [0.25]


@pytest.mark.parametrize("kind", [ArithmeticError, KeyboardInterrupt])
def test_a_function_is_timed_until_it_raises(reactor: FakeReactor, timer: Timer, kind: type[BaseException]) -> None:
    """The very exception comes out, of whatever kind."""
    error = kind("on purpose")

    @timed(timer)
    def work() -> None:
        reactor.advance(0.25)
        raise error

    with pytest.raises(kind) as raised:
        work()
    assert raised.value is error
    assert times(timer) == [0.25]


def test_calls_within_a_call_are_timed_each_by_itself(reactor: FakeReactor, timer: Timer) -> None:
    """A recursion adds one time for every call."""

    @timed(timer)
    def work(depth: int) -> None:
        reactor.advance(0.25)
        if depth:
            work(depth - 1)

    work(1)
    assert times(timer) == [0.25, 0.5]


# Deferreds


def test_a_deferred_is_timed_until_it_fires(reactor: FakeReactor, timer: Timer) -> None:
    """The caller gets the same Deferred, which fires with the same result."""
    deferred: Deferred[object] = Deferred()
    work = timed(timer)(lambda: deferred)
    assert work() is deferred
    reactor.advance(3)
    assert times(timer) == []
    result = object()
    deferred.callback(result)
    (found,) = outcome(deferred)
    assert found is result
    assert times(timer) == [3]


def test_a_deferred_is_timed_until_it_fails(reactor: FakeReactor, timer: Timer) -> None:
    """The caller gets the same Failure."""
    deferred: Deferred[None] = Deferred()
    timed(timer)(lambda: deferred)()
    reactor.advance(3)
    failure = Failure(ArithmeticError("on purpose"))
    deferred.errback(failure)
    found: list[Failure] = []
    deferred.addErrback(found.append)
    assert found[0] is failure
    assert times(timer) == [3]


def test_a_deferred_that_has_fired_is_timed_at_once(reactor: FakeReactor, timer: Timer) -> None:
    """Its result and its Failure are not touched."""

    @timed(timer)
    def work(deferred: Deferred[Any]) -> Deferred[Any]:
        reactor.advance(0.25)
        return deferred

    assert outcome(work(succeed("result"))) == ["result"]
    error = ArithmeticError("on purpose")
    assert outcome(work(fail(error))) == [error]
    assert timer.count == 2
    assert times(timer) == [0.25, 0.25]


def test_a_failure_that_nobody_handles_is_still_reported(timer: Timer, logged: Logged) -> None:
    """Timing a Deferred does not make its error disappear."""
    timed(timer)(lambda: fail(ArithmeticError("on purpose")))()
    assert len(logged.flush(ArithmeticError)) == 1


def test_a_cancelled_deferred_is_timed_until_then(reactor: FakeReactor, timer: Timer) -> None:
    """Cancelling reaches the canceller, and the caller sees a CancelledError."""
    cancelled = []
    deferred: Deferred[None] = Deferred(cancelled.append)
    work = timed(timer)(lambda: deferred)()
    found = outcome(work)
    reactor.advance(3)
    work.cancel()
    assert cancelled == [deferred]
    assert isinstance(found[0], CancelledError)
    assert times(timer) == [3]


# inlineCallbacks


def inline(timer: Timer, reactor: FakeReactor, error: Exception | None = None) -> Deferred[Any]:
    @timed(timer)
    @inlineCallbacks
    def work() -> Iterator[Deferred[None]]:
        yield sleep(reactor, 1)
        yield sleep(reactor, 2)
        if error is not None:
            raise error
        return "result"

    deferred: Deferred[Any] = work()
    return deferred


def test_inline_callbacks_are_timed_to_the_last_step(reactor: FakeReactor, timer: Timer) -> None:
    """All steps and what lies between them."""
    found = outcome(inline(timer, reactor))
    reactor.pump([1, 2])
    assert found == ["result"]
    assert times(timer) == [3]


def test_inline_callbacks_are_timed_until_they_raise(reactor: FakeReactor, timer: Timer) -> None:
    """The very exception comes out."""
    error = ArithmeticError("on purpose")
    found = outcome(inline(timer, reactor, error))
    reactor.pump([1, 2])
    assert found == [error]
    assert times(timer) == [3]


def test_cancelled_inline_callbacks_are_timed_until_then(reactor: FakeReactor, timer: Timer) -> None:
    """What it waits for is cancelled, too."""
    deferred = inline(timer, reactor)
    found = outcome(deferred)
    reactor.advance(1.5)
    deferred.cancel()
    assert isinstance(found[0], CancelledError)
    assert times(timer) == [1.5]
    assert reactor.getDelayedCalls() == []


# Coroutines


def coroutine(
    timer: Timer, reactor: FakeReactor, error: Exception | None = None
) -> Callable[[], Coroutine[Any, Any, str]]:
    @timed(timer)
    async def work() -> str:
        await sleep(reactor, 1)
        await sleep(reactor, 2)
        if error is not None:
            raise error
        return "result"

    return work


def test_a_coroutine_is_timed_to_its_last_step(reactor: FakeReactor, timer: Timer) -> None:
    """All steps and what lies between them."""
    found = outcome(Deferred.fromCoroutine(coroutine(timer, reactor)()))
    reactor.pump([1, 2])
    assert found == ["result"]
    assert times(timer) == [3]


def test_a_coroutine_is_timed_until_it_raises(reactor: FakeReactor, timer: Timer) -> None:
    """The very exception comes out."""
    error = ArithmeticError("on purpose")
    found = outcome(Deferred.fromCoroutine(coroutine(timer, reactor, error)()))
    reactor.pump([1, 2])
    assert found == [error]
    assert times(timer) == [3]


def test_a_cancelled_coroutine_is_timed_until_then(reactor: FakeReactor, timer: Timer) -> None:
    """What it waits for is cancelled, too."""
    deferred = Deferred.fromCoroutine(coroutine(timer, reactor)())
    found = outcome(deferred)
    reactor.advance(1.5)
    deferred.cancel()
    assert isinstance(found[0], CancelledError)
    assert times(timer) == [1.5]
    assert reactor.getDelayedCalls() == []


def test_a_coroutine_that_is_closed_is_timed_until_then(reactor: FakeReactor, timer: Timer) -> None:
    """Whoever drives it may give it up."""
    running = coroutine(timer, reactor)()
    running.send(None)
    reactor.advance(0.5)
    running.close()
    assert times(timer) == [0.5]


def test_a_coroutine_that_is_awaited_late_is_timed_from_its_first_step(reactor: FakeReactor, timer: Timer) -> None:
    """A coroutine that waits to be awaited does nothing yet."""
    late = coroutine(timer, reactor)()
    reactor.advance(100)
    found = outcome(Deferred.fromCoroutine(late))
    reactor.pump([1, 2])
    assert found == ["result"]
    assert times(timer) == [3]


def test_a_coroutine_that_is_never_awaited_is_not_timed(reactor: FakeReactor, timer: Timer) -> None:
    """Python warns of it as it does without the decorator, by its name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coroutine(timer, reactor)()
        gc.collect()
    assert [str(warning.message) for warning in caught] == ["coroutine 'coroutine.<locals>.work' was never awaited"]
    assert timer.count == 0


def test_coroutines_may_interleave(reactor: FakeReactor, timer: Timer) -> None:
    """Each call has a time of its own."""
    work = coroutine(timer, reactor)
    first = outcome(Deferred.fromCoroutine(work()))
    reactor.advance(0.5)

    @timed(timer)
    async def quick() -> None:
        await sleep(reactor, 0.25)

    second = outcome(Deferred.fromCoroutine(quick()))
    reactor.pump([0.25, 0.25, 2])
    assert (first, second) == (["result"], [None])
    assert times(timer) == [0.25, 3]


def test_a_coroutine_function_stays_one(timer: Timer) -> None:
    """Frameworks that ask whether a function is a coroutine function get the same answer."""

    async def work() -> None:
        """It works."""

    assert inspect.iscoroutinefunction(timed(timer)(work))
    assert not inspect.iscoroutinefunction(timed(timer)(lambda: None))


def test_a_function_that_returns_a_coroutine_is_timed_as_one(reactor: FakeReactor, timer: Timer) -> None:
    """From the first step of the coroutine to its last."""

    async def steps() -> str:
        await sleep(reactor, 3)
        return "result"

    @timed(timer)
    def work() -> Coroutine[Any, Any, str]:
        return steps()

    late = work()
    reactor.advance(100)
    found = outcome(Deferred.fromCoroutine(late))
    reactor.advance(3)
    assert found == ["result"]
    assert times(timer) == [3]


# What can be decorated


def test_methods_of_every_kind_are_timed(reactor: FakeReactor, timer: Timer) -> None:
    """The decorator stands below classmethod and staticmethod."""

    class Worker:
        @timed(timer)
        def method(self) -> object:
            return self

        @classmethod
        @timed(timer)
        def of_class(cls) -> object:
            return cls

        @staticmethod
        @timed(timer)
        def static(value: int) -> object:
            return value

        @property
        @timed(timer)
        def attribute(self) -> object:
            return self

    worker = Worker()
    assert worker.method() is worker.attribute is worker
    assert worker.of_class() is Worker.of_class() is Worker
    assert worker.static(1) == Worker.static(1) == 1
    assert timer.count == 6


def test_partial_functions_and_callable_objects_are_timed(reactor: FakeReactor, timer: Timer) -> None:
    """What can be called can be timed."""

    class Echo:
        def __call__(self, value: int) -> int:
            reactor.advance(0.25)
            return value

    assert timed(timer)(partial(Echo(), 1))() == 1
    assert timed(timer)(Echo())(2) == 2
    found = outcome(Deferred.fromCoroutine(timed(timer)(partial(coroutine(timer, reactor)))()))
    reactor.pump([1, 2])
    assert found == ["result"]
    assert timer.count == 4
    assert times(timer) == [0.25, 3]


def test_a_decorated_function_is_described_as_before(timer: Timer) -> None:
    """Name, documentation, signature and the function itself are still to be found."""

    def work(a: int, *, b: str = "b") -> None:
        """It works."""

    decorated = timed(timer)(work)
    assert decorated.__name__ == "work"
    assert decorated.__qualname__ == work.__qualname__
    assert decorated.__doc__ == "It works."
    assert inspect.signature(decorated) == inspect.signature(work)
    assert inspect.unwrap(decorated) is work


def generator() -> Iterator[None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("function", [generator, async_generator, partial(generator)])
def test_a_bare_generator_is_refused(timer: Timer, function: Callable[[], Any]) -> None:
    """The wrong order with inlineCallbacks is an error at once, which says the right one."""
    with pytest.raises(TypeError, match=r"generator.* put @timed above @inlineCallbacks"):
        timed(timer)(function)


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_a_finished_class_or_static_method_is_refused(timer: Timer, kind: Callable[..., Any]) -> None:
    """The wrong order with these is an error at once, too."""
    with pytest.raises(TypeError, match=f"work is a {kind.__name__} already; put @timed below"):

        class Worker:
            @timed(timer)
            @kind
            def work(*args: object) -> None:
                """It works."""


# A timer that fails


@pytest.fixture
def broken(timer: Timer) -> Timer:
    """A timer whose clock raises."""

    def raise_error() -> float:
        raise OSError("broken")

    timer.now = raise_error
    return timer


def test_a_failing_timer_changes_no_result(reactor: FakeReactor, broken: Timer, logged: Logged) -> None:
    """Values, exceptions, Deferreds and coroutines are as without it, and the log hears of it once a function."""
    error = ArithmeticError("on purpose")
    deferred: Deferred[str] = Deferred()

    @timed(broken)
    def work(result: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    assert work("result") == "result"
    with pytest.raises(ArithmeticError) as raised:
        work(error)
    assert raised.value is error
    assert work(deferred) is deferred
    found = outcome(deferred)
    deferred.callback("result")
    assert found == ["result"]
    assert len(logged.flush(OSError)) == 1

    late = outcome(Deferred.fromCoroutine(coroutine(broken, reactor)()))
    reactor.pump([1, 2])
    assert late == ["result"]
    assert len(logged.flush(OSError)) == 1


def test_a_timer_that_recovers_goes_on(reactor: FakeReactor, timer: Timer, logged: Logged) -> None:
    """A failure costs its own call only."""
    now = timer.now

    @timed(timer)
    def work() -> None:
        reactor.advance(0.25)

    def fail_once() -> float:
        timer.now = now
        raise OSError("broken")

    timer.now = fail_once
    work()
    work()
    assert times(timer) == [0.25]
    assert len(logged.flush()) == 1


# By name: how calls end


def told(registry: MetricsRegistry) -> dict[str, Any]:
    """What a reporter would tell of ``work``: sums of timers, counts and values, without those that are 0."""
    fields = {reading.name.removeprefix("work."): reading.fields() for reading in registry.snapshot()}
    flat = {name: found.get("sum", found.get("value", found.get("count"))) for name, found in fields.items()}
    flat["calls"] = fields["work"]["count"]
    return {name: value for name, value in flat.items() if value}


def test_the_metrics_are_there_before_the_first_call(registry: MetricsRegistry) -> None:
    """These and no others; only what has steps tells how long they held the reactor."""

    async def steps() -> None:
        """It takes none."""

    timed(registry, "work")(lambda: None)
    common = {"work", "work.ok", "work.cancelled", "work.active", "work.oldest_seconds"}
    assert {reading.name for reading in registry.snapshot()} == common
    for function in (steps, inlineCallbacks(generator)):
        timed(registry, "work")(function)
        assert {reading.name for reading in registry.snapshot()} == common | {"work.held"}
        registry.unregister("work.held")
        registry.unregister("work.active")
        registry.unregister("work.oldest_seconds")


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (None, "ok"),
        (CancelledError(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (ArithmeticError("on purpose"), "errors.ArithmeticError"),
        (KeyboardInterrupt("on purpose"), "errors.KeyboardInterrupt"),
    ],
)
def test_each_end_has_its_counter(
    reactor: FakeReactor, registry: MetricsRegistry, error: BaseException | None, where: str
) -> None:
    """A function that returns or raises, and a Deferred that fires or fails: one counter each, and the timer."""

    @timed(registry, "work")
    def work(result: Any) -> Any:
        reactor.advance(0.25)
        if isinstance(result, BaseException):
            raise result
        return result

    if error is None:
        assert work("result") == "result"
    else:
        with pytest.raises(type(error)) as raised:
            work(error)
        assert raised.value is error
    assert told(registry) == {"work": 0.25, "calls": 1, where: 1}

    deferred: Deferred[Any] = Deferred()
    assert work(deferred) is deferred
    found = outcome(deferred)
    reactor.advance(3)
    assert told(registry) == {"work": 0.25, "calls": 1, where: 1, "active": 1, "oldest_seconds": 3.25}
    deferred.callback("result") if error is None else deferred.errback(error)
    assert found == ["result" if error is None else error]
    assert told(registry) == {"work": 3.5, "calls": 2, where: 2}


def test_more_types_of_errors_than_there_is_room_for_share_a_counter(registry: MetricsRegistry) -> None:
    """What an application raises cannot fill the memory, and the sum is right."""

    @timed(registry, "work")
    def work(number: int) -> None:
        raise type(f"Error{number}", (UserWarning,), {})

    for number in range(60):
        with pytest.raises(UserWarning):
            work(number)
    counts = {name: value for name, value in told(registry).items() if name.startswith("errors.")}
    assert len(counts) == 51
    assert counts["errors._other"] == 10


def test_functions_of_one_name_share_its_metrics(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """As two instances have that decorate their own method, through a scope as well; the oldest of all is told."""
    deferreds: list[Deferred[None]] = [Deferred(), Deferred()]
    nowhere = MetricsRegistry(reactor.clock)
    for where, name in ((registry, "a.work"), (registry.scope("a"), "work"), (nowhere, "a.work")):
        timed(where, name)(lambda: deferreds[0])()
        reactor.advance(1)
    assert registry.read("a.work.active") == {"value": 2}
    assert registry.read("a.work.oldest_seconds") == {"value": 3}
    assert nowhere.read("a.work.active") == {"value": 1}
    deferreds[0].callback(None)
    assert registry.read("a.work.ok") == {"count": 2}
    assert registry.read("a.work.oldest_seconds") == {"value": 0}


def test_a_deferred_that_is_dropped_is_not_in_flight_for_ever(registry: MetricsRegistry) -> None:
    """It cannot fire any more, and nothing of it is kept."""
    work = timed(registry, "work")(lambda: Deferred())
    kept = work()
    for _ in range(3):
        work()
    gc.collect()
    assert told(registry).get("active") == 1
    reference = weakref.ref(kept)
    del kept
    assert reference() is None
    assert told(registry) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda registry: timed(registry),
        lambda registry: timed(registry, None),
        lambda registry: timed(registry.timer("work"), "work"),
        lambda registry: timed(lambda: None),
    ],
)
def test_timed_wants_a_timer_or_a_registry_and_a_name(registry: MetricsRegistry, wrong: Callable[..., Any]) -> None:
    """Anything else is an error at once, which says so."""
    with pytest.raises(TypeError, match="timed takes a timer, or a registry and a name"):
        wrong(registry)


@pytest.mark.parametrize("name", ["work.ok", "work.active", "work.oldest_seconds", "work.held"])
def test_a_name_that_is_taken_is_refused(registry: MetricsRegistry, name: str) -> None:
    """By a metric of another kind, or a gauge of somebody else's."""
    (registry.gauge if name == "work.ok" else registry.counter if name == "work.active" else registry.meter)(name)

    async def work() -> None:
        """It takes no step."""

    with pytest.raises(ValueError, match=name):
        timed(registry, "work")(work)


def test_failing_metrics_change_no_result_by_name(
    reactor: FakeReactor, registry: MetricsRegistry, logged: Logged
) -> None:
    """Values, exceptions, Deferreds and coroutines are as without them, and the log hears of it once."""
    clock = registry.timer("work")

    def raise_error() -> float:
        raise OSError("broken")

    @timed(registry, "work")
    def work(result: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    async def steps() -> str:
        await sleep(reactor, 1)
        return "result"

    clock.now = raise_error
    assert work("result") == "result"
    with pytest.raises(ArithmeticError, match="on purpose"):
        work(ArithmeticError("on purpose"))
    found = outcome(Deferred.fromCoroutine(work(steps())))
    reactor.advance(1)
    assert found == ["result"]
    assert len(logged.flush(OSError)) == 1
    clock.now = reactor.seconds
    assert told(registry) == {"ok": 2, "errors.ArithmeticError": 1}
    work("result")
    assert told(registry)["calls"] == 1


def test_a_clock_that_fails_for_a_moment_costs_that_call_only(
    reactor: FakeReactor, registry: MetricsRegistry, logged: Logged
) -> None:
    """How it ended is counted, no time that makes no sense is, and the next call has its own."""
    clock = registry.timer("work")
    work = timed(registry, "work")(slow_coroutine(reactor))

    def fail_once() -> float:
        clock.now = reactor.seconds
        raise OSError("broken")

    clock.now = fail_once
    for _ in range(2):
        found = outcome(Deferred.fromCoroutine(work()))
        assert registry.read("work.oldest_seconds")["value"] in (0, 0.125)
        reactor.pump([10, 10])
        assert found == ["result"]
    assert told(registry) == {"ok": 2, "calls": 1, "work": 20.875, "held": 0.875}
    assert clock.refused == registry.timer("work.held").refused == 0
    assert len(logged.flush(OSError)) == 1


def test_an_error_whose_counter_cannot_be_made_goes_on_as_it_is(registry: MetricsRegistry, logged: Logged) -> None:
    """The log says why, once."""
    registry.meter("work.errors.ArithmeticError")
    error = ArithmeticError("on purpose")

    @timed(registry, "work")
    def work() -> None:
        raise error

    for _ in range(2):
        with pytest.raises(ArithmeticError) as raised:
            work()
        assert raised.value is error
    assert told(registry) == {}
    assert len(logged.flush(ValueError)) == 1


# By name: how long the steps held the reactor


def slow_steps(reactor: FakeReactor) -> Callable[..., Any]:
    """A generator function: three steps that hold the reactor for 1/8, 1/4 and 1/2 s, with 10 s in between."""

    def work(ending: Any = "result") -> Any:
        reactor.advance(0.125)
        yield sleep(reactor, 10)
        reactor.advance(0.25)
        try:
            yield sleep(reactor, 10)
        finally:
            reactor.advance(0.5)
        if isinstance(ending, Exception):
            raise ending
        return ending

    return work


def slow_coroutine(reactor: FakeReactor) -> Callable[..., Any]:
    """The same as a coroutine function."""

    async def work(ending: Any = "result") -> Any:
        reactor.advance(0.125)
        await sleep(reactor, 10)
        reactor.advance(0.25)
        try:
            await sleep(reactor, 10)
        finally:
            reactor.advance(0.5)
        if isinstance(ending, Exception):
            raise ending
        return ending

    return work


STEPS = {
    "coroutine": lambda reactor: (slow_coroutine(reactor), Deferred.fromCoroutine),
    "inlineCallbacks": lambda reactor: (inlineCallbacks(slow_steps(reactor)), lambda deferred: deferred),
    "returns_a_coroutine": lambda reactor: (partial(slow_coroutine(reactor)), Deferred.fromCoroutine),
}


@pytest.mark.parametrize("kind", STEPS)
def test_only_the_steps_held_the_reactor(reactor: FakeReactor, registry: MetricsRegistry, kind: str) -> None:
    """Once a call, whatever its number of steps; the time that passed is the timer's."""
    function, start = STEPS[kind](reactor)
    work = timed(registry, "work")(function)
    found = outcome(start(work()))
    assert told(registry) == {"active": 1, "oldest_seconds": 0.125}
    reactor.advance(10)
    assert told(registry) == {"active": 1, "oldest_seconds": 10.375}
    reactor.advance(10)
    assert found == ["result"]
    assert told(registry) == {"ok": 1, "calls": 1, "work": 20.875, "held": 0.875}
    assert registry.read("work.held")["count"] == 1


@pytest.mark.parametrize("kind", STEPS)
def test_an_error_ends_the_last_step(reactor: FakeReactor, registry: MetricsRegistry, kind: str) -> None:
    """Its time is held time too, and the very exception comes out."""
    function, start = STEPS[kind](reactor)
    error = ArithmeticError("on purpose")
    found = outcome(start(timed(registry, "work")(function)(error)))
    reactor.pump([10, 10])
    assert found == [error]
    assert told(registry) == {"errors.ArithmeticError": 1, "calls": 1, "work": 20.875, "held": 0.875}


@pytest.mark.parametrize("kind", STEPS)
def test_cancelling_reaches_what_is_waited_for(reactor: FakeReactor, registry: MetricsRegistry, kind: str) -> None:
    """The clean-up that follows is a step."""
    function, start = STEPS[kind](reactor)
    deferred = start(timed(registry, "work")(function)())
    found = outcome(deferred)
    reactor.pump([10, 5])
    deferred.cancel()
    assert isinstance(found[0], CancelledError)
    assert reactor.getDelayedCalls() == []
    assert told(registry) == {"cancelled": 1, "calls": 1, "work": 15.875, "held": 0.875}


def test_a_coroutine_that_is_given_up_is_cancelled(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Also by the garbage collector; its ``finally`` clauses run, once."""
    work = timed(registry, "work")(slow_coroutine(reactor))
    running = work()
    running.send(None)
    running.close()
    assert told(registry) == {"cancelled": 1, "calls": 1, "work": 0.125, "held": 0.125}
    dropped = work()
    dropped.send(None)
    del dropped
    gc.collect()
    assert told(registry) == {"cancelled": 2, "calls": 2, "work": 0.25, "held": 0.25}
    for call in reactor.getDelayedCalls():
        call.cancel()


def test_what_is_awaited_is_a_part_of_the_step(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Both coroutines tell for how long the inner one held the reactor."""
    inner = timed(registry, "inner")(slow_coroutine(reactor))

    @timed(registry, "outer")
    async def outer() -> Any:
        reactor.advance(1)
        return await inner()

    found = outcome(Deferred.fromCoroutine(outer()))
    reactor.pump([10, 10])
    assert found == ["result"]
    assert registry.read("inner.held")["sum"] == 0.875
    assert registry.read("outer.held")["sum"] == 1.875


def test_inline_callbacks_in_a_method_know_their_steps(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """As a function of the class, and as a method of an instance."""

    class Worker:
        def __init__(self) -> None:
            self.mine = timed(registry, "work")(self.plain)

        @inlineCallbacks
        def plain(self, *, value: Any) -> Iterator[Any]:
            reactor.advance(0.5)
            yield sleep(reactor, 1)
            return self, value

        decorated = timed(registry, "work")(plain)

    worker = Worker()
    found = outcome(worker.mine(value=1)) + outcome(worker.decorated(value=2))
    assert found == []
    late = [outcome(worker.mine(value=1)), outcome(worker.decorated(value=2))]
    reactor.advance(1)
    assert late == [[(worker, 1)], [(worker, 2)]]
    assert registry.read("work.held")["count"] == registry.read("work.ok")["count"] == 4


def test_inline_callbacks_under_another_decorator_are_timed_without_steps(
    reactor: FakeReactor, registry: MetricsRegistry
) -> None:
    """What the other decorator does is kept, and ends when the Deferred fires."""

    def twice(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper() -> Any:
            return function().addCallback(lambda result: result * 2)

        return wrapper

    @timed(registry, "work")
    @twice
    @inlineCallbacks
    def work() -> Iterator[Any]:
        yield sleep(reactor, 1)
        return "result"

    found = outcome(work())
    reactor.advance(1)
    assert found == ["resultresult"]
    assert told(registry) == {"ok": 1, "calls": 1, "work": 1}
    assert "work.held" not in {reading.name for reading in registry.snapshot()}


def test_another_decorator_of_a_generator_is_none_of_twisteds(registry: MetricsRegistry) -> None:
    """What it returns is what it returned before."""

    def listed(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper() -> list[Any]:
            return list(function())

        return wrapper

    assert timed(registry, "work")(listed(generator))() == [None]


def test_arguments_that_do_not_fit_are_an_error_at_once(registry: MetricsRegistry) -> None:
    """inlineCallbacks raises it, and so it does when it is timed."""

    @timed(registry, "work")
    @inlineCallbacks
    def work(argument: int) -> Iterator[Any]:
        yield argument

    with pytest.raises(TypeError, match=r"work\(\) takes 1 positional argument"):
        work(1, 2)
    assert told(registry)["errors.TypeError"] == 1


def test_return_value_is_silent(registry: MetricsRegistry) -> None:
    """The old way to return from a generator works, with the one warning that Twisted itself has for it."""

    @inlineCallbacks
    def work() -> Iterator[Any]:
        yield succeed(None)
        returnValue("result")

    def warned(function: Callable[[], Deferred[Any]]) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert outcome(function()) == ["result"]
        return [str(warning.message) for warning in caught]

    assert warned(timed(registry, "work")(work)) == warned(work)
    assert told(registry)["ok"] == 1


def test_decorated_inline_callbacks_are_described_as_before(registry: MetricsRegistry) -> None:
    """Name, documentation, signature and the function itself are still to be found."""

    @inlineCallbacks
    def work(a: int, *, b: str = "b") -> Iterator[Any]:
        """It works."""
        yield a

    decorated = timed(registry, "work")(work)
    assert decorated.__qualname__ == work.__qualname__
    assert decorated.__doc__ == "It works."
    assert inspect.signature(decorated) == inspect.signature(work)
    assert inspect.unwrap(decorated) is inspect.unwrap(work)


# A driver in between is not to be felt


class MarkerError(Exception):
    pass


def catches() -> Any:
    """Steps that meet everything that can come in."""
    seen: list[Any] = [(yield "first")]
    try:
        seen.append((yield "second"))
    except MarkerError as error:
        seen.append(("caught", error, error.__context__))
    try:
        seen.append((yield "third"))
    except MarkerError:
        raise ValueError(seen) from None
    return seen


def ignores_close() -> Any:
    try:
        yield "first"
    except GeneratorExit:
        yield "stubborn"


def swallows_close() -> Any:
    try:
        yield "first"
    except GeneratorExit:
        return "swallowed"


def chains() -> Any:
    try:
        yield "first"
    except MarkerError as error:
        yield "handled"
        raise KeyError("another") from error


SCRIPTS = {
    "values": (catches, ["a", "b", "c"]),
    "exceptions": (catches, ["a", MarkerError(), MarkerError()]),
    "falsy": (catches, [None, 0, ""]),
    "first_throw": (catches, [MarkerError()]),
    "close": (catches, ["a", GeneratorExit]),
    "stubborn": (ignores_close, [GeneratorExit]),
    "exit": (swallows_close, [GeneratorExit()]),
    "chained": (chains, [MarkerError(), None]),
    "stop": (catches, [StopIteration("no value")]),
}


ENDS = [
    "ok",
    "errors.ValueError",
    "ok",
    "errors.MarkerError",
    "cancelled",
    "errors.RuntimeError",
    "cancelled",
    "errors.KeyError",
    "errors.RuntimeError",
]


def played(running: Any, inputs: list[Any]) -> list[Any]:
    """What comes out of a coroutine that is driven by hand."""
    heard: list[Any] = [running.send(None)]
    for value in inputs:
        try:
            if value is GeneratorExit:
                heard.append(running.close())
            elif isinstance(value, BaseException):
                heard.append(running.throw(value))
            else:
                heard.append(running.send(value))
        except BaseException as error:
            context = error.__context__
            heard += [type(error), error.args, error.__cause__, context, type(getattr(context, "__context__", None))]
            if not isinstance(error, StopIteration):
                heard.append([frame.name for frame in traceback.extract_tb(error.__traceback__)][-1])
            break
    running.close() if value is not GeneratorExit else None
    return heard


@pytest.mark.parametrize(("script", "end"), list(zip(SCRIPTS, ENDS, strict=True)))
def test_whoever_drives_a_timed_coroutine_sees_the_same(registry: MetricsRegistry, script: str, end: str) -> None:
    """Values, exceptions, their causes and contexts and the line that they come from."""
    generator, inputs = SCRIPTS[script]

    class Steps:
        def __await__(self) -> Any:
            return (yield from generator())

    async def work() -> Any:
        return await Steps()

    async def around() -> Any:
        return await work()

    plain = played(around(), inputs)
    assert played(timed(registry, "work")(work)(), inputs) == plain
    count = told(registry)
    assert (
        sum(count.get(end, 0) for end in ("ok", "cancelled", "errors.ValueError", "errors.KeyError"))
        + sum(value for name, value in count.items() if name in ("errors.MarkerError", "errors.RuntimeError"))
        == 1
    )


def test_nothing_is_kept_of_an_exception_that_was_thrown_in(registry: MetricsRegistry) -> None:
    """It goes when its last user does, not when the garbage collector comes."""

    @timed(registry, "work")
    async def work(deferred: Deferred[None]) -> None:
        await deferred

    def thrown_in() -> weakref.ref[MarkerError]:
        running, error = work(Deferred()), MarkerError()
        running.send(None)
        reference = weakref.ref(error)
        with suppress(MarkerError):
            running.throw(error)
        del error  # this frame is in its traceback
        return reference

    gc.disable()
    try:
        assert thrown_in()() is None
    finally:
        gc.enable()


def test_asyncio_drives_timed_coroutines(registry: MetricsRegistry) -> None:
    """A Task gets its value, its error or its cancellation, and each is counted as what it is."""

    @timed(registry, "work")
    async def work(kind: str) -> str:
        await asyncio.sleep(0)
        if kind == "error":
            raise ArithmeticError("on purpose")
        if kind == "cancel":
            await asyncio.sleep(1000)
        return "result"

    async def main() -> list[Any]:
        tasks: list[Any] = [asyncio.ensure_future(work(kind)) for kind in ("value", "error", "cancel")]
        for _ in range(5):
            await asyncio.sleep(0)
        tasks[2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    value, error, cancelled = asyncio.run(main())
    assert value == "result"
    assert isinstance(error, ArithmeticError)
    assert isinstance(cancelled, asyncio.CancelledError)
    ends = {name: count for name, count in told(registry).items() if name not in ("work", "held")}
    assert ends == {"calls": 3, "ok": 1, "errors.ArithmeticError": 1, "cancelled": 1}


ON_THE_ASYNCIO_REACTOR = """
import asyncio, time
from twisted.internet import asyncioreactor
asyncioreactor.install()
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from txmetrics import MetricsRegistry, timed

registry = MetricsRegistry()

@timed(registry, "inner")
async def inner():
    time.sleep(0.05)
    await asyncio.sleep(0.05)
    return "of asyncio"

@timed(registry, "outer")
@inlineCallbacks
def outer():
    yield deferLater(reactor, 0.05)
    return (yield Deferred.fromFuture(asyncio.ensure_future(inner())))

def show(result):
    print(result, registry.read("inner.ok"), registry.read("outer.ok"))
    print(registry.read("inner.held")["sum"] >= 0.05 > registry.read("outer.held")["sum"])
    print(registry.read("inner")["sum"] >= 0.1, registry.read("outer")["sum"] >= 0.15)
    reactor.stop()

reactor.callWhenRunning(lambda: outer().addBoth(show))
reactor.callLater(10, reactor.stop)
reactor.run()
"""


def test_the_asyncio_reactor_drives_both(tmp_path: Path) -> None:
    """A Task beneath inlineCallbacks, each with the seconds for which its own steps held the reactor."""
    script = tmp_path / "both.py"
    script.write_text(ON_THE_ASYNCIO_REACTOR)
    done = run(sys.executable, "-W", "error", script, cwd=tmp_path)
    assert done.stdout.splitlines() == ["of asyncio {'count': 1} {'count': 1}", "True", "True True"]
