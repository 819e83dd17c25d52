"""A stand-in for HostedGraphite's HTTPS sink: a real web server over TLS on loopback that answers as it is told.

The documented answers are 202 (empty) and 400; how it might behave otherwise is anybody's guess, so it can do worse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.interfaces import IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from tests.strict import the_reactor

PIECE = b"x" * 2**14


class Seen(NamedTuple):
    """A request, as far as it matters."""

    authorization: bytes | None
    content_type: bytes | None
    agent: bytes | None
    path: bytes
    data: bytes


class Sink(Resource):
    """Keeps what it accepts in `accepted`, and all it is asked in `requests`.

    `answers` says what becomes of the next requests, in their order; after the last one it is `accept`. With a
    `carbon_port` accepted lines go to the carbon there, and the answer comes when that has read them.
    """

    isLeaf = True

    def __init__(self, carbon_port: int | None = None) -> None:
        super().__init__()
        self.answers: deque[Answer] = deque()
        self.accepted: list[bytes] = []
        self.requests: list[Seen] = []
        self.transports: list[Any] = []
        """Of the connections over which requests came."""
        self.sent = 0
        """Bytes of endless answers that the network has taken."""
        self._carbon_port = carbon_port

    def render_POST(self, request: Any) -> int:
        data = request.content.read()
        if request.channel.transport not in self.transports:
            self.transports.append(request.channel.transport)
        names = ("authorization", "content-type", "user-agent")
        self.requests.append(Seen(*map(request.getHeader, names), request.uri, data))
        answer = self.answers.popleft() if self.answers else accept
        answer(self, request, data)
        return NOT_DONE_YET

    @property
    def lines(self) -> list[bytes]:
        return b"".join(self.accepted).splitlines()

    def close_idle(self) -> None:
        """Close the last connection in order, as servers do with idle ones."""
        self.transports[-1].unregisterProducer()  # or it would wait for that
        self.transports[-1].loseConnection()

    def take(self, data: bytes) -> Deferred[None]:
        """Keep ``data``; the answer fires when carbon, if there is one, has it."""
        self.accepted.append(data)
        forward = _Forward(data)
        if self._carbon_port is None:
            forward.done.callback(None)
        else:
            carbon = TCP4ClientEndpoint(the_reactor(), "127.0.0.1", self._carbon_port)
            connectProtocol(carbon, forward).addErrback(forward.done.errback)
        return forward.done


Answer = Callable[[Sink, Any, bytes], object]


def accept(sink: Sink, request: Any, data: bytes) -> None:
    """202, and nothing more to say."""

    def answer(ignored: object) -> None:
        request.setResponseCode(202)
        request.finish()

    sink.take(data).addCallback(answer)


def status(code: int, text: bytes = b"", **headers: str) -> Answer:
    """Another answer, such as ``status(429, retry_after="3")``."""

    def answer(sink: Sink, request: Any, data: bytes) -> None:
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name.replace("_", "-"), value)
        request.write(text)
        request.finish()

    return answer


def accept_and_cut_the_answer(sink: Sink, request: Any, data: bytes) -> None:
    """What was accepted is kept, but nobody learns that."""
    sink.take(data)
    request.channel.transport.write(b"HTTP/1.1 2")
    _cut_soon(request)


def accept_and_cut_the_body(sink: Sink, request: Any, data: bytes) -> None:
    """The status says that it was accepted, but what was to follow does not come."""
    sink.take(data)
    request.setResponseCode(202)
    request.setHeader("content-length", "100")
    request.write(b"thank you")
    _cut_soon(request)


def cut(sink: Sink, request: Any, data: bytes) -> None:
    """Not a word."""
    request.channel.transport.abortConnection()


def hang(sink: Sink, request: Any, data: bytes) -> None:
    """Neither an answer nor an end."""


def accept_and_hang(sink: Sink, request: Any, data: bytes) -> None:
    """A body begins and never ends."""
    sink.take(data)
    request.setResponseCode(202)
    request.write(b"thank")


def accept_at_length(sink: Sink, request: Any, data: bytes) -> None:
    """Accepted, says a body of 1 GB."""
    sink.take(data)
    request.setResponseCode(202)
    request.setHeader("content-length", str(10**9))
    request.registerProducer(_Flood(sink, request), True)


def endless_headers(sink: Sink, request: Any, data: bytes) -> None:
    """The headers of the answer never end."""
    request.channel.transport.write(b"HTTP/1.1 202 Accepted\r\n")
    request.channel.transport.unregisterProducer()  # the channel's own
    request.channel.transport.registerProducer(_Flood(sink, request.channel.transport, b"a: %b\r\n"), True)


def not_http(sink: Sink, request: Any, data: bytes) -> None:
    """Something else."""
    request.channel.transport.write(b"220 mail.example ESMTP\r\n")


def _cut_soon(request: Any) -> None:
    the_reactor().callLater(0.05, request.channel.transport.abortConnection)


@implementer(IPushProducer)
class _Flood:
    """Sends whatever the network takes, up to 1 GB."""

    def __init__(self, sink: Sink, consumer: Any, form: bytes = b"%b") -> None:
        self._sink = sink
        self._consumer = consumer
        self._piece = form % PIECE[:8000]
        self._running = True
        self._next = the_reactor().callLater(0, self._send)

    def _send(self) -> None:
        if self._running and self._sink.sent < 10**9:
            self._consumer.write(self._piece)
            self._sink.sent += len(self._piece)
            self._next = the_reactor().callLater(0, self._send)

    def pauseProducing(self) -> None:
        self._running = False

    def resumeProducing(self) -> None:
        self._running = True
        if not self._next.active():
            self._next = the_reactor().callLater(0, self._send)

    def stopProducing(self) -> None:
        self._running = False


class _Forward(Protocol):
    """Carbon closes its side when it has read everything."""

    def __init__(self, data: bytes) -> None:
        self.done: Deferred[None] = Deferred()
        self._data = data

    def connectionMade(self) -> None:
        self.transport.write(self._data)
        self.transport.loseWriteConnection()

    def connectionLost(self, reason: object = None) -> None:
        self.done.callback(None)


class BrokenTransport(StringTransport):
    """Fails to write as soon as it is given more than one piece: an HTTP request's headers."""

    def writeSequence(self, data: Any) -> None:
        raise OSError("nothing can be written")

    def abortConnection(self) -> None:
        self.loseConnection()


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class BrokenServer:
    """Connects Twisted's Agent to nothing that works."""

    def endpointForURI(self, uri: object) -> BrokenServer:
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(BrokenTransport())
        return succeed(protocol)


class _QuietSite(Site):
    """A web server that keeps no log of its own."""

    noisy = False

    def log(self, request: Any) -> None:
        """The tests look at `Sink.requests`."""


class SinkServer:
    """A sink that listens on `port` of 127.0.0.1; `url` is its address. With `tls` of None it is one of http:."""

    def __init__(self, sink: Sink, tls: Any) -> None:
        self.sink = sink
        self._tls = tls
        self._listening: Any = None
        self.port = 0

    async def start(self) -> SinkServer:
        """Listen on a free port, the second time on the same."""
        if self._tls is None:
            endpoint: Any = TCP4ServerEndpoint(the_reactor(), self.port, interface="127.0.0.1")
        else:
            endpoint = SSL4ServerEndpoint(the_reactor(), self.port, self._tls, interface="127.0.0.1")
        self._listening = await endpoint.listen(_QuietSite(self.sink))
        self.port = self._listening.getHost().port
        return self

    async def stop(self) -> None:
        """Listen no more, and drop every connection."""
        if self._listening is not None:
            await self._listening.stopListening()
            self._listening = None
        for transport in self.sink.transports:
            if transport.connected:
                transport.abortConnection()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/api/v1/sink"
