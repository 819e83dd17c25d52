"""A Grafana dashboard's parts, as its JSON has them: panels in rows, variables, and where everything stands.

What each key means is in the types that Grafana publishes as ``@grafana/schema``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

__all__ = ["SCHEMA_VERSION", "Json", "Panel", "Row", "dashboard", "stat", "plot", "variable"]

Json: TypeAlias = dict[str, Any]

SCHEMA_VERSION = 42
"""Grafana brings an older one up to date when it reads it."""

COLUMNS = 24
"""So many are beside each other, whatever the width of the window."""

PALETTE = {"mode": "palette-classic"}


class Panel(NamedTuple):
    """One panel, that is not placed yet."""

    body: Json
    width: int
    height: int


class Row(NamedTuple):
    """A row with a title, and the panels below it."""

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False
    """A collapsed row asks for nothing until it is opened."""
    repeat: str | None = None
    """The variable of which each value has a row of its own."""


def dashboard(title: str, uid: str, datasource: str, variables: Iterable[Json], rows: Iterable[Row]) -> Json:
    """The whole. ``datasource`` is the type of the data source, which one chooses above the panels."""
    source = {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": datasource,
        "refresh": 1,
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "options": [],
    }
    return {
        "title": title,
        "uid": uid,
        "description": "Written by: txmetrics grafana-dashboard",
        "tags": ["txmetrics", "twisted"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "links": [],
        "annotations": {"list": []},
        "templating": {"list": [source, *variables]},
        "panels": _placed(rows, {"type": datasource, "uid": "${datasource}"}),
    }


def plot(title: str, unit: str, targets: Sequence[Json], stacked: bool = False) -> Panel:
    """Lines over time. ``unit`` is one of Grafana's; each target has a line, or several."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if stacked else 8,
        "showPoints": "auto",
        "spanNulls": False,
        "axisSoftMin": 0,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    options = {
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel(_body("timeseries", title, unit, targets, {"color": PALETTE, "custom": custom}, options), 8, 8)


def stat(title: str, unit: str, targets: Sequence[Json], limits: Sequence[tuple[float, str]] = ()) -> Panel:
    """A big number, or several. From each of the ``limits`` on it has that colour."""
    steps: list[Json] = [{"color": "green" if limits else "text", "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in limits]
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "auto",
        "textMode": "value",
        "wideLayout": True,
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
    looks = {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}
    return Panel(_body("stat", title, unit, targets, looks, options), 4, 4)


def variable(name: str, label: str, query: Any, datasource: str, every: str, regex: str = "") -> Json:
    """A choice above the panels, of any number of what ``query`` finds; ``every`` stands for all in a query."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": {"type": datasource, "uid": "${datasource}"},
        "query": query,
        "regex": regex,
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": every,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
    }


def _body(kind: str, title: str, unit: str, targets: Sequence[Json], looks: Json, options: Json) -> Json:
    return {
        "type": kind,
        "title": title,
        "targets": [{"refId": _letters(place), **target} for place, target in enumerate(targets)],
        "fieldConfig": {"defaults": {"unit": unit, **looks}, "overrides": []},
        "options": options,
    }


def _letters(place: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    first, last = divmod(place, 26)
    return (_letters(first - 1) if first else "") + chr(ord("A") + last)


def _placed(rows: Iterable[Row], source: Mapping[str, str]) -> list[Json]:
    """Rows and panels with their places and numbers, from the top to the bottom."""
    placed: list[Json] = []
    bottom, number = 0, 0
    for row in rows:
        number += 1
        head: Json = {"type": "row", "id": number, "title": row.title, "collapsed": row.collapsed, "panels": []}
        head["gridPos"] = {"x": 0, "y": bottom, "w": COLUMNS, "h": 1}
        if row.repeat:
            head["repeat"] = row.repeat
        bottom, panels = _filled(row.panels, bottom + 1, number, source)
        number += len(panels)
        placed.append(head)
        if row.collapsed:
            head["panels"] = panels
            bottom = head["gridPos"]["y"] + 1
        else:
            placed += panels
    return placed


def _filled(panels: Iterable[Panel], top: int, number: int, source: Mapping[str, str]) -> tuple[int, list[Json]]:
    """Where the panels, from left to right and line by line, end, and themselves."""
    left, highest, placed = 0, 0, []
    for panel in panels:
        if left + panel.width > COLUMNS:
            left, top, highest = 0, top + highest, 0
        number += 1
        targets = [{"datasource": dict(source), **target} for target in panel.body["targets"]]
        place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
        placed.append({**panel.body, "id": number, "gridPos": place, "datasource": dict(source), "targets": targets})
        left, highest = left + panel.width, max(highest, panel.height)
    return top + highest, placed
