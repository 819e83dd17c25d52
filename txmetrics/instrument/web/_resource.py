"""TimedResource: every request of a Site, measured once, from the root to the last byte.

Twisted Web tells a resource little about a request's end, so the request itself is observed: methods of it are
shadowed on the instance, and ``notifyFinish`` has the last word. The wrapper stands at the root only. On its first
segment it walks the rest of the tree and hands back the resource that was really meant, so that Twisted Web sees
the same resource (its encoders, its HEAD) as without the wrapper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure
from twisted.web.resource import IResource, getChildForRequest
from zope.interface import alsoProvides, implementer, providedBy

from txmetrics.instrument._care import Care
from txmetrics.metrics import Counter
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
    how long finding and rendering the resource held the reactor, at most until ``finish``; ``active``, a gauge of the
    requests that are not finished, those that ask for a websocket left out; ``status.2xx`` .. ``status.5xx``;
    ``aborted`` for clients that went away, which have no status; ``upgrades`` for websockets, whose handshake is the
    request; ``bytes_sent``, body bytes after compression.

    A request of ``*`` (``OPTIONS *``) never reaches a resource, and so is not measured. An error in the measuring is
    logged once, counted under ``measuring_errors`` and never reaches the request. A wrapper inside another one
    measures nothing.
    """

    def __init__(self, root: Any, registry: MetricsRegistry | Scope, name: str = "http") -> None:
        self._root = root
        self._metrics = _Metrics(registry.scope(name))
        self._care = Care("HTTP requests", self._metrics.measuring_errors)
        alsoProvides(self, providedBy(root))  # Twisted Web asks it whether the answers are to be encoded

    @property
    def isLeaf(self) -> bool:
        return bool(self._root.isLeaf)

    def __getattr__(self, name: str) -> Any:
        """``putChild``, ``children``, ``getEncoder`` and all else are the root's."""
        return getattr(object.__getattribute__(self, "_root"), name)  # a copy in the making has none yet

    def __repr__(self) -> str:
        """The root's, for Twisted Web quotes it in its error pages."""
        return repr(self._root)

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        self._observe(request)
        return getChildForRequest(self._root.getChildWithDefault(name, request), request)

    def render(self, request: Any) -> Any:
        observation = self._observe(request)
        if observation is None:
            return self._root.render(request)
        with observation:
            return self._root.render(request)

    def _observe(self, request: Any) -> _Observation | None:
        """Begin to measure ``request``, unless that was begun before.

        The copy of a request that a distrib.ResourcePublisher gets, which has no channel, never tells its end.
        """
        return self._care.attempt(self._begin, request)

    def _begin(self, request: Any) -> _Observation | None:
        if _MARK not in request.__dict__ and hasattr(request, "channel"):
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
        self._renders = 0
        self._blocking = True
        self._ended = False
        self._active = 0 if _asks_for_websocket(request) else 1
        self._shadowed: dict[str, Any] = {}
        request.__dict__[_MARK] = True
        care.attempt(metrics.count_active, self._active)
        self._notification = request.notifyFinish().addCallbacks(self._end, self._abort)
        self._finish = self._shadow("finish", self._timed_finish)
        self._render = self._shadow("render", self._timed_render)
        self._state = self._shadow("getStateToCopyFor", self._state_to_copy)

    def _shadow(self, name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
        """Put ``ours``, a method of this object, before one of this one request; returns the request's."""
        method: Callable[..., Any] = getattr(self._request, name)
        self._shadowed[name] = self._request.__dict__.get(name)
        setattr(self._request, name, ours)
        return method

    def _lift_shadows(self, attributes: dict[str, Any]) -> None:
        """Leave the request's attributes, or a copy of them, as they were."""
        for name, before in self._shadowed.items():
            if getattr(attributes.get(name), "__self__", None) is not self:
                continue  # somebody else's lies upon ours
            if before is None:
                del attributes[name]
            else:
                attributes[name] = before

    def _timed_finish(self) -> Any:
        # Before, not after: finishing also serves the next request of a pipeline, which is not ours.
        if self._finished is None:
            self._finished = self._care.attempt(self._metrics.now)
        return self._finish()

    def _timed_render(self, resource: Any) -> Any:
        with self:
            return self._render(resource)

    def _state_to_copy(self, issuer: Any) -> Any:
        """What a distrib.ResourceSubscription sends to another process; nothing of ours can travel."""
        state = self._state(issuer)
        self._lift_shadows(state)
        state["notifications"] = [each for each in state["notifications"] if each is not self._notification]
        return state

    def __enter__(self) -> None:
        self._renders += 1  # a resource may render another one, at once or later

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        self._renders -= 1
        if self._renders or kind is not None:
            return  # Twisted Web deals with an exception (or fakes a HEAD) and finishes the request at once
        if not self._ended:
            self._care.attempt(self._release)
            if self._care.attempt(_upgraded, self._request):
                self._over(self._metrics.upgrades)

    def _end(self, result: object) -> None:
        self._over(self._care.attempt(self._status))

    def _abort(self, reason: Failure) -> None:
        self._over(self._metrics.aborted)

    def _over(self, outcome: Counter | None) -> None:
        """Record the end, once; what one metric cannot take does not keep the others from it."""
        if self._ended:
            return
        self._ended = True
        self._lift_shadows(self._request.__dict__)  # one that stayed would keep the request until the next collection
        attempt, metrics = self._care.attempt, self._metrics
        attempt(metrics.count_active, -self._active)
        attempt(self._release)
        attempt(self._total)
        attempt(self._sent)
        if outcome is not None:
            attempt(outcome.inc)

    def _total(self) -> None:
        self._metrics.requests.add(self._seconds())

    def _sent(self) -> None:
        self._metrics.bytes_sent.inc(self._request.sentLength)

    def _status(self) -> Counter | None:
        return self._metrics.statuses.get(self._request.code // 100)

    def _release(self) -> None:
        """The request gives the reactor back."""
        if self._blocking:
            self._blocking = False
            self._metrics.blocking.add(self._seconds())

    def _seconds(self) -> float:
        """From the start until ``finish`` was called, or until now."""
        return (self._metrics.now() if self._finished is None else self._finished) - self._start


def _asks_for_websocket(request: Any) -> bool:
    return any(b"websocket" in each.lower() for each in request.requestHeaders.getRawHeaders(b"upgrade", ()))


def _upgraded(request: Any) -> bool:
    """Whether a websocket has taken the connection over, after which the request neither finishes nor is lost.

    Twisted's own implementation then replaces the channel's ``dataReceived``, autobahn takes its transport away.
    """
    if request.finished or request.clientproto == b"HTTP/2":
        return False
    channel = request.channel
    return channel is not None and (channel.transport is None or "dataReceived" in vars(channel))
