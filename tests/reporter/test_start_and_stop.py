"""Starts and stops of a reporter, one during the other, and what may not happen before them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from tests.delivery.network import Pipe
from tests.reporter.rig import READING, Rig, SlowGauges
from tests.strict import Logged
from txmetrics import MetricsRegistry, backends
from txmetrics.reporter import STOP
from txmetrics.testing import FakeReactor, GraphiteReceiver


def test_nothing_is_opened_before_the_start(make: Callable[..., Rig]) -> None:
    """A reporter that is only made asks nobody for anything: under twistd it is made before the fork."""
    rig = make()
    assert rig.streams == []
    assert rig.endpoint.attempts == []
    assert rig.reactor.getDelayedCalls() == []


def test_stop_before_start_is_done_at_once(make: Callable[..., Rig]) -> None:
    """There is nothing to report and nobody to report to."""
    rig = make()
    assert rig.stop() == [None]
    assert rig.streams == []


def test_starting_twice_starts_once(make: Callable[..., Rig]) -> None:
    """One connection, one report an interval."""
    rig = make().start()
    rig.reporter.startService()
    rig.advance(10)
    assert len(rig.endpoint.attempts) == 1
    assert rig.stamps() == [10]


def test_every_stop_is_answered_when_all_is_done(make: Callable[..., Rig]) -> None:
    """A second stop waits for the first, or a reactor would end before the last interval has left."""
    rig = make()
    rig.reporter.startService()
    rig.reactor.advance(12)
    first, second = rig.stop(), rig.stop()
    assert first == second == []
    rig.accept()
    rig.reactor.advance(0)
    assert first == second == [None]
    assert rig.stop() == [None]
    assert rig.stamps() == [10, 12]


def test_a_stopped_reporter_can_start_again(make: Callable[..., Rig]) -> None:
    """With a new connection, and everything goes on."""
    rig = make().start()
    rig.registry.counter("jobs").inc()
    rig.advance(12)
    rig.stop()
    rig.advance(20)
    assert rig.stamps("jobs.count") == [10, 12]
    rig.start()
    rig.advance(20)
    assert rig.stamps("jobs.count") == [10, 12, 40, 50]
    assert len(rig.endpoint.attempts) == 2


def test_a_start_during_a_stop_follows_it(make: Callable[..., Rig]) -> None:
    """What the first run still has to deliver is delivered, then the second begins, with a delivery of its own."""
    rig = make()
    rig.reporter.startService()
    rig.advance(12)
    stopped = rig.stop()
    rig.reporter.startService()
    assert stopped == []
    assert len(rig.streams) == 1
    rig.accept()
    rig.reactor.advance(0)
    assert stopped == [None]
    assert rig.pipe.ended == "ConnectionDone"
    assert len(rig.streams) == 2
    rig.accept()
    rig.advance(10)
    assert rig.stamps() == [10, 12, 20]


def test_start_and_stop_during_a_stop_cancel_out(make: Callable[..., Rig]) -> None:
    """The second run never begins."""
    rig = make()
    rig.reporter.startService()
    rig.advance(12)
    first = rig.stop()
    rig.reporter.startService()
    second = rig.stop()
    rig.advance(STOP)
    assert first == second == [None]
    assert len(rig.streams) == 1
    assert rig.reactor.getDelayedCalls() == []


def test_a_start_in_answer_to_a_stop(make: Callable[..., Rig]) -> None:
    """Whoever waits for the end may begin anew at once."""
    rig = make().start()
    rig.reporter.stopService().addCallback(lambda _: rig.reporter.startService())
    rig.reactor.advance(0)
    assert len(rig.streams) == 2
    rig.accept()
    rig.advance(10)
    assert rig.stamps()[-1] == 10


def test_a_stop_during_a_report_completes_it(make: Callable[..., Rig]) -> None:
    """The interval that is being told is told to its end, and the last one after it."""
    rig = make().start()
    slow = SlowGauges(rig, 1200, READING)  # of more than one chunk
    stopped: list[list[None]] = []
    rig.reactor.callLater(10, lambda: stopped.append(rig.stop()))
    rig.advance(10)
    assert stopped == [[]]
    rig.advance(0.125)  # one turn was waited for, none of the others is
    assert stopped == [[None]]
    assert {tuple(rig.stamps(name)) for name in slow.names} == {(10, 11)}
    stamps = [point.timestamp for point in rig.graphite.points]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("gauges", [2000, 10_000])
@pytest.mark.parametrize("deaf", [False, True])
def test_a_stop_ends_in_time_however_long_the_collecting_takes(
    make: Callable[..., Rig], logged: Logged, gauges: int, deaf: bool
) -> None:
    """On a busy reactor a report of many turns is broken off at half the time, so that what was told is delivered."""
    rig = make().start()
    rig.pipe.full = deaf
    slow = SlowGauges(rig, gauges, seconds=0.002)  # and with them everybody else in the same turn
    begin = rig.reactor.seconds()
    answered: list[float] = []
    rig.reporter.stopService().addCallback(lambda _: answered.append(rig.reactor.seconds() - begin))
    rig.advance(7)
    assert answered
    assert answered[0] <= STOP + 0.1
    assert len(logged.flush(TimeoutError)) == 1
    assert any(rig.stamps(name) for name in slow.names) == (not deaf)
    assert rig.pipe.ended == ("ConnectionAborted" if deaf else "ConnectionDone")


def test_a_graphite_that_never_reads_does_not_hold_up_a_stop(make: Callable[..., Rig]) -> None:
    """The service ends after STOP seconds."""
    rig = make().start()
    rig.pipe.full = True
    stopped = rig.stop()
    rig.advance(STOP - 0.1)
    assert stopped == []
    rig.advance(0.2)
    assert stopped == [None]
    assert rig.pipe.ended == "ConnectionAborted"


def test_start_with_a_reactor_adds_one_trigger(make: Callable[..., Rig]) -> None:
    """The service starts when the reactor runs, and the reactor waits for its end, once."""
    rig = make()
    assert rig.reporter.start_with(rig.reactor) is rig.reporter
    assert not rig.reporter.running
    assert rig.streams == []
    [(start, args, kwargs)] = rig.reactor.whenRunningHooks
    assert rig.reactor.triggers == {"before": {"shutdown": [(rig.reporter.stopService, (), {})]}}
    start(*args, **kwargs)
    assert rig.reporter.running
    rig.accept()
    [(stop, args, kwargs)] = rig.reactor.triggers["before"]["shutdown"]
    assert isinstance(stop(*args, **kwargs), Deferred)
    rig.reactor.advance(0)
    assert rig.stamps() == [0]
    assert rig.reactor.triggers == {"before": {"shutdown": [(rig.reporter.stopService, (), {})]}}


def test_host_and_pid_are_taken_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the reporter is made: under twistd that is another process."""
    reactor, receiver = FakeReactor(), GraphiteReceiver()
    registry = MetricsRegistry(reactor.clock)
    reporter = backends.graphite(registry, "tcp:h:2003", 10, "{host}.p{pid}.x", reactor=reactor)
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    monkeypatch.setattr(socket, "gethostname", lambda: "web1.example.org")
    reporter.startService()
    client, server = reactor.tcpClients[0][2].buildProtocol(None), receiver.buildProtocol(None)
    pipe = Pipe(reactor, client, server)
    client.makeConnection(pipe)
    reporter.stopService()
    reactor.advance(0)
    assert receiver.latest("web1_example_org.p4711.x.txmetrics.reports.count") == 0
    assert pipe.ended == "ConnectionDone"
    assert reactor.getDelayedCalls() == []


def test_no_module_imports_the_reactor() -> None:
    """Which reactor it is, the application chooses, after it has imported txmetrics."""
    program = (
        "import sys, txmetrics, txmetrics.backends, txmetrics.reporter, txmetrics.delivery, txmetrics.testing\n"
        "from txmetrics import *\n"
        "txmetrics.backends.graphite(txmetrics.MetricsRegistry(), 'tcp:127.0.0.1:2003')\n"
        "print('twisted.internet.reactor' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
