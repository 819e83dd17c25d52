"""What runs: work in turns that can be called off, and a point a second, whatever the reactor does meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import TaskStopped

from tests.ext.dashboard.stand import BEGIN, Stand
from txmetrics.ext._turns import TURN
from txmetrics.ext.dashboard._work import Shared, Steps, Work
from txmetrics.testing import FakeReactor


class Counted:
    """Work of some steps, each of which takes longer than a turn may."""

    def __init__(self, reactor: FakeReactor, steps: int = 3, error: Exception | None = None) -> None:
        self.taken = 0
        self.begun = 0
        self._reactor = reactor
        self._steps = steps
        self._error = error

    def steps(self) -> Steps[bytes]:
        self.begun += 1
        for _ in range(self._steps):
            self.taken += 1
            self._reactor.rightNow += 2 * TURN
            yield
        if self._error is not None:
            raise self._error
        return b"done"


@pytest.fixture
def reactor() -> FakeReactor:
    """Time that passes when it is told to, or by the steps of the work."""
    return FakeReactor()


@pytest.fixture
def work(reactor: FakeReactor) -> Work:
    """Work in turns of that reactor."""
    return Work(reactor, reactor.clock)


def failure_of(deferred: Deferred[Any]) -> list[BaseException]:
    """Why it has failed, once it has."""
    failures: list[BaseException] = []
    deferred.addErrback(lambda failure: failures.append(failure.value))
    return failures


def pass_time(reactor: FakeReactor) -> None:
    for _ in range(20):
        reactor.advance(0.002)


def test_work_is_done_in_turns(reactor: FakeReactor, work: Work) -> None:
    """One step in each, if it takes that long; then what it comes to is told."""
    counted, results = Counted(reactor), []
    work.do(counted.steps()).addCallback(results.append)
    assert counted.taken == 0
    for taken in (1, 2, 3):
        reactor.advance(0.002)
        assert (counted.taken, results) == (taken, [])
    reactor.advance(0.002)
    assert results == [b"done"]
    assert reactor.getDelayedCalls() == []


def test_several_take_turns(reactor: FakeReactor, work: Work) -> None:
    """Together they hold the reactor no longer than one."""
    many = [Counted(reactor) for _ in range(5)]
    for each in many:
        work.do(each.steps())
    for turn in range(1, 6):
        reactor.advance(0.002)
        assert sum(each.taken for each in many) == turn
    assert [each.taken for each in many] == [1] * 5
    pass_time(reactor)
    assert [each.taken for each in many] == [3] * 5


def test_what_a_step_raises_is_what_the_work_comes_to(reactor: FakeReactor, work: Work) -> None:
    """And other work goes on."""
    good, results = Counted(reactor), []
    failures = failure_of(work.do(Counted(reactor, error=ValueError("no")).steps()))
    work.do(good.steps()).addCallback(results.append)
    pass_time(reactor)
    assert [str(failure) for failure in failures] == ["no"]
    assert results == [b"done"]


def test_work_that_is_cancelled_takes_no_further_step(reactor: FakeReactor, work: Work) -> None:
    """It fails with a TaskStopped, and nothing of it is left."""
    counted = Counted(reactor)
    deferred = work.do(counted.steps())
    failures = failure_of(deferred)
    reactor.advance(0.002)
    deferred.cancel()
    pass_time(reactor)
    assert counted.taken == 1
    assert [type(failure) for failure in failures] == [TaskStopped]
    assert reactor.getDelayedCalls() == []


@pytest.mark.parametrize("several", [1, 2, 5])
def test_stop_calls_off_all_work(reactor: FakeReactor, work: Work, several: int) -> None:
    """Each of it, and whoever waits is told."""
    failures = [failure_of(work.do(Counted(reactor).steps())) for _ in range(several)]
    reactor.advance(0.002)
    work.stop()
    assert [type(failure) for each in failures for failure in each] == [TaskStopped] * several
    assert reactor.getDelayedCalls() == []


def test_shared_work_is_done_once(reactor: FakeReactor, work: Work) -> None:
    """For all who ask before it is done and after, until they ask for something else."""
    shared, counted, results = Shared(work), Counted(reactor), []
    for _ in range(3):
        shared.ask("one", counted.steps).addCallback(results.append)
    pass_time(reactor)
    shared.ask("one", counted.steps).addCallback(results.append)
    assert (counted.begun, results) == (1, [b"done"] * 4)
    shared.ask("two", counted.steps).addCallback(results.append)
    pass_time(reactor)
    assert (counted.begun, len(results)) == (2, 5)


def test_who_cancels_does_not_take_shared_work_from_others(reactor: FakeReactor, work: Work) -> None:
    """The others get it, and who has left gets nothing."""
    shared, counted, results = Shared(work), Counted(reactor), []
    leaving = shared.ask("one", counted.steps)
    failures = failure_of(leaving)
    shared.ask("one", counted.steps).addCallback(results.append)
    leaving.cancel()
    pass_time(reactor)
    assert (results, len(failures)) == ([b"done"], 1)


def test_shared_work_that_failed_is_tried_again(reactor: FakeReactor, work: Work) -> None:
    """All who waited are told, and the next one who asks begins anew."""
    shared, results = Shared(work), []
    bad = Counted(reactor, error=ValueError("no"))
    failures = [failure_of(shared.ask("one", bad.steps)) for _ in range(2)]
    pass_time(reactor)
    assert [str(failure) for each in failures for failure in each] == ["no", "no"]
    shared.ask("one", Counted(reactor).steps).addCallback(results.append)
    pass_time(reactor)
    assert results == [b"done"]


def slowly(stand: Stand, seconds: float) -> Callable[[], float]:
    """What a gauge tells that holds the reactor for so long."""

    def tell() -> float:
        stand.reactor.rightNow += seconds
        return 1.0

    return tell


def test_a_look_that_is_not_done_in_a_second_leaves_the_next_one_out() -> None:
    """No two are under way at a time, and rates are those of the time that passed."""
    stand = Stand()
    counter = stand.registry.counter("c")
    for n in range(5):
        stand.registry.gauge(f"slow.{n}", slowly(stand, 0.5))
    stand.run()
    assert stand.dashboard._live is not None
    history, most = stand.dashboard._live.history, 0
    for _ in range(200):
        counter.inc(10)
        stand.reactor.advance(0.1)
        most = max(most, len(stand.dashboard._live.work._tasks))
    assert most == 1
    rows = history.tiers["5m"].rows
    seconds = stand.reactor.seconds() - BEGIN
    assert 3 <= len(rows) <= seconds / 2
    place = history.table.find("c.rate")
    assert place is not None
    rates = [row.at(place) for row in rows]
    assert max(rates) <= 2000 / seconds * 2
    stand.close()


def test_a_point_each_second_of_the_wall_clock() -> None:
    """Whenever it was started, and also after a while."""
    stand = Stand()
    stand.registry.counter("c")
    stand.reactor.advance(0.7)
    stand.run()
    for _ in range(1000):
        stand.reactor.advance(0.0537)
    assert stand.dashboard._live is not None
    rows = stand.dashboard._live.history.tiers["5m"].rows
    assert [row.time for row in rows] == [*range(BEGIN + 1, int(stand.reactor.seconds()) + 1)][: len(rows)]
    assert len(rows) >= 53
    stand.close()
