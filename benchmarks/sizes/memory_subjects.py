"""The metrics whose memory is compared, each made, used and reported as its library has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from benchmarks.costs.operations import peer
from txmetrics import MetricsRegistry

__all__ = ["KINDS", "LIBRARIES", "OURS", "TIMERS", "Subject", "subject"]

OURS = "txmetrics"

KINDS = {
    "counter": (OURS, "pyformance", "prometheus_client", "opentelemetry-sdk"),
    "gauge": (OURS, "pyformance", "prometheus_client", "opentelemetry-sdk"),
    "meter": (OURS, "pyformance"),
    "histogram": (OURS, "pyformance", "prometheus_client", "opentelemetry-sdk", "ddsketch"),
    "timer": (OURS, "pyformance"),
}
"""Who has them."""

TIMERS = {"pyformance": "timer", "prometheus_client": "histogram", "ddsketch": "histogram"}
"""What others have in a timer's place."""

PERCENTILES = 0.5, 0.75, 0.95, 0.98, 0.99, 0.999


class Subject(NamedTuple):
    """An empty place for metrics of one kind."""

    make: Callable[[str], object] | None
    """Make one of that name. None where it is made by its first use."""
    use: Callable[[str, float], object]
    """Take in a value, or count one event, if that is all it can do."""
    reports: list[Callable[[], object]]
    """Each is a report of all metrics, as one reader takes it."""


def of_txmetrics(kind: str, readers: int) -> Subject:
    """Without a reader, what is reported is the metrics' whole life."""
    registry = MetricsRegistry()
    find: Callable[[str], Any] = getattr(registry, kind)

    uses: dict[str, Callable[[str, float], object]] = {
        "counter": lambda name, value: find(name).inc(),
        "gauge": lambda name, value: find(name).set(value),
        "meter": lambda name, value: find(name).mark(),
        "histogram": lambda name, value: find(name).add(value),
        "timer": lambda name, value: find(name).add(value),
    }
    sources: list[Any] = [registry.reader() for _ in range(readers)] or [registry]
    return Subject(find, uses[kind], [partial(read_all, source) for source in sources])


def read_all(source: Any) -> None:
    for reading in source.collect():
        reading.numbers()


def of_pyformance(kind: str) -> Subject:
    registry = peer("pyformance").MetricsRegistry()
    find = getattr(registry, kind)
    uses: dict[str, Callable[[str, float], object]] = {
        "counter": lambda name, value: find(name).inc(),
        "gauge": lambda name, value: find(name).set_value(value),
        "meter": lambda name, value: find(name).mark(),
        "histogram": lambda name, value: find(name).add(value),
        "timer": lambda name, value: find(name)._update(value),
    }
    return Subject(find, uses[kind], [registry.dump_metrics])


def of_prometheus(kind: str) -> Subject:
    """One metric, and the names are the values of its label."""
    client = peer("prometheus_client")
    registry = client.CollectorRegistry()
    family = getattr(client, kind.capitalize())("metric", "metric", ["name"], registry=registry)
    uses: dict[str, Callable[[str, float], object]] = {
        "counter": lambda name, value: family.labels(name).inc(),
        "gauge": lambda name, value: family.labels(name).set(value),
        "histogram": lambda name, value: family.labels(name).observe(value),
    }
    return Subject(family.labels, uses[kind], [lambda: client.generate_latest(registry)])


def of_opentelemetry(kind: str) -> Subject:
    """One instrument, and the names are the values of its attribute."""
    reader = peer("opentelemetry.sdk.metrics.export").InMemoryMetricReader()
    meter = peer("opentelemetry.sdk.metrics").MeterProvider([reader], shutdown_on_exit=False).get_meter("benchmark")
    instrument = getattr(meter, f"create_{kind}")("metric")
    uses: dict[str, Callable[[str, float], object]] = {
        "counter": lambda name, value: instrument.add(1, {"name": name}),
        "gauge": lambda name, value: instrument.set(value, {"name": name}),
        "histogram": lambda name, value: instrument.record(value, {"name": name}),
    }
    return Subject(None, uses[kind], [reader.get_metrics_data])


def of_ddsketch(kind: str) -> Subject:
    """A sketch is never emptied, so a report ends with new ones."""
    make = peer("ddsketch").DDSketch
    sketches: dict[str, Any] = {}

    def report() -> None:
        for name, sketch in sketches.items():
            for q in PERCENTILES:
                sketch.get_quantile_value(q)
            sketches[name] = make()

    def make_one(name: str) -> None:
        sketches[name] = make()

    def use(name: str, value: float) -> None:
        if name not in sketches:
            make_one(name)
        sketches[name].add(value)

    return Subject(make_one, use, [report])


LIBRARIES: dict[str, Callable[[str], Subject]] = {
    "pyformance": of_pyformance,
    "prometheus_client": of_prometheus,
    "opentelemetry-sdk": of_opentelemetry,
    "ddsketch": of_ddsketch,
}


def subject(library: str, kind: str, readers: int = 0) -> Subject:
    """A fresh one. Raises ImportError if the library is not installed; only of txmetrics there are readers."""
    return of_txmetrics(kind, readers) if library == OURS else LIBRARIES[library](kind)
