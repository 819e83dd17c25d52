"""Counter: how many."""

from __future__ import annotations

from txmetrics.snapshot import CounterReading, make

__all__ = ["Counter"]


class Counter:
    """A number that goes up by ``inc`` and down by ``dec``. Starts at 0; ``count`` is its value."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count: int | float = 0

    def inc(self, n: int | float = 1) -> None:
        self.count += n

    def dec(self, n: int | float = 1) -> None:
        self.count -= n

    def read(self, name: str) -> CounterReading:
        reading: CounterReading = make(CounterReading, (name, self.count))
        return reading
