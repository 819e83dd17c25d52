"""Family: series of one shape, under names that come from outside, in bounded number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from txmetrics import names

__all__ = ["OVERFLOW", "Family"]

T = TypeVar("T")

OVERFLOW = "_other"
"""The name of the series that all keys share for which there was no room. A key of that name shares it with them."""


class Family(Generic[T]):
    """``family[key]`` is the series of ``key``; at most ``limit`` are made, and one more for all other keys.

    So totals over a family stay right, whatever comes, in memory that is bounded. ``make(part)`` makes a series, as
    ``scope.counter`` does; ``part`` is ``key`` as one part of a Graphite path (``names.clean``), so keys that differ
    only in what a path cannot carry share a series. Raises what ``make`` raises, and then nothing is remembered.
    """

    __slots__ = ("_by_key", "_by_part", "_limit", "_make")

    def __init__(self, make: Callable[[str], T], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._by_key: dict[str, T] = {}  # what was asked for lately, at most as many as there are series
        self._by_part: dict[str, T] = {}

    def __getitem__(self, key: str) -> T:
        series = self._by_key.get(key)
        return self._find(key) if series is None else series

    def __iter__(self) -> Iterator[str]:
        """The parts that have a series, in the order of their making."""
        return iter(tuple(self._by_part))

    def __len__(self) -> int:
        return len(self._by_part)

    def _find(self, key: str) -> T:
        part = names.clean(key)
        if part not in self._by_part and self._full():
            part = OVERFLOW
        series = self._by_part.get(part)
        if series is None:
            series = self._by_part[part] = self._make(part)
        if part != OVERFLOW and len(self._by_key) < self._limit:
            self._by_key[key] = series
        return series

    def _full(self) -> bool:
        return len(self._by_part) - (OVERFLOW in self._by_part) >= self._limit
