"""``backends.log``: reports as lines, to where they can be read, and a server that does not wait for whoever reads."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, SECONDS, environment, get
from tests.strict import Logged
from tests.waiting import wait_until
from txmetrics import MetricsRegistry, backends
from txmetrics.testing import FakeReactor


class Rig:
    """A registry in virtual time, and a log of it."""

    def __init__(self, to: Any, interval: float = 10.0, prefix: str = "", **kwargs: Any) -> None:
        self.reactor = FakeReactor()
        self.registry = MetricsRegistry(self.reactor.clock)
        self.reporter = backends.log(self.registry, to, interval, prefix, reactor=self.reactor, **kwargs)

    def stop(self) -> None:
        answers: list[None] = []
        self.reporter.stopService().addCallback(answers.append)
        self.reactor.pump([0.01] * 100)
        assert answers == [None]
        assert self.reactor.getDelayedCalls() == []
        ledger = self.reporter.ledger()
        assert ledger["collected"] == ledger["delivered"] + sum(ledger["dropped"].values())


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON, but those about the reporter."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if not line["name"].startswith("txmetrics.")]


def test_each_report_and_the_last_one_are_in_the_file(tmp_path: Path) -> None:
    """A line a metric, with the time of its report; what happened since the last comes with the stop."""
    path = tmp_path / "metrics.log"
    rig = Rig(path)
    jobs = rig.registry.counter("jobs")
    rig.registry.gauge("queue", lambda: 2.5)
    rig.reporter.startService()
    for _ in range(2):
        jobs.inc()
        rig.reactor.advance(10)
    jobs.inc()
    rig.reactor.advance(3)
    rig.stop()
    begin = 1_000_000_000
    told = [(line["time"] - begin, line["name"], line.get("count", line.get("value"))) for line in read(path)]
    assert told == [
        (t, name, value) for t, n in ((10, 1), (20, 2), (23, 3)) for name, value in (("jobs", n), ("queue", 2.5))
    ]


def test_a_timer_has_what_it_has(tmp_path: Path) -> None:
    """In the unit and under the names that were asked for; an interval in which nothing happened has no percentiles."""
    path = tmp_path / "metrics.log"
    rig = Rig(path, prefix="web.{pid}", dialect="pyformance", durations="milliseconds")
    timer = rig.registry.timer("db")
    timer.add(0.25)
    rig.reporter.startService()
    rig.reactor.advance(10)
    rig.reactor.advance(10)
    rig.stop()
    busy, idle, _ = (line for line in read(path) if not line["name"].startswith(f"web.{os.getpid()}.txmetrics"))
    assert busy["name"] == f"web.{os.getpid()}.db"
    assert (busy["count"], busy["99_percentile"], busy["avg"]) == (1, 250.0, 250.0)
    assert (idle["count"], idle["sum"]) == (1, 250.0)
    assert busy.keys() - idle.keys() == {
        *("avg", "max", "min", "std_dev", "50_percentile", "75_percentile"),
        *("95_percentile", "99_percentile", "999_percentile"),
    }


def test_logfmt_has_the_same_numbers(tmp_path: Path) -> None:
    """For people who would rather read it, and for programs that know it."""
    path = tmp_path / "metrics.log"
    rig = Rig(path, form="logfmt")
    rig.registry.counter("jobs").inc(3)
    rig.reporter.startService()
    rig.reactor.advance(10)
    assert "time=1000000010 name=jobs count=3" in path.read_text().splitlines()
    rig.stop()


def test_twisteds_log_has_the_report(logged: Logged) -> None:
    """As events of the application's own log, wherever that goes."""
    rig = Rig("log")
    rig.registry.counter("jobs").inc(3)
    rig.reporter.startService()
    rig.reactor.pump([10] + [0.01] * 50)
    assert '{"time": 1000000010, "name": "jobs", "count": 3}' in logged.texts()
    rig.stop()


def test_what_is_no_number_is_left_out_and_counted(tmp_path: Path) -> None:
    """A file of JSON stays one, and the ledger has the rest."""
    path = tmp_path / "metrics.log"
    rig = Rig(path)
    rig.registry.gauge("a", lambda: float("nan"))
    rig.registry.gauge("b", lambda: 1)
    rig.reporter.startService()
    rig.reactor.advance(10)
    assert read(path) == [{"time": 1_000_000_010, "name": "b", "value": 1}]
    assert rig.reporter.ledger()["refused"] == {"value": 1}
    rig.stop()


