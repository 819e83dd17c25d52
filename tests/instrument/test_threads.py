"""Thread pools: every job is measured once, in the reactor's thread, and neither it nor the pool notices."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any
from weakref import ref

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python import context
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.server import Site
from twisted.web.wsgi import WSGIResource
from zope.interface import implementer

from tests.processes import get, run
from tests.strict import Logged, the_reactor
from tests.waiting import wait_until
from txmetrics import Clock, MetricsRegistry
from txmetrics.instrument import MeasuredThreadPool, _threads
from txmetrics.testing import FakeReactor

SECONDS = 20.0
GAUGES = {"threads", "working", "idle", "queue", "min", "max"}


class Measured:
    """A pool of threads that is measured, and what a reporter reads of it."""

    def __init__(self, clock: Clock | None = None, threads: int = 1) -> None:
        self.registry = MetricsRegistry() if clock is None else MetricsRegistry(clock)
        self.pool = ThreadPool(0, threads)
        self._before = dict(vars(self.pool))
        self.service = MeasuredThreadPool(self.registry, pool=self.pool)
        self.service.startService()
        self._results: Queue[tuple[bool, Any]] = Queue()

    def read(self) -> dict[str, Any]:
        """Fields by name, without the scope; of counters the count."""
        fields = {reading.name: reading.fields() for reading in self.registry.snapshot()}
        return {
            name.removeprefix("threadpool."): found.get("value", found.get("count") if len(found) == 1 else found)
            for name, found in fields.items()
        }

    def ask(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.pool.callInThreadWithCallback(lambda *result: self._results.put(result), work, *args, **kwargs)

    def result(self) -> tuple[bool, Any]:
        """Whether the next job that ends returned, and what, or its Failure."""
        return self._results.get(timeout=SECONDS)

    def as_it_was(self) -> bool:
        """Whether the pool has the attributes that it had before it was measured and started, and no others."""
        return {**vars(self.pool), "started": True, "joined": False} == {
            **self._before,
            "started": True,
            "joined": False,
        }

    def do(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.ask(work, *args, **kwargs)
        return self.result()[1]


@pytest.fixture
def measured(reactor: FakeReactor) -> Iterator[Measured]:
    """One thread, and a clock that goes by ``advance`` only."""
    measured = Measured(reactor.clock)
    measured.pool.start()
    yield measured
    if not measured.pool.joined:
        measured.pool.stop()
    measured.service.stopService()


class Held:
    """A job that runs until it is let go."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.may_end.wait(SECONDS)


def fail() -> None:
    raise LookupError("on purpose")


# What is measured


def test_every_number_has_its_name(measured: Measured) -> None:
    """These, and no others."""
    assert set(measured.read()) == GAUGES | {"queue_wait", "run", "errors", "untimed", "measuring_errors"}


def test_a_job_waits_for_the_one_before_it(measured: Measured, reactor: FakeReactor) -> None:
    """Two jobs of 50 ms on one thread, asked for at once: the second waits for 50 ms, and both run for 50 ms."""
    jobs = Held(), Held()
    for job in jobs:
        measured.ask(job)
    for job in jobs:
        assert job.begun.wait(SECONDS)
        reactor.advance(0.05)
        job.may_end.set()
        measured.result()
    read = measured.read()
    assert (read["queue_wait"]["count"], read["run"]["count"]) == (2, 2)
    assert read["queue_wait"]["min"] == 0
    assert read["queue_wait"]["max"] == pytest.approx(0.05)
    assert read["run"]["min"] == read["run"]["max"] == pytest.approx(0.05)


def test_the_same_by_the_machines_clock() -> None:
    """As a server has it; how much later a busy machine does it is not ours to say."""
    measured = Measured()
    measured.pool.start()
    begin = time.perf_counter()
    for _ in range(2):
        measured.ask(time.sleep, 0.05)
    measured.pool.stop()
    took = time.perf_counter() - begin
    read = measured.read()
    measured.service.stopService()
    assert 0.05 <= read["queue_wait"]["max"] <= took
    assert read["queue_wait"]["min"] < read["queue_wait"]["max"] - 0.04
    assert read["run"]["min"] >= 0.05
    assert read["run"]["sum"] <= took


