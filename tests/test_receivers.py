"""Receivers that none of us wrote: what a registry says is what they hold; and what each makes of a line sent twice."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.carbon import HOST
from tests.receivers import Aggregator, Cache, Influx, Proxy, Relay, Samples, Victoria, program
from tests.strict import the_reactor
from txmetrics import MetricsRegistry, Reporter, backends
from txmetrics.interfaces import ISource
from txmetrics.snapshot import Reading
from txmetrics.wire._dialects import DIGITS, STATISTICS


@pytest.fixture
def receiver(request: pytest.FixtureRequest, _carbon_program: None) -> Iterator[Any]:
    """A fresh one of the class that the test is parametrized with."""
    with request.param() as started:
        yield started


def every(*receivers: type) -> pytest.MarkDecorator:
    """Run the test before a fresh one of each class."""
    return pytest.mark.parametrize("receiver", receivers, indirect=True)


async def sleep(seconds: float) -> None:
    await deferLater(the_reactor(), seconds)


class Witness(MetricsRegistry):
    """A registry that remembers what it said to its only reader; ``report.number`` numbers the reports, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[tuple[float, dict[str, float]]] = []
        self.gauge("report.number")

    def reader(self) -> Any:
        return Overheard(self, super().reader())


@implementer(ISource)
class Overheard:
    """A reader of whose readings a witness keeps the numbers, with the time of each report."""

    def __init__(self, witness: Witness, reader: Any) -> None:
        self._witness = witness
        self._reader = reader

    def collect(self) -> Iterator[Reading]:
        said: dict[str, float] = {}
        self._witness.gauge("report.number").set(len(self._witness.reports))
        self._witness.reports.append((time.time(), said))
        for reading in self._reader.collect():
            for field, value in reading.fields().items():
                told = f"{value:.{DIGITS}g}" if field in STATISTICS["dropwizard"] else value
                said[f"{reading.name}.{field}".removesuffix(".value")] = float(told)
            yield reading


class Busy:
    """All five kinds of metric, 2,000 series in all, which change at random until it is closed."""

    def __init__(self) -> None:
        self.registry = Witness()
        self._random = random.Random(1)
        self._change()

    def _change(self) -> None:
        registry, chance = self.registry, self._random
        for number in range(60):
            if chance.random() < 2 / 3:  # of the others there may be nothing to tell for an interval
                registry.counter(f"counter.{number}").inc(chance.randrange(10**6))
                registry.gauge(f"gauge.{number}").set(chance.uniform(-1e9, 1e9))
                registry.meter(f"meter.{number}").mark(chance.randrange(1, 100))
                registry.histogram(f"histogram.{number}").add(chance.lognormvariate(0, 5))
                registry.timer(f"timer.{number}").add(chance.expovariate(10))
        self._next = the_reactor().callLater(0.3, self._change)

    def close(self) -> None:
        self._next.cancel()

    async def reported(self, count: int) -> None:
        """Wait until so many more reports have begun, and the last of them is written."""
        target = len(self.registry.reports) + count
        while len(self.registry.reports) < target:
            await sleep(0.02)
        await sleep(0.2)


@pytest.fixture
def busy() -> Iterator[Busy]:
    busy = Busy()
    yield busy
    busy.close()


@pytest_twisted.async_yield_fixture
async def report() -> AsyncIterator[Callable[..., Reporter]]:
    """Starts reporters with an interval of a second, and stops them when the test is over."""
    started: list[Reporter] = []

    def start(registry: MetricsRegistry, port: int, prefix: str, **options: Any) -> Reporter:
        started.append(backends.graphite(registry, f"tcp:{HOST}:{port}", interval=1, prefix=prefix, **options))
        started[-1].startService()
        return started[-1]

    yield start
    for reporter in started:
        await reporter.stopService()


@pytest_twisted.async_yield_fixture
async def proxy(receiver: Any) -> AsyncIterator[Proxy]:
    """A proxy before the receiver."""
    proxy = Proxy(receiver.line_port)
    yield proxy
    await proxy.close()


PRECISION = {Victoria: 1e-11}
"""VictoriaMetrics keeps some twelve digits, counted from the largest value of a series; the others all they get."""


class Findings:
    """What a receiver holds, beside what the registry said."""

    def __init__(self, receiver: Any, registry: Witness, prefix: str) -> None:
        self.found: Samples = receiver.samples(prefix)
        self._own = f"{prefix}.txmetrics."  # the reporter's own numbers, of which the registry knows nothing
        self._precision = PRECISION.get(type(receiver), 0.0)
        stamps = {int(number): stamp for stamp, number in self.found.get(f"{prefix}.report.number", [])}
        self.missing = [(number, "") for number in range(len(registry.reports)) if number not in stamps]
        """What was said and is not there: (number of the report, name), without a name for all of it."""
        self.said: Samples = {}
        for number, stamp in sorted(stamps.items()):
            taken, report = registry.reports[number]
            assert abs(stamp - taken) < 1.5
            for field, value in report.items():
                name = f"{prefix}.{field}"
                self.said.setdefault(name, []).append((stamp, value))
                if stamp not in dict(self.found.get(name, [])):
                    self.missing.append((number, name))

    @property
    def foreign(self) -> list[str]:
        """The series that hold something that was never said."""
        others = [name for name, points in self.found.items() if not all(self._was_said(name, *one) for one in points)]
        return [f"{name} is {self.found[name]}, not {self.said.get(name)}" for name in others]

    def _was_said(self, name: str, stamp: int, value: float) -> bool:
        said = dict(self.said.get(name, []))
        if stamp not in said:
            return name.startswith(self._own)
        return abs(value - said[stamp]) <= self._precision * max(map(abs, said.values()))

    @property
    def twice(self) -> set[str]:
        """The series that hold a point more than once."""
        return {name for name, points in self.found.items() if len(dict(points)) < len(points)}


