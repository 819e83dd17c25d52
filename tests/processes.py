"""Programs as their users run them, waited for with a limit and always ended; and what they left in a carbon."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.carbon import Carbon
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent
SECONDS = 20.0
"""How long a child may take for anything, on a busy machine."""


def environment(**variables: str) -> dict[str, str]:
    """The tests' environment without what would change how a child behaves, and with ``variables``."""
    strange = ("PYTHONPATH", "TXMETRICS_", "COLUMNS", "LINES")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    return {**inherited, "PYTHONUNBUFFERED": "1", **variables}


def run(*command: Any, cwd: Path, seconds: float = SECONDS, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with its standard output and error in one text."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )


class Child:
    """A program that runs for as long as a ``with`` block, at the longest."""

    def __init__(self, *command: Any, cwd: Path, **variables: str) -> None:
        """``cwd`` is its directory, where its output is kept as well; ``variables`` go to its environment."""
        self._log = cwd / "output.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._process.kill()
        self._process.wait(SECONDS)

    def output(self) -> str:
        """All that it has printed so far."""
        return self._log.read_text(errors="replace")

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until its output matches ``pattern``."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.output())
            assert match or self._process.poll() is None, f"it ended without {pattern!r}:\n{self.output()}"
            return match

        match = wait_until(found, lambda: f"{pattern!r} in\n{self.output()}")
        assert match is not None
        return match

    def port(self, factory: str = "Site") -> int:
        """The port that it listens on for such a factory, when it does."""
        return int(self.says(rf"{factory}.* starting on (\d+)")[1])

    def stop(self, seconds: float = SECONDS) -> int:
        """End it with SIGTERM; returns its exit status (-15: by that signal, as twistd has it)."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)


def get(port: int, path: str = "/", times: int = 1) -> list[tuple[int, bytes]]:
    """Send so many requests over one connection, one after the other: the statuses and bodies."""
    answers = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        for _ in range(times):
            connection.request("GET", path)
            answer = connection.getresponse()
            answers.append((answer.status, answer.read()))
    finally:
        connection.close()
    return answers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(url: str, seconds: float = 15) -> bytes:
    """The answer of a server that may still be starting."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urlopen(url, timeout=5) as answer:
                body: bytes = answer.read()
                return body
        except URLError:
            assert time.monotonic() < deadline, url
            time.sleep(0.05)


def check_stored(carbon: Carbon, name: str, value: float) -> None:
    """The last value of ``name`` on carbon's disk becomes exactly this one, and no other is still to be written."""

    def last() -> float | None:
        points = carbon.stored(name)
        return points[max(points)] if points else None

    wait_until(lambda: last() == value and not carbon.cached(name), lambda: f"{name} is {last()}, not {value}")


def check_reaches(carbon: Carbon, name: str, value: float) -> None:
    """Some value of ``name`` on carbon's disk becomes at least this one."""
    carbon.wait_for(lambda: max(carbon.stored(name).values(), default=-1.0) >= value)
