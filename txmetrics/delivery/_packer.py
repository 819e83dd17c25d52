"""The packer: chunks of lines as datagrams of whole lines."""

from __future__ import annotations

from txmetrics.delivery._outbox import Outbox

__all__ = ["LARGEST", "SIZE", "SMALLEST", "Packer"]

SIZE = 1400
"""Bytes that pass every usual link in one piece."""

SMALLEST = 512
LARGEST = 8192
"""The longest datagram that carbon and HostedGraphite read."""


class Packer:
    """The chunks of ``outbox`` as datagrams of whole lines, of at most ``size`` bytes where lines are not longer."""

    def __init__(self, outbox: Outbox, size: int) -> None:
        self._outbox = outbox
        self._size = size
        self._longest = LARGEST
        self._data = b""  # of the chunk in flight
        self._start = self._end = 0

    def datagram(self) -> bytes:
        """The next one, and the same again until it is ``sent``; nothing if there is none."""
        while not self._data:
            chunk = self._outbox.take()
            if chunk is None:
                return b""
            self._begin(chunk.data)
        return self._data[self._start : self._end]

    def sent(self) -> None:
        self._start = self._end
        if self._start == len(self._data):
            self._data, self._start = b"", 0
            self._outbox.acknowledge(1)
        else:
            self._find_end()

    def make_smaller(self) -> None:
        """The kernel will not send this one: it gets fewer lines. One of a single line is dropped with its chunk.

        Lines as long as that are later dropped alone.
        """
        lines = self._data.count(b"\n", self._start, self._end)
        length = self._end - self._start
        if lines > 1:
            self._size = length // 2
            self._find_end()
        else:
            self._longest = length - 1
            self._outbox.refuse()
            self._data, self._start = b"", 0

    def _begin(self, data: bytes) -> None:
        if max(map(len, data.split(b"\n"))) >= self._longest:  # without the newline
            if not self._outbox.split():
                self._outbox.refuse()
        elif not data:
            self._outbox.acknowledge(1)
        else:
            self._data = data
            self._find_end()

    def _find_end(self) -> None:
        end = self._data.rfind(b"\n", self._start, self._start + self._size)
        if end < 0:
            end = self._data.find(b"\n", self._start)
        self._end = end + 1 or len(self._data)
