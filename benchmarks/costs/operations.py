"""The operations whose cost is compared: those of txmetrics, and what its peers have in their place.

Each is used as its documentation says, held in a variable unless it is looked up by its name, with the defaults of its
library. A peer that is not installed is left out.
"""

from __future__ import annotations

import socket
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from time import perf_counter
from typing import Any, NamedTuple

from txmetrics import MetricsRegistry

__all__ = ["EMPTY", "FLOOR", "PIECE", "REFERENCE", "Operation", "all_operations", "peer"]

COUNTER, BY_NAME, METER, GAUGE = "counter.inc", "counter by name", "meter.mark", "gauge.set"
HISTOGRAM, TIMER, WITH, WITH_BY_NAME = "histogram.add", "timer.add", "with timer", "with timer by name"

FLOOR = "floor"
"""Stands for a library in which there is nothing but what has to be."""

PIECE = 100
"""So many operations are measured in one go, which is less than a histogram folds at a time."""


class Operation(NamedTuple):
    """A piece of code that does ``what``, the way of ``library``."""

    what: str
    library: str
    code: str
    names: dict[str, Any]
    before: Callable[[], object] | None = None
    """What is done, unmeasured, before each PIECE of them."""


class Reference:
    """The least that a counter can be in Python."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0

    def inc(self) -> None:
        self.n += 1


EMPTY = Operation("nothing", "", "pass", {})
REFERENCE = Operation("REF", "", "ref.inc()", {"ref": Reference()})


def peer(module: str) -> Any:
    """A peer's module. Raises ImportError if it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyformance imports pkg_resources, which warns of its end
        return import_module(module)


def of_txmetrics() -> Iterator[Operation]:
    registry = MetricsRegistry()
    reader = registry.reader()
    names = {
        "registry": registry,
        "counter": registry.counter("requests"),
        "gauge": registry.gauge("users"),
        "meter": registry.meter("logins"),
        "histogram": registry.histogram("bytes"),
        "timer": registry.timer("db.query"),
    }

    def read() -> None:
        """So that a hundred values never fill the list that is folded when it is full."""
        for _ in reader.collect():
            pass

    for what, code, before in [
        (COUNTER, "counter.inc()", None),
        (BY_NAME, 'registry.counter("requests").inc()', None),
        (METER, "meter.mark()", None),
        (GAUGE, "gauge.set(7)", None),
        (HISTOGRAM, "histogram.add(0.0123)", read),
        (TIMER, "timer.add(0.0123)", read),
        (WITH, "with timer.time(): pass", read),
        (WITH_BY_NAME, 'with registry.timer("db.query").time(): pass', read),
    ]:
        yield Operation(what, "txmetrics", code, names, before)


class Floor:
    """The least that a ``with`` block can be that takes the time."""

    __slots__ = ("began", "took")

    def __enter__(self) -> None:
        self.began = perf_counter()

    def __exit__(self, *ignored: object) -> None:
        self.took = perf_counter() - self.began


def of_floor() -> Iterator[Operation]:
    """Of those operations of which it is not REF."""
    yield Operation(WITH, FLOOR, "with floor: pass", {"floor": Floor()})


def of_pyformance() -> Iterator[Operation]:
    registry = peer("pyformance").MetricsRegistry()
    names = {
        "registry": registry,
        "counter": registry.counter("requests"),
        "gauge": registry.gauge("users"),
        "meter": registry.meter("logins"),
        "histogram": registry.histogram("bytes"),
        "timer": registry.timer("db.query"),
    }
    for what, code in [
        (COUNTER, "counter.inc()"),
        (BY_NAME, 'registry.counter("requests").inc()'),
        (METER, "meter.mark()"),
        (GAUGE, "gauge.set_value(7)"),
        (HISTOGRAM, "histogram.add(0.0123)"),
        (TIMER, "timer._update(0.0123)"),
        (WITH, "with timer.time(): pass"),
        (WITH_BY_NAME, 'with registry.timer("db.query").time(): pass'),
    ]:
        yield Operation(what, "pyformance", code, names)


