"""TimedResource: every request of a Site, measured once, from the root to the last byte.

Twisted Web tells a resource little about a request's end, so the request itself is observed: ``finish`` and
``render`` are shadowed on the instance, and ``notifyFinish`` has the last word. The wrapper stands at the root only.
On its first segment it walks the rest of the tree and hands back the resource that was really meant, so that
Twisted Web sees the same resource (its encoders, its HEAD) as without the wrapper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure
from twisted.web.resource import IResource, _IEncodingResource, getChildForRequest
from zope.interface import alsoProvides, implementer

from txmetrics.instrument._care import Care
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["TimedResource"]

_MARK = "_txmetrics_observed"


class _Metrics:
    """The metrics of one Site, made at once so that a quiet server shows its zeros."""

    def __init__(self, scope: Scope) -> None:
        self.requests = scope.timer("requests")
        self.blocking = scope.timer("blocking")
        self.active = scope.gauge("active")
        self.statuses = {family: scope.counter(f"status.{family}xx") for family in (2, 3, 4, 5)}
        self.aborted = scope.counter("aborted")
        self.upgrades = scope.counter("upgrades")
        self.bytes_sent = scope.counter("bytes_sent")
        self.measuring_errors = scope.counter("measuring_errors")
        self.now = self.requests.now

    def count_active(self, change: int) -> None:
        self.active.set(int(self.active.value) + change)  # type: ignore[call-overload]  # only ever set here


@implementer(IResource)
class TimedResource:
    """Wraps the root resource of a Site: ``Site(TimedResource(root, registry))``, and answers as ``root`` does.

    Under ``name`` (``http``) the registry gets, for each request exactly once: ``requests``, a timer of the total time,
    from the complete request to the call of ``finish`` (or the loss of the connection); ``blocking``, a timer of
    how long finding and rendering the resource held the reactor; ``active``, a gauge of the requests that are not
    finished; ``status.2xx`` .. ``status.5xx``; ``aborted`` for clients that went away, which have no status;
    ``upgrades`` for websockets, whose handshake is the request; ``bytes_sent``, body bytes after compression.

    A request of ``*`` (``OPTIONS *``) never reaches a resource, and so is not measured. An error in the measuring is
    logged once, counted under ``measuring_errors`` and never reaches the request. A wrapper inside another one
    measures nothing.
    """

    def __init__(self, root: Any, registry: MetricsRegistry | Scope, name: str = "http") -> None:
        self._root = root
        self._metrics = _Metrics(registry.scope(name))
        self._care = Care("HTTP requests", self._metrics.measuring_errors)
        if _IEncodingResource.providedBy(root):
            alsoProvides(self, _IEncodingResource)

    @property
    def isLeaf(self) -> bool:
        return bool(self._root.isLeaf)

    def __getattr__(self, name: str) -> Any:
        """``putChild``, ``children``, ``getEncoder`` and all else are the root's."""
        return getattr(self._root, name)

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        observation = self._observe(request)
        if observation is not None:
            observation.time_render()
        return getChildForRequest(self._root.getChildWithDefault(name, request), request)

    def render(self, request: Any) -> Any:
        observation = self._observe(request)
        if observation is None:
            return self._root.render(request)
        with observation:
            return self._root.render(request)

    def _observe(self, request: Any) -> _Observation | None:
        """Begin to measure ``request``, unless that was begun before."""
        with self._care:
            if _MARK not in request.__dict__:
                return _Observation(request, self._metrics, self._care)
        return None


class _Observation:
    """One request, from here to its end; a context around whatever renders it."""

    def __init__(self, request: Any, metrics: _Metrics, care: Care) -> None:
        self._request = request
        self._metrics = metrics
        self._care = care
        self._start = metrics.now()
        self._finished: float | None = None
        self._blocking = True
        self._ended = False
        self._shadowed: dict[str, Any] = {}
        self._finish = self._shadow("finish", self._stamp)
        request.__dict__[_MARK] = True
        metrics.count_active(+1)
        request.notifyFinish().addCallbacks(self._end, self._abort)

    def time_render(self) -> None:
        """Measure the request's own ``render``, for a resource that is not ours to wrap."""

        def timed_render(resource: Any) -> Any:
            with self:
                return render(resource)

        with self._care:
            render = self._shadow("render", timed_render)

    def _shadow(self, name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
        """Put ``ours`` before a method of this one request; returns the method."""
        method: Callable[..., Any] = getattr(self._request, name)
        self._shadowed[name] = self._request.__dict__.get(name)
        setattr(self._request, name, ours)
        return method

    def _unshadow(self) -> None:
        """Leave the request as it was; a shadow that stayed would keep it alive until the next collection."""
        for name, before in self._shadowed.items():
            if before is None:
                self._request.__dict__.pop(name, None)
            else:
                setattr(self._request, name, before)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *raised: object) -> None:
        with self._care:
            self._blocked(self._metrics.now())
            if not self._ended and _upgraded(self._request):
                self._metrics.upgrades.inc()
                self._over(self._metrics.now())

    def _stamp(self) -> None:
        # Before, not after: finishing also serves the next request of a pipeline, which is not ours.
        if self._finished is None:
            with self._care:
                self._finished = self._metrics.now()
        self._finish()

    def _end(self, result: object) -> None:
        with self._care:
            now = self._metrics.now()
            self._blocked(now)
            if self._over(now if self._finished is None else self._finished):
                counter = self._metrics.statuses.get(self._request.code // 100)
                if counter is not None:
                    counter.inc()

    def _abort(self, reason: Failure) -> None:
        with self._care:
            self._blocked(self._metrics.now())
            if self._over(self._metrics.now()):
                self._metrics.aborted.inc()

    def _blocked(self, now: float) -> None:
        """The request gives the reactor back; in the case of an exception in getChild, at its end."""
        if self._blocking:
            self._blocking = False
            self._metrics.blocking.add(now - self._start)

    def _over(self, now: float) -> bool:
        """Record the total; whether that had not been done before."""
        if self._ended:
            return False
        self._ended = True
        self._unshadow()
        self._metrics.count_active(-1)
        self._metrics.requests.add(now - self._start)
        self._metrics.bytes_sent.inc(self._request.sentLength)
        return True


def _upgraded(request: Any) -> bool:
    """Whether a websocket has taken the connection over, after which the request neither finishes nor is lost.

    Twisted's own implementation then replaces the channel's ``dataReceived``, autobahn takes its transport away.
    """
    upgrade = request.getHeader(b"upgrade")
    if upgrade is None or upgrade.lower() != b"websocket" or request.finished:
        return False
    channel = request.channel
    return channel is not None and (channel.transport is None or "dataReceived" in vars(channel))
