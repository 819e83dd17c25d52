"""Deliveries through sockets that somebody else makes, for where no reactor runs that they could block."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from txmetrics.compat.pyformance.reporters._local import Nowhere
from txmetrics.interfaces import Chunk

__all__ = ["DatagramsAtOnce", "StreamAtOnce"]


class StreamAtOnce(Nowhere):
    """One connection for one report; raises whatever its socket does."""

    def __init__(self, socket_factory: Callable[..., Any], server: str, port: int) -> None:
        self._address = (server, port)
        self._make = socket_factory
        self._socket: Any = None

    def deliver(self, chunk: Chunk) -> None:
        if self._socket is None:
            self._socket = self._make()
            self._socket.connect(self._address)
        self._socket.sendall(chunk.data)

    def stop(self, seconds: float) -> Deferred[None]:
        if self._socket is not None:
            self._socket.close()
        return succeed(None)


class DatagramsAtOnce(StreamAtOnce):
    """A datagram for each chunk."""

    def deliver(self, chunk: Chunk) -> None:
        if self._socket is None:
            self._socket = self._make(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.sendto(chunk.data, self._address)
