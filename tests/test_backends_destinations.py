"""Several destinations: one after the other, or side by side; and the same names from one process after the other."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.python.usage import UsageError

from tests.carbon import HOST, Carbon
from tests.receivers import Receiver, program
from tests.strict import the_reactor
from tests.tap.harness import parsed
from txmetrics import MetricsRegistry, Reporter, backends
from txmetrics.delivery import Failover, _connector
from txmetrics.testing import FakeReactor

A, B = "tcp:a:2003", "tls:b:20030"


@pytest.mark.parametrize("between", [",", ", "])
def test_endpoints_with_commas_between_are_one_destination(between: str) -> None:
    """In their order; and nothing is opened for them before the start."""
    reporter = backends.graphite(MetricsRegistry(), f"{A}{between}{B}:timeout=5", reactor=FakeReactor())
    assert reporter.where == "tcp:a:2003,tls:b:20030"
    delivery: Any = reporter._make().delivery
    ways = delivery._connector._ways
    assert isinstance(ways, Failover)
    assert [where for where, _ in ways._ways] == [A, f"{B}:timeout=5"]


@pytest.mark.parametrize(
    "endpoint",
    [A, B, f"{A},{B}", "unix:/run/a,unix:/run/b,tcp:c:1", r"unix:/run/a\,b:timeout=5", "unix:/run/a,b", "udp:a:2003"],
)
def test_a_destination_is_one_endpoint_or_several_connections(endpoint: str) -> None:
    """A comma that is not before another endpoint belongs to a path, as does one after a backslash."""
    assert backends.check_destination(endpoint) == endpoint


@pytest.mark.parametrize(
    ("endpoint", "part"),
    [
        (f"{A},", "'tcp:a:2003,' is no endpoint"),
        (f",{A}", "'' is no endpoint"),
        (f"{A},,{B}", "'tcp:a:2003,' is no endpoint"),
        (f"{A},nosuch:b", "'nosuch:b' is no endpoint"),
        (f"{A};{B}", "is no endpoint"),
        (f"{A},udp:b:2003", "has 'udp:b:2003', but only a connection shows when it is time for the next"),
        ("udp:a:2003,udp:b:2003", "has 'udp:a:2003', but only a connection"),
        (f"{A},https://b/sink", "has 'https://b/sink', but only a connection"),
        (f"{A},{B},{A}", "names an endpoint twice"),
    ],
)
def test_what_is_no_destination_is_refused(endpoint: str, part: str) -> None:
    """In one sentence, by the function and by the option."""
    for check in (backends.check_destination, lambda text: backends.graphite(MetricsRegistry(), text)):
        with pytest.raises(ValueError, match=re.escape(part)) as refused:
            check(endpoint)
        assert len(str(refused.value).splitlines()) == 1


def test_hosted_graphite_is_one_endpoint() -> None:
    """Where each would have to be as secret as the other, there is no choice."""
    with pytest.raises(ValueError, match="is no endpoint"):
        backends.hosted_graphite(MetricsRegistry(), "key", endpoint=f"tls:a:20030,{A}")


def test_the_option_takes_several_and_can_be_repeated() -> None:
    """Two destinations, of which one is two endpoints."""
    options = parsed(f"--metrics-graphite={A},{B}", f"--metrics-graphite={A}", "web")
    assert [reporter.where for reporter in options.reporters(MetricsRegistry())] == [f"{A},{B}", A]
    with pytest.raises(UsageError, match="'nosuch:1' is no endpoint"):
        parsed(f"--metrics-graphite={A},nosuch:1", "web")


@pytest.mark.parametrize(
    ("reactor", "interval", "given", "jitter"),
    [
        (the_reactor, 10, None, 1.0),
        (the_reactor, 60, None, 1.0),
        (the_reactor, 1, None, 0.1),
        (FakeReactor, 10, None, 0.0),
        (the_reactor, 10, 0.0, 0.0),
        (FakeReactor, 10, 5.0, 5.0),
    ],
)
def test_reports_are_sent_within_a_tenth_of_the_interval(
    reactor: Any, interval: float, given: float | None, jitter: float
) -> None:
    """A second at most; in a test at once, unless it is asked for."""
    reporter = backends.graphite(MetricsRegistry(), A, interval, jitter=given, reactor=reactor())
    delivery: Any = reporter._make().delivery
    assert delivery._jitter == jitter


@pytest.mark.parametrize("jitter", [-0.1, 5.1, float("nan"), float("inf")])
def test_a_jitter_that_makes_no_sense_is_refused(jitter: float) -> None:
    """In one sentence that says what would."""
    with pytest.raises(ValueError, match=r"a jitter of .* seconds makes no sense; give 0 to 5, half of the interval"):
        backends.graphite(MetricsRegistry(), A, jitter=jitter)


# Real ones


class Front(Receiver):
    """A carbon-c-relay that passes everything on to one carbon-cache."""

    CONFIG = """\
