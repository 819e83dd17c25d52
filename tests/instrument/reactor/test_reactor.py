"""The reactor's own numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.threadpool import ThreadPool

from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry
from txmetrics.instrument import MeasuredReactor
from txmetrics.instrument.reactor import _reactor
from txmetrics.testing import FakeReactor

POOL = {"threadpool.threads", "threadpool.working", "threadpool.queue", "threadpool.max"}
NAMES = {"lag", "busy", "cpu_seconds", "delayed_calls", "readers", "writers"} | POOL


def read(registry: MetricsRegistry) -> dict[str, Any]:
    """Fields by name, without the scope."""
    return {
        reading.name.removeprefix("reactor."): reading.fields().get("value", reading.fields())
        for reading in registry.snapshot()
    }


@pytest.fixture
def reactor() -> FakeReactor:
    return FakeReactor()


@pytest.fixture
def registry(reactor: FakeReactor) -> MetricsRegistry:
    return MetricsRegistry(reactor.clock)


@pytest.fixture
def service(reactor: FakeReactor, registry: MetricsRegistry) -> Iterator[MeasuredReactor]:
    """It runs."""
    service = MeasuredReactor(registry, reactor)
    service.startService()
    yield service
    service.stopService()
    assert reactor.getDelayedCalls() == []


def test_every_number_has_its_name(service: MeasuredReactor, registry: MetricsRegistry) -> None:
    """These, and no others."""
    assert set(read(registry)) == NAMES


def test_before_it_starts_there_are_the_names(registry: MetricsRegistry) -> None:
    """Whose reactor is not known yet, and is not looked for."""
    MeasuredReactor(registry)
    numbers = read(registry)
    assert set(numbers) == NAMES
    assert {name for name, value in numbers.items() if value and name not in ("lag", "cpu_seconds")} == set()


def test_lateness_is_added_for_each_probe(
    service: MeasuredReactor, registry: MetricsRegistry, reactor: FakeReactor
) -> None:
    """Those in time count as well."""
    for seconds in (0.25, 0.25, 1.0):
        reactor.advance(seconds)
    lag = read(registry)["lag"]
    assert (lag["count"], lag["max"], lag["min"]) == (3, 0.75, 0.0)
    assert service.lag.seconds() == 0.75


class Cpu:
    """What ``time.thread_time`` says."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Cpu:
    cpu = Cpu()
    monkeypatch.setattr(_reactor.time, "thread_time", cpu)
    return cpu


def test_busy_is_the_part_of_the_last_five_seconds(
    cpu: Cpu, service: MeasuredReactor, registry: MetricsRegistry, reactor: FakeReactor
) -> None:
    """Told anew by each probe; what is longer ago does not count, and a reader changes nothing."""

    def pass_by(seconds: float, busy: float) -> float:
        for _ in range(round(seconds / 0.25)):
            cpu.seconds += busy * 0.25
            reactor.advance(0.25)
        assert read(registry)["busy"] == read(registry)["busy"]
        return float(read(registry)["busy"])

    assert pass_by(0.25, 0.5) == pytest.approx(0.5)
    assert pass_by(0.25, 1) == pytest.approx(0.75)
    assert pass_by(10, 1) == pytest.approx(1)
    assert pass_by(2.5, 0) == pytest.approx(0.5)
    assert pass_by(2.5, 0) == pytest.approx(0)
    assert pass_by(5, 1.01) == 1  # by two clocks that do not quite agree


def test_a_stopped_one_is_not_busy(cpu: Cpu, registry: MetricsRegistry, reactor: FakeReactor) -> None:
    """And begins anew."""
    service = MeasuredReactor(registry, reactor)
    for _ in range(2):
        service.startService()
        cpu.seconds += 1
        reactor.advance(1)
        assert read(registry)["busy"] == 1
        service.stopService()
        assert read(registry)["busy"] == 0
        assert reactor.getDelayedCalls() == []
        reactor.advance(50)


