"""The registries: meters by their names, and what they tell."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from ._care import Care
from .meters import CallbackGauge, Counter, Gauge, Histogram, Meter, SimpleGauge, Timer
from .stats import Snapshot

__all__ = ["MetricsRegistry", "RegexRegistry", "Told"]

M = TypeVar("M")

_CALLS = "_calls"  # as the names end that the decorators use
_COUNT_CALLS = (Counter, Meter, Timer)


class Told(NamedTuple):
    """What is told of one name: pyformance's fields, in its order."""

    name: str
    fields: dict[str, Any]


class MetricsRegistry:
    """Keeps meters by name; asking for a name makes the meter if it is not there yet.

    A name has one kind, for in a report each would hide fields of the other: ValueError. A gauge may have another
    meter's name, since it has a field of its own; and counter, meter and timer of one function's calls, all three
    ending in ``_calls``, may have the same, since they have the same count.

    ``clock`` is what the time is asked of, an object with a method ``time()``.
    """

    def __init__(self, clock: Any = time) -> None:
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._meters: dict[str, Meter] = {}
        self._timers: dict[str, Timer] = {}
        self._gauges: dict[str, Gauge] = {}
        self._clock = clock
        self._care = Care()

    def add(self, key: str, metric: object) -> None:
        """Register a meter that was made by other means.

        Raises LookupError if there is one of its kind and name already, TypeError for what is no meter.
        """
        for kind, metrics in self._by_kind():
            if isinstance(metric, kind):
                if key in metrics:
                    raise LookupError(f"there is a {kind.__name__.lower()} {key!r} already; choose another name")
                self._make(key, kind, metrics, lambda: metric)
                return
        raise TypeError(f"{key!r} cannot be {metric!r}; a registry keeps counters, gauges, histograms, meters, timers")

    def counter(self, key: str) -> Counter:
        return self._get(key, Counter, self._counters, Counter)

    def histogram(self, key: str) -> Histogram:
        return self._get(key, Histogram, self._histograms, lambda: Histogram(clock=self._clock))

    def meter(self, key: str) -> Meter:
        return self._get(key, Meter, self._meters, lambda: Meter(clock=self._clock))

    def timer(self, key: str) -> Timer:
        return self._get(key, Timer, self._timers, lambda: Timer(clock=self._clock, sink=self.create_sink()))

    def gauge(
        self, key: str, gauge: Gauge | Callable[[], Any] | None = None, default: Any = float("nan")
    ) -> Any:  # a Gauge, of which only a SimpleGauge has set_value
        """The gauge ``key``; a new one is ``gauge``, or shows what that returns, or ``default`` until another is set.

        Raises TypeError for a ``gauge`` that is neither a Gauge nor can be called.
        """

        def make() -> Gauge:
            if gauge is None:
                return SimpleGauge(default)
            if isinstance(gauge, Gauge):
                return gauge
            if callable(gauge):
                return CallbackGauge(gauge)
            raise TypeError(f"the gauge {key!r} is told its value by a Gauge or a callable, not by {gauge!r}")

        return self._get(key, Gauge, self._gauges, make)

    def create_sink(self) -> Any:
        """To be overridden: what each new timer hands its durations to, by ``add(seconds)``; None: to nobody."""
        return None

    def clear(self) -> None:
        """Forget all meters."""
        for _, metrics in self._by_kind():
            metrics.clear()

    def get_metrics(self, key: str) -> dict[str, Any]:
        """What the meters of that name tell, by field; empty if there are none.

        A gauge that raises tells nothing, and that is logged.
        """
        fields: dict[str, Any] = {}
        for told in (
            self._get_counter_metrics,
            self._get_histogram_metrics,
            self._get_meter_metrics,
            self._get_timer_metrics,
            self._get_gauge_metrics,
        ):
            fields.update(told(key))
        return fields

    def dump_metrics(self) -> dict[str, dict[str, Any]]:
        """The fields of all meters by their names; without those that tell nothing."""
        return dict(self._collect())

    def _collect(self) -> Iterator[Told]:
        """The same, each name when its turn comes; meters may come and go meanwhile."""
        earlier: list[dict[str, Any]] = []
        for _, metrics in self._by_kind():
            for key in list(metrics):
                if not any(key in others for others in earlier):
                    fields = self._care.attempt(key, self.get_metrics, key)
                    if fields:
                        yield Told(key, fields)
            earlier.append(metrics)

    def _size(self) -> int:
        return sum(len(metrics) for _, metrics in self._by_kind())

    def _get_counter_metrics(self, key: str) -> dict[str, Any]:
        counter = self._counters.get(key)
        return {} if counter is None else {"count": counter.get_count()}

    def _get_gauge_metrics(self, key: str) -> dict[str, Any]:
        gauge = self._gauges.get(key)
        if gauge is None:
            return {}
        return self._care.attempt(f"the gauge {key}", lambda: {"value": gauge.get_value()}) or {}

    def _get_histogram_metrics(self, key: str) -> dict[str, Any]:
        histogram = self._histograms.get(key)
        if histogram is None:
            return {}
        snapshot = histogram.get_snapshot()
        return {**_moments(histogram), **_tail(snapshot)}

    def _get_meter_metrics(self, key: str) -> dict[str, Any]:
        meter = self._meters.get(key)
        return {} if meter is None else {"count": meter.get_count(), **_rates(meter)}

    def _get_timer_metrics(self, key: str) -> dict[str, Any]:
        timer = self._timers.get(key)
        if timer is None:
            return {}
        snapshot = timer.get_snapshot()
        return {
            "avg": timer.get_mean(),
            "sum": timer.get_sum(),
            **_moments(timer),
            **_rates(timer),
            "50_percentile": snapshot.get_median(),
            **_tail(snapshot),
        }

    def _by_kind(self) -> tuple[tuple[type, dict[str, Any]], ...]:
        """The meters of each kind, in the order in which they are told."""
        return (
            (Counter, self._counters),
            (Histogram, self._histograms),
            (Meter, self._meters),
            (Timer, self._timers),
            (Gauge, self._gauges),
        )

    def _get(self, key: str, kind: type[M], metrics: dict[str, M], make: Callable[[], M]) -> M:
        metric = metrics.get(key)
        return self._make(key, kind, metrics, make) if metric is None else metric

    def _make(self, key: str, kind: type, metrics: dict[str, M], make: Callable[[], M]) -> M:
        for other, others in self._by_kind():
            if key in others and other is not kind and not _may_share(key, kind, other):
                raise ValueError(
                    f"{key!r} is a {other.__name__.lower()} already, and a {kind.__name__.lower()} of that name would "
                    f"hide what it tells; choose another name for one of them"
                )
        return metrics.setdefault(key, make())  # another thread may have been quicker