listen type linemode {host}:{line_port} proto tcp ;
cluster cache forward {host}:{cache_port} ;
match * send to cache stop ;
statistics submit every 3600 seconds prefix with carbon.relays.test ;
"""

    def __init__(self, cache: Carbon) -> None:
        super().__init__(program("carbon-c-relay", "carbon-c-relay"), ports=1)
        config = self.CONFIG.format(host=HOST, line_port=self.line_port, cache_port=cache.line_port)
        (self.root / "relay.conf").write_text(config)

    def arguments(self) -> list[str]:
        return ["-f", "relay.conf", "-w", "2", "-H", "test"]


@pytest.fixture
def relays(carbon: Carbon) -> Iterator[list[Front]]:
    fronts = [Front(carbon), Front(carbon)]
    try:
        yield [front.start() for front in fronts]
    finally:
        for front in fronts:
            front.close()


@asynccontextmanager
async def reporting(*reporters: Reporter) -> AsyncIterator[None]:
    """Reporters that run for the block."""
    try:
        for reporter in reporters:
            reporter.startService()
        yield
    finally:
        for reporter in reporters:
            await reporter.stopService()


async def second(fraction: float, seconds: int = 1) -> None:
    """Let the reactor go on until this fraction of a second, so many seconds later or a little less."""
    now = time.time()
    await deferLater(the_reactor(), (fraction - now) % 1 + seconds - 1)


def check_every_second(points: dict[int, float], least: int) -> None:
    """No second is missing, and each has its own value; of the last, which came early, that of the one before."""
    seconds = sorted(points)
    assert len(seconds) >= least
    assert seconds == list(range(seconds[0], seconds[-1] + 1))
    assert [points[each] for each in seconds[:-1]] == seconds[:-1]
    assert points[seconds[-1]] in (seconds[-1], seconds[-1] - 1)


@pytest_twisted.ensureDeferred
async def test_a_relay_that_is_killed_loses_nothing(
    carbon: Carbon, relays: list[Front], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two real ones before one carbon: what the first had not passed on the second gets, and no value twice.

    A while later, which is short here, the first is back and used again.
    """
    monkeypatch.setattr(_connector, "HEALTHY", 0.5)
    monkeypatch.setattr(_connector, "AWAY", 2.0)
    registry = MetricsRegistry()
    registry.gauge("second", lambda: int(time.time()))
    for number in range(500):
        registry.counter(f"jobs.{number}").inc(number)
    where = ",".join(f"tcp:{HOST}:{relay.line_port}" for relay in relays)
    reporter = backends.graphite(registry, where, 1, prefix)
    async with reporting(reporter):
        await second(0.1, 3)
        assert reporter.numbers()["connected"] == 1
        await second(0.02)  # in the middle of a report
        relays[0].kill()
        await relays[1].eventually(lambda: reporter.numbers()["connected"] == 2)
        relays[0].start()
        await relays[0].eventually(lambda: reporter.numbers()["connected"] == 1)
        await second(0.1, 2)
    numbers = reporter.numbers()
    name = f"{prefix}.second"
    last = numbers["reports"]
    await relays[1].eventually(lambda: len(carbon.points(name)) >= last)
    check_every_second(carbon.points(name), least=5)
    await relays[1].eventually(lambda: len(carbon.points(f"{prefix}.jobs.499.count")) == len(carbon.points(name)))
    for number in (1, 250, 499):
        assert set(carbon.points(f"{prefix}.jobs.{number}.count").values()) == {number}
    ledger = reporter.ledger()
    assert (ledger["dropped"], ledger["delivered"]) == ({}, ledger["collected"])
    assert numbers["points_replayed"] > 500


@pytest_twisted.ensureDeferred
async def test_one_destination_does_not_wait_for_another(carbon: Carbon, own_carbon: Carbon, prefix: str) -> None:
    """Two reporters on one registry: while one carbon takes nothing the other has it all, of the same seconds.

    In the end both have the same numbers, those of each interval, too.
    """
    registry = MetricsRegistry()
    timer = registry.timer("job")
    places = [carbon, own_carbon]
    reporters = [backends.graphite(registry, f"tcp:{HOST}:{place.line_port}", 1, prefix) for place in places]
    fields = [f"{prefix}.job.{field}" for field in ("count", "sum", "min", "max", "p50", "p99")]
    own_carbon.stop()  # it refuses; what takes and does not read, tests/delivery has
    await second(0.9)
    async with reporting(*reporters):
        for number in range(1, 5):
            await second(0.5)
            timer.add(number)
            timer.add(10 * number)
        await second(0.8)
        assert len(carbon.points(fields[0])) >= 2
        assert reporters[1].ledger()["queued"] > 2 * len(fields)
        own_carbon.start()
        await second(0.5)
    for reporter in reporters:
        assert reporter.ledger()["dropped"] == {}
    for field in fields:
        here, there = (place.wait_for(lambda place=place, field=field: place.points(field)) for place in places)
        assert here == there
    assert {30, 40} <= set(carbon.points(f"{prefix}.job.max").values())


@pytest_twisted.ensureDeferred
async def test_who_comes_next_leaves_the_last_report_alone(carbon: Carbon, prefix: str) -> None:
    """One process reports each second and is replaced within one: no report of either is stored over the other's.

    The last one of the first is stamped with the second after that of its last tick. So the first one of the next must
    not be.
    """
    registries = [MetricsRegistry(), MetricsRegistry()]
    where = f"tcp:{HOST}:{carbon.line_port}"
    first, following = (backends.graphite(registry, where, 1, prefix) for registry in registries)
    name = f"{prefix}.jobs.count"
    async with reporting(first):
        await second(0.1, 3)
        registries[0].counter("jobs").inc(137)
    async with reporting(following):
        registries[1].counter("jobs").inc(5)
        await second(0.5, 3)
    stored = carbon.wait_for(lambda: (points := carbon.points(name)) and 5 in points.values() and points)
    assert 137 in stored.values()
    stamps = {value: [stamp for stamp in stored if stored[stamp] == value] for value in (137, 5)}
    assert max(stamps[137]) < min(stamps[5])