def test_what_the_reactor_has_to_watch(
    service: MeasuredReactor, registry: MetricsRegistry, reactor: FakeReactor
) -> None:
    """Counted when it is asked."""
    call = reactor.callLater(1, int)
    reactor.addReader(object())
    reactor.addReader(object())
    reactor.addWriter(object())
    numbers = read(registry)
    assert (numbers["delayed_calls"], numbers["readers"], numbers["writers"]) == (2, 2, 1)
    call.cancel()
    assert read(registry)["delayed_calls"] == 1


def test_a_report_wakes_the_probe_that_a_clock_has_put_off(
    service: MeasuredReactor, registry: MetricsRegistry, reactor: FakeReactor
) -> None:
    """One that was set back by an hour."""
    reactor.rightNow -= 3600
    reactor.advance(1)
    assert read(registry)["lag"]["count"] == 0
    read(registry)
    reactor.advance(0.25)
    assert read(registry)["lag"]["count"] == 1


class Bare:
    """A reactor that has nothing but what the probe needs."""

    def __init__(self) -> None:
        reactor = FakeReactor()
        self.callLater: Callable[..., Any] = reactor.callLater
        self.seconds = reactor.seconds


def test_what_a_reactor_does_not_have_is_zero(registry: MetricsRegistry) -> None:
    """And no error."""
    service = MeasuredReactor(registry, Bare())
    service.startService()
    numbers = read(registry)
    assert {name: numbers[name] for name in NAMES - {"lag", "cpu_seconds"}} == dict.fromkeys(
        NAMES - {"lag", "cpu_seconds"}, 0
    )
    service.stopService()


def test_the_reactors_pool(service: MeasuredReactor, registry: MetricsRegistry, reactor: Any) -> None:
    """Threads, those that work, what waits for one, and how many there may be."""
    reactor.threadpool = None
    assert [read(registry)[name] for name in sorted(POOL)] == [0, 0, 0, 0]
    pool = reactor.threadpool = ThreadPool(1, 3)
    over, begun = threading.Event(), threading.Semaphore(0)
    pool.start()
    try:
        for _ in range(5):
            pool.callInThread(lambda: (begun.release(), over.wait(20)))
        for _ in range(3):
            assert begun.acquire(timeout=20)
        numbers = read(registry)
    finally:
        over.set()
        pool.stop()
    assert {name: numbers[name] for name in POOL} == {
        "threadpool.threads": 3,
        "threadpool.working": 3,
        "threadpool.queue": 2,
        "threadpool.max": 3,
    }


def test_an_error_in_the_measuring_is_logged_once(
    service: MeasuredReactor, reactor: FakeReactor, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the probe goes on."""
    monkeypatch.setattr(service._late, "now", lambda: 1 / 0)
    for _ in range(3):
        reactor.advance(0.25)
    assert len(logged.flush(ZeroDivisionError)) == 1
    reactor.advance(1)
    assert service.lag.seconds() == 0.75


@pytest_twisted.ensureDeferred
async def test_the_global_reactor() -> None:
    """Held by us, seen by it: late, busy, with its port, its pool and its calls; and then left alone."""
    reactor = the_reactor()
    registry = MetricsRegistry()
    service = MeasuredReactor(registry)
    service.startService()
    port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    try:
        await deferToThread(int)
        end = time.perf_counter() + 0.6
        while time.perf_counter() < end:
            pass
        assert service.lag.seconds() > 0.2
        await deferLater(reactor, 0.3)
        numbers = read(registry)
    finally:
        service.stopService()
        await port.stopListening()
    assert numbers["lag"]["max"] > 0.2
    assert 0.05 < numbers["busy"] <= 1
    assert numbers["cpu_seconds"] == pytest.approx(time.thread_time(), abs=1)
    assert numbers["readers"] >= 1
    assert numbers["threadpool.max"] == reactor.threadpool.max
    assert numbers["threadpool.threads"] >= 1
