"""The slowest recent requests, for whoever asks what took so long."""

from __future__ import annotations

from heapq import heappush, heappushpop, nlargest
from typing import NamedTuple

from txmetrics.clock import Clock

__all__ = ["SlowRequest", "Slowest"]

KEEP = 20
"""So many are told."""

RECENT = 300.0
"""Seconds: what ended within them is told, and what is twice as old no more."""


class SlowRequest(NamedTuple):
    """One request. Times are in seconds and count from the complete request; None is what did not happen."""

    seconds: float
    """Until the last byte, or until the client was gone."""
    ended: float
    """When, in seconds since the epoch."""
    route: str
    path: str
    """The beginning of it, as the client sent it: text from outside. Without the query, which may hold secrets."""
    code: int | None
    """None for a client that was gone."""
    body_wait: float | None
    """How long the body was awaited, before."""
    blocking: float | None
    """How long finding and rendering the resource held the reactor."""
    first_byte: float | None


class Slowest:
    """Keeps the slowest of the requests that it is told of, for a while, in bounded memory.

    Two heaps: one for the requests of these RECENT seconds, and that of those before.
    """

    __slots__ = ("_added", "_before", "_clock", "_now", "floor", "until", "wall")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.wall = clock.wall
        self._now: list[tuple[float, int, SlowRequest]] = []
        self._before: list[tuple[float, int, SlowRequest]] = []
        self._added = 0  # tells two requests apart that took equally long
        self.floor = -1.0
        """What took no longer need not be added ..."""
        self.until = 0.0
        """... if it ended before this tick of the clock."""

    def add(self, request: SlowRequest) -> None:
        self._turn()
        self._added += 1
        entry = request.seconds, -self._added, request
        if len(self._now) < KEEP:
            heappush(self._now, entry)
        else:
            heappushpop(self._now, entry)
        if len(self._now) == KEEP:
            self.floor = self._now[0][0]

    def _turn(self) -> None:
        """Begin a new heap if it is time to."""
        late = self._clock.tick() - self.until
        if late >= 0:
            self._before = self._now if late < RECENT else []
            self._now = []
            self.until += RECENT * (late // RECENT + 1)
            self.floor = -1.0

    def told(self) -> list[SlowRequest]:
        """The slowest first."""
        self._turn()
        return [request for _, _, request in nlargest(KEEP, [*self._before, *self._now])]
