"""``txmetrics grafana-dashboard``: a dashboard for the metrics that a running service really has."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256

from txmetrics import backends, names
from txmetrics.console._grafana_fleet import fleet_rows
from txmetrics.console._grafana_graphite import Graphite
from txmetrics.console._grafana_metrics import Catalogue
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
    parser.add_argument(
        "--tags", type=_tags, default=(), help="that the service reports to Graphite with, such as host={host}"
    )
    parser.add_argument(
        "--fleet",
        action="store_true",
        help="begin with what all processes of the service do together, which report to Graphite by deltas",
    )
    parser.add_argument("--title", help="of the dashboard; if not given, txmetrics and the prefix")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    metrics = metrics_of(arguments.url)
    kind: str = arguments.datasource
    if arguments.fleet and kind == "graphite" and "{" not in arguments.prefix and not arguments.tags:
        raise Trouble(
            "Graphite tells processes apart by a --prefix such as web.{host}.{worker}, or by --tags; give one"
        )
    reports = kind == "prometheus" or reports_of(arguments.url)
    made, left_out = grafana_dashboard(
        metrics, reports, kind, arguments.prefix, arguments.title, arguments.tags, arguments.fleet
    )
    print(json.dumps(made, indent=2))
    if left_out:
        print(f"txmetrics: {left_out} more panels are left out; nobody would look at them all", file=sys.stderr)


def grafana_dashboard(
    metrics: Mapping[str, str],
    reports: bool,
    datasource: str = "graphite",
    prefix: str = "",
    title: str | None = None,
    tags: Sequence[str] = (),
    fleet: bool = False,
) -> tuple[Json, int]:
    """The dashboard for ``metrics``, kinds by names, and how many panels it has not, being too many.

    ``metrics`` is not empty, and in the order of their making. ``reports``: whether who brings their numbers to the
    data source tells of itself as well. ``tags`` are the keys of those that all series in Graphite have. ``fleet``:
    whether it begins with all processes together; then their counts in Graphite are deltas. The same title, data
    source, prefix and choice of these make the same ``uid``, so that what is imported again replaces itself.
    """
    queries: Graphite | Prometheus
    if datasource == "prometheus":
        queries = Prometheus(metrics)
    else:
        queries, metrics = Graphite(prefix, tags, deltas=fleet), _by_tags(metrics, tags)
    parts = [part for part in prefix.split(".") if part and "{" not in part]
    title = title or " ".join(["txmetrics", *parts, *["fleet"] * fleet])
    what = "\n".join([title, datasource, prefix, *tags, *["deltas"] * fleet])
    uid = "txmetrics-" + sha256(what.encode()).hexdigest()[:20]
    has_routes = any(name.startswith("http.routes.") for name in metrics)
    made, left_out = rows(Catalogue(metrics), queries, reports)
    if fleet:
        made = [*fleet_rows(metrics, queries), *made]
    return dashboard(title, uid, queries.datasource, queries.variables(has_routes), made), left_out


def _by_tags(metrics: Mapping[str, str], on_all: Collection[str]) -> dict[str, str]:
    """One for all that differ in the values of their tags only, as ``jobs;queue,zone``: its series have these keys."""
    told = {}
    for name, kind in metrics.items():
        path, _, _ = name.partition(";")
        keys = [f"exported_{key}" if key in on_all else key for key in names.tags_of(name)]
        told[f"{path};{','.join(keys)}" if keys else path] = kind
    return told


def _tags(text: str) -> tuple[str, ...]:
    pairs = dict(pair.partition("=")[::2] for pair in text.split(","))
    if not all(pairs.values()) or not all(re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII) for key in pairs):
        raise ArgumentTypeError(f"{text!r} is no list of tags such as host={{host}},worker={{worker}}")
    return tuple(pairs)


def _prefix(text: str) -> str:
    try:
        return backends.check_prefix(text)
    except ValueError as wrong:
        raise ArgumentTypeError(str(wrong)) from None
