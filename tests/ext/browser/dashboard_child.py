"""A site with traffic and its dashboard, for a browser to look at: several times, under paths that tell what is amiss.

It prints the ports of both, and ends when it is killed.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from twisted.internet import endpoints, reactor
from twisted.internet.task import deferLater
from twisted.web.resource import Resource, getChildForRequest
from twisted.web.server import NOT_DONE_YET, Site

from tests.ext.browser.hostile import BLOCKS, FORGED, SLOW
from txmetrics import MeasuredReactor, MetricsRegistry, TimedResource, backends
from txmetrics.ext.dashboard import Dashboard
from txmetrics.instrument import BlockingCalls
from txmetrics.testing import GraphiteReceiver

HOST = "127.0.0.1"


class Says(Resource):
    """Answers each request, also for what is below it, after so many seconds with such a status."""

    isLeaf = True

    def __init__(self, seconds: float = 0.0, code: int = 200) -> None:
        Resource.__init__(self)
        self._seconds = seconds
        self._code = code

    def render_GET(self, request: Any) -> int:
        request.setResponseCode(self._code)
        deferLater(reactor, self._seconds, request.finish).addErrback(lambda failure: None)
        return NOT_DONE_YET


class Partial(Resource):
    """A dashboard, of which the resource of some ``name`` answers 503; or all of them, when it is switched off."""

    isLeaf = True

    def __init__(self, dashboard: Resource, name: bytes | None = None) -> None:
        Resource.__init__(self)
        self._dashboard = dashboard
        self._name = name
        self._off = False
        self._open: set[Any] = set()

    def render(self, request: Any) -> Any:
        if self._off or self._name in request.postpath:
            request.setResponseCode(503)
            return b"not now"
        self._open.add(request)
        request.notifyFinish().addBoth(lambda result: self._open.discard(request))
        return getChildForRequest(self._dashboard, request).render(request)

    def switch(self) -> None:
        """Off, with all that is open, or on again."""
        self._off = not self._off
        for request in [*self._open]:
            request.transport.abortConnection()


class Forged(Resource):
    """A dashboard whose registry seems to have metrics with names that none can have."""

    isLeaf = True

    def __init__(self, dashboard: Resource) -> None:
        Resource.__init__(self)
        self._dashboard = dashboard

    def render(self, request: Any) -> Any:
        tell = {b"series": self._series, b"history": self._history}.get(request.postpath[0])
        if tell is None:
            return getChildForRequest(self._dashboard, request).render(request)
        request.setHeader("Content-Type", "application/json")
        return json.dumps(tell(request)).encode()

    def _series(self, request: Any) -> list[dict[str, str]]:
        return [{"name": name, "metric": name, "kind": "gauge", "unit": ""} for name in FORGED]

    def _history(self, request: Any) -> dict[str, Any]:
        now, values = float(int(time.time())), [float(n % 7) for n in range(300)]
        times = [now - 299 + n for n in range(300)]
        return {"range": "5m", "step": 1, "times": times, "series": dict.fromkeys(FORGED, values)}


class Switch(Resource):
    """Whoever asks it switches a Partial."""

    isLeaf = True

    def __init__(self, partial: Partial) -> None:
        Resource.__init__(self)
        self._partial = partial

    def render_GET(self, request: Any) -> bytes:
        self._partial.switch()
        return b""


async def serve() -> None:
    """Listen, and say where."""
    registry = MetricsRegistry()
    registry.counter("jobs.done").inc(3)
    application = Resource()
    for name, page in {"fast": Says(), "slow": Says(0.05), "broken": Says(code=500)}.items():
        application.putChild(name.encode(), page)
    timed = TimedResource(application, registry)
    blocking = BlockingCalls(registry)
    MeasuredReactor(registry).startService()
    graphite = await _listen(GraphiteReceiver())
    reporter = backends.graphite(registry, f"tcp:{HOST}:{graphite}", interval=1)
    reporter.start_with(reactor)

    shown = Dashboard(registry, slowest=timed.slowest, blocked=blocking.slowest, reporters=[reporter])
    fragile = Partial(shown)
    application.putChild(b"switch", Switch(fragile))
    pages = {
        "dash": shown,
        "fragile": fragile,
        "no-events": Partial(shown, b"events"),
        "no-plotly": Partial(shown, b"plotly.min.js"),
        "forged": Forged(shown),
        "hostile": Dashboard(registry, slowest=lambda: SLOW, blocked=lambda: BLOCKS, reporters=[reporter]),
        "bare": Dashboard(MetricsRegistry()),
    }
    root = Resource()
    for name, page in pages.items():
        root.putChild(name.encode(), page)
    ports = await _listen(Site(timed)), await _listen(Site(root))
    print("application {}, dashboard {}".format(*ports), flush=True)


async def _listen(factory: Any) -> int:
    port = await endpoints.serverFromString(reactor, f"tcp:0:interface={HOST}").listen(factory)
    return int(port.getHost().port)


def main() -> None:
    from twisted.internet.defer import ensureDeferred
    from twisted.python.log import startLogging

    startLogging(sys.stdout)
    reactor.callWhenRunning(lambda: ensureDeferred(serve()).addErrback(lambda failure: failure.printTraceback()))
    reactor.run()


if __name__ == "__main__":
    main()
