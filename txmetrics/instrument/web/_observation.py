"""One request, observed from its beginning to its end.

The request itself tells: its class becomes one that passes on to an Observation what is called on it, and is the same
in everything else. What ``notifyFinish`` hears has the last word, since somebody may have replaced ``finish``.
"""

from __future__ import annotations

from collections.abc import Callable
from os import SEEK_END
from typing import Any

from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from txmetrics.instrument._care import Care
from txmetrics.instrument._methods import METHODS, known
from txmetrics.instrument._shadow import Shadow
from txmetrics.instrument.web._metrics import RouteMetrics, SiteMetrics
from txmetrics.instrument.web._request import MARK, observed
from txmetrics.instrument.web._route import Trace
from txmetrics.instrument.web._slowest import Slowest, SlowRequest

__all__ = ["Observation", "Observer"]

PATH = 200
"""So much of a path is remembered of a slow request."""

KNOWN = 1000
"""So many routes, with their methods, are found without being put together."""

NAME = 1000
"""And so much of a route's name that somebody gives is looked at."""


class Observer:
    """What the observations of a Site have in common."""

    def __init__(
        self,
        metrics: SiteMetrics,
        slowest: Slowest,
        route: Callable[[Any], str | None] | None,
        server_timing: bool,
    ) -> None:
        self.metrics = metrics
        self.found: dict[tuple[bytes, bytes], RouteMetrics] = {}
        """Those of a method and a path of ours, for what has ended as usual."""
        self.slowest = slowest
        self.care = Care("HTTP requests", metrics.measuring_errors)
        self.route = route
        self.server_timing = server_timing
        self.unusual = server_timing or route is not None or metrics.exact_codes
        """Whether there is more to every request."""
        self.now = metrics.requests.now

    def observe(self, request: Any, resource: Any) -> Observation:
        """Begin to observe ``request``, which nobody does so far and for which ``resource`` was found."""
        kind = request.__class__
        if not hasattr(kind, MARK):
            request.__class__ = observed(kind)
        observation = request._txmetrics_observation = Observation(request, self, resource)
        return observation


