"""Lines: no two metrics may be written on the same one, in whichever way a report is written.

Fields have no dots in them, so only the bare name of a gauge can be another metric's name and field; or its bucket,
which has one. Metrics with tags are taken together: it does not depend on the values of tags what is refused.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping

from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer
from txmetrics.registry._tag_sets import Metric
from txmetrics.snapshot import FIELDS, CounterReading, HistogramReading, MeterReading, TimerReading

__all__ = ["Lines"]

_SPREAD = {"delta", "sum_delta", "refused_delta", "bucket", "le"}

_FIELDS: Mapping[type[Metric], frozenset[str]] = {
    Counter: frozenset({*FIELDS[CounterReading], "delta"}),
    Gauge: frozenset(),
    Histogram: frozenset({*FIELDS[HistogramReading], *_SPREAD}),
    Meter: frozenset({*FIELDS[MeterReading], "delta"}),
    Timer: frozenset({*FIELDS[TimerReading], *_SPREAD}),
}
"""What may stand behind a metric's name in a report, of whichever kind. A gauge is written under its bare name."""

_BELOW = ("b", "le")
"""And these behind that of a histogram or a timer, with one more part behind: buckets without tags."""


class Lines:
    """The rules of a registry, of which ``kind_of(path, tagged)`` tells what there is, and ``gauges`` the gauges."""

    def __init__(self, kind_of: Callable[[str, str], type[Metric] | None], gauges: Iterable[str]) -> None:
        self._kind_of = kind_of
        self._gauges = gauges
        self._bucket_like: Tally[str] = Tally()
        """What gauges have before their last part, where that could be a bucket's, and how many of them."""

    def check(self, path: str, tagged: str, kind: type[Metric]) -> None:
        """Raise ValueError if a new metric had a line in common with one that is there."""
        if kind is Gauge:
            self._check_gauge(path, tagged)
            return
        for field in _FIELDS[kind]:
            if self._kind_of(f"{path}.{field}", tagged) is Gauge:
                raise _shared(f"{path}.{field}", path, kind)
        if issubclass(kind, Histogram) and not tagged:
            for owner in self._bucket_like.keys() & {f"{path}.{part}" for part in _BELOW}:
                self._check_gauges_below(owner, path, kind)

    def forget_gauge(self, name: str) -> None:
        """The gauge ``name``, which has no tags, is gone."""
        owner = name.rpartition(".")[0]
        if owner in self._bucket_like:
            self._bucket_like[owner] -= 1
            if not self._bucket_like[owner]:
                del self._bucket_like[owner]

    def _check_gauge(self, path: str, tagged: str) -> None:
        owner, _, field = path.rpartition(".")
        other = self._kind_of(owner, tagged)
        if other is not None and field in _FIELDS[other]:
            raise _shared(path, owner, other)
        histogram, _, part = owner.rpartition(".")
        if part in _BELOW and not tagged:
            other = self._kind_of(histogram, tagged)
            if other is not None and issubclass(other, Histogram):
                raise _shared(path, histogram, other)
            self._bucket_like[owner] += 1

    def _check_gauges_below(self, owner: str, path: str, kind: type[Metric]) -> None:
        for gauge in self._gauges:
            if ";" not in gauge and gauge.rpartition(".")[0] == owner:
                raise _shared(gauge, path, kind)


def _shared(gauge: str, owner: str, kind: type[Metric]) -> ValueError:
    return ValueError(
        f"the gauge {gauge!r} and the {kind.__name__.lower()} {owner!r} would both be written as {gauge!r}; "
        f"choose another name for one of them"
    )
