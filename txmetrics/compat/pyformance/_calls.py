"""What the decorators share: something happens when a call begins, and when it is really over.

A call is over when its function has returned or raised; where that returned a Deferred, when it has fired; and a
coroutine or a generator, when it has come to its end. The result is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from inspect import iscoroutine, iscoroutinefunction, isgenerator
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred

from ._care import Care

__all__ = ["at_begin", "from_begin_to_end"]

F = TypeVar("F", bound=Callable[..., Any])


def at_begin(function: F, happens: Callable[[], None]) -> F:
    """``happens()`` at each call; for a coroutine, with its first step."""
    attempt, what = Care().attempt, _calls_of(function)
    if iscoroutinefunction(function):

        @wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            attempt(what, happens)
            return await function(*args, **kwargs)

        return cast(F, coroutine)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        attempt(what, happens)
        return function(*args, **kwargs)

    return cast(F, wrapper)


def from_begin_to_end(function: F, begin: Callable[[], Callable[[Any], object]]) -> F:
    """``begin()`` at each call, and what it returns with the result at the end; None if the call failed."""
    care, what = Care(), _calls_of(function)
    if iscoroutinefunction(function):

        @wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await _awaited(function(*args, **kwargs), _Call(begin, care, what))

        return cast(F, coroutine)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = _Call(begin, care, what)
        try:
            result = function(*args, **kwargs)
        except BaseException:
            call.end()
            raise
        if isinstance(result, Deferred):
            return result.addBoth(call.passing)
        if iscoroutine(result):
            return _awaited(result, call)
        if isgenerator(result):
            return _driven(result, call)
        return call.passing(result)

    return cast(F, wrapper)


def _calls_of(function: Callable[..., Any]) -> str:
    return f"calls of {getattr(function, '__qualname__', repr(function))}"


class _Call:
    """One call, from now on."""

    def __init__(self, begin: Callable[[], Callable[[Any], object]], care: Care, what: str) -> None:
        self._care = care
        self._what = what
        self._end = care.attempt(what, begin)

    def end(self, result: Any = None) -> None:
        if self._end is not None:
            self._care.attempt(self._what, self._end, result)

    def passing(self, result: Any) -> Any:
        self.end(result)
        return result


async def _awaited(coroutine: Coroutine[Any, Any, Any], call: _Call) -> Any:
    try:
        result = await coroutine
    except BaseException:
        call.end()
        raise
    return call.passing(result)


def _driven(generator: Generator[Any, Any, Any], call: _Call) -> Generator[Any, Any, Any]:
    try:
        result = yield from generator
    except BaseException:
        call.end()
        raise
    return call.passing(result)
