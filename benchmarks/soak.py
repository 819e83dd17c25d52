"""Half an hour of requests and reports, with metrics that come and go, in a server that must not grow nor be late.

    python -m benchmarks.soak                    # 32 minutes, the first two of them unmeasured; or --minutes N
    python -m benchmarks.soak --quick            # a look at whether it runs

Two processes. The server (``soaking/server.py``) is one of Twisted Web in a TimedResource, and reports each second to a
Graphite. Each second it makes 100 metrics of all kinds under names that never were, and uses them; when they are a
minute old, it unregisters one half, and an IdleExpiry the other. Every quarter of a second there is a route that never
was; and each second a reader is made, looks at everything, and is dropped. So what is kept by name, or by reader, and
not let go, is soon seen. This process is the Graphite, and asks: 200 requests a second, over connections that stay for
100 requests.

What the server occupies is read from /proc (Linux), every ten seconds. How late a report is, is how long after the
second that it is stamped with its first line arrives here: there is one in every second, and the lateness must not
wander. In the end the books are compared, what was asked with what was counted, and what was collected with what
arrived.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.internet.task import deferLater, react

from benchmarks.results import Results
from benchmarks.soaking import judgement
from benchmarks.soaking.judgement import Soaked
from benchmarks.soaking.server import HOST, Pace, Size
from benchmarks.soaking.world import Load, Reports, Sink

reactor: Any = _reactor
ROOT = Path(__file__).parent.parent

RATE = 200
"""Requests a second."""

PATIENCE = 20.0
"""Seconds that the server may take to start, or to stop; a reporter's stop takes five at the most."""


class Plan(NamedTuple):
    warm: float
    """Seconds until everything is there that comes and goes: measured is what is after them,"""
    seconds: float
    """for so long."""
    pace: Pace


QUICK = Plan(1, 4, Pace(new=100, life=2, every=0.5, count_every=2))


def full(minutes: float) -> Plan:
    return Plan(120, 60 * minutes, Pace(new=100, life=60, every=10, count_every=6))


class Server(ProcessProtocol):
    """What the server tells."""

    def __init__(self) -> None:
        self.port: Deferred[int] = Deferred()
        self.over: Deferred[None] = Deferred()
        self.sizes: list[tuple[float, Size]] = []
        self.books: dict[str, Any] = {}
        self._text = b""

    def outReceived(self, data: bytes) -> None:
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "port" in told:
                self.port.callback(told["port"])
            elif "size" in told:
                self.sizes.append((time.time(), Size(*told["size"])))
            else:
                self.books = told

    def errReceived(self, data: bytes) -> None:
        sys.stderr.write(data.decode(errors="replace"))

    def processEnded(self, reason: Any) -> None:
        self.over.callback(None)


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


async def soak(plan: Plan) -> Soaked:
    """Run the server, ask it, and take its reports. Raises RuntimeError or TimeoutError if it does not live or end."""
    reports, server = Reports(), Server()
    graphite = reactor.listenTCP(0, Factory.forProtocol(lambda: Sink(reports)), interface=HOST).getHost().port
    command = [sys.executable, "-m", "benchmarks.soaking.server", str(graphite), json.dumps(plan.pace)]
    process = reactor.spawnProcess(server, sys.executable, command, env=None, path=str(ROOT))
    try:
        load = Load(reactor, await server.port.addTimeout(PATIENCE, reactor), RATE)
        await live(server, plan.warm)
        began = time.time()
        await live(server, plan.seconds)
        await load.stop(PATIENCE)
        ended = time.time()
        process.signalProcess("TERM")
        await server.over.addTimeout(PATIENCE, reactor)
    finally:
        with suppress(ProcessExitedAlready):
            process.signalProcess("KILL")
    if not server.books:
        raise RuntimeError("the server has not told its books")
    sizes = [(at, size) for at, size in server.sizes if began <= at < ended]
    return Soaked(began, ended, sizes, reports, load.asked, load.answered, server.books)


async def live(server: Server, seconds: float) -> None:
    """Wait so long, and see that the server is there."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await sleep(min(0.2, left))
        if server.over.called:
            raise RuntimeError("the server has ended too early")


async def run(plan: Plan, json_file: str | None) -> None:
    results = Results("soak")
    results.add(*judgement.tell(await soak(plan)))
    results.show()
    if json_file is not None:
        results.write(json_file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Half an hour of load, and whether anything grows or gets late.")
    parser.add_argument("--minutes", type=float, default=30, help="to measure, after two to warm up; 30 if not given")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    given = parser.parse_args()
    plan = QUICK if given.quick else full(given.minutes)
    react(lambda _: ensureDeferred(run(plan, given.json)))


if __name__ == "__main__":
    main()