def _may_share(key: str, kind: type, other: type) -> bool:
    if Gauge in (kind, other):
        return True
    return str(key).endswith(_CALLS) and kind in _COUNT_CALLS and other in _COUNT_CALLS


def _moments(spread: Histogram | Timer) -> dict[str, Any]:
    return {
        "avg": spread.get_mean(),
        "count": spread.get_count(),
        "max": spread.get_max(),
        "min": spread.get_min(),
        "std_dev": spread.get_stddev(),
    }


def _rates(events: Meter | Timer) -> dict[str, Any]:
    return {
        "15m_rate": events.get_fifteen_minute_rate(),
        "5m_rate": events.get_five_minute_rate(),
        "1m_rate": events.get_one_minute_rate(),
        "mean_rate": events.get_mean_rate(),
    }


def _tail(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "75_percentile": snapshot.get_75th_percentile(),
        "95_percentile": snapshot.get_95th_percentile(),
        "99_percentile": snapshot.get_99th_percentile(),
        "999_percentile": snapshot.get_999th_percentile(),
    }


class RegexRegistry(MetricsRegistry):
    """A registry in which all keys of which a pattern makes the same share a meter.

    The name of a key's meter are the groups of ``pattern`` in it, of all its matches, joined by slashes: where the
    groups are a model and a verb, ``/api/users/1/edit`` and ``/api/users/2/edit`` are both ``users/edit``. The name of
    what does not match is empty.
    """

    def __init__(self, pattern: str | None = None, clock: Any = time) -> None:
        super().__init__(clock)
        self.pattern = re.compile("^$" if pattern is None else pattern)

    def counter(self, key: str) -> Counter:
        return super().counter(self._get_key(key))

    def histogram(self, key: str) -> Histogram:
        return super().histogram(self._get_key(key))

    def meter(self, key: str) -> Meter:
        return super().meter(self._get_key(key))

    def timer(self, key: str) -> Timer:
        return super().timer(self._get_key(key))

    def gauge(self, key: str, gauge: Gauge | Callable[[], Any] | None = None, default: Any = float("nan")) -> Any:
        return super().gauge(self._get_key(key), gauge, default)

    def _get_key(self, key: str) -> str:
        return "/".join(group for match in self.pattern.finditer(key) for group in match.groups() if group)
