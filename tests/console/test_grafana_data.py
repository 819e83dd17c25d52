"""Every target of a written dashboard returns data: from a real graphite-web, and from a real Prometheus."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.carbon import Carbon
from tests.console.grafana import Json, filled, panels, targets, variables
from tests.graphite_web import GraphiteWeb
from tests.processes import ROOT, Child, get, run
from tests.prometheus import Prometheus
from tests.waiting import wait_until
from txmetrics.console._grafana import grafana_dashboard
from txmetrics.console._graphite_config import graphite_files

PREFIX = "web.{host}.{pid}"

PAUSE = 0.3
"""Seconds before a server is asked again for what it had not yet."""

pytestmark = pytest.mark.seconds(120)


class Service(NamedTuple):
    """A server that reports to a carbon, and can be scraped."""

    carbon: Carbon
    dashboard: int
    scraped: int
    directory: Path

    def write(self, *arguments: str) -> Json:
        """The dashboard that the command writes for it."""
        url = f"http://127.0.0.1:{self.dashboard}/"
        done = run(sys.executable, "-m", "txmetrics", "grafana-dashboard", url, *arguments, cwd=self.directory)
        assert done.returncode == 0, done.stdout
        dashboard: Json = json.loads(done.stdout)
        return dashboard


@pytest.fixture(scope="module")
def service(_carbon_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its metrics all have values."""
    directory = tmp_path_factory.mktemp("service")
    with Carbon(conf=graphite_files(1, PREFIX)) as carbon:
        command = [sys.executable, "-m", "tests.console.grafana_child", f"tcp:127.0.0.1:{carbon.line_port}", PREFIX]
        with Child(*command, cwd=directory, PYTHONPATH=str(ROOT)) as child:
            ports = child.says(r"dashboard (\d+) scraped (\d+)\n")
            yield Service(carbon, int(ports[1]), int(ports[2]), directory)


def test_each_target_returns_data_from_graphite_web(service: Service) -> None:
    """With the hosts, processes and routes filled in that its own variables find; each line has a name of its own."""
    dashboard = service.write("--prefix", PREFIX)
    with GraphiteWeb(service.carbon) as web:

        def all_there() -> dict[str, list[str]]:
            chosen = _choices(web, dashboard)
            return chosen if {"GET-ok", "POST-ok", "_404"} <= set(chosen.get("route", [])) else {}

        chosen = wait_until(all_there, web.log)
        every = {name: f"{{{','.join(options)}}}" for name, options in chosen.items()}
        shown = _all_shown(web, dashboard, every)
        check_numbers(web, dashboard, every)
        one, all_ = (_by_route(web, dashboard, {**every, "route": value}) for value in ("GET-ok", "*"))
        assert (len(one), len(all_)) == (1, len(chosen["route"]))
    [host], [pid] = chosen["host"], chosen["pid"]
    assert shown["Answers a second"] >= {f"{host}.{pid}.{status}" for status in ("2xx", "4xx", "5xx")}
    assert shown["Time of a request"] >= {f"{host}.{pid}.{field}" for field in ("p50", "p95", "p99", "max")}
    assert f"{host}.{pid}.POST-ok.request_bytes" in shown["95 % of the bodies are smaller"]
    assert "requests" in shown["Requests a second"]
    assert shown["broken.errors.* a second"] == {f"{host}.{pid}.ZeroDivisionError"}


def check_numbers(web: GraphiteWeb, dashboard: Json, values: dict[str, str]) -> None:
    """What the server does again and again is what the panels show."""

    def lines(title: str) -> list[dict[int, float]]:
        [panel] = [one for one in panels(dashboard) if one["title"] == title]
        return [line for target in panel["targets"] for line in web.render(filled(target["target"], values)).values()]

    def numbers(title: str) -> set[float]:
        return {value for line in lines(title) for value in line.values()}

    [done], [read] = lines("jobs.done a second"), lines("jobs.bytes_read a second")
    both = sorted(done.keys() & read.keys())[:-1]  # the last one may have come in between
    assert both
    assert [read[at] for at in both] == pytest.approx([500 * done[at] for at in both], rel=0.001)
    assert (numbers("mail.recipients"), numbers("db.query"), numbers("queue.length")) == ({2.0}, {0.004}, {3.0})
    assert 0 < max(numbers("Errors")) < 0.5


