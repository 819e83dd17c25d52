"""A measured Site that hears everything a client can make up; prints what it has counted, and how much it has grown."""

from __future__ import annotations

import gc
import json
from collections import Counter as Tally
from collections.abc import Iterable
from itertools import islice
from typing import Any

import psutil
from twisted.logger import globalLogBeginner
from twisted.web.resource import Resource

from tests.instrument.web.loopback import request
from tests.instrument.web.wire import Wire
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.testing import FakeReactor

PATHS = 100_000
METHODS = 10_000
TYPES = 1_000
CODES = range(100, 1000)
WARM_UP = 5_000
"""Requests before the memory is looked at, so that all series there can be are there, and full."""

TOGETHER = 200
"""Requests on one connection."""


class Page(Resource):
    """Answers all paths and methods as the path says: ``/fail/TYPE`` with an exception, ``/code/404`` with a code."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        kind, _, word = request.path[1:].decode().partition("/")
        if kind == "fail":
            raise type(word, (Exception,), {})
        if kind == "code":
            request.setResponseCode(int(word))
        return b""


class Flood:
    """Requests without end for one Site."""

    def __init__(self, **options: Any) -> None:
        reactor = FakeReactor()
        self.registry = MetricsRegistry(reactor.clock)
        self._wire = Wire(reactor, TimedResource(Page(), self.registry, **options))

    def send(self, requests: Iterable[bytes]) -> None:
        requests = iter(requests)
        while batch := tuple(islice(requests, TOGETHER)):
            self._wire.connect()
            self._wire.send(*batch)
            self._wire.lose()

    def counted(self) -> dict[str, Any]:
        """All requests; those of all routes; and of each name below the routes how many there are, and their sum."""
        found: dict[str, Any] = {"requests": self.registry.timer("http.requests").count}
        found["measuring_errors"] = self.registry.counter("http.measuring_errors").count
        series: Tally[str] = Tally()
        sums: Tally[str] = Tally()
        for reading in self.registry.snapshot():
            parts = reading.name.split(".")
            if parts[1] == "routes" and parts[3] in ("requests", "errors", "codes"):
                series[parts[3]] += 1
                sums[parts[3]] += reading.count
        return found | {"series": series, "sums": sums}


def memory() -> int:
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident


def paths(begin: int, end: int) -> Iterable[bytes]:
    """Each unlike all others, and long."""
    return (request(f"/{number}/{'long' * 40}?{number}", close=False) for number in range(begin, end))


def methods(begin: int, end: int) -> Iterable[bytes]:
    return (request("/", method=f"M{number}", close=False) for number in range(begin, end))


def flood(requests: Any, count: int, **options: Any) -> dict[str, Any]:
    """Play ``count`` different requests after the first ones, which make room for all."""
    site = Flood(**options)
    site.send(requests(0, WARM_UP))
    before = memory()
    site.send(requests(WARM_UP, WARM_UP + count))
    return {**site.counted(), "sent": WARM_UP + count, "grown": memory() - before}


def main() -> None:
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)  # it would keep the events
    types, codes = Flood(), Flood(exact_codes=True)
    types.send(request(f"/fail/Error{number}", close=False) for number in range(TYPES))
    codes.send(request(f"/code/{code}", close=False) for code in CODES)
    told = {
        "paths": flood(paths, PATHS, route=lambda request: request.path.decode()),
        "methods": flood(methods, METHODS),
        "types": {**types.counted(), "sent": TYPES},
        "codes": {**codes.counted(), "sent": len(CODES)},
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
