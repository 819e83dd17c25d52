"""A wire between the workers and a receiver, on which an answer can get lost: what was posted is then posted again."""

from __future__ import annotations

from typing import Any

from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer

__all__ = ["Wire"]


class Wire(ProxyFactory):
    """Forwards connections to ``port`` on this machine; it listens at ``address``.

    While it is ``cut``, each answer that says that a body was accepted is lost, and its connection with it, and there
    is no new one.
    """

    noisy = False

    def __init__(self, reactor: Any, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self.protocol = _Front
        self.swallowed: list[bytes] = []
        """Bodies that were accepted, without that their sender knows."""
        self.repeated: list[bytes] = []
        """Those of them that were accepted again."""
        self.cut = False
        listening = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.address = f"127.0.0.1:{listening.getHost().port}"

    def passes(self, body: bytes) -> bool:
        """Whether the answer that this body was accepted reaches its sender."""
        if self.cut:
            self.swallowed.append(body)
        elif body in self.swallowed:
            self.repeated.append(body)
        return not self.cut


class _Back(ProxyClient):
    """The connection to the receiver."""

    noisy = False

    def dataReceived(self, data: bytes) -> None:
        front: Any = self.peer
        if data.startswith(b"HTTP/1.1 2"):
            body, front.request = front.request.partition(b"\r\n\r\n")[2], b""
            if not front.factory.passes(body):
                front.transport.abortConnection()
                return
        elif data.startswith(b"HTTP/1.1 "):
            front.request = b""
        super().dataReceived(data)


class _BackFactory(ProxyClientFactory):
    noisy = False
    protocol = _Back


class _Front(ProxyServer):
    """The connection of a worker."""

    clientProtocolFactory = _BackFactory
    factory: Any
    transport: Any
    request = b""

    def connectionMade(self) -> None:
        if self.factory.cut:
            self.transport.abortConnection()
        else:
            super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        self.request += data
        super().dataReceived(data)
