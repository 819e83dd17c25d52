"""TimedEndpoint: how long a client endpoint takes to connect and to agree on TLS, and why it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionClosed
from twisted.internet.interfaces import IHandshakeListener, ISSLTransport, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer, providedBy

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["TimedEndpoint", "error_name"]

ERRORS = 20
"""So many types of errors have a counter of their own."""

DEPTH = 10
"""So many errors are looked into that only wrap another one."""


def error_name(error: Any) -> str:
    """The name of the type of ``error``, or of what Twisted Web's clients have wrapped in it.

    A type that is called ``Error`` only has its module's name before it (``SSL_Error``), and the cancellation of a
    connection attempt is a CancelledError like every other.
    """
    for _ in range(DEPTH):
        reasons = getattr(error, "reasons", None)
        if not isinstance(reasons, list) or not reasons:
            break
        error = reasons[0].value if isinstance(reasons[0], Failure) else reasons[0]
    kind = CancelledError if isinstance(error, ConnectingCancelledError) else type(error)
    name = kind.__name__
    return f"{kind.__module__.rpartition('.')[2]}_{name}" if name in ("Error", "error") else name


class _Metrics:
    """The metrics of one endpoint; those of TLS are made when they are needed."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.connect = scope.timer("connect")
        self.failures = Family(scope.scope("failures").counter, ERRORS)
        self.care = Care("connection attempts", scope.counter("measuring_errors"))
        self.now = self.connect.now

    def add_handshake(self, seconds: float) -> None:
        self._scope.timer("tls_handshake").add(seconds)

    def count_failure(self, error: Any) -> None:
        self.failures[error_name(error)].inc()


@implementer(IStreamClientEndpoint)
class TimedEndpoint:
    """Wraps a client endpoint: ``TimedEndpoint(endpoint, registry, "database")``, and connects as ``endpoint`` does.

    Under ``name`` (``client``) the registry gets: ``connect``, a timer of the attempts that succeeded, from the call to
    the connected protocol; ``tls_handshake``, a timer from there until TLS is agreed upon, for endpoints that speak TLS
    from the beginning (``tls:``, ``ssl:``, wrapClientTLS); ``failures.<type>``, each attempt once that did not
    connect, was cancelled (CancelledError), or was lost before TLS was agreed upon. Of the types of errors the first
    ERRORS have names of their own, all others are ``failures._other``.

    The factory, its protocol and what they provide are not touched; only until the end of the handshake something
    stands between TLS and the protocol. An error in the measuring is logged once, counted under ``measuring_errors``
    and never reaches the connection.
    """

    def __init__(self, endpoint: Any, registry: MetricsRegistry | Scope, name: str = "client") -> None:
        self._endpoint = endpoint
        self._metrics = _Metrics(registry.scope(name))
        alsoProvides(self, providedBy(endpoint))

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_endpoint"), name)  # a copy in the making has none yet

    def __repr__(self) -> str:
        return repr(self._endpoint)

    def connect(self, protocolFactory: Any) -> Any:
        """The Deferred of the endpoint itself."""
        metrics = self._metrics
        start = metrics.care.attempt(metrics.now)
        if start is None:
            return self._endpoint.connect(protocolFactory)
        attempt = _Attempt(metrics, start)
        try:
            deferred = self._endpoint.connect(protocolFactory)
        except BaseException as error:
            attempt.raised(error)
            raise
        if isinstance(deferred, Deferred):
            deferred.addCallbacks(attempt.connected, attempt.failed)
        return deferred


class _Attempt:
    """One attempt to connect, which began at ``start``."""

    __slots__ = ("_metrics", "_start")

    def __init__(self, metrics: _Metrics, start: float) -> None:
        self._metrics = metrics
        self._start = start

    def connected(self, protocol: Any) -> Any:
        self._metrics.care.attempt(self._record)
        self._metrics.care.attempt(self._watch_handshake, protocol)
        return protocol

    def failed(self, failure: Failure) -> Failure:
        self.raised(failure.value)
        return failure

    def raised(self, error: Any) -> None:
        self._metrics.care.attempt(self._metrics.count_failure, error)

    def _record(self) -> None:
        self._metrics.connect.add(self._metrics.now() - self._start)

    def _watch_handshake(self, protocol: Any) -> None:
        # Twisted calls a TLS connection connected when TCP is; its handshake goes on.
        transport = getattr(protocol, "transport", None)
        if ISSLTransport.providedBy(transport) and hasattr(transport, "wrappedProtocol"):
            transport.wrappedProtocol = _Handshake(transport, self._metrics)


class _Handshake:
    """Stands before the protocol of a TLS transport, from now on until the handshake is over.

    With older Twisteds a handshake is completed also if the certificate is for another host. TLS has begun to
    disconnect then, as it has for a client that is done already, and the reason of the loss has the last word.
    """

    def __init__(self, tls: Any, metrics: _Metrics) -> None:
        self._tls = tls
        self._protocol = tls.wrappedProtocol
        self._metrics = metrics
        self._start = metrics.now()
        self._seconds: float | None = None
        self._over = False
        alsoProvides(self, providedBy(self._protocol), IHandshakeListener)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_protocol"), name)

    def handshakeCompleted(self) -> None:
        self._metrics.care.attempt(self._completed)
        if IHandshakeListener.providedBy(self._protocol):
            self._protocol.handshakeCompleted()

    def connectionLost(self, reason: Failure) -> None:
        self._metrics.care.attempt(self._lost, reason)
        self._protocol.connectionLost(reason)

    def _completed(self) -> None:
        try:
            self._seconds = self._metrics.now() - self._start
        finally:
            if not self._tls.disconnecting:
                self._leave(self._metrics.add_handshake, self._seconds)

    def _lost(self, reason: Failure) -> None:
        if self._seconds is not None and reason.check(ConnectionClosed):
            self._leave(self._metrics.add_handshake, self._seconds)
        else:
            self._leave(self._metrics.count_failure, reason.value)

    def _leave(self, record: Callable[[Any], None], value: Any) -> None:
        if self._tls.wrappedProtocol is self:
            self._tls.wrappedProtocol = self._protocol
        if not self._over and value is not None:
            self._over = True
            record(value)
