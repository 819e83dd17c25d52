"""The registry itself: a metric by each name, and the rules of which names there may be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar
from weakref import WeakSet

from zope.interface import implementer

from txmetrics import names
from txmetrics.clock import SYSTEM, Clock
from txmetrics.interfaces import ISource
from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer
from txmetrics.names import Tag
from txmetrics.registry._deltas import DeltaReader
from txmetrics.registry._lines import Lines
from txmetrics.registry._reader import Reader
from txmetrics.registry._scope import Scope
from txmetrics.registry._tag_sets import TAG_SETS, Metric, TagSets
from txmetrics.snapshot import Reading

__all__ = ["MetricsRegistry"]

M = TypeVar("M", Counter, Gauge, Histogram, Meter, Timer)

_log = logging.getLogger("txmetrics")  # not Twisted's: this floor does not know it


@implementer(ISource)
class MetricsRegistry:
    """Keeps metrics by name; asking for a name makes the metric if it is not there yet.

    Names are dotted Graphite paths; a name that a Graphite path cannot carry raises ValueError, and so does a
    name that already belongs to another kind of metric, one that would be written on another metric's line (a gauge
    ``a.count`` beside a counter ``a``), and one under ``txmetrics``, where the reporter reports itself. Not for use
    from other threads than the reactor's.

    ``counter("jobs", queue="mail")`` has a tag, and the full name ``jobs;queue=mail``, which may be given in the place
    of both. A tag is called by letters, digits and ``_``, but not ``name``, ``le`` or ``vmrange``, which mean something
    already. Its value is a string, of which what a tag cannot carry is replaced by ``_``, an integer or a bool. All
    metrics of a name that have tags are of one kind. Once there are 2,000 of them, all others are one, whose tags are
    ``_other``, so that totals stay right; the log tells so once, through Python's ``logging``, and the counter
    ``txmetrics.overflow`` how often one of those was asked for. Whoever counts often under the same tags keeps the
    metric: to find it by its tags takes longer than to count.
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
        self._tag_sets = TagSets()
        self._crowded: set[str] = set()  # the names that were told to the log
        self._lines = Lines(self._kind_of, self._gauges)
        # Names and metrics in their order, once more, because a report that spans many turns of the reactor cannot
        # iterate over a dict that grows meanwhile. None after a removal: rebuilt when next needed.
        self._order: tuple[list[str], list[Metric]] | None = [], []
        self._readers: WeakSet[Reader] = WeakSet()

    def counter(self, name: str, /, **tags: Tag) -> Counter:
        try:
            return self._counters[names.spelled(name, tags) if tags else name]
        except KeyError:
            return self._make(names.full(name, tags), Counter, Counter, self._counters)

    def gauge(self, name: str, /, tell: Callable[[], object] | None = None, **tags: Tag) -> Gauge:
        """The gauge ``name``. With ``tell``, a new gauge that calls it; ValueError if there is one already.

        One with ``tell`` for whose tags there is no room is not reported: it would tell of itself for all others. A tag
        that is called ``tell`` can only be given with the full name.
        """
        known = names.spelled(name, tags) if tags else name
        full = known if known in self._gauges else names.full(name, tags)
        if full not in self._gauges:
            if tell is not None and self._with_room(full) != full:
                return Gauge(tell)
            return self._make(full, Gauge, lambda: Gauge(tell), self._gauges)
        if tell is not None:
            raise ValueError(f"{full!r} exists already; unregister it to give it another callable")
        return self._gauges[full]

    def histogram(self, name: str, /, **tags: Tag) -> Histogram:
        try:
            return self._histograms[names.spelled(name, tags) if tags else name]
        except KeyError:
            return self._make(names.full(name, tags), Histogram, Histogram, self._histograms)

    def meter(self, name: str, /, **tags: Tag) -> Meter:
        try:
            return self._meters[names.spelled(name, tags) if tags else name]
        except KeyError:
            return self._make(names.full(name, tags), Meter, lambda: Meter(self.clock), self._meters)

    def timer(self, name: str, /, **tags: Tag) -> Timer:
        try:
            return self._timers[names.spelled(name, tags) if tags else name]
        except KeyError:
            return self._make(names.full(name, tags), Timer, lambda: Timer(self.clock), self._timers)

    def scope(self, prefix: str, /, **tags: Tag) -> Scope:
        """A view on this registry in which every name begins with ``prefix`` and a dot, and has ``tags``."""
        names.full(_not_own(names.check(prefix, "scope"), "scope"), tags)
        return Scope(self, prefix, tags)

    def unregister(self, name: str, /, **tags: Tag) -> None:
        """Forget the metric ``name``. Raises KeyError if there is none."""
        full = names.full(name, tags) if tags else name
        metric = self._find(full)
        del self._metrics[full]
        for of_a_kind in (self._counters, self._gauges, self._histograms, self._meters, self._timers):
            of_a_kind.pop(full, None)
        self._order = None
        if ";" in full:
            self._tag_sets.discard(full)
        elif isinstance(metric, Gauge):
            self._lines.forget_gauge(full)
        for reader in self._readers:
            reader.forget(full)

    def read(self, name: str, /, **tags: Tag) -> dict[str, object]:
        """The fields of one metric since it was made; raises KeyError if there is none of that name.

        A gauge whose callable raises has no fields.
        """
        full = names.full(name, tags) if tags else name
        return dict(self._find(full).read(full).fields())

    def snapshot(self) -> tuple[Reading, ...]:
        """Every metric's reading since it was made, in the order of their making."""
        return tuple(self.collect())

    def collect(self) -> Iterator[Reading]:
        """The same as ``snapshot``, each metric read when its turn comes, at no cost until then."""
        there = self._metrics.get
        for name, metric in zip(*self._in_order(), strict=True):
            if there(name) is metric:
                yield metric.read(name)

    def reader(self, *, deltas: bool = False) -> Reader:
        """A new visitor, whose readings tell what happened since its own last visit; with ``deltas`` also what was
        counted and added up, where others are told of the metric's whole life."""
        return DeltaReader(self) if deltas else Reader(self)

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

    def _make(self, full: str, kind: type[M], make: Callable[[], M], of_its_kind: dict[str, M]) -> M:
        """The metric of a full name that is all right by itself, or the one in its place if there is no room for it."""
        path, tagged, _ = full.partition(";")
        there = self._kind_of(path, tagged)
        if there is None:
            self._lines.check(_not_own(path, "metric name"), tagged, kind)
        elif there is not kind:
            raise ValueError(
                f"{path!r} is a {there.__name__.lower()} already, "
                f"it cannot be a {kind.__name__.lower()} too; choose another name"
            )
        full = self._with_room(full)
        return of_its_kind[full] if full in of_its_kind else self._keep(full, make(), of_its_kind)

    def _keep(self, full: str, metric: M, of_its_kind: dict[str, M]) -> M:
        if ";" in full:
            self._tag_sets.add(full, metric.__class__)
        self._metrics[full] = of_its_kind[full] = metric
        if self._order is not None:
            self._order[0].append(full)
            self._order[1].append(metric)
        return metric

    def _with_room(self, full: str) -> str:
        """``full``, or the name of the metric in the place of all those for which there is no room."""
        if ";" not in full or full in self._metrics:
            return full
        instead, is_counted = self._tag_sets.place(full)
        if is_counted:
            self._tell_of_overflow(full.partition(";")[0])
        return instead

    def _tell_of_overflow(self, path: str) -> None:
        name = f"{names.OWN}.overflow"
        counter = self._counters.get(name)
        (self._keep(name, Counter(), self._counters) if counter is None else counter).inc()
        if path not in self._crowded:
            self._crowded.add(path)
            _log.warning(
                "%r has more than %d sets of tags; all others are reported as one, whose tags are %s",
                path,
                TAG_SETS,
                names.OVERFLOW,
            )

    def _kind_of(self, path: str, tagged: str) -> type[Metric] | None:
        """The kind of the metric ``path``, or, if ``tagged``, of those with tags; None if there is none."""
        if tagged:
            return self._tag_sets.kind_of(path)
        return self._metrics[path].__class__ if path in self._metrics else None


def _not_own(name: str, what: str) -> str:
    """Return ``name`` if it does not belong to the reporter; ValueError otherwise."""
    if name == names.OWN or name.startswith(f"{names.OWN}."):
        raise ValueError(
            f"{what} {name!r} belongs to the reporter, which reports itself under {names.OWN!r}; choose another name"
        )
    return name
