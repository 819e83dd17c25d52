"""Dashboards of a whole fleet, and of metrics with tags: Grafana's schema accepts them, and each target has data."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.carbon import Carbon
from tests.console.grafana import Json, complaints, filled, panels, targets, variables
from tests.graphite_web import GraphiteWeb
from txmetrics.console._grafana import grafana_dashboard
from txmetrics.console._graphite_config import graphite_files

METRICS = {
    "http.requests": "timer",
    "http.active": "gauge",
    **{f"http.status.{digit}xx": "counter" for digit in (2, 5)},
    **{f"http.routes.{route}.requests": "timer" for route in ("GET-users-_", "POST-users")},
    "reactor.busy": "gauge",
    "process.cpu_seconds": "gauge",
    "log.errors": "counter",
    "mail.sent": "meter",
    "mail.refused": "counter",
    "mail.bytes": "histogram",
    "errors.ValueError": "counter",
    "jobs;queue=mail": "counter",
    "jobs;queue=a.b": "counter",
    "db.query;table=users": "timer",
    "db.open;table=users": "gauge",
}
"""Some of what each process of a service has."""

OWN = {
    "txmetrics.started": "gauge",
    **{f"txmetrics.points_{what}": "counter" for what in ("collected", "delivered", "dropped.overflow")},
    **{
        f"txmetrics.{name}": "gauge"
        for name in ("connected", "queue_points", "retained_points", "queue_seconds", "report_seconds", "longest_turn")
    },
    "txmetrics.bytes_sent": "counter",
}

PROCESSES = [("h1", "w0"), ("h1", "w1"), ("h2", "w0")]

ARGUMENTS: dict[str, Any] = {
    "paths": ("app.{host}.{worker}", None, (), True),
    "tags": ("app", None, ("host", "worker"), True),
}
"""Prefix, title, tags, and that it is a fleet's."""

STEPS, SECONDS = 12, 100
"""So many reports of ten seconds were sent, of which so many seconds are looked at."""

FIELDS = {
    "gauge": {"": 1.0},
    "counter": {"delta": 20.0},
    "meter": {"delta": 20.0},
    "histogram": {"delta": 20.0, "p50": 3.0, "p95": 5.0, "p99": 6.0, "max": 7.0},
    "timer": {"delta": 20.0, "p50": 0.1, "p95": 0.2, "p99": 0.3, "max": 0.4},
}
"""What a process sends each ten seconds, w1 twice as much."""


def sent(tagged: bool) -> Iterator[tuple[str, float]]:
    """The series of all processes and their value, whose names have tags, or all tell their process in a path."""
    for host, worker in PROCESSES:
        own = f";host={host};worker={worker}" if tagged else ""
        head = "app." if tagged else f"app.{host}.{worker}."
        times = 2 if worker == "w1" else 1
        for name, kind in {**METRICS, **OWN}.items():
            path, _, tags = name.partition(";")
            for field, value in FIELDS[kind].items():
                yield ordered(f"{head}{path}.{field}".rstrip(".") + own + (f";{tags}" if tags else "")), value * times
        for bound, tag, count in (("0_1", "0.1", 10), ("0_25", "0.25", 15), ("inf", "+Inf", 20)):
            series = ordered(f"{head}http.requests.le{own};le={tag}") if tagged else f"{head}http.requests.le.{bound}"
            yield series, count * times


def prometheus() -> Json:
    """The same for Prometheus, whose names of metrics with tags have those in them."""
    return grafana_dashboard(METRICS, True, "prometheus", fleet=True)[0]


@pytest.mark.seconds(120)
def test_grafanas_own_schema_accepts_the_dashboards(tmp_path: Path) -> None:
    """By path, by tags, and for Prometheus."""
    made = {name: grafana_dashboard(METRICS, True, "graphite", *rest)[0] for name, rest in ARGUMENTS.items()}
    assert complaints({**made, "prometheus": prometheus()}, tmp_path) == {key: [] for key in [*made, "prometheus"]}


