"""The world around the server of the soak: who asks it, and where its reports arrive."""

from __future__ import annotations

import re
import time
from collections import Counter as Tally
from collections import deque
from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import LoopingCall, deferLater

from benchmarks.soaking.server import HOST

__all__ = ["Load", "Reports", "Sink"]

CONNECTIONS = 8
STAY = 100
"""So many requests over a connection, then it is closed, and there is another one."""

_STAMP = re.compile(rb" (\d+)$", re.MULTILINE)
_FIRST = re.compile(rb"^txmetrics\.reports\.count \S+ (\d+)$", re.MULTILINE)
_SKIPPED = re.compile(rb"^txmetrics\.reports_skipped\.count (\d+) ", re.MULTILINE)


class Reports:
    """All that has arrived, by the second that it is stamped with."""

    def __init__(self) -> None:
        self.arrived: dict[int, float] = {}
        """The wall clock, when the first line of each was there."""
        self.points: Tally[int] = Tally()
        self.times: Tally[int] = Tally()
        """How often each report came."""
        self.skipped = 0
        """As the reporter says."""

    def take(self, lines: bytes, now: float) -> None:
        """Take in whole lines."""
        for stamp, points in Tally(map(int, _STAMP.findall(lines))).items():
            self.arrived.setdefault(stamp, now)
            self.points[stamp] += points
        self.times.update(map(int, _FIRST.findall(lines)))
        for skipped in _SKIPPED.findall(lines):
            self.skipped = int(skipped)


class Sink(Protocol):
    """A connection of the reporter's."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        lines, _, self._rest = (self._rest + data).rpartition(b"\n")
        self._reports.take(lines, time.time())


class Asker(Protocol):
    """A keep-alive connection, which has one request under way at a time."""

    REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    def __init__(self, load: Load) -> None:
        self._load = load
        self._answered = 0

    def connectionMade(self) -> None:
        self._load.idle.append(self)

    def ask(self) -> None:
        assert self.transport is not None
        self.transport.write(self.REQUEST)

    def dataReceived(self, data: bytes) -> None:
        if not data.endswith(b"hello"):
            return
        self._answered += 1
        self._load.answered += 1
        if self._answered < STAY:
            self._load.idle.append(self)
        else:
            assert self.transport is not None
            self.transport.loseConnection()


class Load(ClientFactory):
    """Asks the server, ``rate`` times a second whatever its answers do."""

    noisy = False

    def __init__(self, reactor: Any, port: int, rate: float) -> None:
        self._reactor = reactor
        self._rate = rate
        self._start = time.monotonic()
        self._over = False
        self.idle: deque[Asker] = deque()
        self.asked = self.answered = 0
        for _ in range(CONNECTIONS):
            reactor.connectTCP(HOST, port, self)
        self._loop = LoopingCall(self._ask)
        self._loop.start(0.004)

    def buildProtocol(self, addr: Any) -> Asker:
        return Asker(self)

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        if not self._over:
            connector.connect()

    def _ask(self) -> None:
        while self.idle and self._start + self.asked / self._rate <= time.monotonic():
            self.idle.popleft().ask()
            self.asked += 1

    async def stop(self, seconds: float) -> None:
        """Ask no more, and wait for the answers, so many seconds at the most."""
        self._over = True
        self._loop.stop()
        end = time.monotonic() + seconds
        while self.answered < self.asked and time.monotonic() < end:
            await deferLater(self._reactor, 0.01, lambda: None)
