"""Peers of all kinds, in threads: most of them are a nuisance."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

from tests.carbon import HOST


class Peer:
    """Listens on ``port`` of `HOST`. The kernel takes connections and what comes on them; nobody reads that."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._over.set()
        self._listener.close()


class Serving(Peer):
    """Closes every connection at once; a subclass may ``serve`` it before."""

    def __enter__(self) -> Self:
        self._listener.settimeout(0.1)
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return super().__enter__()

    def __exit__(self, *ignored: object) -> None:
        self._over.set()
        self._thread.join()
        super().__exit__()

    def _accept(self) -> None:
        while not self._over.is_set():
            with suppress(OSError):
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(0.1)
                    self.serve(connection)

    def serve(self, connection: socket.socket) -> None:
        """Until it should be closed."""

    def pieces(self, connection: socket.socket, size: int) -> Iterator[bytes]:
        """What comes, until its end or ours."""
        while not self._over.is_set():
            with suppress(TimeoutError):
                data = connection.recv(size)
                if not data:
                    return
                yield data


class Slow(Serving):
    """Reads 10 kB a second."""

    def serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in self.pieces(connection, 1000):
            self._over.wait(0.1)


class Collecting(Serving):
    """Keeps all that it is sent, and closes at the end of it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def serve(self, connection: socket.socket) -> None:
        self.data += b"".join(self.pieces(connection, 2**16))


class Deaf(Serving):
    """Reads all that it is sent, and never answers the end of it."""

    def serve(self, connection: socket.socket) -> None:
        for _ in self.pieces(connection, 2**16):
            pass
        self._over.wait()
