"""The server of the soak: its metrics, routes and readers come and go, and it tells, in lines of JSON, how large it is.

Started by ``soak.py``, and gone with it. It gets the port of a Graphite and a Pace, and tells the port that it listens
at; from then on its Sizes; and, when it was told to stop (SIGTERM) and its reporter has stopped, how its books end.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet import reactor as _reactor
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Site

from txmetrics import IdleExpiry, MetricsRegistry, TimedResource, backends
from txmetrics.instrument import set_route

__all__ = ["HOST", "USES", "Churn", "Pace", "Size"]

reactor: Any = _reactor
HOST = "127.0.0.1"

APP, IDLE = "app", "idle"
"""What the names of metrics that are unregistered begin with, and of those that expire."""

OF_A_ROUTE = 50
"""So many requests, and the next ones belong to a route that never was before."""

REPLAY = 10
"""Seconds' worth of reports that are kept to be sent again; the usual 60 are that many only at an interval of 10 s."""


class Pace(NamedTuple):
    """How fast the metrics of the application come and go, and how often it is told how large the server is."""

    new: int
    """So many metrics are made each second,"""
    life: int
    """and unregistered after so many seconds; every other one by an IdleExpiry."""
    every: float
    """Seconds from one Size to the next."""
    count_every: int
    """One in so many of them has the number of objects in it."""


class Size(NamedTuple):
    """How large the server is."""

    rss: int
    """Bytes of memory that it occupies."""
    metrics: int
    processor: float
    """Seconds that it has used."""
    objects: int | None
    """That the garbage collector knows, among them what is garbage and was not found yet; None if not counted."""


def add_some(add: Callable[[float], None]) -> None:
    for number in range(10):
        add(number / 1000)


USES: dict[str, Callable[[MetricsRegistry, str], object]] = {
    "counter": lambda registry, name: registry.counter(name).inc(),
    "gauge": lambda registry, name: registry.gauge(name).set(len(name)),
    "meter": lambda registry, name: registry.meter(name).mark(),
    "histogram": lambda registry, name: add_some(registry.histogram(name).add),
    "timer": lambda registry, name: add_some(registry.timer(name).add),
}
"""How a metric of each kind is made, and used."""


class Churn:
    """Metrics, and readers, that come and go."""

    def __init__(self, registry: MetricsRegistry, pace: Pace) -> None:
        self._registry = registry
        self._pace = pace
        self._generations: deque[list[str]] = deque()
        self._made = 0
        self._expiry = IdleExpiry(registry, IDLE, pace.life)

    def step(self) -> None:
        """A second has passed: new metrics under names that never were, the oldest forgotten, one reader's visit."""
        made = [self._make() for _ in range(self._pace.new)]
        self._generations.append([name for name in made if not name.startswith(IDLE)])
        if len(self._generations) > self._pace.life:
            for name in self._generations.popleft():
                self._registry.unregister(name)
        self._expiry.sweep(len(self._registry))
        for _ in self._registry.reader().collect():
            pass

    def _make(self) -> str:
        kind, use = [*USES.items()][self._made % len(USES)]
        self._made += 1
        name = f"{APP if self._made % 2 else IDLE}.{kind}{self._made}"
        use(self._registry, name)
        return name


class Page(Resource):
    """Has a new route every so often, as a server that mistakes what its clients ask for has."""

    isLeaf = True
    asked = 0

    def render_GET(self, request: Any) -> bytes:
        set_route(request, f"GET /page{self.asked // OF_A_ROUTE}")
        self.asked += 1
        return b"hello"


def size(registry: MetricsRegistry, count: bool) -> Size:
    """Of this process, now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        rss = int(file.read().split()[1]) * resource.getpagesize()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Size(rss, len(registry), used.ru_utime + used.ru_stime, len(gc.get_objects()) if count else None)


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def repeat(what: Callable[[], object], seconds: float) -> None:
    """Do it now and every so many seconds; if it fails, the server ends, and with it the soak."""

    def failed(reason: Failure) -> None:
        traceback.print_exception(reason.value)
        reactor.stop()

    LoopingCall(what).start(seconds).addErrback(failed)


def serve(graphite: int, pace: Pace) -> None:
    """Until SIGTERM, or until the process that started this one is gone."""
    registry = MetricsRegistry()
    site = Site(TimedResource(Page(), registry))
    port = reactor.listenTCP(0, site, interface=HOST)
    endpoint = f"tcp:{HOST}:{graphite}"
    reporter = backends.graphite(registry, endpoint, interval=1, replay_window=REPLAY).start_with(reactor)
    churn = Churn(registry, pace)
    parent, told = os.getppid(), 0

    def step() -> None:
        if os.getppid() != parent:
            os._exit(1)
        churn.step()

    def sample() -> None:
        nonlocal told
        tell(size=size(registry, told % pace.count_every == 0))
        told += 1

    tell(port=port.getHost().port)
    # In the middle of a second; a report begins with one.
    reactor.callLater((1.5 - registry.clock.wall() % 1) % 1, repeat, step, 1.0)
    reactor.callWhenRunning(repeat, sample, pace.every)
    reactor.run()
    tell(ledger=reporter.ledger(), requests=registry.read("http.requests")["count"])


if __name__ == "__main__":
    serve(int(sys.argv[1]), Pace(*json.loads(sys.argv[2])))