def test_each_has_a_uid_of_its_own() -> None:
    """So that one replaces itself and no other."""
    made = [grafana_dashboard(METRICS, True, "graphite", *rest)[0]["uid"] for rest in ARGUMENTS.values()]
    made += [grafana_dashboard(METRICS, True, "graphite", rest[0])[0]["uid"] for rest in ARGUMENTS.values()]
    assert len({*made, prometheus()["uid"]}) == 5


def test_a_fleet_without_requests_is_told_by_what_there_is() -> None:
    """Its first metric that counts; and there is no panel without a target."""
    for source in ("graphite", "prometheus"):
        dashboard, _ = grafana_dashboard({"depth": "gauge", "jobs": "counter"}, True, source, fleet=True)
        rows = [one["title"] for one in dashboard["panels"] if one["type"] == "row"]
        assert rows[:3] == ["All processes", "Each process", "Counted by all processes"]
        assert all(panel["targets"] for panel in panels(dashboard))
        assert "jobs" in str(next(panels(dashboard))["targets"]) or source == "graphite"


PARTS = ["http", "requests", "routes", "status", "errors", "2xx", "5xx", "blocked", "jobs", "txmetrics", "p99"]

some = st.tuples(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(".".join),
    st.sampled_from(["", ";queue=mail", ";host=x;queue=a.b"]),
).map("".join)


@settings(deadline=None, max_examples=60)
@given(
    metrics=st.dictionaries(some, st.sampled_from(list(FIELDS)), min_size=1),
    fleet=st.booleans(),
    arguments=st.sampled_from([("graphite", "app.{host}", ()), ("graphite", "app", ("host",)), ("prometheus", "", ())]),
)
def test_there_is_a_dashboard_for_whatever_there_is(metrics: dict[str, str], fleet: bool, arguments: Any) -> None:
    """No panel is empty, and Graphite is asked by tags for what has some, and for nothing else."""
    source, prefix, tags = arguments
    dashboard, _ = grafana_dashboard(metrics, True, source, prefix, None, tags, fleet)
    json.dumps(dashboard)
    assert all(panel["targets"] for panel in panels(dashboard))
    asked = [target.get("target", target.get("expr")).replace(r"\(", "") for target in targets(dashboard)]
    assert all(one.count("(") == one.count(")") for one in asked)
    by_tags = {one for one in asked if "seriesByTag" in one}
    if tags:
        assert by_tags == {*asked}
    elif source == "graphite":
        assert bool(by_tags) == any(";" in name for name in metrics)


def ordered(series: str) -> str:
    """As carbon writes it."""
    path, *tags = series.split(";")
    return ";".join([path, *sorted(tags)])


class Fleet(NamedTuple):
    """Who has its numbers, and the dashboard for them."""

    web: GraphiteWeb
    dashboard: Json
    last: int
    """The time of the last report."""

    def lines(self, title: str, values: dict[str, str]) -> dict[str, set[float]]:
        """The values that a panel shows until then, by the names of its lines."""
        [panel] = [one for one in panels(self.dashboard) if one["title"] == title]
        return {
            name: {round(value, 9) for at, value in points.items() if at <= self.last}
            for target in panel["targets"]
            for name, points in self.web.render(filled(target["target"], values), SECONDS).items()
        }


