"""A hello world that counts, measures and reports: the four listings of the 2013 article, in one server.

python examples/hello.py                                          # to a Graphite inside this process
python examples/hello.py --graphite tcp:127.0.0.1:2003            # to a real one
python examples/hello.py --hosted-graphite-key-file key.txt       # to HostedGraphite

curl 'http://127.0.0.1:8001/?world_size=15'                       # and see it at http://127.0.0.1:8002/
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import LoopingCall
from twisted.web.resource import Resource
from twisted.web.server import Site

from txmetrics import MeasuredReactor, MetricsRegistry, TimedResource, backends
from txmetrics.ext.dashboard import Dashboard
from txmetrics.testing import GraphiteReceiver

reactor: Any = _reactor


class Hello(Resource):
    """Answers ``?world_size=n`` with the histogram of all the n so far."""

    isLeaf = True

    def __init__(self, registry: MetricsRegistry) -> None:
        super().__init__()
        self._registry = registry
        self._called = registry.counter("hello_called")
        self._world_size = registry.histogram("world_size")

    def render_GET(self, request: Any) -> bytes:
        text = request.args.get(b"world_size", [b""])[0]
        try:
            size = float(text)
        except ValueError:
            size = math.nan
        if not math.isfinite(size):
            request.setResponseCode(400)
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            wrong = f"is no finite number: {text.decode('utf-8', 'replace')!r}" if text else "is missing"
            return f"world_size {wrong}. Ask with a number, as in ?world_size=15\n".encode()
        self._called.inc()
        self._world_size.add(size)
        request.setHeader(b"content-type", b"application/json")
        return json.dumps(self._registry.read("world_size")).encode() + b"\n"


class Embedded:
    """A Graphite inside this process, which says each second what arrived."""

    def __init__(self) -> None:
        self._receiver = GraphiteReceiver()
        self._told = 0

    def listen(self) -> Any:
        LoopingCall(self._tell).start(1.0, now=False)
        return listen(0, self._receiver)

    def _tell(self) -> None:
        arrived = len(self._receiver.points)
        requests = self._receiver.latest("http.requests.count") or 0
        called = self._receiver.latest("hello_called.count") or 0
        print(
            f"{arrived - self._told} lines arrived: http.requests.count is {requests:.0f}, "
            f"hello_called.count is {called:.0f}",
            flush=True,
        )
        self._told = arrived


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A hello world that reports to Graphite.")
    parser.add_argument("--listen", metavar="PORT", type=int, default=8001, help="answer on this port (8001; 0: any)")
    parser.add_argument("--dashboard", metavar="PORT", type=int, default=8002, help="show it on this (8002; 0: any)")
    backend = parser.add_mutually_exclusive_group()
    backend.add_argument("--graphite", metavar="ENDPOINT", help="report to this Graphite, such as tcp:127.0.0.1:2003")
    backend.add_argument("--hosted-graphite-key-file", metavar="FILE", help="report to HostedGraphite with this key")
    return parser.parse_args()


def listen(port: int, factory: Any) -> Any:
    return serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1").listen(factory)


@inlineCallbacks
def serve(given: argparse.Namespace) -> Any:
    registry = MetricsRegistry()
    timed = TimedResource(Hello(registry), registry)
    port = yield listen(given.listen, Site(timed))
    if given.graphite is not None:
        reporter = backends.graphite(registry, given.graphite)
    elif given.hosted_graphite_key_file is not None:
        reporter = backends.hosted_graphite(registry, Path(given.hosted_graphite_key_file).read_text().strip())
    else:
        graphite = yield Embedded().listen()
        reporter = backends.graphite(registry, f"tcp:127.0.0.1:{graphite.getHost().port}", interval=1)
    reporter.start_with(reactor)
    MeasuredReactor(registry).startService()
    page = yield listen(given.dashboard, Site(Dashboard(registry, slowest=timed.slowest, reporters=[reporter])))
    print(f"Listening: curl 'http://127.0.0.1:{port.getHost().port}/?world_size=15'", flush=True)
    print(f"and see it: http://127.0.0.1:{page.getHost().port}/", flush=True)


def main() -> None:
    given = options()
    errors = []

    def failed(failure: Any) -> None:
        errors.append(failure.getErrorMessage())
        reactor.stop()

    reactor.callWhenRunning(lambda: serve(given).addErrback(failed))
    reactor.run()
    if errors:
        sys.exit(f"hello.py: {errors[0]}")


if __name__ == "__main__":
    main()
