"""A program in a terminal: what is on its screen, what is typed there, and a dashboard for it to ask."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from tests.processes import SECONDS, environment
from tests.waiting import wait_until

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


LEAD = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Makes the terminal that of the program, so that Ctrl-C and Ctrl-Z reach it."""


class Terminal:
    """A terminal with a program in it, which is ended with the ``with`` block at the latest."""

    def __init__(self, *arguments: str, columns: int = 100, lines: int = 30) -> None:
        self._master, slave = pty.openpty()
        os.set_blocking(self._master, False)
        self.resize(columns, lines)
        self.ways_before = self.ways()
        self.output = ""
        self._bytes = b""
        self.process = subprocess.Popen(
            [sys.executable, "-ISc", LEAD, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(TERM="xterm"),
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        os.close(self._master)

    def ways(self) -> list[Any]:
        """How the terminal treats what is typed: with echo, line by line, ..."""
        return termios.tcgetattr(self._master)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def screen(self) -> list[str]:
        """The lines of the latest complete picture, without colours; none before there is one."""
        self._read()
        pictures = re.findall(r"\x1b\[H((?:(?!\x1b\[H).)*?)\x1b\[K\x1b\[J", self.output, re.DOTALL)
        return re.split(r"\r+\n", COLOURS.sub("", pictures[-1]).replace("\x1b[K", "")) if pictures else []

    def shows(self, pattern: str) -> list[str]:
        """Wait until the screen matches; returns its lines."""

        def found() -> list[str] | None:
            lines = self.screen()
            return lines if re.search(pattern, "\n".join(lines)) else None

        lines = wait_until(found, lambda: f"{pattern!r} on the screen:\n" + "\n".join(self.screen()))
        assert lines is not None
        return lines

    def ends(self) -> int:
        """Wait for the program's end; returns its exit status."""

        def ended() -> bool:
            self._read()  # or it would wait for us
            return self.process.poll() is not None

        wait_until(ended, lambda: "it goes on:\n" + "\n".join(self.screen()))
        self._read()
        return int(self.process.returncode)

    def _read(self) -> None:
        with suppress(BlockingIOError, OSError):  # EIO: the program has ended
            while more := os.read(self._master, 65536):
                self._bytes += more
        self.output = self._bytes.decode("utf-8", "replace")


class Answers:
    """What a dashboard answers from now on, and where: ``url``."""

    def __init__(self, state: Any = None) -> None:
        self.url = ""
        self.state = state
        self.status = 200
        self.raw: bytes | None = None
        self.asked: list[str] = []
        self.gate = Event()
        """Nothing is answered while it is closed."""
        self.gate.set()

    def body(self) -> bytes:
        self.gate.wait(SECONDS)
        return json.dumps(self.state).encode() if self.raw is None else self.raw


@contextmanager
def answering(answers: Answers, port: int = 0) -> Iterator[Answers]:
    """A server, in a thread, that gives ``answers``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.asked.append(self.path)
            self.send_response(answers.status)
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(answers.body())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        answers.url = f"http://127.0.0.1:{server.server_address[1]}/"
        try:
            yield answers
        finally:
            answers.gate.set()
            server.shutdown()
            thread.join(SECONDS)


def a_state(**changes: Any) -> dict[str, Any]:
    """A state as dashboards tell it."""
    big = [
        {"key": "requests", "label": "requests a second", "value": 12.0, "unit": "1/s", "health": "none"},
        {"key": "errors", "label": "errors", "value": 0.012, "unit": "share", "health": "warn"},
        {"key": "p99", "label": "99th percentile", "value": 0.0123, "unit": "seconds", "health": "none"},
        {"key": "total", "label": "requests so far", "value": 123456, "unit": "", "health": "none"},
    ]
    state: dict[str, Any] = {
        "time": 1_764_380_000.0,
        "started": 1_764_370_000.0,
        "host": "web1",
        "pid": 4711,
        "big": big,
        "routes": [a_route("GET-users", 2, 900, 0.2), a_route("GET-cart", 3, 20, 0.1), a_route("POST-a", 1, 50, None)],
        "slowest": None,
        "blocked": None,
        "reporters": [],
    }
    return {**state, **changes}


def a_route(name: str, rate: float, count: int, p99: float | None) -> dict[str, Any]:
    times = {"p50": 0.001, "p95": 0.05, "p99": p99, "max": 2.5}
    return {"route": name, "rate": rate, "count": count, "errors": None, "health": "good", **times}


HOSTILE = "x\x1b]0;owned\x07\x1b[2J\u202egnp\n\x9b31m"
SHOWN = "x\\x1b]0;owned\\x07\\x1b[2J\\u202egnp\\n\\x9b31m"
