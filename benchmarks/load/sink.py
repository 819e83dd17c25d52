"""Takes the reports, as Graphite would, and counts their lines."""

from __future__ import annotations

import os
import sys
import threading
import time
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import Any

from benchmarks.load import HOST

__all__ = ["Sink"]


class Sink:
    """Listens on ``port`` while its block is being executed."""

    def __init__(self) -> None:
        self.lines = 0
        self._lock = threading.Lock()
        self._server = ThreadingTCPServer((HOST, 0), lambda *request: _Handler(self, *request))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Sink:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, lines: int) -> None:
        with self._lock:
            self.lines += lines

    def wait_for(self, lines: int, seconds: float) -> int:
        """How many lines have arrived: at once when it is so many, or after so many seconds."""
        end = time.monotonic() + seconds
        while self.lines < lines and time.monotonic() < end:
            time.sleep(0.01)
        return self.lines


class _Handler(BaseRequestHandler):
    def __init__(self, sink: Sink, *request: Any) -> None:
        self._sink = sink
        super().__init__(*request)

    def handle(self) -> None:
        if sys.platform == "linux":  # whoever asks the server has the same processor, and goes first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while received := self.request.recv(1 << 16):
            self._sink.take(received.count(b"\n"))
