"""The end of a delivery: one deadline, and an answer for everybody who asked for it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

__all__ = ["Ending"]


class Ending:
    """Calls ``give_up`` when the time is up, unless everything is ``over`` by then."""

    def __init__(self, time: Any, give_up: Callable[[], None]) -> None:
        """``time`` is an IReactorTime."""
        self._time = time
        self._give_up = give_up
        self._deadline: IDelayedCall | None = None
        self._answers: list[Deferred[None]] = []
        self.begun = False
        self.over = False

    def ask(self, seconds: float) -> Deferred[None]:
        """An answer that comes when everything is over; the first to ask also sets the deadline."""
        if not self.begun:
            self.begun = True
            self._deadline = self._time.callLater(seconds, self._give_up)
        answer: Deferred[None] = Deferred()
        if self.over:
            answer.callback(None)
        else:
            self._answers.append(answer)
        return answer

    @property
    def at(self) -> float:
        """The time of the deadline; if there is none (any more), never."""
        return inf if self._deadline is None else self._deadline.getTime()

    def cancel(self) -> None:
        """There is nothing left to give up."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def answer(self) -> None:
        """Everything is over: tell all who asked."""
        self.cancel()
        self.over = True
        while self._answers:
            self._answers.pop(0).callback(None)
