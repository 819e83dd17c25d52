"""The workers, a supervisor over them, and which of them answer."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from load import Load
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater

from tests.carbon import launcher
from tests.processes import SCRIPTS, environment

__all__ = ["INTERVAL", "WORKERS", "Fleet"]

WORKERS = 4
INTERVAL = 2.0
"""Seconds between two reports of a worker."""

APPLICATION = Path(__file__).parent / "app.py"


class Fleet:
    """Workers that share a port of this machine, with ``variables`` in their environment.

    ``directory`` is where they run, and where their log is.
    """

    def __init__(self, reactor: Any, port: int, variables: dict[str, str], directory: Path) -> None:
        self._reactor = reactor
        self._log = directory / "workers.log"
        # What the plugin measures by itself can be scraped, of each worker at a port of its own; here nobody does.
        metrics = ["metrics", f"--workers={WORKERS}", "--metrics-prometheus=tcp:0", f"--python={APPLICATION}"]
        with self._log.open("wb") as log:
            self._supervisor = subprocess.Popen(
                [*launcher(SCRIPTS / "twistd"), "-n", "--pidfile=", *metrics],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
                env=environment(FLEET_PORT=str(port), FLEET_INTERVAL=str(INTERVAL), **variables),
            )

    async def kill(self, pid: int, seconds: float = 10.0) -> None:
        """SIGKILL to a worker; when this returns nothing is connected to it any more."""
        os.kill(pid, signal.SIGKILL)
        end = self._reactor.seconds() + seconds
        while _exists(pid):
            if self._reactor.seconds() > end:
                raise TimeoutError(f"process {pid} is still there {seconds:g} seconds after SIGKILL")
            await deferLater(self._reactor, 0.01)

    async def all_answer(self, load: Load, seconds: float = 30.0) -> dict[str, int]:
        """Ask until each worker has answered; their pids."""
        pids: dict[str, int] = {}
        end = self._reactor.seconds() + seconds
        while len(pids) < WORKERS:
            if self._reactor.seconds() > end:
                raise TimeoutError(f"of {WORKERS} workers only {sorted(pids)} answer after {seconds:g} seconds")
            try:
                answer = await load.ask()
            except ConnectError:  # there is none yet
                await deferLater(self._reactor, 0.05)
            else:
                pids[answer.worker] = answer.pid
        return pids

    async def stop(self, seconds: float = 30.0) -> None:
        """SIGTERM to all, and wait until they have reported once more."""
        self._supervisor.send_signal(signal.SIGTERM)
        end = self._reactor.seconds() + seconds
        while self._supervisor.poll() is None:
            if self._reactor.seconds() > end:
                raise TimeoutError(f"the workers have not stopped after {seconds:g} seconds")
            await deferLater(self._reactor, 0.05)

    def close(self) -> None:
        """End the workers, if they are still there."""
        self._supervisor.terminate()
        try:
            self._supervisor.wait(15)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()  # which the workers notice
            self._supervisor.wait(10)

    def log(self) -> str:
        """All that the workers have said so far."""
        return self._log.read_text(errors="replace")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