def test_a_log_that_cannot_be_written_hurts_nobody(logged: Logged) -> None:
    """Of a disk that is full from the first to the last report, people read two lines, and the books balance."""
    rig = Rig("/dev/full")
    rig.registry.counter("jobs").inc()
    rig.reporter.startService()
    rig.reactor.pump([10] * 5)
    assert rig.reporter.numbers()["errors"] == 5
    rig.stop()
    ledger = rig.reporter.ledger()
    assert ledger["dropped"] == {"refused": ledger["collected"]}
    assert len([text for text in logged.texts() if "report" in text]) == 1


def test_a_reporter_can_be_started_again(tmp_path: Path) -> None:
    """And writes behind what it wrote before."""
    path = tmp_path / "metrics.log"
    rig = Rig(path)
    rig.registry.counter("jobs").inc()
    for _ in range(2):
        rig.reporter.startService()
        rig.reactor.advance(10)
        rig.stop()
    assert [line["name"] for line in read(path)].count("jobs") >= 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"to": "/no/such/file"}, "'/no/such' is no directory"),
        ({"to": ""}, "'' is no file for a log"),
        ({"form": "xml"}, "form 'xml' is unknown; choose one of json, logfmt"),
        ({"dialect": "statsd"}, "dialect 'statsd' is unknown"),
        ({"durations": "hours"}, "durations 'hours' is unknown"),
        ({"prefix": "a..b"}, "part 2"),
        ({"prefix": "{port}"}, "only {host}, {pid}, {worker} and {generation}"),
        ({"interval": 0.5}, "0.5 seconds is too short"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], told: str) -> None:
    """When the reporter is made, in one sentence."""
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        backends.log(MetricsRegistry(), **arguments)
    assert len(str(refused.value).splitlines()) == 1


def test_making_it_opens_nothing(tmp_path: Path) -> None:
    """No file appears before it starts, which may be in another process and as another user."""
    shown = [backends.log(MetricsRegistry(), to).where for to in ("-", "log", tmp_path / "a.log")]
    assert shown == ["standard output", "log", "file"]
    assert list(tmp_path.iterdir()) == []


# A server whose standard output nobody reads

SERVER = """
import json
import sys
from twisted.internet import endpoints, reactor
from twisted.web.resource import Resource
from twisted.web.server import Site
from txmetrics import MetricsRegistry, TimedResource, backends

class Hello(Resource):
    isLeaf = True
    def render_GET(self, request):
        return b"hello"

def listening(port):
    print(port.getHost().port, file=sys.stderr, flush=True)

registry = MetricsRegistry()
for number in range(2000):
    registry.counter(f"many.{number}").inc(number)
reporter = backends.log(registry, interval=1.0).start_with(reactor)
reactor.addSystemEventTrigger("during", "shutdown", lambda: reporter.stopService().addCallback(
    lambda _: print(json.dumps(reporter.ledger()), file=sys.stderr, flush=True)))
endpoints.serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(
    Site(TimedResource(Hello(), registry))).addCallback(listening)
reactor.run()
"""


def test_a_server_whose_output_nobody_reads_serves_on(tmp_path: Path) -> None:
    """A hundred kilobytes of report a second into a pipe that is full: requests are answered, and it can be stopped.

    What has arrived there when it is read at last are whole lines of JSON.
    """
    theirs, ours = os.pipe()
    room = fcntl.fcntl(ours, fcntl.F_GETPIPE_SZ)
    flags = fcntl.fcntl(ours, fcntl.F_GETFL)
    errors = tmp_path / "errors"
    with errors.open("wb") as to:
        child = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=ROOT,
            env=environment(),
            stdout=ours,
            stderr=to,
            stdin=subprocess.DEVNULL,
        )
    try:
        port = int(wait_until(lambda: re.match(r"(\d+)\n", errors.read_text()), errors.read_text)[1])
        wait_until(lambda: in_pipe(theirs) > room - 2 * select.PIPE_BUF, lambda: str(in_pipe(theirs)))
        assert get(port, times=200) == [(200, b"hello")] * 200
        assert fcntl.fcntl(ours, fcntl.F_GETFL) == flags
        child.terminate()
        assert child.wait(SECONDS) == 0
    finally:
        child.kill()
        child.wait(SECONDS)
        os.close(ours)
        with open(theirs, "rb") as pipe:
            output = pipe.read()
    ledger = json.loads(errors.read_text().splitlines()[-1])
    lines = [json.loads(line) for line in output.splitlines()]
    assert {f"many.{number}" for number in range(100)} <= {line["name"] for line in lines}
    assert ledger["delivered"] <= sum(len(line) - 2 for line in lines)
    assert ledger["collected"] == ledger["delivered"] + sum(ledger["dropped"].values())


def in_pipe(fd: int) -> int:
    """How many bytes wait in it."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
