"""The plan: which family and labels each metric has, so that every one arrives and no two share a sample.

It is worked out when a metric is first seen, and kept: a metric keeps its place for as long as it is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, pairwise
from math import isfinite

from txmetrics.wire._prometheus_names import Labels, Place, labels_text, place, unit_of

__all__ = ["BYTES", "NUMBERS", "RATIOS", "SECONDS", "Family", "PrometheusPlan"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BYTES = tuple(4.0**power for power in range(3, 16))
RATIOS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
NUMBERS = (*(digits * 10.0**power for power in range(6) for digits in (1, 2.5, 5)), 1e6)

_TYPES = {"counter": "counter", "meter": "counter", "gauge": "gauge", "histogram": "histogram", "timer": "histogram"}

_SAMPLES: Mapping[str, Sequence[str]] = {
    "counter": ("", "_total", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_count", "_sum", "_created"),
}
"""What a family of a type may have after its name, by OpenMetrics; no other family may have such a name."""

_SUFFIXES = sorted({suffix for suffixes in _SAMPLES.values() for suffix in suffixes})


class Family(dict[str, str]):
    """Metrics of one kind that have a name in common.

    There may be tens of thousands, each of one metric, and every object more is work for the garbage collector: so a
    family is its ``series`` itself.
    """

    __slots__ = ("_help", "_pattern", "bounds", "kind", "name")

    def __init__(self, name: str, kind: str, pattern: str, bounds: Sequence[float]) -> None:
        super().__init__()
        self.name = name
        """As OpenMetrics has it: a counter's is without ``_total``."""
        self.kind = kind
        """Of its metrics: "counter", "gauge", "meter", "histogram" or "timer"."""
        self.bounds = bounds
        """Of a histogram: the upper ones of its buckets, without the infinite one."""
        self._pattern = pattern
        self._help = ""

    @property
    def series(self) -> dict[str, str]:
        """The metrics' names, by their labels as both text formats have them, without the braces."""
        return self

    @property
    def type(self) -> str:
        """As Prometheus has it: "counter", "gauge" or "histogram"."""
        return _TYPES[self.kind]

    @property
    def unit(self) -> str:
        """Empty for none."""
        return unit_of(self.name)

    @property
    def help(self) -> str:
        """One sentence."""
        unit = self.unit
        return self._help or f"A {self.kind}{f' of {unit}' if unit else ''}, {self._pattern} in Graphite."

    @help.setter
    def help(self, text: str) -> None:
        self._help = text


class PrometheusPlan:
    """Families, in the order in which their first metric was added.

    ``buckets`` are the bounds of histograms of seconds, timers among them; those of bytes (64 to a gibibyte), of
    ratios and of other numbers (1 to a million) are fixed. ``help`` is a sentence by a metric's name, without tags, in
    the place of our own. Raises ValueError for bounds that are not finite numbers in ascending order, at least one.
    """

    def __init__(self, buckets: Sequence[float] = SECONDS, help: Mapping[str, str] | None = None) -> None:
        self._bounds = {"seconds": _checked(buckets), "bytes": BYTES, "ratio": RATIOS}
        self._help = dict(help or {})
        self.families: dict[str, Family] = {}
        self._homes: dict[str, Family] = {}

    def add(self, name: str, kind: str) -> None:
        """Give the metric ``name`` a place; ``kind`` is "counter", "gauge", "meter", "histogram" or "timer".

        Does nothing for one that has its place. One that is of another kind now gets another place.
        """
        home = self._homes.get(name)
        if home is not None:
            if home.kind == kind:
                return
            self.discard(name)
        where = place(name)
        family = self._family(where, kind)
        path = name.partition(";")[0]
        if path in self._help:
            family.help = self._help[path]
        labels = labels_text(where.labels)
        if labels in family.series:
            labels = labels_text((*where.labels, ("name", name)))
        family.series[labels] = name
        self._homes[name] = family

    def discard(self, name: str) -> None:
        """The metric ``name`` is gone, if it was ever there."""
        family = self._homes.pop(name, None)
        if family is None:
            return
        del family.series[labels_text(_labels(family, name))]
        if not family.series:
            del self.families[family.name]

    def where(self, name: str) -> tuple[Family, Labels]:
        """The family and the labels of the metric ``name``; KeyError if it has no place."""
        family = self._homes[name]
        return family, _labels(family, name)

    def names(self) -> list[str]:
        """Of all metrics that have a place."""
        return [*self._homes]

    def _family(self, where: Place, kind: str) -> Family:
        """The one that such a metric belongs to; a new one if there is none."""
        for name in _candidates(_stem(where.stem, kind), kind):
            family = self.families.get(name)
            if family is not None and family.kind == kind:
                return family
            if not any(self._is_claimed(name + suffix) for suffix in _SAMPLES[_TYPES[kind]]):
                break
        family = Family(name, kind, where.pattern, self._bounds.get(unit_of(name), NUMBERS))
        self.families[name] = family
        return family

    def _is_claimed(self, sample: str) -> bool:
        """Whether a family may have a sample of that name."""
        for suffix in _SUFFIXES:
            if sample.endswith(suffix):
                family = self.families.get(sample[: len(sample) - len(suffix)])
                if family is not None and suffix in _SAMPLES[family.type]:
                    return True
        return False


def _labels(family: Family, name: str) -> Labels:
    """Those of a metric of the family, by their names in order."""
    labels = place(name).labels
    return labels if family.series.get(labels_text(labels)) == name else (*labels, ("name", name))


def _checked(bounds: Sequence[float]) -> tuple[float, ...]:
    checked = tuple(float(bound) + 0.0 for bound in bounds)  # -0.0 is written as 0.0
    if not checked or not all(map(isfinite, checked)) or any(low >= high for low, high in pairwise(checked)):
        raise ValueError(f"buckets {[*bounds]!r} are no bounds; give finite numbers in ascending order, at least one")
    return checked


def _stem(stem: str, kind: str) -> str:
    """The name that a family of that kind would like to have."""
    if kind == "timer":
        return stem if stem.endswith("_seconds") else f"{stem}_seconds"
    if _TYPES[kind] == "counter":
        return stem.removesuffix("_total") or stem
    return stem


def _candidates(stem: str, kind: str) -> Iterator[str]:
    """The name that is wanted, and what comes next if it is taken; its unit stays where it has to stand."""
    yield stem
    unit = unit_of(stem)
    end = f"_{unit}" if unit else ""
    for number in count(1):
        yield f"{stem.removesuffix(end)}_{kind}{number if number > 1 else ''}{end}"
