"""Spooling: what has to wait for long goes from the outbox to its spool, a chunk a turn of the reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from txmetrics.delivery._outbox import Outbox
from txmetrics.delivery._spool import Spool

__all__ = ["PATIENCE", "Spooling"]

PATIENCE = 1.0
"""What has waited so many seconds for a connection, or for a peer that takes nothing, goes to the spool."""


class Spooling:
    """Looks after an outbox. ``stuck`` tells whether its chunks are kept from going out; without a spool it is idle."""

    def __init__(self, time: Any, outbox: Outbox, spool: Spool | None, stuck: Callable[[], bool]) -> None:
        """``time`` is an IReactorTime."""
        self._time = time
        self._outbox = outbox
        self._spool = spool
        self._stuck = stuck
        self._timer: IDelayedCall | None = None

    def look(self, wait: float = PATIENCE) -> None:
        """Chunks may be waiting: look after them ``wait`` seconds from now, and as long as there are any."""
        if self._spool is not None and self._timer is None and self._outbox.unsent:
            self._timer = self._time.callLater(wait, self._move)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _move(self) -> None:
        self._timer = None
        if not self._stuck():
            self.look()
        elif self._outbox.to_spool():
            self.look(0)