@pytest.fixture(scope="module", params=ARGUMENTS)
def fleet(_carbon_program: None, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A graphite-web that has all of it, and the dashboard for it."""
    series = dict(sent(tagged=request.param == "tags"))
    now = int(time.time()) // 10 * 10
    with Carbon(conf=graphite_files(10)) as carbon, GraphiteWeb(carbon) as web:
        stamps = [now - 10 * step for step in range(1, STEPS + 1)]
        carbon.send("".join(f"{name} {value} {at}\n" for at in reversed(stamps) for name, value in series.items()))
        for name in series:
            carbon.wait_for(lambda name=name: len(carbon.stored(name)) == STEPS)
        tagged = [name for name in series if ";" in name]
        web.index(tagged)
        dashboard, left_out = grafana_dashboard(METRICS, True, "graphite", *ARGUMENTS[request.param])
        assert left_out == 0
        yield Fleet(web, dashboard, stamps[0])


def chosen(web: GraphiteWeb, dashboard: Json) -> dict[str, str]:
    """All that its own variables find, as Grafana writes a choice of all that is there."""
    values: dict[str, str] = {}
    is_glob = "seriesByTag" not in next(targets(dashboard))["target"]
    for each in variables(dashboard):
        query = filled(each["query"], values)
        if tag := re.fullmatch(r"tag_values\((\w+), (.*)\)", query):
            found = web._get("/tags/autoComplete/values", tag=tag[1], expr=tag[2])
        else:
            found = web.find(query)
        if each["regex"]:
            found = sorted({match[1] for one in found if (match := re.search(each["regex"].strip("/"), one))})
        assert found, each
        values[each["name"]] = f"{{{','.join(found)}}}" if is_glob else f"({'|'.join(map(re.escape, found))})"
    return values


def test_each_target_returns_data(fleet: Fleet) -> None:
    """Of every panel, by whatever processes are told apart, with the hosts, workers and routes that it finds chosen."""
    web, dashboard, _ = fleet
    values = chosen(web, dashboard)
    shown = {
        (panel["title"], target["target"]): web.render(filled(target["target"], values), SECONDS)
        for panel in panels(dashboard)
        for target in panel["targets"]
    }
    assert [target for target, lines in shown.items() if not lines or not all(lines.values())] == []
    assert len(shown) > 60
    assert [one["title"] for one in dashboard["panels"] if one["type"] == "row"][:4] == [
        "All processes",
        "Each process",
        "Counted by all processes",
        "Requests",
    ]


ALL = {
    "Processes that report": {"processes": 3},
    "A second, all processes": {"all": 8},
    "No process has a p99 above": {"p99": 0.6},
    "The busiest process, and the average one": {"busiest": 4, "average": 8 / 3},
    "Answers a second, all processes": {"2xx": 8, "5xx": 8},
    "Reports": {"h1.w0": 1, "h1.w1": 1, "h2.w0": 1},
    "Points dropped a second": {"h1.w0": 2, "h1.w1": 4, "h2.w0": 2},
    "mail a second, all processes": {"sent": 8, "refused": 8},
    "mail.bytes a second, all processes": {"bytes": 8},
    "errors.* a second, all processes": {"ValueError": 8},
    "jobs by queue a second, all processes": {"a.b.jobs": 8, "mail.jobs": 8},
    "db.query by table a second, all processes": {"users.query": 8},
    "db.open by table": {"h1.w0.users.open": 1, "h1.w1.users.open": 2, "h2.w0.users.open": 1},
}
"""By panel its lines and their value: 20 in ten seconds, and of w1 on h1 twice as many."""


def test_what_is_shown_is_the_sum_of_all(fleet: Fleet) -> None:
    """With all processes chosen, as Grafana has it at first, and whatever the width of the screen."""
    values = {each["name"]: each["allValue"] for each in variables(fleet.dashboard)}
    for title, expected in ALL.items():
        lines = {name: {round(value, 9)} for name, value in expected.items()}
        assert fleet.lines(title, values) == lines, title
    within = fleet.lines("Within each bound of slo=", values)
    by_bound = {name.lower().replace("_", ".").strip("+"): points for name, points in within.items()}
    assert by_bound == {"0.1": {50}, "0.25": {75}, "inf": {100}}


def test_processes_are_chosen(fleet: Fleet) -> None:
    """One that has a name which another one's begins with is not that."""
    values = {each["name"]: each["allValue"] for each in variables(fleet.dashboard)} | {"host": "h1", "worker": "w0"}
    assert fleet.lines("A second, all processes", values) == {"all": {2.0}}
