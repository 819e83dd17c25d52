"""What becomes of a report: of the regular ones to carbon, and of report_now."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from tests.compat.reporters.page import Page
from tests.compat.reporters.reactors import Fake, no_reactor
from tests.delivery.network import Pipe
from tests.strict import Logged
from txmetrics.compat.pyformance import MetricsRegistry
from txmetrics.compat.pyformance.reporters import (
    CarbonReporter,
    ConsoleReporter,
    HostedGraphiteReporter,
    Reporter,
    SysLogReporter,
    UdpCarbonReporter,
)
from txmetrics.reporter import STOP
from txmetrics.testing import GraphiteReceiver

BEGIN = 1_000_000_000
KEY = "3fb7a2d1-4c0e-9d5e-a1b2c3d4e5f6"


class Counted(CarbonReporter):
    """A CarbonReporter whose reports somebody counts."""

    reports = 0

    def report_now(self, registry: Any = None, timestamp: Any = None) -> Any:
        self.reports += 1
        return super().report_now(registry, timestamp)


@pytest.mark.parametrize("kind", [CarbonReporter, Counted])
def test_carbon_gets_every_report_over_one_connection(fake: Fake, kind: type[CarbonReporter]) -> None:
    """Also the last one; also where somebody's own report_now hands on to pyformance's."""
    fake.begin()
    registry, graphite = MetricsRegistry(clock=fake), GraphiteReceiver()
    reporter = kind(registry, 10, "web.", "127.0.0.1", clock=fake)
    reporter.start()
    connect(fake, graphite)
    counter = registry.counter("jobs")
    fake.pass_by(3)
    for _ in range(3):
        counter.inc()
        fake.pass_by(10)
    answers: list[None] = []
    reporter.stop().addCallback(answers.append)
    fake.pass_by(STOP)
    assert answers == [None]
    assert graphite.values("web.jobs.count") == {BEGIN + 10: 1, BEGIN + 20: 2, BEGIN + 30: 3, BEGIN + 33: 3}
    assert graphite.names() == {"web.jobs.count"}
    assert (graphite.connections, len(fake.tcpClients)) == (1, 1)
    assert kind is CarbonReporter or reporter.reports == 4


def connect(fake: Fake, graphite: GraphiteReceiver) -> None:
    """The server takes the latest connection."""
    host, port, factory, *_ = fake.tcpClients[-1]
    assert (host, port) == ("127.0.0.1", 2003)
    client = factory.buildProtocol(None)
    client.makeConnection(Pipe(fake, client, graphite.buildProtocol(None)))


def test_report_now_of_one_that_runs_takes_its_connection(fake: Fake) -> None:
    """With another registry and another timestamp, if they are given."""
    fake.begin()
    registry, graphite = MetricsRegistry(clock=fake), GraphiteReceiver()
    registry.counter("mine").inc()
    other = MetricsRegistry(clock=fake)
    other.counter("other").inc(2)
    reporter = CarbonReporter(registry, 10, "", "127.0.0.1", clock=fake)
    reporter.start()
    connect(fake, graphite)
    fake.pass_by(1)
    answers: list[None] = []
    reporter.report_now().addCallback(answers.append)
    reporter.report_now(other, 1234).addCallback(answers.append)
    fake.pass_by(1)
    assert answers == [None, None]
    assert [tuple(point) for point in graphite.points] == [("mine.count", 1, BEGIN + 1), ("other.count", 2, 1234)]
    reporter.stop()
    fake.pass_by(STOP)
    assert len(fake.tcpClients) == 1


def test_report_now_of_one_that_was_not_started_connects_for_itself(fake: Fake) -> None:
    """Its Deferred fires when everything is delivered, and the connection closed."""
    fake.begin()
    registry, graphite = MetricsRegistry(clock=fake), GraphiteReceiver()
    registry.counter("jobs").inc(7)
    answers: list[None] = []
    CarbonReporter(registry, 10, "", "127.0.0.1", clock=fake).report_now(timestamp=17).addCallback(answers.append)
    fake.pass_by(1)
    assert answers == []
    connect(fake, graphite)
    fake.pass_by(1)
    assert answers == [None]
    assert graphite.values("jobs.count") == {17: 7}
    assert fake.getDelayedCalls() == []


def test_report_now_gives_up_after_some_seconds(fake: Fake, logged: Logged) -> None:
    """If nobody is there, and that is logged; it never fails."""
    fake.begin()
    registry = MetricsRegistry(clock=fake)
    registry.counter("jobs").inc(7)
    answers: list[None] = []
    CarbonReporter(registry, 10, "", "127.0.0.1", clock=fake).report_now().addCallback(answers.append)
    fake.pass_by(STOP + 1)
    assert answers == [None]
    assert "1 points may not have reached tcp:127.0.0.1:2003" in logged.texts()


def test_a_big_report_takes_many_turns(fake: Fake) -> None:
    """Between which others have theirs; and stop waits for it."""
    fake.begin()
    registry, stream = MetricsRegistry(), io.StringIO()
    for number in range(3000):
        registry.timer(f"calls.{number}")
    reporter = ConsoleReporter(registry, 3600, stream)
    reporter.report_now(timestamp=17)
    turns = 0
    stopped = reporter.stop()
    while not stopped.called and turns < 10_000:
        assert stream.getvalue() == ""  # a report stays together
        fake.advance(0.125)
        turns += 1
    assert turns > 5
    assert stream.getvalue().count("999_percentile") == 3000


def test_what_goes_wrong_in_report_now_is_logged_where_a_reactor_runs(fake: Fake, logged: Logged) -> None:
    """The Deferred fires all the same, as a LoopingCall wants it; the stream here is closed."""
    fake.begin()
    page = Page(fake)
    page.stream.close()
    answers: list[None] = []
    page.reporter.report_now().addCallback(answers.append)
    fake.pass_by(1)
    assert answers == [None]
    assert len(logged.flush(ValueError)) == 1


def test_a_registry_that_raises_is_logged_like_everything_else(fake: Fake, logged: Logged) -> None:
    """In a report of its own and in a regular one; the next one is tried again."""

    class Broken:
        def dump_metrics(self) -> Any:
            raise ArithmeticError("no")

    fake.begin()
    answers: list[None] = []
    reporter = ConsoleReporter(Broken(), 10, io.StringIO(), fake)
    reporter.report_now().addCallback(answers.append)
    reporter.start()
    fake.pass_by(20)
    reporter.stop()
    assert answers == [None]
    assert len(logged.flush(ArithmeticError)) == 4


def test_what_goes_wrong_in_report_now_is_raised_where_none_runs(fake: Fake) -> None:
    """There is nobody else who could be told."""
    page = Page(fake)
    page.stream.close()
    with no_reactor(), pytest.raises(ValueError, match="closed file"):
        page.reporter.report_now()


@pytest.mark.parametrize(
    "make",
    [
        CarbonReporter,
        UdpCarbonReporter,
        SysLogReporter,
        lambda registry: HostedGraphiteReporter(KEY, registry),
    ],
)
def test_where_no_reactor_runs_a_sentence_says_so(make: Callable[[Any], Reporter]) -> None:
    """Of those that need one to send anything."""
    with no_reactor(), pytest.raises(RuntimeError) as refused:
        make(MetricsRegistry()).report_now()
    kind = type(make(MetricsRegistry())).__name__
    assert str(refused.value) == (
        f"no reactor runs, which would send what the {kind} reports; let the reactor call report_now(), "
        "as in reactor.callWhenRunning(reporter.report_now)"
    )
