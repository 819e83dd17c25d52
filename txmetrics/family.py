"""Family: series of one shape, under names that come from outside, in bounded number."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

from txmetrics import names
from txmetrics.names import OVERFLOW

__all__ = ["OVERFLOW", "Family"]

T = TypeVar("T")


class Family(Generic[T]):
    """``family[key]`` is the series of ``key``; at most ``limit`` are made, and one more for all other keys.

    That one is called OVERFLOW, and a key of that name shares it with them. So totals over a family stay right,
    whatever comes, in memory that is bounded. A key is a string, or anything of which ``clean`` makes one part of a
    Graphite path; keys of which it makes the same share a series. ``make(part)`` makes a series, as ``scope.counter``
    does. Raises what they raise, and then nothing is remembered.
    """

    __slots__ = ("_by_key", "_by_part", "_clean", "_limit", "_make")

    def __init__(self, make: Callable[[str], T], limit: int, clean: Callable[[Any], str] = names.clean) -> None:
        self._make = make
        self._limit = limit
        self._clean = clean
        self._by_key: dict[Hashable, T] = {}  # what was asked for first, so that it need not be cleaned again
        self._by_part: dict[str, T] = {}

    def __getitem__(self, key: Hashable) -> T:
        series = self._by_key.get(key)
        return self._find(key) if series is None else series

    def __iter__(self) -> Iterator[str]:
        """The parts that have a series, in the order of their making."""
        return iter(tuple(self._by_part))

    def __len__(self) -> int:
        return len(self._by_part)

    def _find(self, key: Hashable) -> T:
        part = self._clean(key)
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
