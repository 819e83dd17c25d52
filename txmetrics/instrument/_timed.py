"""``timed``: how long a call really took, whatever kind of call it is, and how it ended."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutine, iscoroutinefunction, isgeneratorfunction
from types import FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar, cast, overload

from twisted.internet import defer
from twisted.internet.defer import Deferred, inlineCallbacks

from txmetrics.instrument._care import Care
from txmetrics.instrument._tasks import Call, Calls, calls_of
from txmetrics.metrics import Timer
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["timed"]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def timed(measure: Timer) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


@overload
def timed(measure: MetricsRegistry | Scope, name: str) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def timed(
    measure: Timer | MetricsRegistry | Scope, name: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that each of its calls is measured, once, however it ends.

    ``timed(timer)`` gives the timer the seconds of each call. ``timed(registry, "fetch")`` gives them to the timer
    ``fetch``, and keeps besides: the counters ``fetch.ok``, ``fetch.cancelled`` and ``fetch.errors.<Type>``, one of
    which counts each call (50 types are told apart, the others share ``_other``); the gauges ``fetch.active``, how many
    calls are in flight, and ``fetch.oldest_seconds``, how old the oldest of them is, 0 if there is none; and for
    coroutines and inlineCallbacks the timer ``fetch.held``: for how much of its time a call's own steps held the
    reactor. Functions that are given the same name share all of it.

    A plain function is timed until it returns or raises, one that returns a Deferred (``inlineCallbacks`` does)
    until that fires or fails, and a coroutine from its first step to its last, whoever drives it: Deferred, asyncio's
    Task or another coroutine. What a coroutine awaits is a part of its steps: if that is timed as well, both tell the
    seconds for which it held the reactor. Cancelled is what ends with a CancelledError, Twisted's or asyncio's, and a
    coroutine or generator that is closed before its end, which Python does when nothing can resume it any more. Another
    Deferred that can never fire is not in flight any more when it is garbage, and counts nowhere.

    The result is never changed: the same value, the same Failure, the same Deferred. An error in the metrics is logged
    once. Raises TypeError for anything but a timer or a registry (or a scope of one) and a name, and ValueError if one
    of the names belongs to another metric.

    Stands above ``@inlineCallbacks``, at once if ``held`` is to be known, and below ``@classmethod``; the other way
    round it would see a bare generator or nothing that can be called, and raises TypeError.
    """
    if isinstance(measure, Timer) and name is None:
        return _by_timer(measure)
    if isinstance(measure, MetricsRegistry | Scope) and isinstance(name, str):
        return _by_calls(calls_of(measure, name))
    raise TypeError(f"timed takes a timer, or a registry and a name, not {measure!r} and {name!r}")


def _by_timer(timer: Timer) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        care = Care(f"calls of {_checked(function)}")
        return _wrapped(function, lambda: _Run(timer, care), lambda coroutine: _timed(coroutine, timer, care))

    return decorate


def _by_calls(calls: Calls) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        _checked(function)
        generator = _beneath_inline_callbacks(function)
        if generator is not None:
            calls.held()
            return _wrapped_generator(function, generator, calls)
        if iscoroutinefunction(function):
            calls.held()
        return _wrapped(function, partial(Call, calls), partial(_steps, calls))

    return decorate


def _checked(function: Callable[..., Any]) -> str:
    """The function's name; TypeError if its calls cannot be timed."""
    name = getattr(function, "__qualname__", repr(function))
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise TypeError(
            f"{name} is a generator, whose run cannot be timed; put @timed above @inlineCallbacks, not below it"
        )
    if isinstance(function, classmethod | staticmethod):
        raise TypeError(f"{name} is a {type(function).__name__} already; put @timed below that decorator")
    return name


def _wrapped(
    function: Callable[P, R],
    begin: Callable[[], _Run | Call],
    drive: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]],
) -> Callable[P, R]:
    """``begin`` begins a call; of a coroutine, whose call begins with its first step, ``drive`` makes a timed one."""
    if iscoroutinefunction(function):

        @wraps(function)
        async def timed_coroutine(*args: Any, **kwargs: Any) -> Any:
            return await drive(function(*args, **kwargs))

        return cast(Callable[P, R], timed_coroutine)

    @wraps(function)
    def timed_function(*args: P.args, **kwargs: P.kwargs) -> Any:
        call = begin()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        if isinstance(result, Deferred):
            return result.addBoth(call.passing)
        if iscoroutine(result):
            return _awaiting(drive(result))
        call.end()
        return result

    return timed_function


async def _awaiting(awaitable: Awaitable[R]) -> R:
    return await awaitable


# With a timer alone


async def _timed(coroutine: Coroutine[Any, Any, R], timer: Timer, care: Care) -> R:
    run = _Run(timer, care)
    try:
        return await coroutine
    finally:
        run.end()


class _Run:
    """One call, from now on."""

    __slots__ = ("_care", "_start", "_timer")

    def __init__(self, timer: Timer, care: Care) -> None:
        self._timer = timer
        self._care = care
        self._start = care.attempt(timer.now)

    def end(self, error: BaseException | None = None) -> None:
        self._care.attempt(self._record)

    def _record(self) -> None:
        if self._start is not None:
            self._timer.add(self._timer.now() - self._start)

    def passing(self, result: Any) -> Any:
        self.end()
        return result


# In steps


@types.coroutine
def _steps(calls: Calls, work: Any) -> Generator[Any, Any, Any]:
    """Drive a coroutine or generator as ``await`` or ``yield from`` would, and time its steps."""
    call = Call(calls)
    resume, value = work.send, None
    while True:
        try:
            yielded = resume(value)
        except _RETURNS as result:
            call.end_step()
            return result.value
        except BaseException as error:
            call.end_step(error)
            raise
        finally:
            value = None  # an exception that was thrown in keeps this frame alive, and must not be kept by it
        call.suspend()
        try:
            value = yield yielded
            resume = work.send
        except BaseException as error:
            resume, value = work.throw, error
        call.resume()


# inlineCallbacks returns the values that its generator raises in returnValue, a function of old, and cannot see any
# more whether that was called in the generator itself if it passes through a frame of ours; so it does not.
_RETURNS: Any = (StopIteration, getattr(defer, "_DefGen_Return", StopIteration))

_INLINE_CALLBACKS = inlineCallbacks(_steps).__code__


def _beneath_inline_callbacks(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """The generator function that Twisted's ``inlineCallbacks`` drives in ``function``, None if it is no such thing."""
    if isinstance(function, MethodType):
        generator = _beneath_inline_callbacks(function.__func__)
        return generator and partial(generator, function.__self__)
    if isinstance(function, FunctionType) and function.__code__ is _INLINE_CALLBACKS:
        generator = getattr(function, "__wrapped__", None)
        return generator if isgeneratorfunction(generator) else None
    return None


def _wrapped_generator(function: Callable[P, R], generator: Callable[..., Any], calls: Calls) -> Callable[P, R]:
    """What ``inlineCallbacks`` makes of the same generator, timed."""

    @wraps(function)
    def timed_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        try:
            work = generator(*args, **kwargs)
        except BaseException as error:  # the arguments do not fit
            Call(calls).end(error)
            raise
        return _steps(calls, work)

    return cast(Callable[P, R], inlineCallbacks(timed_generator))
