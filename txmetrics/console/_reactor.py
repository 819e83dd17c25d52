"""A coroutine in the reactor, from a program that has none running: it ends with the coroutine, or with a signal."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

__all__ = ["in_reactor"]

T = TypeVar("T")


def in_reactor(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run ``work(reactor)`` to its end; returns what it returns, raises what it raises. Once in a process.

    SIGINT and SIGTERM cancel it, so that it can clean up, and then come out as KeyboardInterrupt and SystemExit(143).
    """
    from twisted.internet import reactor

    running: Any = reactor
    outcome: list[T | Failure] = []
    signals: list[int] = []

    async def begun() -> T:
        await deferLater(running, 0)
        return await work(running)

    done = Deferred.fromCoroutine(begun())
    done.addBoth(outcome.append)
    done.addBoth(lambda _: running.stop())

    def end(number: int, _: object) -> None:
        signals.append(number)
        running.callFromThread(done.cancel)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        running.run(installSignalHandlers=False)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return _result(outcome[0], signals)


def _result(outcome: T | Failure, signals: list[int]) -> T:
    if not isinstance(outcome, Failure):
        return outcome
    if signals:  # whatever has become of the cancellation
        if signals[0] == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signals[0])
    outcome.raiseException()
