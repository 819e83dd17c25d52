"""Targets for Prometheus: the families that a scrape of the same metrics has, by the same plan.

Its percentiles are worked out from buckets; ``max`` is the upper bound of the highest one that something fell
into, or of the last one that has a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from txmetrics.console._grafana_metrics import VARYING, Group
from txmetrics.console._grafana_panels import Json, variable
from txmetrics.wire import Family, PrometheusPlan, labels_of

__all__ = ["OWN", "Prometheus", "Selection", "prometheus_target"]

OWN = {
    "txmetrics.scrapes": "counter",
    "txmetrics.scrape_unreadable": "counter",
    "txmetrics.scrape_duration_seconds": "gauge",
}
"""What ScrapeResource tells of itself, before all else."""

SUFFIXES = {"counter": "_total", "gauge": "", "histogram": "_count"}

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1}


class Selection(NamedTuple):
    """Series of one family."""

    family: str
    suffix: str
    """What counts its events, or is its level."""
    matchers: str
    varying: tuple[str, ...]
    """The labels for each value of which there is a line."""
    word: str
    """What the line is called beside them, "" for nothing."""

    def of(self, suffix: str) -> str:
        return f"{self.family}{suffix}{{{self.matchers}}}"

    @property
    def rate(self) -> str:
        return f"rate({self.of(self.suffix)}[$__rate_interval])"

    @property
    def lines(self) -> str:
        return ", ".join(["instance", *self.varying])


class Prometheus:
    """`Queries` of the families that a service with these ``metrics``, kinds by names, has when it is scraped."""

    datasource = "prometheus"

    def __init__(self, metrics: Mapping[str, str]) -> None:
        plan = PrometheusPlan()
        for name, kind in (OWN | dict(metrics)).items():
            plan.add(name, kind)
        self._homes: dict[str, tuple[Family, Mapping[str, str]]] = {
            name: (family, dict(labels_of(name, text)))
            for family in plan.families.values()
            for text, name in family.series.items()
        }
        self._first = next(iter(metrics))

    def variables(self, has_routes: bool) -> list[Json]:
        choices = [self._choice("instance", "Instance", self._first, "")]
        routes = [name for name in self._homes if "route" in self._homes[name][1]]
        if has_routes and routes:
            choices.append(self._choice("route", "Route", routes[0], 'instance=~"$instance"'))
        return choices

    def _choice(self, label: str, title: str, name: str, matchers: str) -> Json:
        family, _ = self._homes[name]
        of = f"{family.name}{SUFFIXES[family.type]}" + (f"{{{matchers}}}" if matchers else "")
        return variable(label, title, f"label_values({of}, {label})", self.datasource, ".*")

    def rate(self, group: Group) -> list[Json]:
        return [_target(f"sum by ({each.lines}) ({each.rate})", each) for each in self.selections(group)]

    def level(self, group: Group) -> list[Json]:
        return [_target(each.of(""), each) for each in self.selections(group)]

    def growth(self, group: Group) -> list[Json]:
        return [_target(each.rate, each) for each in self.selections(group)]

    def quantile(self, group: Group, field: str, by_name: bool = False) -> list[Json]:
        return [
            _target(_quantile(each, field), each if by_name else each._replace(word=field))
            for each in self.selections(group)
        ]

    def total(self, group: Group, label: str) -> list[Json]:
        return [prometheus_target(self._sum(group), label)]

    def share(self, part: Group, whole: Group, label: str) -> list[Json]:
        return [prometheus_target(f"{self._sum(part)} / {self._sum(whole)}", label)]

    def highest(self, group: Group, field: str | None, label: str) -> list[Json]:
        each = self.selections(group)[0]
        return [prometheus_target(f"max({each.of('') if field is None else _quantile(each, field)})", label)]

    def itself(self) -> list[tuple[str, str, list[Json]]]:
        scrapes, unreadable, duration = (Group(name, kind, (name,)) for name, kind in OWN.items())
        return [
            ("Scrapes a second", "cps", self.rate(scrapes)),
            ("Metrics left out a second", "cps", self.rate(unreadable)),
            ("Time of a scrape", "s", self.level(duration)),
        ]

    def _sum(self, group: Group) -> str:
        each = self.selections(group)[0]
        return f"sum({each.of('') if group.kind == 'gauge' else each.rate})"

    def selections(self, group: Group) -> list[Selection]:
        """What a group is among the families: one, or as many as it takes if the varying parts are no labels."""
        places = [place for place, part in enumerate(group.pattern.split(".")) if part in VARYING]
        found: dict[Selection, None] = {}
        for name in group.names:
            family, labels = self._homes[name]
            parts = name.split(".")
            own = {parts[place] for place in places}
            varying = tuple(label for label, value in labels.items() if value in own)
            fixed = [(label, value) for label, value in labels.items() if value not in own]
            spoken = len(parts) - 1 in places and varying  # its last part is the value of a label
            matchers = _matchers(fixed, "route" in varying and "$route" in group.pattern)
            word = "" if spoken else parts[-1]
            found[Selection(family.name, SUFFIXES[family.type], matchers, varying, word)] = None
        return [*found]


def _matchers(fixed: Iterable[tuple[str, str]], of_route: bool) -> str:
    # A name has no character that would have to be escaped.
    matchers = ['instance=~"$instance"', *(f'{label}="{value}"' for label, value in fixed)]
    return ", ".join([*matchers, 'route=~"$route"'] if of_route else matchers)


def _quantile(each: Selection, field: str) -> str:
    buckets = f"rate({each.of('_bucket')}[$__rate_interval])"
    return f"histogram_quantile({QUANTILES[field]}, sum by (le, {each.lines}) ({buckets}))"


def _target(expression: str, each: Selection) -> Json:
    legend = " ".join(f"{{{{{label}}}}}" for label in ("instance", *each.varying))
    return prometheus_target(expression, f"{legend} {each.word}".strip())


def prometheus_target(expression: str, legend: str) -> Json:
    return {"expr": expression, "legendFormat": legend, "editorMode": "code", "range": True}
