"""HTTP without a network or a clock of its own: bytes in, bytes out, and time that passes when it is told to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET, Site

from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument.web import measure_site
from txmetrics.testing import FakeReactor


class Wire:
    """One connection to a Site, whose answers are in ``received``."""

    def __init__(self, reactor: FakeReactor, root: Any, **site: Any) -> None:
        self.site = Site(root, reactor=reactor, **site)
        self.connect()

    def connect(self) -> None:
        """Begin a new connection."""
        self.channel = self.site.buildProtocol(None)
        self._transport = StringTransport()
        self.channel.makeConnection(self._transport)

    def send(self, *requests: bytes) -> None:
        """Send all of ``requests`` in one piece."""
        self.channel.dataReceived(b"".join(requests))

    def lose(self) -> None:
        """The client is gone."""
        self.channel.connectionLost(Failure(ConnectionLost()))

    @property
    def received(self) -> bytes:
        return self._transport.value()

    @property
    def undated(self) -> bytes:
        """What was received, to be compared: its dates are of the machine's clock, which may go on in between."""
        return re.sub(rb"Date: [^\r]*\r\n", b"", self.received)


class Times:
    """A measured Site, and the pages to put on it, which take so many seconds."""

    def __init__(self, measure: bool = False) -> None:
        """``measure``: by ``measure_site``, and not by a TimedResource alone."""
        self.reactor = FakeReactor()
        self.registry = MetricsRegistry(self.reactor.clock)
        self.measure = measure

    def connect(self, root: Any, **options: Any) -> Wire:
        if not self.measure:
            return Wire(self.reactor, TimedResource(root, self.registry, **options))
        wire = Wire(self.reactor, root)
        measure_site(wire.site, self.registry, **options)
        wire.connect()
        return wire

    def page(self, held: float = 0, later: float = 0) -> Callable[[Any], Any]:
        """An answer for which the reactor is held, and which comes still later unless that is 0."""

        def answer(request: Any) -> Any:
            self.reactor.advance(held)
            if not later:
                return b"now"
            self.reactor.callLater(later, request.finish)
            return NOT_DONE_YET

        return answer

    def of(self, name: str) -> list[float]:
        """What the timer ``name`` was given, in ascending order, at most two values."""
        spread = self.registry.timer(name).distribution
        if spread is None:
            return []
        return [spread.min] if spread.count == 1 else [spread.min, spread.max]

    @property
    def requests(self) -> list[float]:
        return self.of("http.requests")

    @property
    def blocking(self) -> list[float]:
        return self.of("http.blocking")

    @property
    def first_byte(self) -> list[float]:
        return self.of("http.first_byte")

    @property
    def body_wait(self) -> list[float]:
        return self.of("http.body_wait")
