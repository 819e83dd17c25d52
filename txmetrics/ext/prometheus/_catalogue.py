"""The catalogue: a registry's metrics in their families, brought up to date and read, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count

from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer
from txmetrics.registry import MetricsRegistry
from txmetrics.snapshot import CounterReading, GaugeReading, Reading
from txmetrics.wire import Family, PrometheusPlan

__all__ = ["Catalogue"]

A_STEP = 20
"""So many metrics are looked up in a step; a histogram is read in one of its own."""

KINDS: Mapping[type, str] = {
    Counter: "counter",
    Gauge: "gauge",
    Histogram: "histogram",
    Meter: "meter",
    Timer: "timer",
}


class Catalogue:
    """The metrics of ``registry`` in the families of ``plan``; ``own`` are more of them, which come first.

    ``own`` tells each by its name and what reads it; they are counters and gauges, and must not be in the registry.
    Metrics may come and go while somebody goes through the catalogue, or several do.
    """

    def __init__(
        self,
        registry: MetricsRegistry,
        plan: PrometheusPlan,
        own: Mapping[str, Callable[[], CounterReading | GaugeReading]],
    ) -> None:
        self._registry = registry
        self._plan = plan
        self._own = own
        for name, read in own.items():
            plan.add(name, "counter" if isinstance(read(), CounterReading) else "gauge")

    def update(self) -> Iterator[None]:
        """Give what is new a place, and take it from what is gone; in steps."""
        steps = count(1)
        registry, plan, own = self._registry, self._plan, self._own
        for name in plan.names():
            if name not in registry and name not in own:
                plan.discard(name)
            if next(steps) % A_STEP == 0:
                yield
        for name in registry:
            if name in registry:  # still
                plan.add(name, KINDS[type(registry[name])])
            if next(steps) % A_STEP == 0:
                yield

    def families(self) -> list[Family]:
        """As they are now."""
        return [*self._plan.families.values()]

    def readings(self, family: Family) -> Iterator[tuple[str, Reading]]:
        """The labels and readings of the metrics that the family has now, if they are there when their turn comes."""
        series = family.series
        for labels in [*series]:
            name = series.get(labels)
            reading = None if name is None else self._read(name, family.kind)
            if reading is not None:
                yield labels, reading

    def _read(self, name: str, kind: str) -> Reading | None:
        own = self._own.get(name)
        if own is not None:
            return own()
        try:
            metric = self._registry[name]
        except KeyError:
            return None
        # One that was made anew, of another kind, has no place yet.
        return metric.read(name) if KINDS[type(metric)] == kind else None
