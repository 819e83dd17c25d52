"""Real HTTP on loopback: a stage that serves one Site, a client that keeps every byte, and what the bytes say."""

from __future__ import annotations

import re
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.server import Site

from tests.strict import the_reactor
from txmetrics import MetricsRegistry

HOST = "127.0.0.1"


class News:
    """Something to wait for, again and again."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def news(self) -> Deferred[None]:
        """Fires when something has happened."""
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def tell(self) -> None:
        """Something has happened."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)


class Client(Protocol, News):
    """A connection that sends what it is told to and keeps what it receives."""

    def __init__(self) -> None:
        News.__init__(self)
        self.received = b""
        self._lost = False

    def send(self, *requests: bytes) -> None:
        """Send all of ``requests`` in one piece."""
        self.transport.write(b"".join(requests))

    def hang_up(self) -> None:
        """Be gone at once."""
        self.transport.abortConnection()

    async def until(self, part: bytes) -> None:
        """Wait until ``part`` has been received."""
        while part not in self.received:
            assert not self._lost, f"{part!r} never came, but {self.received!r}"
            await self.news()

    async def closed(self) -> None:
        """Wait until the server has closed the connection."""
        while not self._lost:
            await self.news()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self.tell()


class Stage:
    """The Sites of one test, and everything else that has to be taken down in the end.

    ``path`` is an empty directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: list[Callable[[], Any]] = []

    def serve(self, root: Any) -> int:
        """Serve ``root``, or a Site that somebody has made of it; returns the port."""
        return self.listen(root if isinstance(root, Site) else Site(root))

    def listen(self, factory: Any) -> int:
        """Listen with ``factory`` on a free port; returns it."""
        port = the_reactor().listenTCP(0, factory, interface=HOST)
        self.at_end(port.stopListening)
        return int(port.getHost().port)

    async def connect(self, port: int) -> Client:
        return await connectProtocol(TCP4ClientEndpoint(the_reactor(), HOST, port), Client())

    def at_end(self, function: Callable[[], Any]) -> None:
        """Call ``function`` after the test, last come first served."""
        self._ends.append(function)

    async def clear(self) -> None:
        while self._ends:
            await maybeDeferred(self._ends.pop())


def request(
    path: str = "/",
    *headers: str,
    method: str = "GET",
    body: bytes = b"",
    version: str = "1.1",
    host: str = "example.org",
    close: bool = True,
) -> bytes:
    """The bytes of one request, the last one of its connection unless ``close`` is False."""
    lines = [f"{method} {path} HTTP/{version}", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if close and version == "1.1":
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


def handshake(path: str = "/", upgrade: str = "websocket") -> bytes:
    """The request that asks for a websocket."""
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    headers = (f"Upgrade: {upgrade}", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")
    return request(path, *headers, close=False)


HELLO = b"\x81\x85\0\0\0\0hello"
"""A websocket frame with the text hello."""

GOODBYE = b"\x88\x82\0\0\0\0\x03\xe8"
"""The one that closes a websocket."""


class Answer(NamedTuple):
    """A response as a client understands it; a chunked body is put together."""

    code: int
    body: bytes


def answers(received: bytes, method: str = "GET") -> list[Answer]:
    """Every response in ``received``, each to a request of ``method``."""
    stream = _Stream(received)
    found = []
    while stream.tell() < len(received):
        response = HTTPResponse(stream, method=method)  # as much socket as it needs
        response.begin()
        found.append(Answer(response.status, response.read()))
    return found


class _Stream(BytesIO):
    """A socket from which several responses are read."""

    def makefile(self, mode: str) -> _Stream:
        return self

    def close(self) -> None:
        """Another response may follow."""


def normal(received: bytes) -> bytes:
    """``received`` without what differs from one run to the next: the time, addresses, random boundaries."""
    boundary = re.search(rb'boundary="(\w+)"', received)
    if boundary is not None:
        received = received.replace(boundary[1], b"BOUNDARY")
    received = re.sub(rb"\r\nDate: [^\r]*", rb"\r\nDate: now", received)
    return re.sub(rb"0x[0-9a-f]+", b"0xADDRESS", received)


COUNTED = (
    *("requests", "long_lived", "blocking", "active", "active_long_lived", "aborted", "upgrades"),
    *("bytes_received", "bytes_sent", "measuring_errors"),
)


def counted(registry: MetricsRegistry, name: str = "http") -> dict[str, object]:
    """What a TimedResource has counted so far; what stands at zero is left out."""
    values = {metric: registry.read(f"{name}.{metric}") for metric in COUNTED}
    values |= {f"{family}xx": registry.read(f"{name}.status.{family}xx") for family in (2, 3, 4, 5)}
    numbers = {metric: fields.get("count", fields.get("value")) for metric, fields in values.items()}
    return {metric: number for metric, number in numbers.items() if number != 0}


def routes(registry: MetricsRegistry, name: str = "http") -> dict[str, int]:
    """How many requests each route has had."""
    found: Tally[str] = Tally()
    for route, metric, reading in _of_routes(registry, name):
        if metric in ("requests", "long_lived"):
            found[route] += reading.count
    return dict(found)


def check_sums(registry: MetricsRegistry, name: str = "http") -> None:
    """What the routes have counted adds up to what the Site has, in every respect."""
    sums: Tally[str] = Tally()
    for _, metric, reading in _of_routes(registry, name):
        sums[metric] += reading.sum if metric.endswith("_bytes") else reading.count
    totals = {
        metric: registry.read(f"{name}.{metric}")["count"]
        for metric in ("requests", "long_lived", "aborted", *(f"status.{family}xx" for family in (2, 3, 4, 5)))
    }
    totals["request_bytes"] = registry.counter(f"{name}.bytes_received").count
    totals["response_bytes"] = registry.counter(f"{name}.bytes_sent").count
    assert {metric: sums[metric] for metric in totals} == totals


def _of_routes(registry: MetricsRegistry, name: str) -> Iterator[tuple[str, str, Any]]:
    for reading in registry.snapshot():
        scope, _, rest = reading.name.partition(".routes.")
        if scope == name and rest:
            route, _, metric = rest.partition(".")
            yield route, metric, reading
