"""``timed``: how long a call really took, whatever kind of call it is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import isasyncgenfunction, iscoroutine, iscoroutinefunction, isgeneratorfunction
from typing import Any, ParamSpec, TypeVar, cast

from twisted.internet.defer import Deferred

from txmetrics.instrument._care import Care
from txmetrics.metrics import Timer

__all__ = ["timed"]

P = ParamSpec("P")
R = TypeVar("R")


def timed(timer: Timer) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that ``timer`` gets the seconds of each call, once, however it ends.

    A plain function is timed until it returns or raises, one that returns a Deferred (``inlineCallbacks`` does)
    until that fires or fails, cancelled or not, and a coroutine from its first step to its last. The result is
    never changed: the same value, the same Failure, the same Deferred. An error of the timer's is logged once.

    Stands above ``@inlineCallbacks`` and below ``@classmethod``; the other way round it would see a bare generator or
    nothing that can be called, and raises TypeError.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = getattr(function, "__qualname__", repr(function))
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                f"{name} is a generator, whose run cannot be timed; put @timed above @inlineCallbacks, not below it"
            )
        if isinstance(function, classmethod | staticmethod):
            raise TypeError(f"{name} is a {type(function).__name__} already; put @timed below that decorator")
        care = Care(f"calls of {name}")
        if iscoroutinefunction(function):

            @wraps(function)
            async def timed_coroutine(*args: Any, **kwargs: Any) -> Any:
                return await _timed(function(*args, **kwargs), timer, care)

            return cast(Callable[P, R], timed_coroutine)

        @wraps(function)
        def timed_function(*args: P.args, **kwargs: P.kwargs) -> Any:
            run = _Run(timer, care)
            try:
                result = function(*args, **kwargs)
            except BaseException:
                run.end()
                raise
            if isinstance(result, Deferred):
                return result.addBoth(run.passing)
            if iscoroutine(result):
                return _timed(result, timer, care)
            run.end()
            return result

        return timed_function

    return decorate


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

    def end(self) -> None:
        self._care.attempt(self._record)

    def _record(self) -> None:
        if self._start is not None:
            self._timer.add(self._timer.now() - self._start)

    def passing(self, result: Any) -> Any:
        self.end()
        return result
