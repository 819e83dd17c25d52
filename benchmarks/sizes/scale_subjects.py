"""The registries that are compared at many metrics, each made, used and reported as its library has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.costs.operations import peer
from txmetrics import MetricsRegistry, Timer
from txmetrics.wire import Graphite

__all__ = ["SUBJECTS", "Subject"]

MUCH = 1_000
"""What is counted at a time, except where it is measured: small integers are there already, and cost less."""


class Subject(NamedTuple):
    """An empty registry, and what is done with it."""

    registry: Any
    make: Callable[[str], Any]
    call: str
    """The method of a metric that is measured, "" for none."""
    find: str
    """The method of the registry that finds a metric by its name."""
    take: Callable[[Any, float], object]
    """Let a metric take a value in, or count."""
    report: Callable[[], Any]
    """Report every metric,"""
    count: Callable[[Any], int]
    """and tell how many values are in what that returned."""


def of_txmetrics(kind: str) -> Subject:
    """``mixed`` are counters and timers in turns."""
    registry, wire = MetricsRegistry(), Graphite()
    reader = registry.reader()

    def mixed(name: str) -> Any:
        return registry.timer(name) if name.endswith(("0", "2", "4", "6", "8")) else registry.counter(name)

    def take(metric: Any, value: float) -> None:
        if isinstance(metric, Timer):
            metric.add(value)
        else:
            metric.inc(MUCH)

    def report() -> int:
        encoder = wire.encoder(1_800_000_000)
        points = 0
        for reading in reader.collect():
            chunk = encoder.add(reading)
            if chunk is not None:
                points += chunk.points
        rest = encoder.finish()
        return points if rest is None else points + rest.points

    makes: dict[str, Callable[[str], Any]] = {"counter": registry.counter, "timer": registry.timer, "mixed": mixed}
    make = makes[kind]
    call = {"counter": "inc()", "timer": "add(0.0123)", "mixed": ""}[kind]
    return Subject(registry, make, call, kind, take, report, int)


def of_pyformance(kind: str) -> Subject:
    """Reported as its CarbonReporter does, but for the socket."""
    registry = peer("pyformance").MetricsRegistry()
    reporter = peer("pyformance.reporters.carbon_reporter").CarbonReporter(registry)

    def report() -> bytes:
        lines: bytes = reporter._collect_metrics(registry, 1_800_000_000)
        return lines

    def count(lines: bytes) -> int:
        return lines.count(b"\n")

    if kind == "counter":
        return Subject(registry, registry.counter, "inc()", kind, lambda metric, _: metric.inc(MUCH), report, count)
    return Subject(
        registry, registry.timer, "_update(0.0123)", kind, lambda metric, v: metric._update(v), report, count
    )


def of_prometheus(kind: str) -> Subject:
    """The registry is a family, and the names are the values of its label."""
    client = peer("prometheus_client")
    registry = client.CollectorRegistry()

    def report() -> bytes:
        text: bytes = client.generate_latest(registry)
        return text

    def count(text: bytes) -> int:
        return text.count(b"\n") - text.count(b"# ")

    if kind == "counter":
        family = client.Counter("metric", "metric", ["name"], registry=registry)
        return Subject(family, family.labels, "inc()", "labels", lambda metric, _: metric.inc(MUCH), report, count)
    family = client.Histogram("metric", "metric", ["name"], registry=registry)
    return Subject(
        family, family.labels, "observe(0.0123)", "labels", lambda metric, v: metric.observe(v), report, count
    )


SUBJECTS: dict[str, Callable[[str], Subject]] = {
    "txmetrics": of_txmetrics,
    "pyformance": of_pyformance,
    "prometheus_client": of_prometheus,
}
"""By the library. Each raises ImportError if that is not installed; ``mixed`` there is only of txmetrics."""
