"""The same metrics in txmetrics and in its peers, and a report of them all without a reactor.

Of every 50,000 values, as txmetrics counts them, 10,000 are counters, 5,000 are gauges, 5,000 belong to 1,000 meters,
and 30,000 to 1,875 timers. A peer has the same metrics, which are other numbers of values in its own count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from benchmarks.costs.operations import peer
from txmetrics import MetricsRegistry, backends
from txmetrics.clock import Clock
from txmetrics.interfaces import Chunk, IDelivery, Ledger
from txmetrics.reporter import PAUSE, Backend, Reporter
from txmetrics.wire import Graphite

__all__ = [
    "LIBRARIES",
    "OURS",
    "OURS_DELIVERED",
    "OURS_DELTAS",
    "OURS_TAGGED",
    "PROMETHEUS",
    "PYFORMANCE",
    "Add",
    "Report",
    "age",
    "carbon_reporter",
    "feed",
    "fill_prometheus",
    "fill_txmetrics",
    "told",
]

OURS, OURS_DELIVERED = "txmetrics", "txmetrics, with its delivery"
OURS_TAGGED, OURS_DELTAS = "txmetrics, with tags", "txmetrics, deltas of a fleet's worker"
FLOOR = "floor: numbers into lines"
PYFORMANCE, PROMETHEUS = "pyformance", "prometheus_client"

VALUES_OF_A_METER, VALUES_OF_A_TIMER = 5, 16
CHILDREN = 100
"""So many of prometheus_client's metrics have a name in common, and differ by a label."""

Add = Callable[[float], None]


class Report(NamedTuple):
    """A registry: how each of its timers takes a value, and how everything is written down, once.

    ``write`` returns the bytes, or how many values they held where they are in pieces.
    """

    library: str
    adds: list[Add]
    write: Callable[[], bytes | int]


