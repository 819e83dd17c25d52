"""Lag: how late the reactor is, told by a call that comes four times a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["INTERVAL", "Lag"]

INTERVAL = 0.25
"""Seconds between two probes."""


class Lag:
    """``seconds()`` is how late the reactor is with what is due, while the probe runs: from ``start`` to ``stop``.

    It is never less than 0, and as what is held up is found out by a probe, up to ``INTERVAL`` less than how long the
    reactor was held. ``tick`` is the clock that counts, in seconds; ``probed``, which must not raise, is called with
    the lateness of each probe. Without ``reactor`` it is the global one.
    """

    def __init__(
        self,
        tick: Callable[[], float],
        reactor: Any = None,
        probed: Callable[[float], object] | None = None,
    ) -> None:
        self._tick = tick
        self._reactor = reactor
        self._probed = probed
        self._call: Any = None  # the next probe
        self._due = 0.0
        self._late = 0.0

    def start(self) -> None:
        """Probe from now on. A probe that runs goes on."""
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        if self._call is None:
            self._late = 0.0
            self._probe_later()

    def stop(self) -> None:
        """Leave nothing behind in the reactor; the lag is 0 until the next start."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def seconds(self) -> float:
        """The lateness of the last probe, or how overdue the next one is, whichever is more."""
        if self._call is None:
            return 0.0
        if self._call.getTime() - self._reactor.seconds() > 2 * INTERVAL:
            # The wall clock was set back, by which reactors count: the probe would come that much too late.
            self._call.cancel()
            self._probe_later()
        return max(self._late, self._overdue())

    def _probe_later(self) -> None:
        self._due = self._tick() + INTERVAL
        self._call = self._reactor.callLater(INTERVAL, self._probe)

    def _probe(self) -> None:
        late = self._late = self._overdue()
        self._probe_later()
        if self._probed is not None:
            self._probed(late)

    def _overdue(self) -> float:
        """By the clock that says less: a reactor that is held is late by both, one whose clock is set by one only."""
        by_reactor: float = self._reactor.seconds() - self._call.getTime()
        return max(0.0, min(self._tick() - self._due, by_reactor))
