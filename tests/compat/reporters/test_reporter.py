"""Start and stop of every reporter, and somebody's own, in virtual time."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.compat.reporters.page import Page
from tests.compat.reporters.reactors import Fake
from tests.processes import run
from tests.strict import Logged
from txmetrics.compat.pyformance import MetricsRegistry
from txmetrics.compat.pyformance.reporters import (
    Reporter,
)

BEGIN = 1_000_000_000
KEY = "3fb7a2d1-4c0e-9d5e-a1b2c3d4e5f6"


class Own(Reporter):
    """Somebody's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[Any] = []
        self.failing = False

    def report_now(self, registry: Any = None, timestamp: Any = None) -> Any:
        self.calls.append(registry)
        if self.failing:
            raise OSError("the disk is full")


def test_it_reports_at_the_multiples_of_the_interval_once_the_reactor_runs(fake: Fake) -> None:
    """Not before, and with those as its timestamps, whenever it was started."""
    fake.install()
    page = Page(fake)
    fake.pass_by(3)
    assert page.reporter.start() is True
    fake.pass_by(20)
    assert page.seconds == []
    fake.begin()
    fake.pass_by(27)
    assert page.seconds == ["47:10", "47:20", "47:30"]
    page.reporter.stop()


def test_it_starts_at_once_in_a_running_reactor(fake: Fake) -> None:
    """And only once."""
    fake.begin()
    page = Page(fake)
    assert [page.reporter.start() for _ in range(3)] == [True, False, False]
    fake.pass_by(10)
    assert page.seconds == ["46:50"]
    page.reporter.stop()


def test_stop_reports_the_last_interval_and_is_for_good(fake: Fake) -> None:
    """In the second in which it is called; a stopped reporter is not started again."""
    fake.begin()
    page = Page(fake)
    page.reporter.start()
    fake.pass_by(13)
    answers: list[None] = []
    page.reporter.stop().addCallback(answers.append)
    assert page.seconds == ["46:50", "46:53"]
    assert answers == [None]
    assert page.reporter.start() is False
    fake.pass_by(20)
    page.reporter.stop().addCallback(answers.append)
    assert page.seconds == ["46:50", "46:53"]
    assert answers == [None, None]
    assert fake.getDelayedCalls() == []


def test_one_that_is_stopped_before_the_reactor_runs_never_reports(fake: Fake) -> None:
    """Nor one that was never started."""
    fake.install()
    page = Page(fake)
    page.reporter.start()
    page.reporter.stop()
    fake.begin()
    fake.pass_by(20)
    Page(fake).reporter.stop()
    assert page.seconds == []
    assert fake.getDelayedCalls() == []


def test_the_last_interval_is_reported_before_the_reactor_stops(fake: Fake) -> None:
    """Which waits for that."""
    fake.begin()
    page = Page(fake, 3600)
    page.reporter.start()
    fake.pass_by(1)
    (waited_for,) = fake.end()
    assert isinstance(waited_for, Deferred)
    assert waited_for.called
    assert page.seconds == ["46:41"]


def test_somebodys_own_report_now_is_called_with_the_registry(fake: Fake) -> None:
    """Every interval, and when it is stopped."""
    fake.begin()
    registry = MetricsRegistry()
    own = Own(registry, 10, fake)
    own.start()
    fake.pass_by(20)
    assert own.calls == [registry, registry]
    own.stop()
    assert own.calls == [registry] * 3


def test_what_it_raises_is_logged_and_the_next_report_comes(fake: Fake, logged: Logged) -> None:
    """Once for each report."""
    fake.begin()
    own = Own(MetricsRegistry(), 10, fake)
    own.failing = True
    own.start()
    fake.pass_by(20)
    assert len(own.calls) == 2
    assert [str(failure.value) for failure in logged.flush(OSError)] == ["the disk is full"] * 2
    own.failing = False
    own.stop()
    assert len(own.calls) == 3


def test_one_that_cannot_report_says_what_it_lacks(fake: Fake, logged: Logged) -> None:
    """When it is asked, and in the log when its time has come."""
    fake.begin()
    bare = Reporter(MetricsRegistry(), 10, fake)
    with pytest.raises(NotImplementedError, match=r"Reporter has no report_now\(self, registry=None"):
        bare.report_now()
    bare.start()
    fake.pass_by(10)
    bare.stop()
    assert logged.flush(NotImplementedError)


NEVER_RUNS = """
from txmetrics.compat.pyformance import MetricsRegistry
from txmetrics.compat.pyformance.reporters import ConsoleReporter
reporter = ConsoleReporter(MetricsRegistry(), 1)
reporter.start()
{then}
"""


@pytest.mark.parametrize(
    ("then", "told"),
    [
        (
            "",
            "ConsoleReporter: it was started, but no reactor ever ran, so it has reported nothing; "
            "call reactor.run(), or let twistd run the program\n",
        ),
        ("reporter.stop()", ""),
    ],
)
def test_a_program_that_never_runs_the_reactor_is_told_so_at_its_end(tmp_path: Path, then: str, told: str) -> None:
    """For pyformance needed none; but not if it has stopped the reporter itself."""
    ended = run(sys.executable, "-c", NEVER_RUNS.format(then=then), cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, told)


RUNS = """
from twisted.internet import reactor
from txmetrics.compat.pyformance import MetricsRegistry
from txmetrics.compat.pyformance.reporters import ConsoleReporter
registry = MetricsRegistry()
registry.counter("c").inc(5)
ConsoleReporter(registry, 3600).start()
reactor.callLater(0.1, reactor.stop)
reactor.run()
"""


def test_a_real_reactor_reports_the_last_interval_when_it_stops(tmp_path: Path) -> None:
    """To the standard error, if no stream is given; and nothing else is said."""
    ended = run(sys.executable, "-W", "error", "-c", RUNS, cwd=tmp_path)
    assert ended.returncode == 0
    assert re.fullmatch(r"== [-\d]{10} [:\d]{8} =+\nc:\n +count = 5\n\n", ended.stdout)
