"""A server that measures nearly all there is, with traffic of its own, for a dashboard to be written for.

    python -m tests.console.grafana_child tcp:127.0.0.1:2003 web.{host}.{pid}

It reports to that Graphite each second under that prefix, has txmetrics' dashboard, and can be scraped. When each
metric has had values it says at which ports, and goes on until it is killed.
"""

from __future__ import annotations

import gc
import sys
import time
from io import BytesIO
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from txmetrics import MeasuredReactor, MetricsRegistry, TimedResource, backends
from txmetrics.ext.dashboard import Dashboard
from txmetrics.ext.prometheus import ScrapeResource
from txmetrics.instrument import BlockingCalls, MeasuredLog, MeasuredProcess, Tasks, TimedAgent, set_long_lived, timed

reactor: Any = _reactor

PAUSE = 0.3
"""Seconds between two rounds of traffic."""

ROUNDS = 3
"""After so many, whatever is made with its first value is there."""


class Page(Resource):
    """Does what it is called: ``ok``, ``slow``, ``poll``, ``blocks``, ``raises`` or ``never`` answers."""

    isLeaf = True

    def __init__(self, does: str) -> None:
        super().__init__()
        self._does = does

    def render(self, request: Any) -> Any:
        if self._does == "raises":
            raise ValueError("as it should")
        if self._does == "never":
            return NOT_DONE_YET
        if self._does == "blocks":
            time.sleep(0.06)
        if self._does == "poll":
            set_long_lived(request)
        if self._does in ("poll", "slow"):
            deferLater(reactor, 0.02, request.finish)
            return NOT_DONE_YET
        return b"done"


class Traffic:
    """Asks the server for everything, and counts in its place what an application would count."""

    def __init__(self, registry: MetricsRegistry, port: int) -> None:
        self._registry = registry
        self._base = f"http://127.0.0.1:{port}"
        self._agent = TimedAgent(Agent(reactor, pool=HTTPConnectionPool(reactor)), registry)
        self._tasks = Tasks(registry)
        self._fetch = timed(registry, "fetch")(self._get)
        registry.gauge("queue.length", lambda: 3)
        registry.gauge("disk.used_ratio", lambda: 0.5)

    async def round(self) -> None:
        for page in ("ok", "slow", "poll", "blocks", "raises", "missing"):
            await self._fetch(page)
        await self._post()
        self._leave()
        with self._tasks.run("import"):
            self._count()
        try:
            await timed(self._registry, "broken")(self._fail)()
        except ZeroDivisionError:
            Logger().failure("as it should")
        gc.collect()

    async def _get(self, page: str) -> None:
        await readBody(await self._agent.request(b"GET", f"{self._base}/{page}".encode()))

    async def _post(self) -> None:
        body: Any = FileBodyProducer(BytesIO(b"x" * 1000))
        await readBody(await self._agent.request(b"POST", f"{self._base}/ok".encode(), None, body))

    async def _fail(self) -> None:
        raise ZeroDivisionError

    def _leave(self) -> None:
        """A client that does not wait for its answer."""
        asked: Deferred[Any] = self._agent.request(b"GET", f"{self._base}/never".encode())
        asked.addErrback(lambda failure: None)
        reactor.callLater(0.05, asked.cancel)

    def _count(self) -> None:
        registry = self._registry
        registry.counter("hello_called").inc()
        registry.counter("jobs.done").inc(2)
        registry.counter("jobs.bytes_read").inc(1000)
        registry.meter("mails").mark(3)
        registry.histogram("mail.bytes").add(1234)
        registry.histogram("mail.recipients").add(2)
        registry.timer("db.query").add(0.004)


async def listen(resource: Resource) -> int:
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Site(resource))
    return int(port.getHost().port)


async def serve(graphite: str, prefix: str) -> None:
    registry = MetricsRegistry()
    root = Resource()
    for page in ("ok", "slow", "poll", "blocks", "raises", "never"):
        root.putChild(page.encode(), Page(page))
    port = await listen(TimedResource(root, registry, exact_codes=True))
    blocking = BlockingCalls(registry)
    for service in (MeasuredReactor(registry), blocking, MeasuredProcess(registry), MeasuredLog(registry)):
        service.startService()
    reporter = backends.graphite(registry, graphite, 1, prefix=prefix)
    reporter.start_with(reactor)
    page = await listen(Dashboard(registry, blocked=blocking.slowest, reporters=[reporter]))
    scraped = await listen(ScrapeResource(registry))
    traffic = Traffic(registry, port)
    for number in range(10_000):
        await traffic.round()
        if number == ROUNDS:
            print(f"dashboard {page} scraped {scraped}", flush=True)
        await deferLater(reactor, PAUSE)


def main() -> None:
    def failed(failure: Any) -> None:
        print(failure.getTraceback(), flush=True)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(serve(*sys.argv[1:])).addErrback(failed))
    reactor.run()


if __name__ == "__main__":
    main()
