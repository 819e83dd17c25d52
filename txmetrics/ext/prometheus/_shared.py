"""Shared: made once for all who ask for it at about the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from txmetrics.ext.prometheus._rendering import Body

__all__ = ["FRESH", "Shared"]

FRESH = 0.8
"""Seconds for which a body is given out, from the beginning of its rendering: a scraper that comes every second always
gets a new one."""


class Shared:
    """A body that ``make``, which takes its time, has made.

    Whoever asks while it is made, or before it is FRESH seconds old, gets the same one; then it is forgotten.
    ``time`` has callLater, ``now`` is the clock that a body's beginning was told by.
    """

    def __init__(self, make: Callable[[], Deferred[Body]], now: Callable[[], float], time: Callable[[], Any]) -> None:
        self._make = make
        self._now = now
        self._time = time
        self._body: Body | None = None
        self._waiting: list[Deferred[Body]] | None = None

    def ask(self) -> Deferred[Body]:
        """Fires with the body, or fails with what its making failed with; the next to ask has it made anew."""
        body = self._body
        if body is not None and self._age(body) < FRESH:
            return succeed(body)
        asked: Deferred[Body] = Deferred()
        if self._waiting is not None:
            self._waiting.append(asked)
            return asked
        self._waiting = [asked]
        maybeDeferred(self._make).addBoth(self._made)
        return asked

    def _made(self, outcome: Body | Failure) -> None:
        waiting, self._waiting = self._waiting, None
        if isinstance(outcome, Body):
            self._body = outcome
            self._time().callLater(max(0.0, FRESH - self._age(outcome)), self._forget, outcome)
        for asked in waiting or ():
            asked.callback(outcome)  # a Failure goes on as one

    def _age(self, body: Body) -> float:
        return self._now() - body.began

    def _forget(self, body: Body) -> None:
        """Bodies are large."""
        if self._body is body:
            self._body = None
