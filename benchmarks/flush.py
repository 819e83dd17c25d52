"""What a report of 50,000 values each second does to a server under load: nothing that its users could notice.

    python benchmarks/flush.py                # about half a minute

Two processes: this one is the server (hello world, every request timed), the other one both asks it, at a steady rate
whatever the answers do (open loop), and takes the reports. Phases without and with reports alternate in the same run,
because a busy machine's noise is larger than what is measured. For each the table shows the turns of the reactor
(from the end of one poll to the beginning of the next), in wall time and in CPU time; only the CPU time is ours, the
wall time has the machine's other work in it. Then the longest turn of the reports themselves, and the latencies.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from statistics import quantiles
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.web.resource import Resource
from twisted.web.server import Site

from txmetrics import MetricsRegistry, TimedResource, backends

reactor: Any = _reactor
HOST = "127.0.0.1"
LIMIT = 0.005
VALUES_OF_A_TIMER = 16


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"hello"


def fill(registry: MetricsRegistry, values: int) -> Any:
    """Metrics of ``values`` values in all; the function that is returned keeps the timers busy."""
    timers = [registry.timer(f"app.timer{i}") for i in range(values * 3 // 5 // VALUES_OF_A_TIMER)]
    meters = [registry.meter(f"app.meter{i}") for i in range(values // 50)]
    for i, timer in enumerate(timers):
        for k in range(i % 256):  # so that they are not in step, and do not all fold their values in one turn
            timer.add(0.001 * k)
    for i in range(values * 2 // 10):
        registry.counter(f"app.counter{i}").inc(i)
    rest = values - VALUES_OF_A_TIMER * len(timers) - 5 * len(meters) - values * 2 // 10
    for i in range(rest):
        registry.gauge(f"app.gauge{i}").set(i / 7)
    position = 0

    def work() -> None:
        nonlocal position
        for _ in range(len(timers) // 50):  # each timer 20 times a second, a few at a time
            position = (position + 1) % len(timers)
            for k in range(10):
                timers[position].add(0.001 * k + 1e-6 * position)

    return work


class Turns:
    """Measures each turn of an epoll reactor: from the end of one poll to the beginning of the next.

    ``collections`` tells which turns had a pass of the garbage collector over older objects in them: its length is a
    matter of how many objects the whole process has, and it comes on top of whoever happens to set it off.
    """

    def __init__(self) -> None:
        self._poller = reactor._poller
        self._began: tuple[float, float] | None = None
        self._collection = False
        self.clear()
        gc.callbacks.append(self._collector_ran)
        reactor._poller = self

    def clear(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.collections: list[bool] = []

    def _collector_ran(self, phase: str, info: dict[str, int]) -> None:
        self._collection = self._collection or info["generation"] > 0

    def poll(self, *args: Any) -> Any:
        if self._began is not None:
            self.wall.append(time.perf_counter() - self._began[0])
            self.cpu.append(time.thread_time() - self._began[1])
            self.collections.append(self._collection)
        self._collection = False
        events = self._poller.poll(*args)
        self._began = time.perf_counter(), time.thread_time()
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


class World(ProcessProtocol):
    """The other process: a line of JSON each second."""

    def __init__(self) -> None:
        self.port: Deferred[int] = Deferred()
        self.latencies: list[float] = []
        self.lines = 0
        self._text = b""

    def outReceived(self, data: bytes) -> None:
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "port" in told:
                self.port.callback(told["port"])
            else:
                self.latencies += told["latencies"]
                self.lines += told["lines"]

    def errReceived(self, data: bytes) -> None:
        sys.stderr.buffer.write(data)


def row(what: str, seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=1000)
    over = sum(each > LIMIT for each in seconds)
    ms = [f"{1000 * each:8.2f}" for each in (cuts[499], cuts[989], cuts[998], max(seconds))]
    return f"  {what:<28}{len(seconds):>8}{''.join(ms)}{over:>8}"


@inlineCallbacks
def measure(given: argparse.Namespace) -> Any:
    registry = MetricsRegistry()
    work = fill(registry, given.values)
    gc.collect()
    gc.freeze()  # as a server with many long-lived objects does once it is up; see the README
    LoopingCall(work).start(0.01, now=False)
    site = Site(TimedResource(Hello(), registry))
    http = yield TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(site)
    world = World()
    command = [sys.executable, __file__, "--world", str(http.getHost().port), "--rate", str(given.rate)]
    process = reactor.spawnProcess(world, sys.executable, command, env=None)
    graphite = yield world.port
    turns = Turns()
    results: dict[str, dict[str, list[float]]] = {
        mode: {"wall": [], "cpu": [], "collections": [], "latency": [], "report": []} for mode in ("without", "with")
    }
    for _ in range(given.rounds):
        for mode, result in results.items():
            reporter = backends.graphite(registry, f"tcp:{HOST}:{graphite}", interval=1)
            if mode == "with":
                reporter.startService()
            yield deferLater(reactor, 1.5, lambda: None)  # warm
            turns.clear()
            world.latencies.clear()
            watch = LoopingCall(lambda: result["report"].append(reporter.longest_turn))  # noqa: B023
            watch.start(1.0, now=False)
            yield deferLater(reactor, given.seconds, lambda: None)
            watch.stop()
            result["wall"] += turns.wall
            result["cpu"] += turns.cpu
            result["collections"] += turns.collections
            result["latency"] += world.latencies
            print(f"{mode} reports: {len(turns.wall)} turns in {given.seconds:g} s", flush=True)
            yield reporter.stopService()
    process.signalProcess("KILL")
    show(results, world.lines, given)


def show(results: dict[str, dict[str, list[float]]], lines: int, given: argparse.Namespace) -> None:
    print(f"\n{given.values} values, a report a second, {given.rate} requests a second; {lines} lines arrived")
    print(f"  {'milliseconds':<28}{'number':>8}{'p50':>8}{'p99':>8}{'p99.9':>8}{'max':>8}{'> 5 ms':>8}")
    for what in ("cpu", "wall", "latency"):
        for mode, result in results.items():
            name = {"cpu": "turn, CPU", "wall": "turn, wall", "latency": "request"}[what]
            print(row(f"{name}, {mode} reports", result[what]))
    longest = max(results["with"]["report"], default=0.0)
    print(f"\nlongest turn of a report: {1000 * longest:.2f} ms (wall)")
    for mode, result in results.items():
        turns = list(zip(result["cpu"], result["collections"], strict=True))
        over = sum(seconds > LIMIT for seconds, _ in turns)
        full = sum(seconds > LIMIT for seconds, collection in turns if collection)
        print(f"turns of over 5 ms of CPU, {mode} reports: {over}; with a garbage collection in them: {full}")


class Sink(Protocol):
    """Takes the reports and counts their lines."""

    def dataReceived(self, data: bytes) -> None:
        cast(SinkFactory, self.factory).lines += data.count(b"\n")


class SinkFactory(Factory):
    protocol = Sink
    lines = 0


class Asker(Protocol):
    """One keep-alive connection."""

    REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    def __init__(self, idle: list[Asker], latencies: list[float]) -> None:
        self._idle = idle
        self._latencies = latencies

    def connectionMade(self) -> None:
        self._idle.append(self)

    def ask(self, due: float) -> None:
        self._due = due
        assert self.transport is not None
        self.transport.write(self.REQUEST)

    def dataReceived(self, data: bytes) -> None:
        if data.endswith(b"hello"):
            self._latencies.append(time.perf_counter() - self._due)
            self._idle.append(self)


@inlineCallbacks
def world(port: int, rate: float) -> Any:
    """The other side: asks at ``rate``, takes reports, and tells the server's process both."""
    sink = SinkFactory()
    graphite = yield TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(sink)
    idle: list[Asker] = []
    latencies: list[float] = []
    for _ in range(32):
        factory = Factory.forProtocol(lambda: Asker(idle, latencies))
        reactor.connectTCP(HOST, port, cast(Any, _once(factory)))
    start = time.perf_counter()
    sent = 0

    def ask() -> None:
        nonlocal sent
        while idle and start + sent / rate <= time.perf_counter():
            idle.pop().ask(start + sent / rate)
            sent += 1

    parent = os.getppid()

    def tell() -> None:
        if os.getppid() != parent:  # the server's process is gone, however it ended
            reactor.stop()
        print(json.dumps({"latencies": latencies, "lines": sink.lines}), flush=True)
        latencies.clear()
        sink.lines = 0

    print(json.dumps({"port": graphite.getHost().port}), flush=True)
    LoopingCall(ask).start(0.001)
    LoopingCall(tell).start(0.5)


def _once(factory: Any) -> Any:
    """A client factory of the old kind, which connectTCP wants."""
    factory.startedConnecting = factory.clientConnectionLost = factory.clientConnectionFailed = lambda *_: None
    return factory


def main() -> None:
    parser = argparse.ArgumentParser(description="A report of many values, and the reactor's turns.")
    parser.add_argument("--values", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=300, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5, help="length of a phase")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--world", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    failures: list[Any] = []
    if given.world:
        reactor.callWhenRunning(lambda: world(given.world, given.rate).addErrback(failures.append))
    else:
        reactor.callWhenRunning(lambda: measure(given).addErrback(failures.append).addBoth(lambda _: reactor.stop()))
    reactor.run()
    if failures:
        sys.exit(failures[0].getTraceback())


if __name__ == "__main__":
    main()
