"""The whole way to a real carbon-cache: what a registry says is what carbon stores, whatever happens to carbon."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from secrets import token_hex
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import deferLater

from tests.carbon import Carbon
from tests.strict import the_reactor
from txmetrics import Clock, MetricsRegistry, Reporter, backends
from txmetrics.delivery import Stream
from txmetrics.reporter import Backend
from txmetrics.wire import Graphite


class Running:
    """Reporters that are stopped when the test is over."""

    def __init__(self) -> None:
        self._reporters: list[Reporter] = []

    def start(self, reporter: Reporter) -> Reporter:
        self._reporters.append(reporter)
        reporter.startService()
        return reporter

    async def close(self) -> None:
        for reporter in self._reporters:
            await reporter.stopService()


@pytest_twisted.async_yield_fixture
async def running() -> AsyncIterator[Running]:
    running = Running()
    yield running
    await running.close()


class Turns:
    """A gauge that shows how often it was read: each report has a number of its own."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self._read_at: list[float] = []
        registry.gauge("turn", self)

    def __call__(self) -> int:
        self._read_at.append(time.time())
        return self.count

    @property
    def count(self) -> int:
        return len(self._read_at)

    def check(self, points: dict[int, float], first: int) -> None:
        """All reports from the `first` on are among `points`, each under the second in which it was taken."""
        stamps = {int(turn): stamp for stamp, turn in points.items()}
        for turn in range(first, max(stamps) + 1):
            assert self._read_at[turn - 1] - 1.5 < stamps[turn] < self._read_at[turn - 1] + 0.5


def where(carbon: Carbon) -> str:
    return f"tcp:127.0.0.1:{carbon.line_port}"


async def sleep(seconds: float) -> None:
    await deferLater(the_reactor(), seconds)


@pytest.mark.seconds(30)
@pytest_twisted.ensureDeferred
async def test_every_field_is_stored_exactly(carbon: Carbon, prefix: str) -> None:
    """All five kinds, under the names of the dialect, on carbon's disk: to the last bit, statistics to 14 digits."""
    now = 1000.0
    registry = MetricsRegistry(Clock(wall=time.time, tick=lambda: now))
    registry.counter("jobs").inc(2**53)
    registry.gauge("ratio").set(1 / 3)
    registry.gauge("tiny", lambda: -5e-324)
    registry.meter("hits").mark(17)
    sizes, waits = registry.histogram("sizes"), registry.timer("waits")
    for number in range(1, 1001):
        sizes.add(number / 7)
        waits.add(1e-9 * number**3)
    sizes.add(float("nan"))
    now += 12.5
    reporter = backends.graphite(registry, where(carbon), interval=3600, prefix=prefix)
    begin = int(time.time())
    reporter.startService()
    await reporter.stopService()
    expected = {
        f"{prefix}.{name}.{field}".removesuffix(".value"): value
        for name in ("jobs", "ratio", "tiny", "hits", "sizes", "waits")
        for field, value in registry.read(name).items()
    }
    assert len(expected) == 1 + 1 + 1 + 5 + 13 + 16
    for name, value in expected.items():
        [(stamp, stored)] = await carbon.eventually(lambda name=name: list(carbon.stored(name).items()))
        full = name.endswith((".count", ".sum", "ratio", "tiny", "refused"))
        assert stored == (value if full else float(f"{value:.14g}"))
        assert begin <= stamp <= begin + 10


@pytest.mark.seconds(30)
@pytest_twisted.ensureDeferred
async def test_the_last_interval_is_stored(carbon: Carbon, prefix: str) -> None:
    """Stopped long before its next report, the reporter delivers what happened since the last one."""
    registry = MetricsRegistry()
    jobs = registry.counter("jobs")
    reporter = backends.graphite(registry, where(carbon), interval=1, prefix=prefix)
    reporter.startService()
    await carbon.eventually(lambda: carbon.points(f"{prefix}.jobs.count"))
    jobs.inc(123_456)
    await reporter.stopService()
    await carbon.eventually(lambda: 123_456.0 in carbon.stored(f"{prefix}.jobs.count").values())
    points = carbon.stored(f"{prefix}.jobs.count")
    assert points[max(points)] == 123_456


@pytest.mark.seconds(40)
@pytest_twisted.ensureDeferred
async def test_a_carbon_that_starts_late_gets_every_interval(own_carbon: Carbon, running: Running, prefix: str) -> None:
    """What was measured meanwhile waits, and is stored under the seconds in which it was measured."""
    own_carbon.stop()
    registry = MetricsRegistry()
    turns = Turns(registry)
    running.start(backends.graphite(registry, where(own_carbon), interval=1, prefix=prefix))
    await sleep(3.2)
    waiting = turns.count
    assert waiting >= 2
    own_carbon.start()
    name = f"{prefix}.turn"
    await own_carbon.eventually(lambda: len(own_carbon.points(name)) > waiting, 20)
    turns.check(own_carbon.points(name), first=1)


@pytest.mark.seconds(40)
@pytest_twisted.ensureDeferred
async def test_the_numbers_resume_after_a_restart(own_carbon: Carbon, running: Running, prefix: str) -> None:
    """Stopped and started again, carbon gets what was measured in between, and everything after it."""
    registry = MetricsRegistry()
    turns = Turns(registry)
    running.start(backends.graphite(registry, where(own_carbon), interval=1, prefix=prefix))
    name = f"{prefix}.turn"
    await own_carbon.eventually(lambda: len(own_carbon.points(name)) >= 2)
    own_carbon.stop()
    before = turns.count
    await sleep(3.2)
    own_carbon.start()
    waiting = turns.count
    assert waiting >= before + 2
    await own_carbon.eventually(lambda: max(own_carbon.points(name).values(), default=0) >= waiting + 2, 20)
    turns.check(own_carbon.points(name), first=before + 2)  # the first was perhaps written to the dying carbon


@pytest.mark.seconds(60)
@pytest_twisted.ensureDeferred
async def test_a_frozen_carbon_costs_bounded_memory(own_carbon: Carbon, running: Running, prefix: str) -> None:
    """Megabytes a second for a carbon that does not read: the outbox keeps its limit, the crank turns, and when
    carbon goes on the latest numbers arrive."""
    limit = 1_000_000
    registry = MetricsRegistry()
    turns = Turns(registry)
    for number in range(4000):
        incompressible = ".".join(token_hex(55) for _ in range(4))
        registry.gauge(f"{incompressible}.{number}").set(number)
    streams: list[Stream] = []

    def backend(reactor: Any) -> Backend:
        endpoint = clientFromString(reactor, where(own_carbon))
        streams.append(Stream(reactor, endpoint, where(own_carbon), max_bytes=limit))
        return Backend(Graphite(prefix), streams[0])

    running.start(Reporter(registry, backend, 1))
    name = f"{prefix}.turn"
    await own_carbon.eventually(lambda: own_carbon.points(name), 20)
    own_carbon.freeze()
    before, frozen_at = turns.count, time.time()
    while "points_dropped.overflow" not in streams[0].counts:
        assert time.time() < frozen_at + 20
        assert streams[0].levels["buffer_bytes"] <= limit + 2**16
        await sleep(0.02)
    await sleep(1.1)
    assert streams[0].levels["buffer_bytes"] <= limit + 2**16
    assert turns.count >= before + 2
    own_carbon.thaw()
    latest = turns.count
    await own_carbon.eventually(lambda: max(own_carbon.points(name).values(), default=0) > latest, 30)
    assert streams[0].counts["connections"] == 1
    assert streams[0].counts.get("connections_lost.stalled") is None