async def settled(receiver: Any, busy: Busy, prefix: str, first: int = 0) -> Findings:
    """The findings once nothing is missing from the report `first` on, or after some time."""
    with suppress(AssertionError):
        await receiver.eventually(
            lambda: max(Findings(receiver, busy.registry, prefix).missing, default=(-1,))[0] < first
        )
    return Findings(receiver, busy.registry, prefix)


async def check(receiver: Any, busy: Busy, prefix: str) -> None:
    """All that was said becomes what the receiver holds, that and nothing else, and each point once."""
    findings = await settled(receiver, busy, prefix)
    assert not findings.missing[:5]
    assert not findings.foreign[:5]
    assert not findings.twice


async def held(receiver: Any, number: int, prefix: str) -> None:
    """Wait until the receiver holds the report of that number, or a later one."""
    name = f"{prefix}.report.number"

    def numbers() -> list[float]:
        return [value for _, value in receiver.samples(f"{prefix}.report").get(name, [])]

    await receiver.eventually(lambda: max(numbers(), default=-1) >= number)


@pytest.mark.seconds(120)
@every(Relay, Aggregator, Influx, Victoria)
@pytest_twisted.ensureDeferred
async def test_all_that_was_said_arrives(receiver: Any, busy: Busy, report: Any, prefix: str) -> None:
    """2,000 series of all five kinds, several intervals: every number of every report is there, exactly and once."""
    reporter = report(busy.registry, receiver.line_port, prefix)
    await busy.reported(3)
    await reporter.stopService()
    assert len(busy.registry.reports) >= 4
    assert len({name for _, said in busy.registry.reports for name in said}) > 1900
    await check(receiver, busy, prefix)


@pytest.mark.seconds(120)
@every(Relay)
@pytest_twisted.ensureDeferred
async def test_a_relay_that_restarts_loses_nothing(receiver: Any, busy: Busy, report: Any, prefix: str) -> None:
    """Stopped and started again in the middle, a relay has passed on every number of every report."""
    reporter = report(busy.registry, receiver.line_port, prefix)
    await busy.reported(2)
    await receiver.stop()
    await busy.reported(2)
    receiver.start()
    await held(receiver, len(busy.registry.reports), prefix)
    await reporter.stopService()
    await check(receiver, busy, prefix)


class SlowInflux(Influx):
    """It writes to its disk every three seconds only."""

    BATCH_SECONDS = 3


@pytest.mark.seconds(120)
@every(SlowInflux)
@pytest_twisted.ensureDeferred
async def test_an_influxdb_that_is_killed_loses_nothing(receiver: Any, busy: Busy, report: Any, prefix: str) -> None:
    """Killed with reports in its memory that it had read, InfluxDB gets those again, with all that it missed."""
    reporter = report(busy.registry, receiver.line_port, prefix)
    await busy.reported(3)
    receiver.kill()
    await busy.reported(2)
    receiver.start()
    await held(receiver, len(busy.registry.reports), prefix)
    await reporter.stopService()
    await check(receiver, busy, prefix)


def some_lines(prefix: str) -> tuple[str, Samples]:
    """Lines of a thousand points, and what a receiver holds that got each of them once."""
    now = int(time.time())
    points = {f"{prefix}.{number}": [(now - age, float(number)) for age in range(9, -1, -1)] for number in range(100)}
    lines = [f"{name} {value} {stamp}\n" for name, series in points.items() for stamp, value in series]
    return "".join(lines), points


@every(Cache, Relay, Influx)
@pytest_twisted.ensureDeferred
async def test_a_point_that_comes_twice_is_held_once(receiver: Any, prefix: str) -> None:
    """Why a replay does no harm to these: they keep one value for a name and a second."""
    lines, once = some_lines(prefix)
    receiver.send(lines)
    await receiver.eventually(lambda: receiver.samples(prefix) == once)
    later, held_later = some_lines(f"later_{prefix}")
    receiver.send(lines + later)
    await receiver.eventually(lambda: receiver.samples(f"later_{prefix}") == held_later)
    assert receiver.samples(prefix) == once


