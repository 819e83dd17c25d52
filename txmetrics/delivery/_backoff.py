"""How long to wait before the next attempt to connect."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff"]

FIRST = 0.5
FACTOR = 1.7
LONGEST = 60.0
JITTER = 0.25
"""A wait may be shorter by so much, at most, than the schedule says: more would knock too often at a dead door."""


class Backoff:
    """Grows with every failure in a row, with jitter so that a fleet does not come back as one."""

    def __init__(self, random: Callable[[], float]) -> None:
        """``random`` returns numbers in [0, 1)."""
        self._random = random
        self._failures = 0

    def failed(self) -> float:
        """A connection was not made, or was lost: how long to wait now, in seconds."""
        longest = min(LONGEST, FIRST * FACTOR**self._failures)
        self._failures = min(self._failures + 1, 32)
        return longest * (1 - JITTER * self._random())

    def reset(self) -> None:
        """A connection has proved to be a good one."""
        self._failures = 0
