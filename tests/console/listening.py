"""Servers on free ports of 127.0.0.1 that are closed when the test is over, and ports where nobody answers."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from typing import Any

from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IHandshakeListener, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from tests.strict import the_reactor

HOST = "127.0.0.1"


@implementer(IHandshakeListener)
class Talker(Protocol):
    """Does what its factory wants: nothing, hanging up, speaking, or not reading."""

    def connectionMade(self) -> None:
        self.factory.open.append(self)
        if not ISSLTransport.providedBy(self.transport):
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        if self.factory.deaf:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.factory.received += data
        if self.factory.answer:
            self.transport.write(self.factory.answer)
        if self.factory.hangs_up:
            self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        self.factory.open.remove(self)


class Talkers(Factory):
    """A server: what it has received, and how it treats whoever connects."""

    protocol = Talker
    noisy = False

    def __init__(self, answer: bytes = b"", hangs_up: bool = False, deaf: bool = False) -> None:
        self.answer = answer
        self.hangs_up = hangs_up
        self.deaf = deaf
        self.received = b""
        self.open: list[Talker] = []


class Listening:
    """All the servers of a test."""

    def __init__(self) -> None:
        self.reactor = the_reactor()
        self._ports: list[tuple[Any, Any]] = []

    async def serve(self, factory: Any, tls: Any = None) -> int:
        """The port that ``factory`` listens on from now on."""
        if tls is None:
            endpoint: Any = TCP4ServerEndpoint(self.reactor, 0, interface=HOST)
        else:
            endpoint = SSL4ServerEndpoint(self.reactor, 0, tls, interface=HOST)
        port = await endpoint.listen(factory)
        self._ports.append((port, factory))
        return int(port.getHost().port)

    async def close(self) -> None:
        for port, factory in self._ports:
            await port.stopListening()
            for peer in list(getattr(factory, "open", [])):
                peer.transport.abortConnection()


class BlackHole(ExitStack):
    """A port, ``port``, that answers no attempt to connect: those who wait to be accepted are too many already."""

    def __enter__(self) -> BlackHole:
        listener = self.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        self.port = int(listener.getsockname()[1])
        for _ in range(4):
            waiting = self.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect((HOST, self.port))
        return self


def unused_port(kind: int = socket.SOCK_STREAM) -> int:
    """One that nobody listens on, in all probability for a while."""
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])