def test_the_gauges_show_the_pool_as_it_is(measured: Measured) -> None:
    """Two busy threads, a queue, and a thread that is no more when the pool shrinks."""
    measured.pool.adjustPoolsize(0, 2)
    jobs = Held(), Held(), Held()
    for job in jobs:
        measured.ask(job)
    assert jobs[0].begun.wait(SECONDS)
    assert jobs[1].begun.wait(SECONDS)
    shown = {name: measured.read()[name] for name in GAUGES}
    assert shown == {"threads": 2, "working": 2, "idle": 0, "queue": 1, "min": 0, "max": 2}
    for job in jobs:
        job.may_end.set()
        measured.result()
    wait_until(lambda: measured.read()["idle"] == 2, lambda: "both are idle")
    measured.pool.adjustPoolsize(0, 1)
    shown = {name: measured.read()[name] for name in GAUGES}
    assert shown == {"threads": 1, "working": 0, "idle": 1, "queue": 0, "min": 0, "max": 1}


def test_a_job_that_raises_is_an_error_and_is_timed(measured: Measured, reactor: FakeReactor) -> None:
    """Whatever it raises, its Failure says where."""

    def leave() -> None:
        reactor.advance(0.25)
        raise SystemExit(3)

    failure = measured.do(leave)
    assert failure.check(SystemExit)
    assert "in leave" in failure.getTraceback()
    measured.do(int)
    read = measured.read()
    assert read["errors"] == 1
    assert read["run"]["count"] == 2
    assert read["run"]["max"] == 0.25


def test_a_job_without_anybody_for_its_result(measured: Measured, logged: Logged) -> None:
    """callInThread, which logs what is raised, once; WSGI uses it."""
    done = threading.Event()
    measured.pool.callInThread(fail)
    measured.pool.callInThread(done.set)
    assert done.wait(SECONDS)
    measured.pool.stop()
    assert [failure.type for failure in logged.flush(LookupError)] == [LookupError]
    assert measured.read()["run"]["count"] == 2
    assert measured.read()["errors"] == 1


# What is not changed


