"""Client: posts to one HTTP(S) server with Twisted's Agent, over one connection that hides its key and ends at once.

Whatever Twisted's HTTP client wants to close is aborted: a close under TLS waits for the peer, however long that
takes, and when nothing is on its way there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IConsumer, IHandshakeListener, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from txmetrics.delivery import _kernel
from txmetrics.forks import parents_only

__all__ = ["Client", "server_of"]

OPENING_TIMEOUT = 10.0
"""For everything from the name service to the peer's certificate."""

IDLE = 30
"""For so many seconds an unused connection is kept: less than servers and balancers do, so that they do not close it
at the very moment of the next request."""

MAX_ANSWER = 2**16
"""Bytes of one answer, its headers included; a peer that sends more is cut off."""


def server_of(url: str) -> tuple[str, int, Any]:
    """Host and port of ``url``, and how to speak TLS with them, which is None for http:.

    Raises whatever there is to raise if they are wrong, and NotImplementedError if there is no TLS to speak.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname, (443 if secure else 80) if parts.port is None else parts.port
    if not host or not port:
        raise ValueError("no host, or port 0")
    name = host.encode("ascii")
    return host, port, BrowserLikePolicyForHTTPS().creatorForNetloc(name, port) if secure else None


class Client:
    """Posts to ``url`` with ``headers``. ``agent`` takes the place of Twisted's own."""

    def __init__(self, reactor: Any, time: Any, url: str, headers: Mapping[str, str], agent: Any = None) -> None:
        """``reactor`` is the network's, ``time`` an IReactorTime. Opens nothing yet."""
        self._url = url.encode("ascii")
        self._headers = headers
        self._pool = HTTPConnectionPool(time)
        self._pool.maxPersistentPerHost = 1
        self._pool.retryAutomatically = False
        self._pool.cachedConnectionTimeout = IDLE
        self._agent = agent or Agent.usingEndpointFactory(reactor, _Server(reactor, time, url), self._pool)

    def post(self, data: bytes, authorization: Callable[[], bytes] | None) -> Deferred[Any]:
        """The answer, once its headers are there. Its body has to be read, or its transport closed.

        ``authorization`` makes the value of that header, which shows itself to nobody; None for no such header.
        Redirects are answers like others: the key goes to nobody else.
        """
        headers = _Headers(self._headers, authorization)
        return maybeDeferred(self._agent.request, b"POST", self._url, headers, _Body(data))

    def close(self) -> None:
        """Close the connection that waits for the next request."""
        self._pool.closeCachedConnections()


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Server:
    """The one endpoint of an agent. Over TLS it is connected when the peer has proved who it is."""

    def __init__(self, reactor: Any, time: Any, url: str) -> None:
        self._reactor = reactor
        self._time = time
        self._host, self._port, self._tls = server_of(url)

    def endpointForURI(self, uri: object) -> _Server:
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        factory.noisy = False  # or the log had two lines for every attempt
        endpoint: Any = HostnameEndpoint(self._reactor, self._host, self._port)
        if self._tls is not None:
            endpoint = wrapClientTLS(self._tls, endpoint)
        connecting: Deferred[Any] = endpoint.connect(_Connections(factory, secure=self._tls is not None))
        connecting.addCallback(lambda connection: connection.verified)
        return connecting.addTimeout(OPENING_TIMEOUT, self._time, _not_in_time)


def _not_in_time(reason: Any, seconds: float) -> Any:
    # A look-up that is cancelled says so, and that is the better answer; all others have words of their own.
    return reason if reason.check(DNSLookupError) else Failure(TimeoutError(f"not open after {seconds:g} seconds"))


@implementer(IHandshakeListener)
class _Connection(ProtocolWrapper):
    """A connection around Twisted's HTTP client. ``verified`` fires with that, under TLS after the handshake."""

    transport: Any

    def __init__(self, factory: Any, http: Any) -> None:
        super().__init__(factory, http)
        self.verified: Deferred[Any] = Deferred(lambda verified: self.abortConnection())
        self._received = 0
        self._gone = False

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        if ITCPTransport.providedBy(transport):
            _kernel.watch_over(transport)
        parents_only(self)
        if not self.factory.secure:
            self.verified.callback(self.wrappedProtocol)

    def filenos(self) -> Iterable[int]:
        return [] if self._gone else [self.transport.fileno()]

    # What the transport calls

    def handshakeCompleted(self) -> None:
        # Twisted 24 says so of a handshake, too, whose certificate it has just refused.
        if not self.verified.called and not self.transport.disconnecting:
            self.verified.callback(self.wrappedProtocol)

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MAX_ANSWER:
            self.abortConnection()
        else:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        super().connectionLost(reason)
        if not self.verified.called:
            self.verified.errback(reason)

    # What the HTTP client calls

    def write(self, data: bytes) -> None:
        self._received = 0
        super().write(data)

    def loseConnection(self) -> None:
        self.abortConnection()

    def abortConnection(self) -> None:
        if not self._gone:  # a TLS transport that is already lost would raise
            self.transport.abortConnection()


class _Connections(WrappingFactory):
    protocol = _Connection
    noisy = False

    def __init__(self, http: Any, secure: bool) -> None:
        super().__init__(http)
        self.secure = secure


class _Headers(Headers):
    """Those of a request. The one with the key is made when it is written, and at no other time."""

    __slots__ = ("_authorization", "_plain")

    def __init__(self, plain: Mapping[str, str], authorization: Callable[[], bytes] | None) -> None:
        super().__init__({name.encode(): [value.encode()] for name, value in plain.items()})
        self._plain = plain
        self._authorization = authorization

    def copy(self) -> _Headers:
        copied = _Headers(self._plain, self._authorization)
        for name, values in super().getAllRawHeaders():
            copied.setRawHeaders(name, values)
        return copied

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        yield from super().getAllRawHeaders()
        if self._authorization is not None:
            yield b"Authorization", [self._authorization()]


@implementer(IBodyProducer)
class _Body:
    """The body of a request: a chunk, which is no more than a transport takes at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass
