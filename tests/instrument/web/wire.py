"""HTTP without a network or a clock of its own: bytes in, bytes out, and time that passes when it is told to."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import Site

from txmetrics.testing import FakeReactor


class Wire:
    """One connection to a Site, whose answers are in ``received``."""

    def __init__(self, reactor: FakeReactor, root: Any, **site: Any) -> None:
        self.site = Site(root, reactor=reactor, **site)
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
