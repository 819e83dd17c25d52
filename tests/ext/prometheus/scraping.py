"""A ScrapeResource on a fake reactor, and scrapers whose connections are in memory."""

from __future__ import annotations

import gzip
from http.client import HTTPResponse
from io import BytesIO
from typing import Any, NamedTuple

from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import Site

from txmetrics import MetricsRegistry
from txmetrics.ext.prometheus import ScrapeResource
from txmetrics.testing import FakeReactor


class Answer(NamedTuple):
    """A response; ``body`` as it was before it was compressed."""

    status: int
    headers: dict[str, str]
    body: bytes


class Scraper:
    """One connection that asks once."""

    def __init__(self, resource: Any, reactor: Any, *headers: str, method: str = "GET", path: str = "/metrics") -> None:
        self.transport = Transport()
        self._method = method
        self._protocol = Site(resource, reactor=reactor, timeout=None).buildProtocol(None)
        self._protocol.makeConnection(self.transport)
        lines = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *headers, "", ""]
        self._protocol.dataReceived("\r\n".join(lines).encode("latin-1"))

    @property
    def answer(self) -> Answer | None:
        """What has been received, None as long as that is nothing."""
        received = self.transport.value()
        return _parsed(received, self._method) if received else None

    def leave(self) -> None:
        """The client is gone."""
        self._protocol.connectionLost(Failure(ConnectionLost()))


class Transport(StringTransport):
    """Has room for so many bytes, and then wants no more until there is room again."""

    room = float("inf")
    writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)
        self.room -= len(data)
        if self.room <= 0 and self.producer is not None:
            self.producer.pauseProducing()

    def make_room(self, size: int) -> None:
        self.room = size
        self.producer.resumeProducing()


def _parsed(received: bytes, method: str) -> Answer:
    response = HTTPResponse(_Socket(received), method=method)
    response.begin()
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, gzip.decompress(body) if headers.get("content-encoding") else body)


class _Socket(BytesIO):
    """As much of a socket as an HTTPResponse needs."""

    def makefile(self, mode: str) -> _Socket:
        return self


class Rig:
    """A registry, and the resource that tells of it."""

    def __init__(self, **options: Any) -> None:
        self.reactor = FakeReactor()
        self.registry = MetricsRegistry(self.reactor.clock)
        self.resource = ScrapeResource(self.registry, reactor=self.reactor, **options)

    def ask(self, *headers: str, **how: str) -> Scraper:
        """A scraper that has asked, and has no answer yet."""
        return Scraper(self.resource, self.reactor, *headers, **how)

    def scrape(self, *headers: str, **how: str) -> Answer:
        """What a scraper gets that comes a minute after the last one."""
        self.reactor.advance(60)
        scraper = self.ask(*headers, **how)
        self.work()
        answer = scraper.answer
        assert answer is not None
        return answer

    def work(self) -> None:
        """Let all renderings and compressions come to their ends."""
        for _ in range(10):
            self.reactor.advance(0.001)
