"""The dashboards that are written: whole, within Grafana's schema, and with a place for every metric."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.console.grafana import Json, complaints, filled, panels, targets, variables
from txmetrics.console._grafana import grafana_dashboard
from txmetrics.console._grafana_metrics import COUNTED, Catalogue
from txmetrics.console._grafana_prometheus import OWN
from txmetrics.console._grafana_sections import MOST_PANELS
from txmetrics.wire import PrometheusPlan

SOURCES = ["graphite", "prometheus"]

KINDS = ["counter", "gauge", "histogram", "meter", "timer"]

METRICS = {
    "http.requests": "timer",
    "http.body_wait": "timer",
    "http.active": "gauge",
    "http.bytes_sent": "counter",
    **{f"http.status.{digit}xx": "counter" for digit in (2, 3, 4, 5)},
    **{f"http.routes.{route}.requests": "timer" for route in ("GET-users-_", "POST-users")},
    **{f"http.routes.{route}.status.5xx": "counter" for route in ("GET-users-_", "POST-users")},
    "http.routes.POST-users.request_bytes": "histogram",
    "http.routes.POST-users.errors.ValueError": "counter",
    "reactor.lag": "timer",
    "reactor.busy": "gauge",
    "reactor.blocked.users.load": "timer",
    "reactor.blocked.render": "timer",
    "process.cpu_seconds": "gauge",
    "process.context_switches.voluntary": "gauge",
    "process.context_switches.involuntary": "gauge",
    "hello_called": "counter",
    "world_size": "histogram",
    "mail.bytes": "histogram",
    "mail.sent": "meter",
    "db.query": "timer",
    "db.errors.OperationalError": "counter",
    "http_client.example_org.GET.status.2xx": "counter",
}
"""Some of what a service has."""

parts = st.one_of(
    st.sampled_from(
        ["http", "routes", "status", "errors", "blocked", "process", "tasks", "http_client", "count", "p99"]
    ),
    st.text("abXY019_:%@#+-", min_size=1, max_size=4),
)
metrics = st.dictionaries(st.lists(parts, min_size=1, max_size=5).map(".".join), st.sampled_from(KINDS), min_size=1)
"""Any, as far as their names and kinds can be."""


def made(metrics: dict[str, str], source: str, prefix: str = "web.{host}") -> Json:
    """The whole dashboard."""
    dashboard, left_out = grafana_dashboard(metrics, True, source, prefix)
    assert left_out == 0
    return dashboard


@pytest.mark.seconds(120)
def test_grafanas_own_schema_accepts_the_dashboards(tmp_path: Path) -> None:
    """The compiler finds no property that is missing, unknown or of a wrong type; and it does find those that are."""
    good = {source: made(METRICS, source) for source in SOURCES}
    spoilt: list[Callable[[Json], object]] = [
        lambda it: it.pop("schemaVersion"),
        lambda it: it.update(tille="misspelt"),
        lambda it: it["templating"]["list"][1].update(type="choice"),
        lambda it: it["panels"][1]["gridPos"].pop("w"),
        lambda it: it["panels"][1]["options"].update(colorMode="red"),
        lambda it: next(panels(it))["targets"][0].pop("refId"),
        lambda it: next(one for one in panels(it) if one["type"] == "timeseries")["fieldConfig"]["defaults"][
            "custom"
        ].update(stacking={"mode": "twice"}),
    ]
    bad = {f"bad{number}": copy.deepcopy(good["graphite"]) for number in range(len(spoilt))}
    for spoil, dashboard in zip(spoilt, bad.values(), strict=True):
        spoil(dashboard)
    found = complaints(good | bad, tmp_path)
    assert {source: found[source] for source in good} == {source: [] for source in good}
    assert [name for name in bad if not found[name]] == []


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_in_a_dashboard_has_numbers_and_places_of_its_own(source: str) -> None:
    """Ids and letters are given once, and no panel lies over another one, whichever rows are open."""
    dashboard = made(METRICS, source)
    rows = [one for one in dashboard["panels"] if one["type"] == "row"]
    assert [row["title"] for row in rows][:6] == [
        "Requests",
        "Routes",
        "$route",
        "Reactor",
        "Process",
        "txmetrics itself",
    ]
    ids = [one["id"] for one in [*rows, *panels(dashboard)]]
    assert len(set(ids)) == len(ids)
    for panel in panels(dashboard):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters) > 0
        assert all(target["datasource"] == {"type": source, "uid": "${datasource}"} for target in panel["targets"])
    for together in (dashboard["panels"], *(row["panels"] for row in rows)):
        taken = [cell for one in together for cell in cells(**one["gridPos"])]
        assert len(set(taken)) == len(taken)


def cells(x: int, y: int, w: int, h: int) -> list[tuple[int, int]]:
    """All that a panel covers; it is inside of the 24 columns."""
    assert 0 <= x < x + w <= 24
    return [(column, line) for column in range(x, x + w) for line in range(y, y + h)]


def test_the_uid_is_the_same_for_the_same_dashboard() -> None:
    """So that what is imported again replaces itself, also when there are more metrics; others have others."""
    one = made(METRICS, "graphite")["uid"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{8,40}", one)
    assert made({"other": "gauge"}, "graphite")["uid"] == one
    others = [
        made(METRICS, "prometheus"),
        made(METRICS, "graphite", "web"),
        grafana_dashboard(METRICS, True, title="x")[0],
    ]
    assert len({one, *(each["uid"] for each in others)}) == 4


def test_the_title_is_what_one_says_or_the_prefix() -> None:
    """Without what differs from process to process."""
    titles = [grafana_dashboard(METRICS, True, "graphite", prefix)[0]["title"] for prefix in ("", "web.{host}", "a.b")]
    assert titles == ["txmetrics", "txmetrics web", "txmetrics a b"]
    assert grafana_dashboard(METRICS, True, title="My <b>servers</b>")[0]["title"] == "My <b>servers</b>"


FIELDS = {
    "gauge": [""],
    "counter": [".count"],
    "meter": [".count"],
    "histogram": [".count", ".p50", ".p95", ".p99", ".max"],
    "timer": [".count", ".p50", ".p95", ".p99", ".max"],
}
"""What stands behind the name of a metric in Graphite, as far as a dashboard shows it."""


@settings(deadline=None, max_examples=100)
@given(metrics=metrics, prefix=st.sampled_from(["", "web.{host}", "a+b.{host}-{pid}", "{worker}.a.{generation}"]))
def test_graphite_is_asked_for_every_metric_and_for_nothing_that_is_not_there(
    metrics: dict[str, str], prefix: str
) -> None:
    """Each path in a target fits a series that is sent, and of each metric there is a series that some path fits."""
    dashboard, left_out = grafana_dashboard(metrics, False, "graphite", prefix)
    paths = [re.compile(path) for target in targets(dashboard) for path in asked_of_graphite(target["target"])]
    places = {"{host}": "db-1", "{pid}": "17", "{worker}": "w2", "{generation}": "1764380000"}
    head = re.sub(r"\{\w+\}", lambda place: places[place[0]], prefix) + "." if prefix else ""
    sent = {name: [f"{head}{name}{field}" for field in FIELDS[kind]] for name, kind in metrics.items()}
    found = {path: [name for name in sent if any(map(path.fullmatch, sent[name]))] for path in paths}
    assert [path for path, names in found.items() if not names] == []
    assert set().union(*found.values()) == metrics.keys()
    assert left_out == 0


PLACES = ("host", "pid", "worker", "generation", "route")
"""What is chosen above the panels."""


def asked_of_graphite(target: str) -> Iterator[str]:
    """Regular expressions for the series that a target asks for."""
    for path in re.findall(r"(?<=[(,])[^(),\"]+(?=[,)])", target):
        if not re.fullmatch(r"-?\d+", path):
            chosen = filled(re.sub(r"^\{([^}]+)\}", r"\1", path), dict.fromkeys(PLACES, "*"))
            yield "[^.]+".join(re.escape(piece) for piece in chosen.split("*"))


SAMPLES = {"counter": {"_total"}, "gauge": {""}, "histogram": {"_count", "_bucket"}}
"""What stands behind the name of a family in Prometheus, as far as a dashboard shows it."""


@settings(deadline=None, max_examples=60)
@given(metrics=metrics)
def test_prometheus_is_asked_for_every_metric_and_for_nothing_that_is_not_there(metrics: dict[str, str]) -> None:
    """Each name in a target is one of a scrape, and of each family some target asks."""
    dashboard, left_out = grafana_dashboard(metrics, True, "prometheus")
    asked = {name for target in targets(dashboard) for name in re.findall(r"([a-zA-Z_:][\w:]*)\{", target["expr"])}
    plan = PrometheusPlan()
    for name, kind in {**OWN, **metrics}.items():
        plan.add(name, kind)
    told = [{f"{one.name}{suffix}" for suffix in SAMPLES[one.type]} for one in plan.families.values()]
    assert asked <= set().union(*told)
    assert [samples for samples in told if not samples & asked] == []
    assert left_out == 0


def test_graphite_is_asked_for_nothing_that_it_trips_over() -> None:
    """Its minValue and maxValue answer 500 where a series has a gap; sums are of rates, not rates of sums."""
    asked = [target["target"] for target in targets(made(METRICS, "graphite"))]
    assert not [one for one in asked if re.search("minValue|maxValue|perSecond\\((sum|max)", one)]
    assert all(one.count("(") == one.count(")") for one in asked)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", [("route", "http.routes.*", "")]),
        ("one.two", [("route", "one.two.http.routes.*", "")]),
        ("web.{host}", [("host", "web.*", ""), ("route", "web.${host}.http.routes.*", "")]),
        (
            "a.x{host}-{pid}",
            [
                ("host", "a.x*-*", r"/^x(.*)\-.*$/"),
                ("pid", "a.x${host}-*", r"/^x.*\-(.*)$/"),
                ("route", "a.x${host}-${pid}.http.routes.*", ""),
            ],
        ),
        ("{worker}.x", [("worker", "*", ""), ("route", "${worker}.x.http.routes.*", "")]),
        ("{host}.{host}", [("host", "*", ""), ("route", "${host}.${host}.http.routes.*", "")]),
    ],
)
def test_what_differs_in_the_prefix_is_chosen_above_the_panels(
    prefix: str, expected: list[tuple[str, str, str]]
) -> None:
    """Hosts and processes, each of those before it, and the routes that these have."""
    found = variables(made(METRICS, "graphite", prefix))
    assert [(one["name"], one["query"], one["regex"]) for one in found] == expected


@pytest.mark.parametrize("source", SOURCES)
def test_without_routes_none_are_chosen(source: str) -> None:
    """A service that serves no web has neither the variable nor the rows, and no panel is empty."""
    dashboard = made({"jobs.done": "counter"}, source)
    assert "route" not in [one["name"] for one in variables(dashboard)]
    rows = [one["title"] for one in dashboard["panels"] if one["type"] == "row"]
    assert rows == ["txmetrics itself", "jobs"]


def test_without_a_reporter_its_row_is_not_there() -> None:
    """Nobody sends its numbers."""
    dashboard, _ = grafana_dashboard(METRICS, False)
    assert not [target for target in targets(dashboard) if "txmetrics." in target["target"]]


def test_very_many_metrics_have_panels_up_to_a_limit() -> None:
    """And how many are left out is told; what every service has is there before all others."""
    many = {f"user{number}.size": "gauge" for number in range(MOST_PANELS + 7)}
    dashboard, left_out = grafana_dashboard(many | METRICS, True)
    own = [one for one in panels(dashboard) if one["title"].startswith("user")]
    assert len(own) == MOST_PANELS
    assert left_out > 7
    assert dashboard["panels"][0]["title"] == "Requests"
    assert all(row["collapsed"] for row in dashboard["panels"] if row["title"].startswith("user"))


def test_counters_beside_each_other_share_a_panel() -> None:
    """Those of bytes have one of their own, and one panel has no more lines than can be told apart."""
    counters = {f"log.word{number}": "counter" for number in range(20)} | {"log.bytes_read": "counter"}
    found = [
        (one["title"], one["fieldConfig"]["defaults"]["unit"], len(one["targets"]))
        for one in panels(made(counters, "graphite"))
    ]
    assert found[-3:] == [
        ("log a second", "cps", 12),
        ("log a second", "cps", 8),
        ("log.bytes_read a second", "Bps", 1),
    ]


@pytest.mark.parametrize(
    ("name", "kind", "unit"),
    [
        ("tasks.oldest_seconds", "gauge", "s"),
        ("cache.bytes", "gauge", "bytes"),
        ("cache.bytes_used", "gauge", "bytes"),
        ("disk.used_ratio", "gauge", "percentunit"),
        ("queue.length", "gauge", "short"),
        ("mail.bytes", "histogram", "bytes"),
        ("mail.recipients", "histogram", "short"),
        ("db.query", "timer", "s"),
    ],
)
@pytest.mark.parametrize("source", SOURCES)
def test_the_unit_is_what_the_name_says(source: str, name: str, kind: str, unit: str) -> None:
    """Or none at all; a timer's is the second."""
    [panel] = [one for one in panels(made({name: kind}, source)) if one["title"] == name]
    assert panel["fieldConfig"]["defaults"]["unit"] == unit


def test_a_group_is_of_one_kind() -> None:
    """Also where names that differ in one part only are of different kinds."""
    catalogue = Catalogue({"a.status.x": "counter", "a.status.y": "timer", "b.status.z": "counter"})
    assert [(one.kind, one.names) for one in catalogue.take("a.status.*", COUNTED)] == [
        ("counter", ("a.status.x",)),
        ("timer", ("a.status.y",)),
    ]
    assert catalogue.take("b.status.*", {"gauge"}) == []
    assert [one.pattern for one in catalogue.rest()] == ["b.status.*"]
    assert catalogue.rest() == []
