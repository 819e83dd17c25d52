"""A clock of pyformance's kind that goes when it is told to."""

from __future__ import annotations

__all__ = ["Clock"]


class Clock:
    """``time()`` is what ``now`` says."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now
