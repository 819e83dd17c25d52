"""TimedAgent: every HTTP request that goes out, measured once, by host and method.

The response stays the very object that the agent gave. Its ``deliverBody`` is shadowed on the instance until somebody
calls it; then something stands before the protocol that reads the body, and sees its end. A body that nobody reads has
no such end: its request is recorded when Python drops the response, with the time until its headers.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgent
from zope.interface import alsoProvides, implementer, providedBy

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.instrument._endpoint import ERRORS, error_name
from txmetrics.instrument._http_pool import count_connections
from txmetrics.instrument._methods import METHODS, known
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["TimedAgent"]

HOSTS = 100
"""So many hosts have series of their own."""

AT_A_TIME = 1000
"""So many dropped responses are recorded at a time."""

_AUTHORITY = re.compile(rb"\s*([a-z]+)://(?:[^/?#]*@)?([^/?#\s]*)", re.IGNORECASE)
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}
_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-")
_ONE_PART = bytes(byte if byte in _KEPT else ord("_") for byte in bytes(range(256)).lower())


def _host(uri: bytes) -> str:
    """Host and port of ``uri`` as one part of a name, without a default port, and never with a password."""
    found = _AUTHORITY.match(uri)
    if found is None:
        return "_"
    scheme, authority = found.groups()
    port = _DEFAULT_PORTS.get(scheme.lower())
    if port is not None:
        authority = authority.removesuffix(port)
    return authority.translate(_ONE_PART, b"[]").decode("ascii")


class _Series:
    """The metrics of one method at one host."""

    __slots__ = ("bytes_received", "bytes_sent", "errors", "headers", "requests", "statuses")

    def __init__(self, scope: Scope) -> None:
        self.headers = scope.timer("headers")
        self.requests = scope.timer("requests")
        self.statuses = {family: scope.counter(f"status.{family}xx") for family in (2, 3, 4, 5)}
        self.errors = Family(scope.scope("errors").counter, ERRORS)
        self.bytes_sent = scope.counter("bytes_sent")
        self.bytes_received = scope.counter("bytes_received")


def _methods(scope: Scope) -> Family[_Series]:
    return Family(lambda method: _Series(scope.scope(method)), len(METHODS) + 1)


class _Metrics:
    """The metrics of one agent."""

    def __init__(self, scope: Scope) -> None:
        from twisted.web.client import ResponseDone  # heavy, and loaded already by whoever has an agent

        # How a body ends that is all there, or of which nobody knows how long it should have been.
        self.complete = (ResponseDone, PotentialDataLoss)
        self.active = 0
        # A garbage collector may drop a response at any moment: in another thread, or while a report reads these very
        # metrics. What is dropped is therefore only put aside: series, start, seconds to the headers, was it active.
        self.dropped: deque[tuple[_Series, float, float | None, int]] = deque()
        scope.gauge("active", self._tell_active)
        self.care = Care("HTTP requests that go out", scope.counter("measuring_errors"))
        self._hosts = Family(lambda host: _methods(scope.scope(host)), HOSTS)

    def begin(self, method: bytes, uri: bytes, producer: Any) -> _Exchange:
        if self.dropped:
            self.record_dropped()
        series = self._hosts[_host(uri)][known(method).decode()]
        return _Exchange(self, series, series.requests.now(), getattr(producer, "length", None))

    def record_dropped(self) -> None:
        for _ in range(min(AT_A_TIME, len(self.dropped))):
            series, start, seconds, active = self.dropped.popleft()
            self.active -= active
            series.requests.add(series.requests.now() - start if seconds is None else seconds)

    def _tell_active(self) -> int:
        self.record_dropped()
        return self.active


@implementer(IAgent)
class TimedAgent:
    """Wraps an IAgent: ``TimedAgent(Agent(reactor), registry)``, treq's: ``HTTPClient(TimedAgent(...))``.

    Under ``name`` (``http_client``) the registry gets ``active``, a gauge of the requests that wait for their headers
    or whose body is being read, and under ``<name>.<host>.<method>``: ``headers``, a timer until the headers are there;
    ``requests``, a timer of each request exactly once: until the end of the body, or until it failed, or until the
    headers if there is no body or if nobody reads it (then it is recorded when Python drops the response);
    ``status.2xx`` .. ``status.5xx``; ``errors.<type>``, once for a request that failed, was cancelled (CancelledError)
    or whose body broke off, by the innermost reason; ``bytes_received`` of bodies, as this agent hands them over;
    ``bytes_sent``, of bodies whose length is known and that were answered.

    The host is that of the URI, with the port unless that is the default; the first HOSTS have names of their own, all
    others are ``_other``. Methods that are not standard are ``OTHER``. If the agent, or one that it wraps, has a
    connection pool of Twisted's, ``connections.new`` and ``connections.reused`` count what that pool gives, to
    whomever: a connection that it opened, or one that was open. A request that is tried again counts in both.

    Around a RedirectAgent it measures the whole chain, inside of one each request of it. An error in the measuring is
    logged once, counted under ``measuring_errors`` and never reaches the request. Raises ValueError if ``name`` has an
    agent already: make one and keep it, as its pool.
    """

    def __init__(self, agent: Any, registry: MetricsRegistry | Scope, name: str = "http_client") -> None:
        scope = registry.scope(name)
        self._agent = agent
        self._metrics = _Metrics(scope)
        self._connections = self._metrics.care.attempt(count_connections, agent, scope, self._metrics.care)
        alsoProvides(self, providedBy(agent))

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_agent"), name)  # a copy in the making has none yet

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Any:
        """The Deferred of the agent itself."""
        metrics = self._metrics
        exchange = metrics.care.attempt(metrics.begin, method, uri, bodyProducer)
        if exchange is None:
            return self._agent.request(method, uri, headers, bodyProducer)
        try:
            deferred = self._agent.request(method, uri, headers, bodyProducer)
        except BaseException as error:
            exchange.ended(error)
            raise
        if isinstance(deferred, Deferred):
            deferred.addCallbacks(exchange.answered, exchange.failed)
        else:
            exchange.ended(None)
        return deferred


class _Exchange:
    """One request and its response, from ``start`` to the end; ``length`` is that of its body, if it is a number."""

    __slots__ = ("_active", "_ended", "_length", "_metrics", "_seconds", "_series", "_start", "care")

    def __init__(self, metrics: _Metrics, series: _Series, start: float, length: object) -> None:
        self.care = metrics.care
        self._metrics = metrics
        self._series = series
        self._start = start
        self._length = length
        self._seconds: float | None = None  # until the headers
        self._ended = False
        self._active = 1
        metrics.active += 1

    def __del__(self) -> None:
        if not self._ended:
            self._metrics.dropped.append((self._series, self._start, self._seconds, self._active))

    def answered(self, response: Any) -> Any:
        if not self.care.attempt(self._headers, response):
            self.ended(None)
        return response

    def failed(self, failure: Failure) -> Failure:
        self.ended(failure.value)
        return failure

    def reading(self) -> None:
        """Somebody begins to read the body."""
        self._metrics.active += 1 - self._active
        self._active = 1

    def received(self, data: bytes) -> None:
        self.care.attempt(self._series.bytes_received.inc, len(data))

    def lost(self, reason: Failure) -> None:
        """Nobody reads any more of the body."""
        self.ended(None if isinstance(reason.value, self._metrics.complete) else reason.value)

    def ended(self, error: BaseException | None) -> None:
        if not self._ended:
            self._ended = True
            self._rest()
            self.care.attempt(self._total)
            if error is not None:
                self.care.attempt(self._count_error, error)

    def _headers(self, response: Any) -> bool:
        """The headers are there; returns whether there may be a body to wait for."""
        series = self._series
        self._rest()
        self._seconds = series.requests.now() - self._start
        series.headers.add(self._seconds)
        status = series.statuses.get(response.code // 100)
        if status is not None:
            status.inc()
        if isinstance(self._length, int):
            series.bytes_sent.inc(self._length)
        return response.length != 0 and _Unread(response, self).shadow()

    def _rest(self) -> None:
        """Nobody waits for anything, at least for now."""
        self._metrics.active -= self._active
        self._active = 0

    def _total(self) -> None:
        self._series.requests.add(self._series.requests.now() - self._start)

    def _count_error(self, error: BaseException) -> None:
        self._series.errors[error_name(error)].inc()


class _Unread:
    """Stands before ``deliverBody`` of a response, until it is called."""

    def __init__(self, response: Any, exchange: _Exchange) -> None:
        self._response = response
        self._deliver = response.deliverBody
        self._before = getattr(response, "__dict__", {}).get("deliverBody")
        self._exchange: _Exchange | None = exchange

    def shadow(self) -> bool:
        """Begin; False if the response has no place for it."""
        try:
            self._response.deliverBody = self.deliverBody
        except AttributeError:
            return False
        return True

    def deliverBody(self, protocol: Any) -> Any:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return self._deliver(protocol)
        exchange.care.attempt(self._lift)
        exchange.reading()
        return self._deliver(_Body(protocol, exchange))

    def _lift(self) -> None:
        """Leave the response as it was, unless somebody else's shadow lies upon this one."""
        if self._response.deliverBody != self.deliverBody:
            return
        if self._before is None:
            del self._response.deliverBody
        else:
            self._response.deliverBody = self._before


class _Body:
    """Stands before the protocol that reads a body."""

    def __init__(self, protocol: Any, exchange: _Exchange) -> None:
        self._protocol = protocol
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        """``makeConnection`` and all else is the protocol's, also what it provides."""
        return getattr(object.__getattribute__(self, "_protocol"), name)

    def __repr__(self) -> str:
        return repr(self._protocol)

    def dataReceived(self, data: bytes) -> None:
        self._exchange.received(data)
        self._protocol.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        self._exchange.lost(reason)
        self._protocol.connectionLost(reason)
