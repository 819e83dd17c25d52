"""The outbox: one queue of chunks with a cursor, in bounded memory, whose books always balance.

    in flight | unsent            accepted = written + in flight + unsent + dropped, in points, after every step

What is in flight was handed to a connection that has not yet passed it on; it is settled when the connection has,
or taken back when the connection is lost. A queue that outgrows its bytes drops its oldest unsent chunk.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import deque

from txmetrics.interfaces import Chunk

__all__ = ["Outbox"]


class Outbox:
    """Holds at most ``max_bytes`` of chunks, and always room for one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._in_flight: deque[Chunk] = deque()
        self._unsent: deque[Chunk] = deque()
        self.bytes = 0
        self.accepted = 0
        self.written = 0
        self.dropped: Tally[str] = Tally()
        """Points, by reason."""

    def put(self, chunk: Chunk) -> None:
        self._unsent.append(chunk)
        self.accepted += chunk.points
        self.bytes += len(chunk.data)
        while self.bytes > self._max_bytes and len(self._unsent) > 1:
            self._drop(self._unsent.popleft(), "overflow")

    def take(self) -> Chunk | None:
        """The oldest unsent chunk, in flight from now on; None if there is none."""
        if not self._unsent:
            return None
        chunk = self._unsent.popleft()
        self._in_flight.append(chunk)
        return chunk

    def settle(self) -> None:
        """All that is in flight was passed on."""
        for chunk in self._in_flight:
            self.written += chunk.points
            self.bytes -= len(chunk.data)
        self._in_flight.clear()

    def take_back(self) -> None:
        """All that is in flight is unsent again, in its old order."""
        self._unsent.extendleft(reversed(self._in_flight))
        self._in_flight.clear()

    def drop_in_flight(self, reason: str) -> None:
        while self._in_flight:
            self._drop(self._in_flight.popleft(), reason)

    def drop_all(self, reason: str) -> int:
        """Give up everything; returns how many points that were."""
        points = self.points
        self.take_back()
        while self._unsent:
            self._drop(self._unsent.popleft(), reason)
        return points

    @property
    def empty(self) -> bool:
        return not self._unsent and not self._in_flight

    @property
    def points(self) -> int:
        """In flight and unsent."""
        return self.accepted - self.written - self.dropped.total()

    def _drop(self, chunk: Chunk, reason: str) -> None:
        self.dropped[reason] += chunk.points
        self.bytes -= len(chunk.data)
