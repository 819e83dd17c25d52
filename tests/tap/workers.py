"""A service of several workers, and who of them answers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.processes import SCRIPTS, SECONDS, Child, fetch
from tests.waiting import wait_until

TWISTD = [SCRIPTS / "twistd", "-n", "--pidfile=", "metrics"]
TWIST = [SCRIPTS / "twist", "--log-format=text", "metrics"]

APPLICATION = """
import os
from twisted.web.resource import Resource

class Who(Resource):
    isLeaf = True
    def render_GET(self, request):
        return b"%d %s" % (os.getpid(), os.environ["TXMETRICS_WORKER"].encode())

resource = Who
"""


def free_ports(number: int = 1) -> int:
    """The first of so many free ports in a row, none of which the system gives to those who ask for any."""
    for first in range(20_000 + os.getpid() % 10_000, 32_000, number):
        with suppress(OSError):
            for each in range(number):
                socket.create_server(("127.0.0.1", first + each)).close()
            return first
    raise AssertionError(f"there are no {number} free ports in a row")


class Supervised(Child):
    """``twistd metrics --workers=...``; at the end of its block no worker of it is left, either."""

    def __init__(self, *command: Any, cwd: Path, **variables: str) -> None:
        super().__init__(*command, cwd=cwd, **variables)
        self._seen: set[int] = set()
        self.asked = 0
        """So many answers there were."""

    def __exit__(self, *ignored: object) -> None:
        self._seen |= set(self.workers())
        super().__exit__()
        try:
            wait_until(lambda: not self._left(), lambda: f"{self._left()} are left:\n{self.output()}")
        finally:
            for pid in self._left():
                kill(pid)

    def workers(self) -> list[int]:
        """The processes that it has just now."""
        with suppress(FileNotFoundError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def ask(self, port: int) -> tuple[int, str]:
        """The pid and the name of the worker that answers, over a connection of its own."""
        pid, name = fetch(f"http://127.0.0.1:{port}/", SECONDS).decode().split()
        self._seen.add(int(pid))
        self.asked += 1
        return int(pid), name

    def all_of(self, port: int, number: int) -> dict[str, int]:
        """The pids of so many workers by name; each of them has answered."""
        found: dict[str, int] = {}

        def complete() -> bool:
            pid, name = self.ask(port)
            found[name] = pid
            return len(found) == number

        wait_until(complete, lambda: f"{number} workers, not {found}:\n{self.output()}")
        return found

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it, and nobody else, by ``kill -9``."""
        self._process.kill()
        self._process.wait(SECONDS)

    def check_gone(self, port: int) -> None:
        """None of its workers is left, and the port is free."""
        wait_until(lambda: not self._left(), lambda: f"{self._left()} are left:\n{self.output()}")
        socket.create_server(("127.0.0.1", port)).close()

    def _left(self) -> Iterable[int]:
        return [pid for pid in self._seen if not _is_gone(pid)]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _is_gone(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"
