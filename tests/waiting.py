"""Waiting until something is so, with a limit, and with what is known when it never was."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.task import deferLater

T = TypeVar("T")

__all__ = ["Waits", "wait_until"]


def wait_until(predicate: Callable[[], T], why: Callable[[], str], seconds: float = 20.0) -> T:
    """
    Ask `predicate` until it says something true, and return that; AssertionError with `why()` after `seconds`.

    This blocks the reactor of the test.
    """
    end = time.monotonic() + seconds
    while not (answer := predicate()):
        _check(end, seconds, why)
        time.sleep(0.02)
    return answer


async def wait_gently(predicate: Callable[[], T], why: Callable[[], str], seconds: float, pause: float) -> T:
    """Like `wait_until`, while the reactor of the test goes on."""
    from twisted.internet import reactor

    end = time.monotonic() + seconds
    while not (answer := predicate()):
        _check(end, seconds, why)
        await deferLater(reactor, pause)
    return answer


def _check(end: float, seconds: float, why: Callable[[], str]) -> None:
    if time.monotonic() > end:
        raise AssertionError(f"not so within {seconds:g} s: {why()}")


class Waits:
    """A program that can be waited for, and has a log."""

    PAUSE = 0.02
    """Seconds between two questions while the reactor goes on."""

    def log(self) -> str:
        """All that the program has printed so far."""
        raise NotImplementedError  # it is wherever the program writes it

    def wait_for(self, predicate: Callable[[], T], seconds: float = 10.0) -> T:
        """
        Ask `predicate` until it says something true, and return that; AssertionError after `seconds`.

        This blocks the reactor of the test: where that has to go on, use `eventually`.
        """
        return wait_until(predicate, self._end_of_log, seconds)

    async def eventually(self, predicate: Callable[[], T], seconds: float = 25.0) -> T:
        """Like `wait_for`, while the reactor of the test goes on."""
        return await wait_gently(predicate, self._end_of_log, seconds, self.PAUSE)

    def _end_of_log(self) -> str:
        return f"the log ends:\n{self.log()[-2000:]}"
