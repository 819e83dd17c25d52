"""Spooling: what has to wait for long goes from the outbox to its spool, a chunk a turn of the reactor."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from txmetrics.delivery._outbox import Outbox
from txmetrics.delivery._spool import Spool

__all__ = ["PATIENCE", "Spooling"]

PATIENCE = 1.0
"""What has waited so many seconds for a connection, or for a peer that takes nothing, goes to the spool."""

RETRY = 60.0
"""A spool that cannot be opened is tried again after so many seconds: a predecessor may just be closing it."""


class Spooling:
    """Looks after an outbox. ``stuck`` tells whether its chunks are kept from going out; without a spool it is idle."""

    def __init__(self, time: Any, outbox: Outbox, spool: Spool | None, stuck: Callable[[], bool]) -> None:
        """``time`` is an IReactorTime."""
        self._time = time
        self._outbox = outbox
        self._spool = spool
        self._stuck = stuck
        self._timer: IDelayedCall | None = None
        self._open_at = inf

    def start(self) -> None:
        """Open the spool."""
        self._open_at = self._time.seconds()
        self.look()

    def look(self, wait: float = PATIENCE) -> None:
        """Chunks may be waiting: look after them ``wait`` seconds from now, and as long as there are any."""
        if self._spool is None:
            return
        if not self._spool.usable and self._time.seconds() >= self._open_at:
            self._spool.open()
            self._open_at = self._time.seconds() + RETRY
        if self._timer is None and self._outbox.unsent:
            self._timer = self._time.callLater(wait, self._move)

    def end(self) -> None:
        self._open_at = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _move(self) -> None:
        self._timer = None
        if not self._stuck():
            self.look()
        elif self._outbox.to_spool():
            self.look(0)
