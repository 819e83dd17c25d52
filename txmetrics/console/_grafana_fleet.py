"""The rows of all processes together: what a fleet does, how evenly, and who of it reports.

Prometheus works the percentiles of a fleet out of its buckets. Graphite cannot: there, the share of requests within
each of the bounds that the service counts (``slo=``) is exact, and the highest p99 of any process is a bound of all's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from txmetrics.console._grafana_graphite import Graphite, graphite_target
from txmetrics.console._grafana_metrics import COUNTED, LEVELS, Catalogue, Group, Queries
from txmetrics.console._grafana_panels import Json, Panel, Row, plot, stat
from txmetrics.console._grafana_prometheus import Prometheus, prometheus_target
from txmetrics.console._grafana_sections import bundles, title_of

__all__ = ["fleet_rows"]

INSTRUMENTS = ("http", "reactor", "process", "log")
"""First parts of the names of what the other rows are about."""

MOST_PANELS = 24
"""So many for what the application itself counts."""

DROPPED = Group("txmetrics.points_dropped.*", "counter", ())


class Together(Protocol):
    """How a data source is asked for what processes do together, by targets or whole panels."""

    def sums(self, group: Group) -> list[Json]:
        """The rate of all of them, a line for each varying part."""

    def busiest(self, group: Group) -> list[Json]:
        """The rate of the process that has the most, and of the average one."""

    def reporting(self, group: Group) -> list[Json]:
        """How many processes report ``group``."""

    def times(self, group: Group) -> list[Panel]:
        """What can be known of the times of all requests."""

    def reports(self) -> list[Panel]:
        """By process, whether it reports, and what is lost of its reports."""


def fleet_rows(metrics: Mapping[str, str], queries: Graphite | Prometheus) -> list[Row]:
    """The rows for ``metrics``, kinds by names, that each of the processes has."""
    ask: Together = _OfGraphite(queries) if isinstance(queries, Graphite) else _OfPrometheus(queries)
    catalogue = Catalogue(metrics)
    requests = catalogue.take("http.requests", {"timer"})
    status, failed = (catalogue.take(f"http.status.{which}", {"counter"}) for which in ("*", "5xx"))
    active = catalogue.take("http.active", LEVELS)
    counted = [group for group in catalogue.rest() if group.kind in COUNTED]
    own = [group for group in counted if group.pattern.split(".")[0] not in INSTRUMENTS]
    return [
        row
        for row in (
            Row("All processes", _all_processes(queries, ask, requests or counted[:1], status, failed)),
            Row("Each process", _each_process(queries, ask, requests, active)),
            Row("Counted by all processes", [_together(ask, bundle) for bundle in bundles(own)][:MOST_PANELS]),
        )
        if row.panels
    ]


def _all_processes(
    queries: Queries, ask: Together, first: list[Group], status: list[Group], failed: list[Group]
) -> list[Panel]:
    """``first`` is what processes are compared by: requests, or else what there is."""
    panels = []
    for group in first:
        panels += [
            stat("Processes that report", "short", ask.reporting(group)),
            stat("A second, all processes", "cps", queries.total(group, "all")),
        ]
    for part, whole in zip(failed, status, strict=False):
        errors = queries.share(part, whole, "errors")
        panels.append(stat("Errors", "percentunit", errors, [(0.01, "orange"), (0.05, "red")]))
    for group in first:
        panels += ask.times(group) if group.kind == "timer" else []
        panels.append(plot("The busiest process, and the average one", "cps", ask.busiest(group)))
    panels += [plot("Answers a second, all processes", "reqps", ask.sums(group), stacked=True) for group in status]
    return panels


def _each_process(queries: Queries, ask: Together, requests: list[Group], active: list[Group]) -> list[Panel]:
    panels = []
    for group in requests:
        panels += [
            plot("Requests a second", "reqps", queries.rate(group), stacked=True),
            plot("99 % are faster", "s", queries.quantile(group, "p99", by_name=True)),
        ]
    panels += [plot("In progress", "short", queries.level(group), stacked=True) for group in active]
    return [*panels, *ask.reports()]


def _together(ask: Together, bundle: list[Group]) -> Panel:
    targets = [target for group in bundle for target in ask.sums(group)]
    return plot(f"{title_of(bundle)} a second, all processes", "cps", targets)


class _OfGraphite:
    """`Together` of Graphite."""

    def __init__(self, queries: Graphite) -> None:
        self._queries = queries

    def sums(self, group: Group) -> list[Json]:
        return [graphite_target(self._queries.sums(group))]

    def busiest(self, group: Group) -> list[Json]:
        rates = self._queries.rates(group)
        return [
            graphite_target(f'alias({function}({rates}),"{label}")')
            for function, label in (("maxSeries", "busiest"), ("averageSeries", "average"))
        ]

    def reporting(self, group: Group) -> list[Json]:
        return [graphite_target(f'alias(sumSeries({self._queries.presence("txmetrics.started")}),"processes")')]

    def times(self, group: Group) -> list[Panel]:
        return [
            stat("No process has a p99 above", "s", self._queries.highest(group, "p99", "p99")),
            plot("Within each bound of slo=", "percent", [graphite_target(self._queries.shares(group))]),
        ]

    def reports(self) -> list[Panel]:
        dropped = self._queries.sums(DROPPED, by_process=True)
        # A reason has a series from the first point on that was dropped for it: none is good news, and shown as 0.
        lost = f'fallbackSeries({dropped},alias(constantLine(0),"none"))'
        present = self._queries.presence("txmetrics.started")
        return [
            plot("Reports", "short", [self._queries.by_process(present)], stacked=True),
            plot("Points dropped a second", "cps", [graphite_target(lost)]),
        ]


class _OfPrometheus:
    """`Together` of Prometheus, and of what is asked as it is: VictoriaMetrics has ``vmrange`` where others have le."""

    def __init__(self, queries: Prometheus) -> None:
        self._queries = queries

    def sums(self, group: Group) -> list[Json]:
        targets = []
        for each in self._queries.selections(group):
            legend = " ".join([*(f"{{{{{label}}}}}" for label in each.varying), each.word]).strip()
            targets.append(prometheus_target(f"sum by ({', '.join(each.varying)}) ({each.rate})", legend))
        return targets

    def busiest(self, group: Group) -> list[Json]:
        each = self._queries.selections(group)[0]
        rates = f"sum by (instance) ({each.rate})"
        return [prometheus_target(f"max({rates})", "busiest"), prometheus_target(f"avg({rates})", "average")]

    def reporting(self, group: Group) -> list[Json]:
        each = self._queries.selections(group)[0]
        return [prometheus_target(f"count(count by (instance) ({each.of(each.suffix)}))", "processes")]

    def times(self, group: Group) -> list[Panel]:
        each = self._queries.selections(group)[0]
        rates = f"sum by (le, vmrange) (rate({each.of('_bucket')}[$__rate_interval]))"
        lines = [
            prometheus_target(f"histogram_quantile({q}, {rates})", label)
            for q, label in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ]
        return [*(stat(each["legendFormat"], "s", [each]) for each in lines), plot("Time, all processes", "s", lines)]

    def reports(self) -> list[Panel]:
        return [plot(title, unit, targets) for title, unit, targets in self._queries.itself()]
