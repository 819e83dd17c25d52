"""The decorators: each call counts once, when it is over, however it is written and however it ends."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Generator, Iterator
from inspect import iscoroutinefunction
from types import ModuleType
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, inlineCallbacks, succeed
from twisted.python.failure import Failure

import txmetrics.compat.pyformance as pyformance
from tests.compat.clocks import Clock
from tests.strict import Logged
from txmetrics.compat.pyformance.registry import get_qualname


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def registry(clock: Clock) -> Iterator[pyformance.MetricsRegistry]:
    """A global registry of the test's own."""
    before = pyformance.global_registry()
    registry = pyformance.MetricsRegistry(clock)
    pyformance.set_global_registry(registry)
    yield registry
    pyformance.set_global_registry(before)


class Work:
    """Functions of every kind, each of which waits for ``deferred``; their names are all ``work``."""

    def __init__(self) -> None:
        self.deferred: Deferred[Any] = Deferred()

    def returning(self, decorate: Callable[[Any], Any]) -> Any:
        @decorate
        def work() -> Deferred[Any]:
            return self.deferred

        return work()

    def inline(self, decorate: Callable[[Any], Any]) -> Any:
        @decorate
        @inlineCallbacks
        def work() -> Generator[Deferred[Any], Any, Any]:
            result = yield self.deferred
            return result

        return work()

    def beneath_inline(self, decorate: Callable[[Any], Any]) -> Any:
        @inlineCallbacks
        @decorate
        def work() -> Generator[Deferred[Any], Any, Any]:
            result = yield self.deferred
            return result

        return work()

    def coroutine(self, decorate: Callable[[Any], Any]) -> Any:
        @decorate
        async def work() -> Any:
            return await self.deferred

        assert iscoroutinefunction(work)
        return ensureDeferred(work())

    def returning_coroutine(self, decorate: Callable[[Any], Any]) -> Any:
        async def wait() -> Any:
            return await self.deferred

        @decorate
        def work() -> Any:
            return wait()

        return ensureDeferred(work())


KINDS = ["returning", "inline", "beneath_inline", "coroutine", "returning_coroutine"]


def only(registry: pyformance.MetricsRegistry) -> dict[str, Any]:
    """The fields of the one metric there is."""
    ((name, fields),) = registry.dump_metrics().items()
    assert name.endswith("work_calls")
    return fields


@pytest.mark.parametrize("kind", KINDS)
def test_time_until_the_result_is_there(registry: pyformance.MetricsRegistry, clock: Clock, kind: str) -> None:
    """And not until the function returns, as it was; the result passes unchanged."""
    work, got = Work(), list[object]()
    result = getattr(work, kind)(pyformance.time_calls)
    clock.now += 3
    assert only(registry)["count"] == 0
    work.deferred.callback(7)
    result.addCallback(got.append)
    assert got == [7]
    assert [only(registry)[field] for field in ("count", "sum", "1m_rate")] == [1, 3, 0]
    assert (result is work.deferred) == (kind == "returning")


@pytest.mark.parametrize("kind", KINDS)
def test_time_of_what_fails(registry: pyformance.MetricsRegistry, clock: Clock, kind: str) -> None:
    """The same Failure, and the time until then."""
    work, got = Work(), list[Failure]()
    result = getattr(work, kind)(pyformance.time_calls)
    clock.now += 2
    error = LookupError("not there")
    work.deferred.errback(error)
    result.addErrback(got.append)
    assert got[0].value is error
    assert [only(registry)[field] for field in ("count", "sum")] == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_time_of_what_is_cancelled(registry: pyformance.MetricsRegistry, clock: Clock, kind: str) -> None:
    """A cancelled call ends as any other."""
    result = getattr(Work(), kind)(pyformance.time_calls)
    clock.now += 2
    result.cancel()
    result.addErrback(lambda failure: failure.trap(CancelledError))
    assert [only(registry)[field] for field in ("count", "sum")] == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_the_deferred(registry: pyformance.MetricsRegistry, clock: Clock, kind: str) -> None:
    """``hist_calls`` knows the number that comes, and leaves out what is none."""
    for result in (3, 4.5, "text", True, None, ValueError()):
        work = Work()
        work.deferred.addErrback(lambda failure: failure)
        waiting = getattr(work, kind)(pyformance.hist_calls)
        if isinstance(result, ValueError):
            work.deferred.errback(result)
            waiting.addErrback(lambda failure: failure.trap(ValueError))
        else:
            work.deferred.callback(result)
    assert [only(registry)[field] for field in ("count", "min", "max")] == [2, 3, 4.5]