@every(Victoria)
@pytest_twisted.ensureDeferred
async def test_a_point_that_comes_twice_is_held_twice(receiver: Any, prefix: str) -> None:
    """Why there is a replay window of 0: VictoriaMetrics without deduplication counts both."""
    lines, once = some_lines(prefix)
    receiver.send(lines)
    await receiver.eventually(lambda: receiver.samples(prefix) == once)
    receiver.send(lines)
    twice = {name: sorted(points * 2) for name, points in once.items()}
    await receiver.eventually(lambda: receiver.samples(prefix) == twice)


@every(Aggregator)
@pytest_twisted.ensureDeferred
async def test_a_point_that_comes_twice_is_added_up(receiver: Any, prefix: str) -> None:
    """Why there is a replay window of 0: a sum of carbon-aggregator's has every value in it as often as it came."""
    lines, once = some_lines(prefix)
    receiver.send(lines)
    await receiver.eventually(lambda: receiver.sums(prefix) == once)
    receiver.send(lines)
    doubled = {name: [(stamp, 2 * value) for stamp, value in points] for name, points in once.items()}
    await receiver.eventually(lambda: receiver.sums(prefix) == doubled)
    assert receiver.samples(prefix) == once


@every(Cache, Relay, Influx)
@pytest_twisted.ensureDeferred
async def test_a_torn_line_is_no_value(receiver: Any, prefix: str) -> None:
    """A connection that ends in the middle of a line, wherever, leaves none of it (VictoriaMetrics takes ``name 12`` of
    ``name 123 1700000000`` for a value of 12)."""
    now = int(time.time())
    line = f" 123456 {now}"
    whole = {f"{prefix}.whole.{cut}": [(now, float(cut))] for cut in range(1, len(line))}
    for cut in range(1, len(line)):
        receiver.send(f"{prefix}.whole.{cut} {cut} {now}\n{prefix}.torn.{cut}{line[:cut]}")
    await receiver.eventually(lambda: whole.items() <= receiver.samples(prefix).items())
    assert receiver.samples(prefix) == whole


async def reports_with_a_cut(reporter: Reporter, receiver: Any, proxy: Proxy, busy: Busy, prefix: str) -> None:
    """Two reports that the receiver holds, one whose connection is cut after 1,000 of its lines, and some more."""
    await busy.reported(2)
    await held(receiver, len(busy.registry.reports) - 1, prefix)
    proxy.cut_within(1000)
    await busy.reported(1)
    await held(receiver, len(busy.registry.reports), prefix)
    await reporter.stopService()
    assert proxy.connections == 2


@pytest.mark.seconds(120)
@every(Cache, Influx)
@pytest_twisted.ensureDeferred
async def test_a_replay_replaces(receiver: Any, proxy: Proxy, busy: Busy, report: Any, prefix: str) -> None:
    """A connection that is cut in the middle of a report costs nothing, and leaves every number there once."""
    reporter = report(busy.registry, proxy.port, prefix)
    await reports_with_a_cut(reporter, receiver, proxy, busy, prefix)
    await check(receiver, busy, prefix)


@pytest.mark.seconds(120)
@every(Victoria)
@pytest_twisted.ensureDeferred
async def test_a_replay_adds(receiver: Any, proxy: Proxy, busy: Busy, report: Any, prefix: str) -> None:
    """The same before VictoriaMetrics: nothing is missing, but what it held already it now holds twice."""
    reporter = report(busy.registry, proxy.port, prefix)
    await reports_with_a_cut(reporter, receiver, proxy, busy, prefix)
    findings = await settled(receiver, busy, prefix)
    assert not findings.missing[:5]
    assert not findings.foreign[:5]
    assert {f"{prefix}.{name}" for name in busy.registry.reports[0][1]} <= findings.twice


@pytest.mark.seconds(120)
@every(Victoria, Aggregator)
@pytest_twisted.ensureDeferred
async def test_without_a_replay_nothing_comes_twice(
    receiver: Any, proxy: Proxy, busy: Busy, report: Any, prefix: str
) -> None:
    """With a replay window of 0 each number is there once, or was cut off, and then it is in the ledger."""
    reporter = report(busy.registry, proxy.port, prefix, replay_window=0)
    await reports_with_a_cut(reporter, receiver, proxy, busy, prefix)
    findings = await settled(receiver, busy, prefix, first=len(busy.registry.reports) - 1)
    assert len({number for number, name in findings.missing}) == 1
    assert not findings.foreign[:5]
    assert not findings.twice
    if isinstance(receiver, Aggregator):
        await receiver.eventually(lambda: receiver.sums(prefix) == receiver.samples(prefix))
    ledger = reporter.ledger()
    assert ledger["dropped"]["unconfirmed"] + ledger["delivered"] == ledger["collected"]
    assert ledger["delivered"] <= sum(map(len, receiver.samples(prefix).values()))


def test_a_missing_program_is_named() -> None:
    """Where a receiver is not installed its tests fail, with the command that mends that."""
    with pytest.raises(pytest.fail.Exception, match=r"^no-such-program is not installed: apt-get install a-package$"):
        program("no-such-program", "a-package")
