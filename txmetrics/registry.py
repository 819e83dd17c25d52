"""The registry: names -> metrics -> an iterator of frozen readings.

One name has one kind. Reading resets nothing; whoever wants to know what happened *since* holds a Reader, which
remembers for itself where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias, TypeVar
from weakref import WeakSet

from zope.interface import implementer

from txmetrics import names
from txmetrics.clock import SYSTEM, Clock
from txmetrics.interfaces import ISource
from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer, Window
from txmetrics.snapshot import FIELDS, CounterReading, HistogramReading, MeterReading, Reading, TimerReading

__all__ = ["MetricsRegistry", "Reader", "Scope"]

Metric: TypeAlias = Counter | Gauge | Histogram | Meter | Timer
M = TypeVar("M", Counter, Gauge, Histogram, Meter, Timer)

_FIELDS: Mapping[type[Metric], frozenset[str]] = {
    Counter: frozenset(FIELDS[CounterReading]),
    Gauge: frozenset(),
    Histogram: frozenset(FIELDS[HistogramReading]),
    Meter: frozenset(FIELDS[MeterReading]),
    Timer: frozenset(FIELDS[TimerReading]),
}
"""What may stand behind a metric's name in a report. A gauge is written under its bare name."""


@implementer(ISource)
class MetricsRegistry:
    """Keeps metrics by name; asking for a name makes the metric if it is not there yet.

    Names are dotted Graphite paths; a name that a Graphite path cannot carry raises ValueError, and so does a
    name that already belongs to another kind of metric, one that would be written on another metric's line (a gauge
    ``a.count`` beside a counter ``a``), and one under ``txmetrics``, where the reporter reports itself. Not for use
    from other threads than the reactor's.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self.clock = clock
        self._metrics: dict[str, Metric] = {}
        # Once more, by kind, so that to ask for one by its name is a single look.
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._meters: dict[str, Meter] = {}
        self._timers: dict[str, Timer] = {}
        # Names and metrics in their order, once more, because a report that spans many turns of the reactor cannot
        # iterate over a dict that grows meanwhile. None after a removal: rebuilt when next needed.
        self._order: tuple[list[str], list[Metric]] | None = [], []
        self._readers: WeakSet[Reader] = WeakSet()

    def counter(self, name: str) -> Counter:
        try:
            return self._counters[name]
        except KeyError:
            return self._make(name, Counter, Counter, self._counters)

    def gauge(self, name: str, tell: Callable[[], object] | None = None) -> Gauge:
        """The gauge ``name``. With ``tell``, a new gauge that calls it; ValueError if ``name`` is taken."""
        if name not in self._gauges:
            return self._make(name, Gauge, lambda: Gauge(tell), self._gauges)
        if tell is not None:
            raise ValueError(f"{name!r} exists already; unregister it to give it another callable")
        return self._gauges[name]

    def histogram(self, name: str) -> Histogram:
        try:
            return self._histograms[name]
        except KeyError:
            return self._make(name, Histogram, Histogram, self._histograms)

    def meter(self, name: str) -> Meter:
        try:
            return self._meters[name]
        except KeyError:
            return self._make(name, Meter, lambda: Meter(self.clock), self._meters)

    def timer(self, name: str) -> Timer:
        try:
            return self._timers[name]
        except KeyError:
            return self._make(name, Timer, lambda: Timer(self.clock), self._timers)

    def scope(self, prefix: str) -> Scope:
        """A view on this registry in which every name begins with ``prefix`` and a dot."""
        return Scope(self, _not_own(names.check(prefix, "scope"), "scope"))

    def unregister(self, name: str) -> None:
        """Forget the metric ``name``. Raises KeyError if there is none."""
        self._find(name)
        del self._metrics[name]
        for of_a_kind in (self._counters, self._gauges, self._histograms, self._meters, self._timers):
            of_a_kind.pop(name, None)
        self._order = None
        for reader in self._readers:
            reader.forget(name)

    def read(self, name: str) -> dict[str, object]:
        """The fields of one metric since it was made; raises KeyError if there is none of that name.

        A gauge whose callable raises has no fields.
        """
        return dict(self._find(name).read(name).fields())

    def snapshot(self) -> tuple[Reading, ...]:
        """Every metric's reading since it was made, in the order of their making."""
        return tuple(self.collect())

    def collect(self) -> Iterator[Reading]:
        """The same as ``snapshot``, each metric read when its turn comes, at no cost until then."""
        there = self._metrics.get
        for name, metric in zip(*self._in_order(), strict=True):
            if there(name) is metric:
                yield metric.read(name)

    def reader(self) -> Reader:
        """A new visitor, whose readings tell what happened since its own last visit."""
        return Reader(self)

    def __len__(self) -> int:
        return len(self._metrics)

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of their making; metrics may come and go meanwhile."""
        return iter([*self._metrics])

    def __contains__(self, name: object) -> bool:
        return name in self._metrics

    def __getitem__(self, name: str) -> Metric:
        """The metric ``name``, of whatever kind it is. Raises KeyError if there is none."""
        return self._find(name)

    def _in_order(self) -> tuple[list[str], list[Metric]]:
        """Names and metrics, to be gone through together; metrics may come and go meanwhile.

        One that is not there any more must be left out, and also one that was unregistered and made anew: as all that
        are told were there at one time, no two of them can have a line in common.
        """
        if self._order is None:
            self._order = list(self._metrics), list(self._metrics.values())
        return self._order

    def _find(self, name: str) -> Metric:
        try:
            return self._metrics[name]
        except KeyError:
            raise KeyError(f"no metric is named {name!r}") from None

    def _make(self, name: str, kind: type[M], make: Callable[[], M], of_its_kind: dict[str, M]) -> M:
        other = self._metrics.get(name)
        if other is not None:
            raise ValueError(
                f"{name!r} is a {other.__class__.__name__.lower()} already, "
                f"it cannot be a {kind.__name__.lower()} too; choose another name"
            )
        name = _not_own(names.check(name), "metric name")
        self._check_lines(name, kind)
        metric = self._metrics[name] = of_its_kind[name] = make()
        if self._order is not None:
            self._order[0].append(name)
            self._order[1].append(metric)
        return metric

    def _check_lines(self, name: str, kind: type[Metric]) -> None:
        """Raise ValueError if a new metric had a line in common with one that is there.

        Fields have no dots in them, so only the bare name of a gauge can be another metric's name and field.
        """
        if kind is Gauge:
            owner, _, field = name.rpartition(".")
            other = self._metrics.get(owner)
            if other is not None and field in _FIELDS[other.__class__]:
                raise _shared(name, owner, other.__class__)
        else:
            for field in _FIELDS[kind]:
                if self._metrics.get(f"{name}.{field}").__class__ is Gauge:
                    raise _shared(f"{name}.{field}", name, kind)


def _not_own(name: str, what: str) -> str:
    """Return ``name`` if it does not belong to the reporter; ValueError otherwise."""
    if name == names.OWN or name.startswith(f"{names.OWN}."):
        raise ValueError(
            f"{what} {name!r} belongs to the reporter, which reports itself under {names.OWN!r}; choose another name"
        )
    return name


def _shared(gauge: str, owner: str, kind: type[Metric]) -> ValueError:
    return ValueError(
        f"the gauge {gauge!r} and the {kind.__name__.lower()} {owner!r} would both be written as {gauge!r}; "
        f"choose another name for one of them"
    )


@implementer(ISource)
class Reader:
    """One visitor of a registry: each ``collect`` tells the interval since this reader's last one.

    Counts and sums are cumulative; percentiles, min, max and mean are the interval's, the first time those of
    the metric's whole life. Readers do not disturb each other, and a reader that is dropped leaves nothing.
    """

    def __init__(self, registry: MetricsRegistry) -> None:
        self._registry = registry
        self._windows: dict[str, Window] = {}
        registry._readers.add(self)

    def collect(self) -> Iterator[Reading]:
        """Every metric's reading, each taken when its turn comes."""
        there, windows = self._registry._metrics.get, self._windows
        for name, metric in zip(*self._registry._in_order(), strict=True):
            if there(name) is not metric:
                continue
            if isinstance(metric, Histogram):
                window = windows.get(name)
                if window is None or window.histogram is not metric:
                    window = windows[name] = metric.window()
                yield metric.read(name, window)
            else:
                yield metric.read(name)

    def forget(self, name: str) -> None:
        """The metric ``name`` is gone."""
        self._windows.pop(name, None)


class Scope:
    """A prefixed view of a registry: ``registry.scope("db").counter("reads")`` is ``db.reads``."""

    def __init__(self, registry: MetricsRegistry, prefix: str) -> None:
        self._registry = registry
        self._prefix = prefix

    def counter(self, name: str) -> Counter:
        return self._registry.counter(self._full(name))

    def gauge(self, name: str, tell: Callable[[], object] | None = None) -> Gauge:
        return self._registry.gauge(self._full(name), tell)

    def histogram(self, name: str) -> Histogram:
        return self._registry.histogram(self._full(name))

    def meter(self, name: str) -> Meter:
        return self._registry.meter(self._full(name))

    def timer(self, name: str) -> Timer:
        return self._registry.timer(self._full(name))

    def scope(self, prefix: str) -> Scope:
        return self._registry.scope(self._full(prefix))

    def unregister(self, name: str) -> None:
        self._registry.unregister(self._full(name))

    def read(self, name: str) -> dict[str, object]:
        return self._registry.read(self._full(name))

    @property
    def clock(self) -> Clock:
        return self._registry.clock

    def _full(self, name: str) -> str:
        if not isinstance(name, str):
            names.check(name)  # raises
        return f"{self._prefix}.{name}"
