"""One worker of a fleet: it answers each request after a while, measures that once, and says what it has measured.

FLEET_PORT=8080 FLEET_GRAPHITE=tcp:127.0.0.1:2003 twistd -n metrics --workers=4 ... --python=examples/fleet/app.py

Where it reports to is said by FLEET_GRAPHITE, or by FLEET_REMOTE_WRITE, NAIVE_REMOTE_WRITE and FLEET_HISTOGRAMS. What
is reported as ``naive`` is how not to do it: there all workers have one name, and overwrite each other.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from math import log
from time import perf_counter
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from txmetrics import MetricsRegistry, Reporter, backends
from txmetrics.identity import Identity

MEDIANS = {"w0": 0.020, "w1": 0.025, "w2": 0.030, "w3": 0.500}
"""Seconds that half of a worker's answers take; the last one is the fleet's trouble."""

SPREADS = {"w3": 0.2}
"""Standard deviations of the logarithms, 0.5 for the others."""


class Work(Resource):
    """Answers with who has answered, and after how many seconds: the very number that is in the timer ``work``."""

    isLeaf = True

    def __init__(self, registry: MetricsRegistry) -> None:
        super().__init__()
        self._work = registry.timer("work")

    def render_GET(self, request: Any) -> int:
        begin = perf_counter()
        who = Identity.resolve()
        wait = random.lognormvariate(log(MEDIANS.get(who.worker, 0.025)), SPREADS.get(who.worker, 0.5))
        working = deferLater(reactor, wait, self._answer, request, who, begin)
        request.notifyFinish().addErrback(lambda gone: working.cancel())
        working.addErrback(lambda cancelled: None)
        return NOT_DONE_YET

    def _answer(self, request: Any, who: Identity, begin: float) -> None:
        seconds = perf_counter() - begin
        self._work.add(seconds)
        told = {"worker": who.worker, "generation": who.generation, "pid": os.getpid(), "seconds": seconds}
        body = json.dumps(told).encode() + b"\n"
        request.setHeader(b"content-length", b"%d" % len(body))
        request.write(body)
        request.finish()


def reporters(registry: MetricsRegistry) -> Iterator[Reporter]:
    """The right one, and the naive one."""
    graphite, interval = os.environ.get("FLEET_GRAPHITE"), float(os.environ["FLEET_INTERVAL"])
    if graphite:
        fleet = "fleet.{host}.{worker}"
        yield backends.graphite(registry, graphite, interval, fleet, temporality="delta", buckets=["work"])
        yield backends.graphite(registry, graphite, interval, "naive")
    else:
        histograms = os.environ["FLEET_HISTOGRAMS"]
        for job, instance in (("fleet", "{host}/{worker}-{generation}"), ("naive", "all")):
            url = os.environ[f"{job.upper()}_REMOTE_WRITE"]
            labels = {"job": job, "instance": instance}
            yield backends.remote_write(registry, url, interval, labels=labels, histograms=histograms)


def make() -> Any:
    made: Any = Application("fleet")
    registry = MetricsRegistry()
    site: Any = Site(Work(registry))
    endpoint = serverFromString(reactor, f"tcp:{os.environ['FLEET_PORT']}:interface=127.0.0.1")
    for service in (*reporters(registry), StreamServerEndpointService(endpoint, site)):
        service.setServiceParent(made)
    return made


application = make()