def _choices(web: GraphiteWeb, dashboard: Json) -> dict[str, list[str]] | None:
    """What there is to choose from, by variable; None before there is anything."""
    chosen: dict[str, list[str]] = {}
    for each in variables(dashboard):
        values = {name: f"{{{','.join(options)}}}" for name, options in chosen.items()}
        chosen[each["name"]] = web.find(filled(each["query"], values))
        if not chosen[each["name"]]:
            return None
    return chosen


def _by_route(web: GraphiteWeb, dashboard: Json, values: dict[str, str]) -> dict[str, dict[int, float]]:
    """The lines of the panel that has one for each route."""
    row = next(place for place, one in enumerate(dashboard["panels"]) if one["title"] == "Routes")
    return web.render(filled(dashboard["panels"][row + 1]["targets"][0]["target"], values))


def _all_shown(web: GraphiteWeb, dashboard: Json, values: dict[str, str]) -> dict[str, set[str]]:
    """The names of all lines, by the titles of panels, when no target is without a value."""
    shown: dict[str, set[str]] = {}
    left = [(panel["title"], target["target"]) for panel in panels(dashboard) for target in panel["targets"]]
    assert len(left) > 100

    def all_there() -> bool:
        for title, target in [*left]:
            lines = web.render(filled(target, values))
            if any(lines.values()):
                assert all(lines.values()), f"{title}: {lines}"
                shown.setdefault(title, set()).update(lines)
                left.remove((title, target))
        time.sleep(PAUSE if left else 0)
        return not left

    wait_until(all_there, lambda: f"without data: {left}", 30)
    return shown


ODD = ["0", "1.5", "1e5", "-1", "+5", "1-2", "7up.x", "inf", "true", "None.x", "a%b+c:d@e#f.g-h", "#", "%.:", "_.@"]
"""Names that a metric may have, and that look like something else."""


def test_graphite_web_takes_every_name_for_a_name(own_carbon: Carbon) -> None:
    """Also without a prefix, where one could be a number or a word."""
    begin = int(time.time()) - 10
    own_carbon.send("".join(f"{name} {number} {begin + number}\n" for name in ODD for number in range(10)))
    for name in ODD:
        own_carbon.wait_for(lambda name=name: own_carbon.stored(name))
    dashboard, _ = grafana_dashboard(dict.fromkeys(ODD, "gauge"), False)
    with GraphiteWeb(own_carbon) as web:
        asked = [target["target"] for target in targets(dashboard)]
        assert [len(line) for target in asked for line in web.render(target).values()] == [10] * len(ODD)


def test_each_target_returns_data_from_prometheus(service: Service) -> None:
    """With the instances and routes filled in that its own variables find; a line has the labels of its legend.

    That of a fleet has all that there is without, and more.
    """
    dashboard = service.write("--datasource", "prometheus", "--fleet")
    plain = [panel["targets"] for panel in panels(service.write("--datasource", "prometheus"))]
    assert [panel["targets"] for panel in panels(dashboard)][-len(plain) :] == plain
    with Prometheus(service.scraped) as server:
        wait_until(lambda: get(server.ports[0], "/-/ready")[0][0] == 200, server.log)
        values = {"__rate_interval": "5s"}
        for each in variables(dashboard):
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", each["query"])
            assert found is not None
            selector, label = filled(found[1], values), found[2]
            lines = wait_until(lambda selector=selector: _asked(server, selector), server.log)
            values[label] = "|".join({labels[label] for labels, _ in lines})
        assert {"GET-ok", "POST-ok", "_404"} <= set(values["route"].split("|"))
        left = [target for panel in panels(dashboard) for target in panel["targets"]]
        assert len(left) > 100

        def all_there() -> bool:
            for target in [*left]:
                lines = _asked(server, filled(target["expr"], values))
                if any(not math.isnan(value) for _, value in lines):
                    legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                    assert all(legend <= labels.keys() for labels, _ in lines), target
                    left.remove(target)
            time.sleep(PAUSE if left else 0)
            return not left

        wait_until(all_there, lambda: f"without data: {[target['expr'] for target in left]}", 30)


def _asked(server: Prometheus, expression: str) -> list[tuple[dict[str, str], float]]:
    """The labels and the value of each line, now."""
    answer = json.loads(server._get(server.ports[0], "/api/v1/query", query=expression))
    return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]