def test_arguments_and_result_are_the_same_objects(measured: Measured) -> None:
    """Also with names that the measuring uses itself, and when the pool's own are given as keywords."""
    marker = object()

    def work(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    args, kwargs = measured.do(work, marker, override=1, job=2)
    assert args[0] is marker
    assert kwargs == {"override": 1, "job": 2}
    results: Queue[Any] = Queue()
    measured.pool.callInThreadWithCallback(onResult=lambda *result: results.put(result), func=object)
    assert results.get(timeout=SECONDS)[0] is True


def test_the_very_exception_comes_out(measured: Measured) -> None:
    """As a Failure of it."""
    error = LookupError("on purpose")

    def work() -> None:
        raise error

    failure = measured.do(work)
    assert isinstance(failure, Failure)
    assert failure.value is error


def test_a_job_runs_in_its_context_and_tells_its_result_there(measured: Measured) -> None:
    """The context of who asked for it; the result is told in the job's thread, as it always was."""
    results: Queue[Any] = Queue()

    def ask() -> None:
        measured.pool.callInThreadWithCallback(
            lambda ok, result: results.put((result, threading.get_ident())),
            lambda: (context.get("who"), threading.get_ident()),
        )

    context.call({"who": "me"}, ask)
    (who, worked), told = results.get(timeout=SECONDS)
    assert who == "me"
    assert worked == told != threading.get_ident()


def test_a_job_is_let_go_before_its_result_is_told(measured: Measured) -> None:
    """With its arguments: what it holds may be large, or ask for its own end."""

    class Thing:
        def __call__(self, other: Thing) -> None:
            pass

    job, argument = Thing(), Thing()
    kept = ref(job), ref(argument)
    alive: Queue[list[Any]] = Queue()
    measured.pool.callInThreadWithCallback(lambda *result: alive.put([one() for one in kept]), job, argument)
    del job, argument
    assert alive.get(timeout=SECONDS) == [None, None]


def test_a_pool_that_has_stopped_runs_nothing_and_keeps_nothing(measured: Measured) -> None:
    """What it is asked for then is let go at once, and counts nowhere."""

    class Job:
        def __call__(self) -> None:
            raise AssertionError("it ran")

    measured.pool.stop()
    job = Job()
    kept = ref(job)
    measured.ask(job)
    del job
    assert kept() is None
    read = measured.read()
    assert read["run"]["count"] == read["errors"] == read["queue"] == 0


def test_a_pool_that_was_not_started_is_not_started(reactor: FakeReactor) -> None:
    """Neither by being measured nor by being read; what it was asked for waits, and waits long."""
    measured = Measured(reactor.clock)
    measured.ask(int)
    assert measured.read()["queue"] == 1
    assert measured.read()["threads"] == 0
    assert not measured.pool.started
    assert measured.pool.threads == []
    reactor.advance(3)
    measured.pool.start()
    measured.result()
    assert measured.read()["queue_wait"]["max"] == 3
    measured.pool.stop()
    measured.service.stopService()


@pytest_twisted.ensureDeferred
async def test_deferred_jobs_fire_as_ever(measured: Measured) -> None:
    """deferToThreadPool: a result, a Failure, and one that nobody waits for any more."""
    held, reactor = Held(), the_reactor()
    cancelled = deferToThreadPool(reactor, measured.pool, held)
    good = deferToThreadPool(reactor, measured.pool, int, "12")
    bad = deferToThreadPool(reactor, measured.pool, int, "twelve")
    cancelled.cancel()
    held.may_end.set()
    with pytest.raises(CancelledError):
        await cancelled
    assert await good == 12
    with pytest.raises(ValueError, match="twelve"):
        await bad
    read = measured.read()
    assert read["run"]["count"] == read["queue_wait"]["count"] == 3
    assert read["errors"] == 1


@pytest_twisted.ensureDeferred
async def test_wsgi_is_measured(measured: Measured) -> None:
    """Its application runs in the pool's threads; a request is a job."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hello"]

    reactor = the_reactor()
    site = Site(WSGIResource(reactor, measured.pool, application))
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    client = ThreadPool(1, 1)
    client.start()
    try:
        answers = await deferToThreadPool(reactor, client, get, port.getHost().port)
    finally:
        client.stop()
        await port.stopListening()
    assert answers == [(200, b"hello")]
    measured.pool.stop()
    assert measured.read()["run"]["count"] == 1
    assert measured.read()["errors"] == 0


# In the reactor's thread, and bounded


def test_metrics_change_only_when_they_are_read(measured: Measured) -> None:
    """They belong to the reactor's thread; the job's thread does not touch them."""
    run, errors = measured.registry.timer("threadpool.run"), measured.registry.counter("threadpool.errors")
    measured.do(fail)
    assert (run.count, errors.count) == (0, 0)
    measured.read()
    assert (run.count, errors.count) == (1, 1)


def test_many_jobs_become_metrics_without_a_report(measured: Measured) -> None:
    """The next one that is asked for in the reactor's thread makes room, so that none is lost."""
    run = measured.registry.timer("threadpool.run")
    for _ in range(_threads.ENOUGH):
        measured.do(int)
    assert run.count == 0
    measured.do(int)
    assert run.count == _threads.ENOUGH
    assert measured.read()["run"]["count"] == _threads.ENOUGH + 1


def test_jobs_that_other_threads_ask_for_touch_no_metric_there(measured: Measured) -> None:
    """They wait for the report, however many there are."""
    run = measured.registry.timer("threadpool.run")

    def ask() -> None:
        for _ in range(_threads.ENOUGH + 10):
            measured.do(int)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(SECONDS)
    assert run.count == 0
    assert measured.read()["run"]["count"] == _threads.ENOUGH + 10


def test_of_too_many_jobs_the_rest_is_counted(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that is late, or never comes, costs bounded memory; how many were not timed is known."""
    monkeypatch.setattr(_threads, "LIMIT", 10)
    for _ in range(25):
        measured.do(int)
    for _ in range(2):
        read = measured.read()
        assert read["run"]["count"] == 10
        assert read["untimed"] == 15


def test_a_report_takes_them_in_several_steps(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it holds the reactor for a fraction of a millisecond at a time."""
    monkeypatch.setattr(_threads, "AT_A_TIME", 3)
    for _ in range(20):
        measured.do(int)
    assert measured.read()["run"]["count"] == 3 * len(GAUGES)
    assert measured.read()["run"]["count"] == 20


def test_a_clock_that_fails_hurts_no_job(logged: Logged) -> None:
    """It is logged once and counted, and the result is the result."""
    tell = [0.0]

    def tick() -> float:
        return tell[0]

    measured = Measured(Clock(wall=time.time, tick=tick))
    measured.pool.start()
    tell.clear()
    assert measured.do(int, "12") == 12
    assert measured.do(fail).check(LookupError)
    tell.append(0.0)
    measured.pool.stop()
    measured.service.stopService()
    assert len(logged.flush(IndexError)) == 1
    read = measured.read()
    assert read["run"]["count"] == 0
    assert read["measuring_errors"] >= 2


def test_a_metric_that_fails_hurts_no_report(measured: Measured, logged: Logged) -> None:
    """What cannot be added is counted as an error of the measuring, and the next jobs are measured."""
    measured.service._errors = None
    measured.do(fail)
    measured.do(int)
    assert measured.read()["run"]["count"] == 2
    assert measured.read()["measuring_errors"] == 1
    assert len(logged.flush(AttributeError)) == 1


# In place, and away again


def test_a_service_that_has_stopped_leaves_the_pool_as_it_was(measured: Measured) -> None:
    """Exactly; and one that is started again measures each job once."""
    measured.service.startService()
    measured.do(int)
    assert not measured.as_it_was()
    assert measured.read()["run"]["count"] == 1
    measured.service.stopService()
    measured.service.stopService()
    assert measured.as_it_was()
    measured.do(int)
    assert measured.read()["run"]["count"] == 1
    measured.service.startService()
    measured.do(int)
    assert measured.read()["run"]["count"] == 2


def test_a_job_that_was_asked_for_before_the_stop_is_told_after_it(measured: Measured) -> None:
    """It was measured already, so it counts."""
    job = Held()
    measured.ask(job)
    measured.service.stopService()
    job.may_end.set()
    measured.result()
    assert measured.read()["run"]["count"] == 1


def test_what_stood_there_before_stands_there_again(measured: Measured) -> None:
    """A pool whose method was replaced by somebody else gets that back."""
    measured.service.stopService()
    theirs = partial(measured.pool.callInThreadWithCallback)
    measured.pool.callInThreadWithCallback = theirs
    measured.service.startService()
    assert measured.pool.callInThreadWithCallback is not theirs
    measured.service.stopService()
    assert measured.pool.callInThreadWithCallback is theirs


def test_what_somebody_puts_above_stays(measured: Measured) -> None:
    """Ours cannot be taken from under it, and from then on passes everything on."""
    ours, theirs = measured.pool.callInThreadWithCallback, []

    def above(*args: Any, **kwargs: Any) -> None:
        theirs.append(args)
        ours(*args, **kwargs)

    measured.pool.callInThreadWithCallback = above
    measured.do(int)
    measured.service.stopService()
    assert measured.pool.callInThreadWithCallback is above
    measured.do(int)
    assert len(theirs) == 2
    assert measured.read()["run"]["count"] == 1
    measured.service.startService()
    measured.do(int)
    assert measured.read()["run"]["count"] == 2
    measured.service.stopService()
    measured.pool.callInThreadWithCallback = ours


@pytest.mark.parametrize("first", [0, 1])
def test_two_may_measure_one_pool_and_stop_in_any_order(measured: Measured, first: int) -> None:
    """Each counts every job once, and the last one that goes leaves the pool as it was."""
    other = MetricsRegistry()
    services = measured.service, MeasuredThreadPool(other, "pool", measured.pool)
    services[1].startService()
    measured.do(int)
    other.snapshot()
    assert measured.read()["run"]["count"] == other.read("pool.run")["count"] == 1
    services[first].stopService()
    measured.do(int)
    services[1 - first].stopService()
    assert measured.as_it_was()
    measured.do(int)
    other.snapshot()
    counts = measured.read()["run"]["count"], other.read("pool.run")["count"]
    assert counts == ((1, 2) if first == 0 else (2, 1))


def test_a_name_that_is_taken_is_refused() -> None:
    """Two pools need two names."""
    registry, pool = MetricsRegistry(), ThreadPool()
    MeasuredThreadPool(registry, pool=pool)
    with pytest.raises(ValueError, match="exists already"):
        MeasuredThreadPool(registry, pool=pool)
    MeasuredThreadPool(registry, "other", pool=pool)


# The reactor's own pool


@implementer(IReactorThreads)
class Threads:
    """The part of a reactor that makes its pool when it is asked for it."""

    threadpool: ThreadPool | None = None

    def getThreadPool(self) -> ThreadPool:
        self.threadpool = self.threadpool or ThreadPool(0, 1)
        return self.threadpool


def test_a_service_that_saw_no_pool_leaves_the_reactor_as_it_was() -> None:
    """It waited for one, and waits no more; started again, it finds the one that was made meanwhile."""
    reactor, registry = Threads(), MetricsRegistry()
    service = MeasuredThreadPool(registry, reactor=reactor)
    for _ in range(2):
        service.startService()
        service.startService()
        assert registry.read("threadpool.max") == {"value": 0}
        service.stopService()
        assert vars(reactor) == {}
    own = dict(vars(reactor.getThreadPool()))
    service.startService()
    assert registry.read("threadpool.max") == {"value": 1}
    assert vars(reactor.threadpool) != own
    service.stopService()
    assert vars(reactor.threadpool) == own


def test_a_service_that_has_stopped_measures_no_pool_that_is_made_later() -> None:
    """Also if it could not be taken away, because somebody put something above it."""
    reactor = Threads()
    service = MeasuredThreadPool(MetricsRegistry(), reactor=reactor)
    service.startService()
    ours = reactor.getThreadPool
    reactor.getThreadPool = lambda: ours()
    service.stopService()
    assert "callInThreadWithCallback" not in vars(reactor.getThreadPool())


REACTORS_OWN = """
import json, socket, time
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from txmetrics import MetricsRegistry
from txmetrics.instrument import MeasuredThreadPool

registry, told = MetricsRegistry(), {}
before = set(vars(reactor))
service = MeasuredThreadPool(registry)

def read(name):
    registry.snapshot()
    return registry.read("threadpool." + name)

def begin():
    service.startService()
    told["shown without a pool"] = [read(name)["value"] for name in ("threads", "queue", "max")]
    told["made by looking"] = reactor.threadpool is not None
    FIRST().addCallback(ask)

def ask(ignored):
    told["left in the reactor"] = sorted(vars(reactor).keys() - before)
    registry.snapshot()
    told["counted first"] = read("run")["count"]
    deferToThread(time.sleep, 0.05).addCallback(finish)

def finish(ignored):
    told["counted then"] = read("run")["count"]
    told["longest"] = read("run")["max"] >= 0.05
    told["max"] = read("max")["value"]
    service.stopService()
    told["left in the pool"] = "callInThreadWithCallback" in vars(reactor.threadpool)
    service.startService()
    reactor.addSystemEventTrigger("after", "shutdown", end)
    reactor.stop()

def end():
    told["after the end"] = read("threads")["value"]
    service.stopService()
    told["left at the end"] = sorted(vars(reactor).keys() - before)

reactor.callWhenRunning(begin)
reactor.run()
print(json.dumps(told))
"""


def child(first: str, tmp_path: Path) -> dict[str, Any]:
    ended = run(sys.executable, "-c", REACTORS_OWN.replace("FIRST()", first), cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    told: dict[str, Any] = json.loads(ended.stdout)
    assert told["shown without a pool"] == [0, 0, 0]
    assert told["made by looking"] is False
    assert told["longest"] is True
    assert told["max"] == 10
    assert told["left in the pool"] is False
    assert told["after the end"] == 0
    return told


def test_the_reactors_pool_is_measured_from_its_first_job(tmp_path: Path) -> None:
    """It is not made by being measured; when the first job makes it, that job is measured, and nothing stays behind."""
    told = child("deferToThread(int)", tmp_path)
    assert (told["counted first"], told["counted then"]) == (1, 2)
    assert not [name for name in told["left in the reactor"] + told["left at the end"] if name == "getThreadPool"]


def test_a_pool_that_a_lookup_made_is_found_at_the_next_report(tmp_path: Path) -> None:
    """The reactor's resolver keeps the method that makes it; the lookup before the report is not measured."""
    told = child("reactor.resolve('localhost')", tmp_path)
    assert (told["counted first"], told["counted then"]) == (0, 1)
    assert "getThreadPool" not in told["left at the end"]
