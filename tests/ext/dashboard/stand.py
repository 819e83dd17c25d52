"""A dashboard without a network: time that passes when it is told to, and real HTTP over a transport in memory."""

from __future__ import annotations

import json
from email import message_from_bytes
from http.client import HTTPResponse
from io import BytesIO
from math import isnan
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import Site

from txmetrics import MetricsRegistry
from txmetrics.clock import Clock
from txmetrics.ext.dashboard import Dashboard
from txmetrics.ext.dashboard._history import History
from txmetrics.testing import FakeReactor

HERE = IPv4Address("TCP", "127.0.0.1", 8002)
ELSEWHERE = IPv4Address("TCP", "192.0.2.7", 8002)
BEGIN = 1_000_000_020
"""A whole minute, in seconds since the epoch."""

NAMES = ("", "index.html", "dashboard.js", "dashboard.css", "state", "events", "metrics", "series", "plotly.min.js")
"""What there is below the dashboard."""


class Answer(NamedTuple):
    """A response, with its headers by their names in lower case."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What is in the body, read strictly: no NaN, no infinity."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body, parse_constant=_refuse)


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


class Connection:
    """One connection to a Site, from ``peer`` to ``host``."""

    def __init__(self, site: Site, peer: Any = HERE, host: Any = HERE) -> None:
        self.channel: Any = site.buildProtocol(peer)
        self.transport = StringTransport(hostAddress=host, peerAddress=peer)
        self.channel.makeConnection(self.transport)

    def send(self, path: str, *headers: str, method: str = "GET", host: str | None = "localhost:8002") -> None:
        lines = [f"{method} {path} HTTP/1.1", *([] if host is None else [f"Host: {host}"]), *headers, "", ""]
        self.channel.dataReceived("\r\n".join(lines).encode("latin-1"))

    @property
    def received(self) -> bytes:
        return self.transport.value()

    def lose(self) -> None:
        """The client is gone."""
        self.channel.connectionLost(Failure(ConnectionLost()))


class Stand:
    """A dashboard at the root of a Site, or below another resource, and the reactor that it runs in."""

    def __init__(self, root: Any = None, **options: Any) -> None:
        self.reactor = FakeReactor()
        self.reactor.advance(BEGIN - self.reactor.seconds())
        self.registry = MetricsRegistry(self.reactor.clock)
        self.dashboard = Dashboard(self.registry, reactor=self.reactor, **options)
        self.site = Site(self.dashboard if root is None else root, reactor=self.reactor)

    def run(self) -> Stand:
        """Let the reactor run, and the dashboard take its first look."""
        self.reactor.run()
        self.turns()
        return self

    def turns(self) -> None:
        """Let what is under way come to its end; about no time passes."""
        for _ in range(5):
            self.reactor.advance(0.001)

    def seconds(self, seconds: int = 1) -> None:
        """Let so many whole seconds begin, and what happens at each of them."""
        for _ in range(seconds):
            now = self.reactor.seconds()
            self.reactor.advance(int(now) + 1 - now)
            self.turns()

    def connect(self, peer: Any = HERE, host: Any = HERE) -> Connection:
        return Connection(self.site, peer, host)

    def ask(self, path: str, *headers: str, peer: Any = HERE, to: Any = HERE, **options: Any) -> Answer:
        """The answer to one request."""
        connection = self.connect(peer, to)
        connection.send(path, *headers, "Connection: close", **options)
        self.turns()
        return answer(connection.received, options.get("method", "GET"))

    def close(self) -> None:
        """End the dashboard; nothing of it may be left in the reactor."""
        self.dashboard.close()
        assert self.reactor.getDelayedCalls() == []


def answer(received: bytes, method: str = "GET") -> Answer:
    """The response in ``received``."""
    response = HTTPResponse(_Socket(received), method=method)  # as much of one as it needs
    response.begin()
    headers = message_from_bytes(received.partition(b"\r\n")[2].partition(b"\r\n\r\n")[0])
    return Answer(response.status, {name.lower(): value for name, value in headers.items()}, response.read())


class _Socket(BytesIO):
    def makefile(self, mode: str) -> _Socket:
        return self


class Hands:
    """A registry's clock whose two hands are set one by one, and a history of that registry."""

    def __init__(self, max_series: int = 5000) -> None:
        self.wall, self.tick = float(BEGIN), 50.0
        self.registry = MetricsRegistry(Clock(wall=lambda: self.wall, tick=lambda: self.tick))
        self.history = History(self.registry, max_series)

    def look(self) -> None:
        """Collect what is due now."""
        for _ in self.history.collect(self.wall):
            pass

    def after(self, seconds: float, wall: float | None = None) -> None:
        """Let ``seconds`` pass, on the wall clock ``wall`` if that is given, and look."""
        self.tick += seconds
        self.wall += seconds if wall is None else wall
        self.look()

    def told(self, series: str, range_: str = "5m") -> dict[int, float | None]:
        """What is kept of ``series``, by the seconds since BEGIN; None for NaN."""
        place = self.history.table.find(series)
        assert place is not None, series
        numbers = {row.time - BEGIN: row.at(place) for row in self.history.tiers[range_].rows}
        return {time: None if isnan(number) else float(f"{number:.6g}") for time, number in numbers.items()}

    def kept(self) -> list[str]:
        """The names of all series that are kept."""
        return [name for each in self.history.table.kept.values() for name, _ in each.series()]
