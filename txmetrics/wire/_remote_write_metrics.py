"""What of a registry's metrics remote write has told: their series, and which of them are new or gone."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from txmetrics import names
from txmetrics.snapshot import CounterReading, GaugeReading, HistogramReading, MeterReading, Reading, TimerReading
from txmetrics.wire._numbers import number
from txmetrics.wire._prometheus_names import Labels
from txmetrics.wire._prometheus_plan import PrometheusPlan
from txmetrics.wire._prometheus_samples import value
from txmetrics.wire._remote_write_buckets import STYLES, Spread, Written
from txmetrics.wire._remote_write_bytes import Around, Moment, series

__all__ = ["Metrics", "Moments"]

KINDS: Mapping[type, str] = {
    CounterReading: "counter",
    GaugeReading: "gauge",
    MeterReading: "meter",
    HistogramReading: "histogram",
    TimerReading: "timer",
}

NOTHING: Written = (b"", 0)


class Moments(NamedTuple):
    """The times that one report tells of."""

    now: Moment
    zero: Moment | None
    """When all that is new was nothing, None if nobody knows."""
    end: Moment
    """From when on that is no more which was not told now: right after the report before."""
    after: Moment
    """The same for what was."""


class Metrics:
    """The series of the metrics that were told, by the metrics' names."""

    def __init__(
        self,
        plan: PrometheusPlan,
        style: str,
        labels: Mapping[str, str],
        exists: Callable[[str], bool],
        earlier: Iterable[str],
    ) -> None:
        """For the arguments see ``RemoteWrite``."""
        self._plan = plan
        self._style = STYLES[style]
        self._labels = dict(labels)
        self._exists = exists
        self._earlier = set(earlier)
        # Of the many that have one number only bytes are kept: objects are work for the garbage collector.
        self._kinds: dict[str, type] = {}
        self._ones: dict[str, bytes] = {}
        self._spreads: dict[str, Spread] = {}
        self._told: dict[str, Moment] = {}
        self._unseen: list[str] = []

    @property
    def all_looked_at(self) -> bool:
        return not self._unseen

    def write(self, reading: Reading, at: Moments, refused: Tally[str]) -> Written:
        """The series of one reading; nothing, and a count in ``refused``, if it has none."""
        kind, name = type(reading), reading.name
        one = number(reading.sum) if isinstance(reading, HistogramReading | TimerReading) else value(reading)
        if one is None:
            refused["value" if kind in KINDS else "unreadable"] += 1
            return NOTHING
        gone = NOTHING
        zero = at.zero
        new = type(name) is not str or self._kinds.get(name) is not kind
        if new:
            if not _is_name(name):
                refused["name"] += 1
                return NOTHING
            gone = self._meet(name, kind, at.end)
            if name in self._earlier:
                self._earlier.discard(name)
                zero = None
        self._told[name] = at.now
        if isinstance(reading, HistogramReading | TimerReading):
            told = self._spread(reading, at.now, zero, refused)
        elif new and zero is not None and kind is not GaugeReading:
            told = series(self._ones[name], zero.sample(0) + at.now.sample(one)), 2
        else:
            told = series(self._ones[name], at.now.sample(one)), 1
        return gone[0] + told[0], gone[1] + told[1]

    def gone(self, looks: int, at: Moments) -> Written:
        """The ends of those that are no more, among the next ``looks`` of all."""
        unseen = self._unseen
        data, points = NOTHING
        for name in unseen[-looks:]:
            if name in self._kinds and not self._exists(name):
                ended = self.forget(name, at.after if self._told[name] is at.now else at.end)
                data, points = data + ended[0], points + ended[1]
        del unseen[-looks:]
        return data, points

    def look_again(self) -> None:
        """If all have been looked at, begin anew."""
        if not self._unseen:
            self._unseen = [*self._kinds]

    def end_last(self, end: Moment) -> Written | None:
        """The end of one of them, None if there is none left. Nothing is to be written any more."""
        if not self._kinds:
            return None
        name, _ = self._kinds.popitem()
        return self._end(name, end)

    def forget(self, name: str, end: Moment) -> Written:
        """The end of a metric's series."""
        del self._kinds[name], self._told[name]
        self._plan.discard(name)
        return self._end(name, end)

    def _end(self, name: str, end: Moment) -> Written:
        one = self._ones.pop(name, None)
        return self._spreads.pop(name).end(end) if one is None else (series(one, end.end()), 1)

    def _spread(
        self, reading: HistogramReading | TimerReading, now: Moment, zero: Moment | None, refused: Tally[str]
    ) -> Written:
        try:
            return self._spreads[reading.name].write(reading, now, zero)
        except Exception:  # whatever the parts of somebody else's distribution may raise
            refused["value"] += 1
            return NOTHING

    def _meet(self, name: str, kind: type, end: Moment) -> Written:
        """Give a metric its series; the answer is the end of those that it had when it was of another kind."""
        gone = self.forget(name, end) if name in self._kinds else NOTHING
        self._plan.add(name, KINDS[kind])
        self._kinds[name] = kind
        family, labels = self._plan.where(name)
        around = Around.of(self._merged(labels), self._style.bucket)
        if family.type == "histogram":
            self._spreads[name] = self._style(family, around)
        else:
            self._ones[name] = around.labels(f"{family.name}_total" if family.type == "counter" else family.name)
        return gone

    def _merged(self, labels: Labels) -> dict[str, str]:
        """A metric's labels and everybody's; Prometheus does the same when it scrapes."""
        merged = dict(self._labels)
        for name, text in labels:
            while name in merged:
                name = f"exported_{name}"
            merged[name] = text
        return merged


def _is_name(name: object) -> bool:
    try:
        return type(name) is str and names.full(name) == name
    except ValueError:
        return False
