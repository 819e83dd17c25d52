"""How long to wait before the next attempt to connect."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff"]

FIRST = 0.5
FACTOR = 1.7
LONGEST = 60.0
HEALTHY = 10.0
"""A connection that lived so many seconds was a good one. A mere connect proves nothing: a balancer or a TLS
terminator without a backend accepts and closes at once."""


class Backoff:
    """Grows with every failure in a row, with jitter so that a fleet does not come back as one."""

    def __init__(self, random: Callable[[], float]) -> None:
        """``random`` returns numbers in [0, 1)."""
        self._random = random
        self.failures = 0

    def failed(self, lived: float = 0.0) -> float:
        """A connection was not made, or was lost after ``lived`` seconds: how long to wait now, in seconds."""
        if lived >= HEALTHY:
            self.failures = 0
        longest = min(LONGEST, FIRST * FACTOR**self.failures)
        self.failures = min(self.failures + 1, 32)
        return longest * (0.5 + 0.5 * self._random())
