"""A child that reports, and what its journal says of its life."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter as Tally
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.processes import ROOT, Child, wait_until
from txmetrics.testing import GraphiteReceiver, Point


class Reporting(Child):
    """A ``tests.kills.child`` that reports, in a directory of its own."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.journal = directory / "journal"
        self.journal.unlink(missing_ok=True)
        arguments = (sys.executable, "-m", "tests.kills.child", json.dumps(settings))
        super().__init__(*arguments, cwd=directory, PYTHONPATH=str(ROOT))
        self._life = Life()
        self._read = 0

    def life(self) -> Life:
        """What it has written down so far."""
        if self.journal.exists():
            with self.journal.open("rb") as file:
                file.seek(self._read)
                whole, end, _ = file.read().rpartition(b"\n")  # a kill may cut off the last line
            self._read += len(whole + end)
            for line in whole.splitlines():
                self._life.add(**json.loads(line))
        return self._life

    def lives_to(self, see: Callable[[Life], object]) -> None:
        """Wait until its journal says something."""
        wait_until(lambda: see(self.life()), self.output)

    def end(self) -> Life:
        """End it with SIGTERM, as it should end: in order, and without a word. ``ending`` is how long that took."""
        begin = time.monotonic()
        status = self.stop()
        self.ending = time.monotonic() - begin
        life = self.life()
        if status or not life.settled or self.output():
            life.wrong.append(f"it ended with {status}: {self.output()}")
        return life


class Life:
    """What a child's journal says, and whatever is ``wrong`` with it."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        """All that were handed to the delivery, in their order."""
        self.reports: list[tuple[float, int]] = []
        """When each report began, in monotonic seconds, and the second it is about."""
        self.ledgers: list[dict[str, Any]] = []
        self.recovered = 0
        """Points that the spool held from a life before."""
        self.wrong: list[str] = []
        self.settled = False

    def add(self, at: float, lines: str = "", ledger: Any = None, settled: bool = False, errors: Any = ()) -> None:
        if lines:
            points = parsed(lines.encode())
            self.points += points
            stamp = points[0].timestamp
            if not self.reports or self.reports[-1][1] != stamp:
                self.reports.append((at, stamp))
        if ledger is not None:
            self._check(ledger)
            self.ledgers.append(ledger)
        self.settled |= settled
        self.wrong += errors

    def _check(self, ledger: dict[str, Any]) -> None:
        """Each ledger adds up, and speaks of the very points that were handed over."""
        parts = [ledger[name] for name in ("delivered", "retained", "queued", "spooled")]
        parts += ledger["dropped"].values()
        if not self.ledgers:
            self.recovered = ledger["collected"] - len(self.points)
        if ledger["collected"] != sum(parts) or min(parts) < 0:
            self.wrong.append(f"does not add up: {ledger}")
        if ledger["collected"] != len(self.points) + self.recovered:
            self.wrong.append(f"{len(self.points)} and {self.recovered} points were handed over: {ledger}")

    @property
    def last(self) -> dict[str, Any]:
        """The latest ledger."""
        return self.ledgers[-1]

    @property
    def dropped(self) -> int:
        return sum(self.last["dropped"].values())

    def told(self, name: str) -> Tally[str]:
        """The latest of the reporter's own counts of this name, by reason if it has any."""
        lead = f".txmetrics.{name}"
        return Tally(
            {
                point.name.partition(lead)[2].removesuffix(".count").lstrip("."): int(point.value)
                for point in self.points
                if lead in point.name
            }
        )

    @property
    def sure(self) -> int:
        """So many points, the first of all, were called delivered before any was dropped."""
        return max((ledger["delivered"] for ledger in self.ledgers if not any(ledger["dropped"].values())), default=0)


def parsed(data: bytes) -> list[Point]:
    """The points in lines of Graphite's; every line must be one."""
    receiver = GraphiteReceiver()
    for line in data.splitlines():
        receiver.line_arrived(line)
    assert not receiver.wrong, receiver.wrong
    return receiver.points
