"""The watch over one connection: has the peer acknowledged what was written, or does it take no more?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

__all__ = ["STALL", "Watch"]

LOOK = 0.5
"""Seconds between two looks, while something is unacknowledged."""

STALL = 10.0
"""A peer that has taken nothing for so many seconds, though there was something, will take no more."""


class Watch:
    """Looks after what was written.

    ``unsent`` tells how many bytes are on their way, ``progress`` changes whenever the peer has taken some.
    ``acknowledged`` is called with how many more of the writes, in their order, the peer has; ``stalled`` when it has
    taken nothing for STALL seconds.
    """

    def __init__(
        self,
        reactor: Any,
        unsent: Callable[[], int],
        progress: Callable[[], object],
        acknowledged: Callable[[int], None],
        stalled: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._unsent = unsent
        self._progress = progress
        self._acknowledged = acknowledged
        self._stalled = stalled
        self._writes = 0
        self._seen = 0  # writes at the last look
        self._passed_on = 0  # writes at the one before: since then the reactor has been to the network with them
        self._mark: object = None
        self._idle_looks = 0
        self._timer: IDelayedCall | None = None
        self._due = 0.0
        self._ended = False

    def wrote(self) -> None:
        self._writes += 1
        self._go_on()

    def end(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_on(self) -> None:
        if self._writes and self._timer is None and not self._ended:
            self._due = self._reactor.seconds() + LOOK
            self._timer = self._reactor.callLater(LOOK, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._reactor.seconds() > self._due + LOOK:
            # The reactor was blocked: it learns only after this what has become of the connection meanwhile.
            self._go_on()
            return
        unsent = self._unsent()
        mark = self._progress()
        passed_on, self._passed_on, self._seen = self._passed_on, self._seen, self._writes
        if unsent:
            # In looks, not by the clock: a reactor that was blocked has not been to the network either.
            self._idle_looks = self._idle_looks + 1 if mark == self._mark else 0
            self._mark = mark
            if self._idle_looks * LOOK >= STALL:
                self._stalled()
                return
        else:
            self._idle_looks = 0
            self._writes -= passed_on
            self._seen -= passed_on
            self._passed_on -= passed_on
            if passed_on:
                self._acknowledged(passed_on)
        self._go_on()