class Sizes(NamedTuple):
    """How many metrics of each kind are ``values`` values."""

    counters: int
    gauges: int
    meters: int
    timers: int

    @classmethod
    def of(cls, values: int) -> Sizes:
        counters, gauges, meters = values // 5, values // 10, values // 50
        rest = values - counters - gauges - VALUES_OF_A_METER * meters
        return cls(counters, gauges, meters, rest // VALUES_OF_A_TIMER)


def told(written: bytes | int) -> int:
    """How many values a report has."""
    if isinstance(written, int):
        return written
    return sum(not line.startswith(b"#") for line in written.splitlines())


LIVED = 300
"""Values that each timer gets before anything is measured: then it has grown to about what it will be."""


def age(adds: list[Add]) -> None:
    """Let the timers be those of a server that has been up for a while."""
    for _ in feed(adds, LIVED):
        pass


def feed(adds: list[Add], size: int) -> Iterator[None]:
    """Add ``size`` values to each timer, lognormal ones in another order each, one timer a step."""
    random = Random(size)
    values = [random.lognormvariate(-5, 1) for _ in range(2 * size)]
    for number, add in enumerate(adds):
        start = number % size
        for value in values[start : start + size]:
            add(value)
        yield


# txmetrics


def fill_txmetrics(registry: MetricsRegistry, values: int) -> list[Add]:
    sizes = Sizes.of(values)
    for number in range(sizes.counters):
        registry.counter(f"app.counter{number}").inc(number)
    for number in range(sizes.gauges):
        registry.gauge(f"app.gauge{number}").set(number / 7)
    for number in range(sizes.meters):
        registry.meter(f"app.meter{number}").mark(number)
    return [registry.timer(f"app.timer{number}").add for number in range(sizes.timers)]


@implementer(IDelivery)
class Nowhere:
    """A delivery that counts the values and throws them away."""

    def __init__(self) -> None:
        self.counts: Mapping[str, int] = {}
        self.levels: Mapping[str, float] = {}
        self.ledger = Ledger(0, 0, 0, 0, 0, {})
        self.points = 0

    def start(self) -> None:
        pass

    def deliver(self, chunk: Chunk) -> None:
        self.points += chunk.points

    def stop(self, seconds: float) -> Deferred[None]:
        return succeed(None)


def fill_txmetrics_tagged(registry: MetricsRegistry, values: int) -> list[Add]:
    """The same with a tag each, a thousand under a name."""
    sizes = Sizes.of(values)
    for number in range(sizes.counters):
        registry.counter(f"app.counter{number // 1000}", n=number).inc(number)
    for number in range(sizes.gauges):
        registry.gauge(f"app.gauge{number // 1000}", n=number).set(number / 7)
    for number in range(sizes.meters):
        registry.meter(f"app.meter{number // 1000}", n=number).mark(number)
    return [registry.timer(f"app.timer{number // 1000}", n=number).add for number in range(sizes.timers)]


def of_txmetrics(values: int) -> Report:
    """A Reporter, with all its turns, in a reactor that does nothing between them; nothing is delivered."""
    return _undelivered(OURS, values, fill_txmetrics, Graphite())


def of_txmetrics_tagged(values: int) -> Report:
    return _undelivered(OURS_TAGGED, values, fill_txmetrics_tagged, Graphite())


def of_txmetrics_deltas(values: int) -> Report:
    """What makes the values of a fleet addable: who it is as tags on every line, and deltas."""
    wire = Graphite(tags={"host": "a", "worker": "w1"}, deltas=True)
    return _undelivered(OURS_DELTAS, values, fill_txmetrics, wire, deltas=True)


def _undelivered(
    library: str, values: int, fill: Callable[..., list[Add]], wire: Graphite, *, deltas: bool = False
) -> Report:
    nowhere = Nowhere()
    reactor, registry = _by_hand()
    adds = fill(registry, values)
    reporter = Reporter(registry, lambda _: Backend(wire, nowhere), 1, deltas=deltas, reactor=reactor)
    _start(reporter, reactor)

    def write() -> int:
        before = nowhere.points
        _report(reporter, reactor)
        return nowhere.points - before

    return Report(library, adds, write)


def of_txmetrics_delivered(values: int) -> Report:
    """The same with a delivery, which keeps everything, as its backend does not answer."""
    reactor, registry = _by_hand()
    adds = fill_txmetrics(registry, values)
    reporter = backends.graphite(registry, "unix:/nowhere", 1, reactor=reactor)
    _start(reporter, reactor)

    def write() -> int:
        before: int = reporter.ledger()["collected"]
        _report(reporter, reactor)
        after: int = reporter.ledger()["collected"]
        return after - before

    return Report(OURS_DELIVERED, adds, write)


def _start(reporter: Reporter, reactor: MemoryReactorClock) -> None:
    """Let the first two seconds pass, which are left to a predecessor's last report."""
    reporter.startService()
    reactor.advance(2)
    while reporter._report is not None:
        reactor.advance(PAUSE)


def _report(reporter: Reporter, reactor: MemoryReactorClock) -> None:
    """Let a report begin, with the next second, and end."""
    reactor.advance(1 - reactor.seconds() % 1 + 1e-6)
    while reporter._report is not None:
        reactor.advance(PAUSE)


def _by_hand() -> tuple[MemoryReactorClock, MetricsRegistry]:
    """A reactor whose time is advanced by hand, and a registry by its time; a turn's length is still the machine's."""
    reactor = MemoryReactorClock()
    return reactor, MetricsRegistry(Clock(wall=lambda: 1e9 + reactor.seconds(), tick=time.perf_counter))


# The peers


def carbon_reporter(values: int, interval: float, port: int) -> tuple[Any, list[Add]]:
    """pyformance's reporter of a registry, for 127.0.0.1; how the timers take a value. ImportError without it."""
    registry = peer("pyformance").MetricsRegistry()
    sizes = Sizes.of(values)
    for number in range(sizes.counters):
        registry.counter(f"app.counter{number}").inc(number)
    for number in range(sizes.gauges):
        registry.gauge(f"app.gauge{number}").set_value(number / 7)
    for number in range(sizes.meters):
        registry.meter(f"app.meter{number}").mark(number)
    adds = [registry.timer(f"app.timer{number}")._update for number in range(sizes.timers)]
    make = peer("pyformance.reporters.carbon_reporter").CarbonReporter
    return make(registry, interval, server="127.0.0.1", port=port), adds


def of_pyformance(values: int) -> Report:
    """What its CarbonReporter does, without the socket."""
    reporter, adds = carbon_reporter(values, 1, 0)
    return Report(PYFORMANCE, adds, lambda: reporter._collect_metrics(reporter.registry))


def fill_prometheus(values: int) -> tuple[Any, list[Add]]:
    """A registry, and how the histograms, which are its timers, take a value. ImportError without it."""
    client = peer("prometheus_client")
    registry = client.CollectorRegistry()
    sizes = Sizes.of(values)

    def children(kind: Any, name: str, count: int) -> Iterator[Any]:
        for start in range(0, count, CHILDREN):
            family = kind(f"app_{name}{start}", name, ["which"], registry=registry)
            for number in range(start, min(start + CHILDREN, count)):
                yield family.labels(str(number))

    for number, counter in enumerate(children(client.Counter, "counter", sizes.counters)):
        counter.inc(number)
    for number, gauge in enumerate(children(client.Gauge, "gauge", sizes.gauges)):
        gauge.set(number / 7)
    for number, counter in enumerate(children(client.Counter, "meter", sizes.meters)):
        counter.inc(number)
    return registry, [timer.observe for timer in children(client.Histogram, "timer", sizes.timers)]


def of_prometheus(values: int) -> Report:
    registry, adds = fill_prometheus(values)
    generate = peer("prometheus_client").generate_latest
    return Report(PROMETHEUS, adds, lambda: generate(registry))


def of_floor(values: int) -> Report:
    """What no report can do without: as many numbers, which are just there, written into lines."""
    sizes = Sizes.of(values)
    random = Random(1)
    lines: list[tuple[str, int | float]] = [(f"app.counter{number}.count", number) for number in range(sizes.counters)]
    lines += [(f"app.gauge{number}", random.lognormvariate(-5, 1)) for number in range(values - sizes.counters)]

    def write() -> bytes:
        return "".join([f"{name} {number!r} 1000000000\n" for name, number in lines]).encode()

    return Report(FLOOR, [], write)


LIBRARIES: dict[str, Callable[[int], Report]] = {
    OURS: of_txmetrics,
    OURS_TAGGED: of_txmetrics_tagged,
    OURS_DELTAS: of_txmetrics_deltas,
    OURS_DELIVERED: of_txmetrics_delivered,
    PYFORMANCE: of_pyformance,
    PROMETHEUS: of_prometheus,
    FLOOR: of_floor,
}
"""A report of so many values, made the way of each. Raises ImportError if the library is not installed."""
