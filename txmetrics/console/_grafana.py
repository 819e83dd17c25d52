"""``txmetrics grafana-dashboard``: a dashboard for the metrics that a running service really has."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping
from hashlib import sha256

from txmetrics import backends
from txmetrics.console._figures import several
from txmetrics.console._grafana_graphite import Graphite
from txmetrics.console._grafana_metrics import Catalogue, Queries
from txmetrics.console._grafana_panels import Json, dashboard
from txmetrics.console._grafana_prometheus import Prometheus
from txmetrics.console._grafana_sections import rows
from txmetrics.console._seam import Commands, Trouble
from txmetrics.console._service import metrics_of, reports_of

__all__ = ["add", "grafana_dashboard", "run"]


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "grafana-dashboard",
        help="write a Grafana dashboard for a running service",
        description="Asks a running service which metrics it has and writes the JSON of a Grafana dashboard for them "
        "to stdout: choose it under Dashboards, New, Import.",
    )
    parser.add_argument("url", metavar="URL", help="of the service's dashboard, such as http://127.0.0.1:8002/")
    parser.add_argument(
        "--datasource", choices=["graphite", "prometheus"], default="graphite", help="graphite if not given"
    )
    parser.add_argument(
        "--prefix", type=_prefix, default="", help="that the service reports to Graphite under, such as web.{host}"
    )
    parser.add_argument("--title", help="of the dashboard; if not given, txmetrics and the prefix")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    metrics = metrics_of(arguments.url)
    if arguments.datasource == "graphite":
        metrics = _without_tags(metrics)
    reports = arguments.datasource == "prometheus" or reports_of(arguments.url)
    made, left_out = grafana_dashboard(metrics, reports, arguments.datasource, arguments.prefix, arguments.title)
    print(json.dumps(made, indent=2))
    if left_out:
        print(f"txmetrics: {left_out} more panels are left out; nobody would look at them all", file=sys.stderr)


def grafana_dashboard(
    metrics: Mapping[str, str],
    reports: bool,
    datasource: str = "graphite",
    prefix: str = "",
    title: str | None = None,
) -> tuple[Json, int]:
    """The dashboard for ``metrics``, kinds by names, and how many panels it has not, being too many.

    ``metrics`` is not empty, and in the order of their making. ``reports``: whether who brings their numbers to the
    data source tells of itself as well. The same title, data source and prefix make the same ``uid``, so that a
    dashboard that is imported again replaces itself.
    """
    queries: Queries = Prometheus(metrics) if datasource == "prometheus" else Graphite(prefix)
    title = title or " ".join(["txmetrics", *(part for part in prefix.split(".") if part and "{" not in part)])
    uid = "txmetrics-" + sha256(f"{title}\n{datasource}\n{prefix}".encode()).hexdigest()[:20]
    has_routes = any(name.startswith("http.routes.") for name in metrics)
    made, left_out = rows(Catalogue(metrics), queries, reports)
    return dashboard(title, uid, queries.datasource, queries.variables(has_routes), made), left_out


def _without_tags(metrics: Mapping[str, str]) -> Mapping[str, str]:
    """The metrics that a path names; the others, which no query of these finds, are told of."""
    named = {name: kind for name, kind in metrics.items() if ";" not in name}
    if not named:
        raise Trouble("all metrics of the service have tags, which this dashboard has no queries for")
    if len(named) < len(metrics):
        left_out = several(len(metrics) - len(named), "metric")
        print(f"txmetrics: left out, having tags: {left_out}", file=sys.stderr)
    return named


def _prefix(text: str) -> str:
    try:
        return backends.check_prefix(text)
    except ValueError as wrong:
        raise ArgumentTypeError(str(wrong)) from None
