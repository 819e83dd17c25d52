"""``--metrics-log``: reports for those who have only a log, from the command and from the mix-in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import Service
from twisted.python.usage import Options as UsageOptions

from tests.processes import SCRIPTS, Child, get
from tests.strict import Logged
from tests.tap.harness import GRAPHITE, arrived, graphite, parsed, refusal
from tests.waiting import wait_until
from txmetrics import MetricsRegistry
from txmetrics.tap import MetricsOptionMixin, makeService, measured


class Mixed(UsageOptions, MetricsOptionMixin):
    """As documented."""


def read(text: str) -> dict[str, dict[str, Any]]:
    """The last line of each metric; every line is JSON."""
    return {line["name"]: line for line in map(json.loads, text.splitlines())}


async def run(path: str, *arguments: str) -> None:
    """A service with the mix-in's options and a registry of its own, from its start to its end."""
    registry = MetricsRegistry()
    registry.counter("own").inc(7)
    options = Mixed()
    options.parseOptions([f"--metrics-log={path}", "--metrics-interval=60", *arguments])
    service = measured(Service(), options, registry)
    service.startService()
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_the_mixin_writes_the_applications_own_registry(tmp_path: Path) -> None:
    """With the prefix and the interval of the other options; the last report is in the file when the stop is over."""
    path = tmp_path / "metrics.log"
    await run(str(path), "--metrics-prefix=web1.{pid}")
    written = read(path.read_text())
    assert written[f"web1.{os.getpid()}.own"]["count"] == 7
    assert written[f"web1.{os.getpid()}.process.threads"]["value"] >= 1


@pytest_twisted.ensureDeferred
async def test_twisteds_log_is_a_place_too(logged: Logged) -> None:
    """Where twistd's own lines go, these go as well."""
    await run("log", "--metrics-instrument=process")
    lines = [event["line"] for event in logged.events if event["log_namespace"] == "txmetrics"]
    assert read("\n".join(lines))["own"]["count"] == 7


@pytest_twisted.ensureDeferred
async def test_a_log_and_a_graphite_get_the_same(tmp_path: Path) -> None:
    """A backend does not stand in another's way."""
    path = tmp_path / "metrics.log"
    async with graphite() as (receiver, endpoint):
        await run(str(path), f"--metrics-graphite={endpoint}")
        assert await arrived(receiver, "own.count") == 7
    assert read(path.read_text())["own"]["count"] == 7


def test_a_log_alone_is_somewhere_to_report_to(tmp_path: Path) -> None:
    """It needs no Graphite beside it, and the last one given counts."""
    first, last = tmp_path / "first", tmp_path / "last"
    service = makeService(parsed(f"--metrics-log={first}", f"--metrics-log={last}", "web", "--listen=tcp:0"))
    assert len(list(service)) == 2
    assert list(tmp_path.iterdir()) == []
    assert [reporter.where for reporter in parsed("--metrics-log=-", "web").reporters(MetricsRegistry())] == [
        "standard output"
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--metrics-log=/no/such/a.log", "web"], "'/no/such' is no directory, so there can be no log in it"),
        (["--metrics-log=/", "web"], "'/' is a directory; give a file for the log in it"),
        (["--metrics-log=", "web"], "'' is no file for a log; give a path, - or log"),
        ([GRAPHITE, "--metrics-log=/no/such/a.log", "web"], "'/no/such' is no directory"),
        (["--metrics-log"], "--metrics-log requires argument"),
        (["web"], "--metrics-log=FILE"),
    ],
)
def test_a_wrong_log_is_one_line_that_says_why(arguments: list[str], told: str) -> None:
    """Before anything runs."""
    assert told in str(refusal(*arguments))


def test_twistd_writes_json_to_the_standard_output(tmp_path: Path) -> None:
    """Nothing else is there when its own log goes elsewhere, and the requests since the last report are told, too."""
    log = tmp_path / "twistd.log"
    log.touch()
    command = [SCRIPTS / "twistd", "-n", "--pidfile=", f"--logfile={log}", "metrics", "--metrics-log=-"]
    web = ["web", "--listen=tcp:0:interface=127.0.0.1", f"--path={tmp_path}"]
    with Child(*command, "--metrics-interval=1", *web, cwd=tmp_path) as child:
        wait_until(lambda: "Site starting on" in log.read_text(), log.read_text)
        port = int(log.read_text().split("Site starting on ")[1].split()[0])
        assert {status for status, _ in get(port, times=20)} == {200}
        child.says(r'"name": "http\.requests", "count": 20, ')
        assert {status for status, _ in get(port, times=3)} == {200}
        child.stop()
    written = read(child.output())
    assert written["http.requests"]["count"] == 23
    assert written["http.status.2xx"]["count"] == 23
    assert "Traceback" not in log.read_text()
