"""What the README says is run here, word for word where it is code."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource

from tests.processes import fetch, free_port
from txmetrics import IdleExpiry, MetricsRegistry, TimedResource, timed
from txmetrics.tap import Options
from txmetrics.testing import GraphiteReceiver

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def block(mark: str) -> str:
    """The code after ``<!-- mark -->``."""
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None, mark
    return found.group(1)


def received(server: socket.socket) -> GraphiteReceiver:
    """All that the next client of ``server`` sends until it closes."""
    graphite = GraphiteReceiver()
    protocol = graphite.buildProtocol(None)
    protocol.makeConnection(StringTransport())
    server.settimeout(15)
    connection, _ = server.accept()
    with connection:
        connection.settimeout(15)
        while data := connection.recv(65536):
            protocol.dataReceived(data)
    return graphite


def test_the_quickstart_counts_a_request_and_reports_it_on_stop(tmp_path: Path) -> None:
    """The ten lines run as they stand (on free ports), and Graphite gets the exact number of requests."""
    code = block("quickstart")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    web = free_port()
    (tmp_path / "index.html").write_text("hello")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = code.replace("tcp:8080", f"tcp:{web}:interface=127.0.0.1")
        code = code.replace("127.0.0.1:2003", f"127.0.0.1:{server.getsockname()[1]}")
        child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
        try:
            for _ in range(3):
                assert fetch(f"http://127.0.0.1:{web}/") == b"hello"
            child.send_signal(signal.SIGTERM)
            graphite = received(server)
            assert child.wait(10) == 0
        finally:
            child.kill()
            child.wait()
    assert graphite.wrong == []
    assert graphite.latest("http.requests.count") == 3
    assert graphite.latest("http.status.2xx.count") == 3


def test_the_first_command_runs_the_hello_example_and_the_second_the_tests() -> None:
    """The two set-up commands name what exists."""
    assert block("run").strip().endswith("&& .venv/bin/python examples/hello.py")
    assert (ROOT / "examples" / "hello.py").is_file()
    assert block("test").strip().endswith("&& .venv/bin/pytest -q -n 3 --dist loadfile")


def test_the_table_of_options_is_complete() -> None:
    """Every option of the plugin is in the README, but the one that only refuses, and no other."""
    named = set(re.findall(r"`--(metrics-[a-z-]+)=", README))
    known = {each.removeprefix("opt_").replace("_", "-") for each in dir(Options) if each.startswith("opt_metrics_")}
    assert named == known - {"metrics-hosted-graphite-key"}


def test_every_http_name_in_the_readme_is_a_metric() -> None:
    """The table of what arrives holds names that TimedResource makes, or begins them."""
    registry = MetricsRegistry()
    TimedResource(Resource(), registry)
    made = {reading.name for reading in registry.snapshot()}
    section = README.split("## What arrives")[1].split("\n## ")[0]
    told = set(re.findall(r"`(http\.[a-z0-9_.]+)`", section))
    assert len(told) > 8
    assert told <= made


def test_the_lines_about_your_own_numbers_run() -> None:
    """Each line of that section is a call that works."""
    section = README.split("## Your own numbers")[1]
    code = section.split("```python\n")[1].split("```")[0]
    registry = MetricsRegistry()
    exec(code, {"registry": registry, "queue": [1, 2], "mail": b"four", "timed": timed, "IdleExpiry": IdleExpiry})
    assert registry.read("jobs.done") == {"count": 1}
    assert registry.read("queue.length") == {"value": 2}
    assert registry.read("mails")["count"] == 3
    assert registry.read("mail.bytes")["max"] == 4
    assert registry.read("db.query")["count"] == 1
    assert registry.read("db.reads") == {"count": 0}