class Observation(Trace):
    """One request, from here to its end. Times are in seconds from the beginning: when the whole request was there.

    What every request begins with stands in the class, so that to begin costs nothing.
    """

    name: str | None = None
    seconds: float | None = None
    long_lived = False
    received = 0
    body_wait: float | None = None
    blocking: float | None = None
    released = False
    first_byte: float | None = None
    status: int | None = None
    upgraded = False
    sent = 0
    error: str | None = None
    special = False
    usual = True
    """Whether nothing is to be told of it but how long it took, with which status, and how many bytes it was."""
    finished: float | None = None
    _headers: Shadow | None = None
    renders = 0
    """So many renders are under way, one within the other."""
    ended = False
    _active = False

    def __init__(self, request: Any, observer: Observer, resource: Any) -> None:
        self._request = request
        self._observer = observer
        self._method: bytes = request.method  # now, for it changes while a HEAD is faked
        self.care = observer.care
        self.now = observer.now
        self.resource = resource
        self.begun = observer.now()
        request.notifications.append(self)  # in the place of a Deferred, which would cost as much as all of this
        if observer.unusual:
            self.usual = False
            if observer.server_timing:
                self._watch_headers(request.channel)

    # What the request tells

    def weigh(self, content: Any) -> None:
        """Its body is in ``content``, a file that somebody is to read from where it stands."""
        position = content.tell()
        content.seek(0, SEEK_END)
        self.received = content.tell()
        self.usual = self.usual and not self.received
        content.seek(position)

    def failing(self, reason: Failure) -> None:
        """It is about to answer that it has failed."""
        if not self.ended:
            self.error = type(reason.value).__name__
            self.usual = False

    def callback(self, result: None) -> None:
        """It is over."""
        if self.ended:
            return
        seconds = self.finished
        if seconds is None or not self.usual:
            self.status = self._request.code
            self._over()
            return
        # The same as ``_over``, in as few steps as possible, for that is how nearly every request ends.
        self.ended = True
        observer, request, self._request = self._observer, self._request, None
        try:
            of_route = observer.found.get((self._method, self._path))
            if of_route is None or request.code == 404 or request._adapterCache:
                of_route = self._find_route(request)
            observer.metrics.record_usual(of_route, seconds, request.sentLength, request.code)
            slowest = observer.slowest
            if seconds > slowest.floor or self.begun + seconds >= slowest.until:
                self._is_slow(request, seconds)
        except Exception:
            self.care.failed()

    def errback(self, reason: Failure) -> None:
        """Its client is gone."""
        if not self.ended:
            self._over()

    def render(self, request: Any, resource: Any, render: Callable[[Any, Any], Any]) -> Any:
        """``render(request, resource)``, within which ``request`` may render another resource, at once or later."""
        if resource is not self.resource:
            self.care.attempt(self.lead, resource, request)
        self.renders += 1
        try:
            result = render(request, resource)
        except BaseException:
            self.renders -= 1  # Twisted Web deals with an exception (or fakes a HEAD) and finishes the request at once
            raise
        return result if self.ended else self.rendered(request, result)

    def rendered(self, request: Any, result: Any) -> Any:
        """A render has returned ``result``, and the request is not over."""
        self.renders -= 1
        if not self.renders and (result is None or result is NOT_DONE_YET):
            self._rendered(request)
        return result  # anything else is what a resource answers, which is sent next

    def live_long(self) -> None:
        """From now on it waits on purpose."""
        if self.ended or self.long_lived:
            return
        self.long_lived = True
        self.usual = False
        if self._active:
            self.care.attempt(self._observer.metrics.active.dec)
            self.care.attempt(self._observer.metrics.active_long_lived.inc)

    # What comes of it

    def _rendered(self, request: Any) -> None:
        """The outermost render has returned, and there is more to come. Until now nobody could have seen it active."""
        self.usual = False
        attempt, metrics = self.care.attempt, self._observer.metrics
        if not self.released:
            attempt(self._release)
        if attempt(_upgraded, request):
            self.upgraded = True
            self._over()
            return
        if request.startedWriting:
            self.first_byte = self.blocking  # for the reactor sends nothing before it has its turn
            attempt(self._look_for_events, request)
        elif self._headers is None:
            attempt(self._watch_headers, request.channel)
        if not self._active and not attempt(_asks_for_websocket, request):  # which, opened later, would never end
            self._active = True
            attempt((metrics.active_long_lived if self.long_lived else metrics.active).inc)

    def _watch_headers(self, channel: Any) -> None:
        """Hear when the answer begins, which is when its headers are written."""
        self.usual = False
        self._headers = Shadow(channel, "writeHeaders", self._watched)

    def _watched(self, write_headers: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any) -> Any:
            self.care.attempt(self._answer)
            return write_headers(*args)

        return watched

    def _answer(self) -> None:
        """The headers are about to be written."""
        self._watch_no_more()
        request, finished = self._request, self.finished
        begins = self.now() - self.begun if finished is None else finished
        if self._observer.server_timing:
            self._tell(request, begins)
        if self.released:
            self.first_byte = begins
            self._look_for_events(request)

    def _watch_no_more(self) -> None:
        if self._headers is not None:
            self._headers.remove()
            self._headers = None

    def _find_route(self, request: Any) -> RouteMetrics:
        """The metrics of the route of a request that has ended as usual; which are found faster the next time."""
        observer = self._observer
        of_route = observer.metrics.routes[self.route(request, self._method)]
        known = request.code != 404 and not request._adapterCache  # where our path is all of the route
        if known and self._method in METHODS and len(observer.found) < KNOWN:
            observer.found[self._method, self._path] = of_route
        return of_route

    def _is_slow(self, request: Any, seconds: float) -> None:
        """A request that has ended as usual may be one of the slowest."""
        self.status, self.blocking, self.first_byte = request.code, seconds, seconds
        self._observer.slowest.add(self._slow(request, self.route(request, self._method), seconds))

    def _over(self) -> None:
        """Record the end, once."""
        self.ended = True
        request, self._request = self._request, None  # which would keep itself until the next garbage collection
        if self._headers is not None:
            self.care.attempt(self._watch_no_more)
        if self._active:
            metrics = self._observer.metrics
            self.care.attempt((metrics.active_long_lived if self.long_lived else metrics.active).dec)
        try:
            self._record(request)
        except Exception:
            self.care.failed()

    def _release(self) -> None:
        """The request gives the reactor back, for the first time, and waits."""
        finished = self.finished
        self.blocking = self.now() - self.begun if finished is None else finished
        self._observer.metrics.blocking.add(self.blocking)
        self.released = True

    def _record(self, request: Any) -> None:
        observer, care = self._observer, self.care
        seconds = self.finished
        if seconds is None:
            seconds = care.attempt(self._seconds)
        self.seconds = seconds
        if not self.released:
            self.blocking = seconds
        if self.first_byte is None and self.status is not None:
            self.first_byte = seconds
        self.sent = request.sentLength
        if self.status is None or self.received or self.error is not None or self.long_lived:
            self.special = True
        if self.name is None and observer.route is None:
            key: str | bytes = self.route(request, self._method)
        else:
            key = self._named_route(request)
        observer.metrics.record(self, observer.metrics.routes[key], care)
        if seconds is not None and not self.long_lived:
            slowest = observer.slowest
            if seconds > slowest.floor or self.begun + seconds >= slowest.until:
                slowest.add(self._slow(request, key, seconds))

    def _named_route(self, request: Any) -> str | bytes:
        name, ask = self.name, self._observer.route
        if name is None and ask is not None:
            name = self.care.attempt(ask, request)
        if name is not None:
            try:
                return f"{known(self._method).decode()} {str(name)[:NAME]}"
            except Exception:
                self.care.failed()
        return self.route(request, self._method)

    def _slow(self, request: Any, key: str | bytes, seconds: float) -> SlowRequest:
        route = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        path = (request.path or b"")[:PATH].decode("utf-8", "replace")
        ended = self._observer.slowest.wall()
        return SlowRequest(seconds, ended, route, path, self.status, self.body_wait, self.blocking, self.first_byte)

    def _seconds(self) -> float:
        return self.now() - self.begun

    def _tell(self, request: Any, begins: float) -> None:
        """Say to the client, in the words of the W3C's Server Timing, what is known when the answer begins."""
        phases = {"body": self.body_wait, "blocking": self.blocking, "total": begins}
        told = ", ".join(f"{phase};dur={1000 * time:.3f}" for phase, time in phases.items() if time is not None)
        request.responseHeaders.addRawHeader(b"Server-Timing", told.encode())

    def _look_for_events(self, request: Any) -> None:
        """An answer that has begun and is not over may be a stream of events, which is never over."""
        types = request.responseHeaders.getRawHeaders(b"content-type", ())
        if any(each.lower().startswith(b"text/event-stream") for each in types):
            self.live_long()


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
