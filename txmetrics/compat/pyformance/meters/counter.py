"""Counter: how many."""

from __future__ import annotations

from threading import RLock

__all__ = ["Counter"]


class Counter:
    """A number that goes up and down, from any thread; ``counter`` is its value."""

    def __init__(self) -> None:
        self.lock = RLock()  # a finalizer that counts may run while it is held
        self.counter: float = 0

    def inc(self, val: float = 1) -> None:
        with self.lock:
            self.counter += val

    def dec(self, val: float = 1) -> None:
        self.inc(-val)

    def get_count(self) -> float:
        return self.counter

    def clear(self) -> None:
        """Begin at 0 again."""
        with self.lock:
            self.counter = 0
