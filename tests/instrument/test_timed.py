"""``timed``: every kind of call is timed once, to its real end, and none of them notices."""

from __future__ import annotations

import gc
import inspect
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, inlineCallbacks, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.strict import Logged
from txmetrics import MetricsRegistry, Timer, timed
from txmetrics.testing import FakeReactor


@pytest.fixture
def reactor() -> FakeReactor:
    return FakeReactor()


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