def of_prometheus() -> Iterator[Operation]:
    client = peer("prometheus_client")
    registry = client.CollectorRegistry()
    family = client.Counter("requests", "requests", ["method"], registry=registry)
    timers = client.Histogram("query", "query", ["table"], registry=registry)
    names = {
        "family": family,
        "child": family.labels("GET"),
        "gauge": client.Gauge("users", "users", registry=registry),
        "histogram": client.Histogram("bytes", "bytes", registry=registry),
        "timers": timers,
        "timer": timers.labels("users"),
    }
    for what, code in [
        (COUNTER, "child.inc()"),
        (BY_NAME, 'family.labels("GET").inc()'),
        (GAUGE, "gauge.set(7)"),
        (HISTOGRAM, "histogram.observe(0.0123)"),
        (WITH, "with timer.time(): pass"),
        (WITH_BY_NAME, 'with timers.labels("users").time(): pass'),
    ]:
        yield Operation(what, "prometheus_client", code, names)


def of_opentelemetry() -> Iterator[Operation]:
    metrics, export = peer("opentelemetry.sdk.metrics"), peer("opentelemetry.sdk.metrics.export")
    meter = metrics.MeterProvider([export.InMemoryMetricReader()]).get_meter("benchmark")
    names = {
        "counter": meter.create_counter("requests"),
        "gauge": meter.create_gauge("users"),
        "histogram": meter.create_histogram("bytes"),
    }
    for what, code in [
        (COUNTER, "counter.add(1)"),
        (BY_NAME, 'counter.add(1, {"method": "GET"})'),
        (GAUGE, "gauge.set(7)"),
        (HISTOGRAM, "histogram.record(0.0123)"),
    ]:
        yield Operation(what, "opentelemetry-sdk", code, names)


def of_statsd() -> Iterator[Operation]:
    """A datagram each, to a socket that nobody reads; and a pipeline, without the sending of what it gathers."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    client = peer("statsd").StatsClient("127.0.0.1", receiver.getsockname()[1])
    pipeline = client.pipeline()
    names = {"client": client, "pipeline": pipeline, "receiver": receiver}
    for what, code in [
        (COUNTER, 'client.incr("requests")'),
        (GAUGE, 'client.gauge("users", 7)'),
        (TIMER, 'client.timing("db.query", 12.3)'),
        (WITH, 'with client.timer("db.query"): pass'),
    ]:
        yield Operation(what, "statsd", code, names)
    yield Operation(COUNTER, "statsd pipeline", 'pipeline.incr("requests")', names, pipeline.send)
    yield Operation(TIMER, "statsd pipeline", 'pipeline.timing("db.query", 12.3)', names, pipeline.send)


def of_ddsketch() -> Iterator[Operation]:
    yield Operation(HISTOGRAM, "ddsketch", "sketch.add(0.0123)", {"sketch": peer("ddsketch").DDSketch()})


def of_hdrhistogram() -> Iterator[Operation]:
    histogram = peer("hdrh.histogram").HdrHistogram(1, 3_600_000_000, 2)  # microseconds, up to an hour
    yield Operation(HISTOGRAM, "hdrhistogram", "histogram.record_value(12300)", {"histogram": histogram})


LIBRARIES: dict[str, Callable[[], Iterator[Operation]]] = {
    "txmetrics": of_txmetrics,
    FLOOR: of_floor,
    "pyformance": of_pyformance,
    "prometheus_client": of_prometheus,
    "opentelemetry-sdk": of_opentelemetry,
    "statsd": of_statsd,
    "ddsketch": of_ddsketch,
    "hdrhistogram": of_hdrhistogram,
}


def all_operations() -> tuple[list[Operation], dict[str, str]]:
    """The operations, by what they do; and why a library's are not among them."""
    found: list[Operation] = []
    missing = {}
    for library, operations in LIBRARIES.items():
        try:
            found += operations()
        except ImportError as reason:
            missing[library] = str(reason)
    order = [COUNTER, BY_NAME, METER, GAUGE, HISTOGRAM, TIMER, WITH, WITH_BY_NAME]
    return sorted(found, key=lambda operation: order.index(operation.what)), missing
