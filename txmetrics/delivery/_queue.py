"""What the outbox is made of: chunks that wait, and queues of them."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator

from txmetrics.interfaces import Chunk

__all__ = ["Item", "Queue"]

OVERHEAD = 250
"""Bytes that a chunk costs besides its data."""


class Item:
    """A chunk in the outbox."""

    __slots__ = ("_data", "_packed", "points", "put", "spooled", "timestamp", "written")

    def __init__(self, chunk: Chunk, now: float) -> None:
        self._data, self.points, self.timestamp = chunk
        self._packed = False
        self.put = now
        self.written = 0.0
        """When it was last handed to a transport."""
        self.spooled = False
        """Whether the spool still has it, too."""

    @property
    def size(self) -> int:
        return len(self._data) + OVERHEAD

    def empty(self) -> None:
        self._data, self._packed, self.points = b"", False, 0

    def pack(self, level: int) -> None:
        if not self._packed:
            packed = zlib.compress(self._data, level)
            if len(packed) < len(self._data):
                self._data, self._packed = packed, True

    def chunk(self) -> Chunk:
        return Chunk(zlib.decompress(self._data) if self._packed else self._data, self.points, self.timestamp)


class Queue:
    """Items in order, and how many points and bytes are in them, which is asked for more often than they change."""

    __slots__ = ("_items", "bytes", "points")

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self.points = self.bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @property
    def first(self) -> Item:
        return self._items[0]

    @property
    def last(self) -> Item:
        return self._items[-1]

    def append(self, item: Item) -> None:
        self._items.append(self._in(item))

    def appendleft(self, item: Item) -> None:
        self._items.appendleft(self._in(item))

    def pop(self) -> Item:
        return self._out(self._items.pop())

    def popleft(self) -> Item:
        return self._out(self._items.popleft())

    def move(self, count: int, other: Queue) -> None:
        """Let the first ``count`` items be the last ones of ``other``."""
        items = [self._items.popleft() for _ in range(count)]
        points, size = sum([item.points for item in items]), sum([item.size for item in items])
        other._items.extend(items)
        self.points, self.bytes = self.points - points, self.bytes - size
        other.points, other.bytes = other.points + points, other.bytes + size

    def empty(self, item: Item) -> None:
        """Leave nothing in an item that is in here."""
        self._out(item).empty()
        self._in(item)

    def clear(self) -> None:
        self._items.clear()
        self.points = self.bytes = 0

    def _in(self, item: Item) -> Item:
        self.points += item.points
        self.bytes += item.size
        return item

    def _out(self, item: Item) -> Item:
        self.points -= item.points
        self.bytes -= item.size
        return item