def test_results_of_a_plain_function(registry: pyformance.MetricsRegistry, original: ModuleType) -> None:
    """In pyformance 0.4 every number that a function returned became an AttributeError."""

    def work(result: object) -> object:
        return result

    with pytest.raises(AttributeError):
        original.hist_calls(work)(3)
    decorated = pyformance.hist_calls(work)
    assert [decorated(result) for result in (3, "text", 5)] == [3, "text", 5]
    assert [only(registry)[field] for field in ("count", "avg")] == [2, 4]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decorator", [pyformance.count_calls, pyformance.meter_calls])
def test_calls_count_at_their_begin(registry: pyformance.MetricsRegistry, decorator: Any, kind: str) -> None:
    """Also those that never end; a Deferred that is returned is the same."""
    work = Work()
    result = getattr(work, kind)(decorator)
    assert only(registry)["count"] == 1
    work.deferred.callback(None)
    assert only(registry)["count"] == 1
    assert (result is work.deferred) == (kind == "returning")


def test_a_coroutine_in_asyncio(registry: pyformance.MetricsRegistry, clock: Clock) -> None:
    """Whoever drives it."""

    @pyformance.time_calls
    async def work() -> int:
        await asyncio.sleep(0)
        clock.now += 4
        return 9

    with asyncio.Runner() as runner:
        assert runner.run(work()) == 9
    assert only(registry)["sum"] == 4


def test_a_generator_is_measured_to_its_end(registry: pyformance.MetricsRegistry, clock: Clock) -> None:
    """It gives, takes and returns what it would without."""

    @pyformance.time_calls
    def work() -> Generator[int, str, str]:
        clock.now += 1
        got = yield 5
        return f"{got}!"

    generator = work()
    assert next(generator) == 5
    assert only(registry)["count"] == 0
    with pytest.raises(StopIteration) as stop:
        generator.send("a")
    assert stop.value.value == "a!"
    assert only(registry)["sum"] == 1


def test_an_exception_is_the_same(registry: pyformance.MetricsRegistry, clock: Clock) -> None:
    """And its call counts."""
    error = KeyError("x")

    @pyformance.time_calls
    def work() -> None:
        clock.now += 1
        raise error

    with pytest.raises(KeyError) as raised:
        work()
    assert raised.value is error
    assert only(registry)["sum"] == 1


@pytest.mark.parametrize("outer", ["count_calls", "meter_calls", "time_calls"])
def test_decorators_may_stand_above_each_other(registry: pyformance.MetricsRegistry, clock: Clock, outer: str) -> None:
    """In any order, each counts, on the one name."""
    decorators = {"count_calls", "meter_calls", "time_calls"} - {outer}

    def work() -> Deferred[int]:
        clock.now += 2
        return succeed(1)

    decorated = work
    for name in [*sorted(decorators), outer]:
        decorated = getattr(pyformance, name)(decorated)
    decorated()
    name = f"{get_qualname(work)}_calls"
    counts = [getattr(pyformance, kind)(name).get_count() for kind in ("counter", "meter", "timer")]
    assert counts == [1, 1, 1]
    assert only(registry)["sum"] == 2


@pytest.mark.parametrize("decorator", ["count_calls", "meter_calls", "hist_calls", "time_calls"])
def test_an_error_in_the_metrics_is_logged(
    registry: pyformance.MetricsRegistry, decorator: str, logged: Logged
) -> None:
    """Once; the function knows nothing of it."""

    def work(wait: int) -> int:
        return wait + 1

    other = registry.counter if decorator == "hist_calls" else registry.histogram
    other(f"{get_qualname(work)}_calls")
    decorated = getattr(pyformance, decorator)(work)
    assert [decorated(1), decorated(2)] == [2, 3]
    assert len(logged.flush(ValueError)) == 1
    assert [text for text in logged.texts() if f"calls of {get_qualname(work)}" in text]


def test_what_has_no_name(logged: Logged) -> None:
    """A partial is called as it would be without, though its calls cannot be counted."""
    decorated = pyformance.count_calls(functools.partial(int, "11"))
    assert decorated(base=2) == 3
    assert len(logged.flush(AttributeError)) == 1


def test_the_registry_of_the_moment(registry: pyformance.MetricsRegistry) -> None:
    """A function that was decorated before the registry was set counts on the new one."""

    @pyformance.count_calls
    def work() -> None:
        pass

    work()
    other = pyformance.MetricsRegistry()
    pyformance.set_global_registry(other)
    work()
    work()
    assert [only(registry)["count"], only(other)["count"]] == [1, 2]
