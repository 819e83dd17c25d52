"""A server whose numbers are looked at: what that takes of its CPU, and how long its turns are.

    python -m benchmarks.looking.server --mode dashboard --series 5000 --seconds 10

``looks.py`` starts this program for each of MODES. Once it says on which port it can be asked, it runs for so many
seconds more, and then prints a line of JSON: the seconds of CPU that the reactor's thread took, and its longest
turn, both in CPU time. Every timer gets AT_A_SECOND values each second, which is part of both.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import LoopingCall
from twisted.web.resource import Resource
from twisted.web.server import Site

from benchmarks.costs.operations import peer
from benchmarks.reports.reactor import Spans, Turns
from benchmarks.reports.registries import Add, age
from txmetrics import MetricsRegistry
from txmetrics.ext.dashboard import Dashboard
from txmetrics.ext.prometheus import ScrapeResource

__all__ = ["MODES"]

reactor: Any = _reactor

AT_A_SECOND = 5
STEPS = 100
"""The values come in so many steps a second, each for another hundredth of the timers."""

OF_A_TIMER = 16
"""A histogram of seconds is so many series for Prometheus: 13 bounds, one beyond, sum and count."""

Made = tuple[Resource, list[Add]]


def timers(series: int, of_a_timer: int) -> tuple[MetricsRegistry, list[Add]]:
    registry = MetricsRegistry()
    return registry, [registry.timer(f"app.timer{number}").add for number in range(series // of_a_timer)]


def nothing(series: int) -> Made:
    """The same timers with the same values, and nobody who looks."""
    return Resource(), timers(series, 5)[1]


def dashboard(series: int) -> Made:
    """The ring buffers of a page: a point a second of 5 series a timer."""
    registry, adds = timers(series, 5)
    return Dashboard(registry), adds


def scraped_timers(series: int) -> Made:
    registry, adds = timers(series, OF_A_TIMER)
    return ScrapeResource(registry), adds


def scraped_counters(series: int) -> Made:
    registry = MetricsRegistry()
    for number in range(series):
        registry.counter(f"app.counter{number}").inc(number)
    return ScrapeResource(registry), []


def prometheus_client(series: int) -> Made:
    """Its own resource needs a thread, in which it holds the interpreter; this is the same work in the reactor."""
    library = peer("prometheus_client")
    registry = library.CollectorRegistry()
    parent = library.Histogram("app_timer_seconds", "Of a timer.", ["number"], registry=registry)
    adds = [parent.labels(str(number)).observe for number in range(series // OF_A_TIMER)]

    class Inline(Resource):
        isLeaf = True

        def render_GET(self, request: Any) -> bytes:
            text: bytes = library.generate_latest(registry)
            return text

    return Inline(), adds


MODES: dict[str, Callable[[int], Made]] = {
    "nothing": nothing,
    "dashboard": dashboard,
    "scraped counters": scraped_counters,
    "scraped timers": scraped_timers,
    "prometheus_client": prometheus_client,
}


def feed(adds: list[Add]) -> Callable[[], None]:
    """What gives the timers their values, a hundredth of them at each call."""
    size = max(1, len(adds) // STEPS)
    begin = 0

    def step() -> None:
        nonlocal begin
        for add in adds[begin : begin + size]:
            for number in range(AT_A_SECOND):
                add(0.001 * (1 + number * begin % 97))
        begin = (begin + size) % max(1, len(adds))

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description="A server whose numbers are looked at.")
    parser.add_argument("--mode", choices=list(MODES), default="dashboard")
    parser.add_argument("--series", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--settle", type=float, default=2, help="seconds before anything is measured")
    given = parser.parse_args()
    resource, adds = MODES[given.mode](given.series)
    age(adds)
    port = reactor.listenTCP(0, Site(resource), interface="127.0.0.1")
    if adds:
        LoopingCall(feed(adds)).start(1 / STEPS)
    turns = Spans()

    def begin() -> None:
        gc.collect()
        gc.freeze()  # as the README recommends
        reactor._poller = Turns(turns)
        reactor.callLater(given.seconds, end, time.perf_counter(), time.thread_time())
        print(port.getHost().port, flush=True)

    def end(since: float, cpu: float) -> None:
        took = time.thread_time() - cpu
        print(json.dumps({"cpu": took, "longest": turns.longest(since + 0.1, time.perf_counter())}), flush=True)
        reactor.stop()

    reactor.callLater(given.settle, begin)
    reactor.run()


if __name__ == "__main__":
    main()
