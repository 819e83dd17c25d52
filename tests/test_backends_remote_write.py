"""``backends.remote_write``: what arrives at a server on loopback, through faults, and to the last sample."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from tests import sink as answers
from tests.delivery.network import until
from tests.remote_write import ENDED, Sent, read_body
from tests.sink import Sink, SinkServer
from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, backends
from txmetrics.interfaces import IDelivery
from txmetrics.testing import FakeReactor

URL = "http://127.0.0.1:9090/api/v1/write"


class Place:
    """A receiver, and reporters to it that are stopped when the test is over."""

    def __init__(self) -> None:
        self.server = SinkServer(Sink(), None)
        self.sink = self.server.sink
        self.registry = MetricsRegistry()
        self._reporters: list[Any] = []

    def report(self, interval: float = 3600, **arguments: Any) -> Any:
        """A reporter that has started."""
        reporter = backends.remote_write(self.registry, self.server.url, interval, **arguments)
        self._reporters.append(reporter)
        reporter.startService()
        return reporter

    @property
    def sent(self) -> list[Sent]:
        """All samples that were accepted, but those about the reporter."""
        return theirs(self.sink.accepted)

    async def close(self) -> None:
        for reporter in self._reporters:
            await reporter.stopService()
            check_books(reporter)
        await self.server.stop()


def theirs(bodies: Iterable[bytes]) -> list[Sent]:
    return [one for body in bodies for one in read_body(body) if not one.series.startswith("txmetrics_")]


def check_books(reporter: Any) -> None:
    """Every sample is somewhere."""
    ledger = reporter.ledger()
    somewhere = ledger["delivered"] + ledger["retained"] + ledger["queued"] + ledger["spooled"]
    assert ledger["collected"] == somewhere + sum(ledger["dropped"].values()) > 0


def values(sent: list[Sent], name: str) -> list[Any]:
    """Of all series that are called so, in the order of their arrival."""
    return [one.value for one in sent if one.series.startswith(f"{name}{{")]


@pytest_twisted.async_yield_fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    await place.server.start()
    yield place
    await place.close()


@pytest_twisted.ensureDeferred
async def test_the_last_report_and_the_ends_arrive(place: Place) -> None:
    """Everything since the start, from nothing on, then the end of each series; and the ledger is in samples."""
    reporter = place.report()
    place.registry.counter("jobs").inc(5)
    place.registry.gauge("queue").set(2)
    place.registry.timer("waits").add(0.3)
    await reporter.stopService()
    sent = place.sent
    assert values(sent, "jobs_total") == [0, 5, ENDED]
    assert values(sent, "queue") == [2, ENDED]
    assert values(sent, "waits_seconds_count") == [0, 1, ENDED]
    for name in {one.series for one in sent}:
        times = [one.milliseconds for one in sent if one.series == name]
        assert times == sorted(set(times))
    ledger = reporter.ledger()
    assert ledger["delivered"] == ledger["collected"] == sum(len(read_body(body)) for body in place.sink.accepted)


@pytest_twisted.ensureDeferred
async def test_reports_are_of_whole_lives(place: Place) -> None:
    """Whatever other reporters have read meanwhile; what is unregistered ends with the next one."""
    place.registry.counter("goes").inc()
    reporter = place.report(1)
    other = place.registry.reader()
    place.registry.timer("waits").add(0.3)
    await until(lambda: values(place.sent, "waits_seconds_count"))
    assert [*other.collect()]
    place.registry.timer("waits").add(0.3)
    place.registry.unregister("goes")
    await until(lambda: 2 in values(place.sent, "waits_seconds_count"))
    await until(lambda: ENDED in values(place.sent, "goes_total"))
    assert values(place.sent, "goes_total") == [1, ENDED]
    assert values(place.sent, "waits_seconds_count")[:3] == [0, 1, 2]
    assert values(place.sent, "waits_seconds_count") == sorted(values(place.sent, "waits_seconds_count"))
    await reporter.stopService()


@pytest_twisted.ensureDeferred
async def test_a_second_life_does_not_begin_at_zero(place: Place) -> None:
    """Nor does the first with what had counted by then; what had not, does."""
    place.registry.counter("idle")
    place.registry.counter("jobs").inc(5)
    reporter = place.report()
    place.registry.counter("idle").inc()
    await reporter.stopService()
    reporter.startService()
    await reporter.stopService()
    assert values(place.sent, "jobs_total") == [5, ENDED, 5, ENDED]
    assert values(place.sent, "idle_total") == [0, 1, ENDED, 1, ENDED]


@pytest_twisted.ensureDeferred
async def test_labels_are_filled_in_when_it_starts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a job and an instance; the host as it calls itself."""
    place.registry.counter("jobs").inc()
    await place.report().stopService()
    monkeypatch.setenv("TXMETRICS_WORKER", "w7")
    await place.report(labels={"worker": "{worker}", "job": "shop"}).stopService()
    names = {one.series for one in place.sent}
    assert names == {
        f"jobs_total{{instance='{socket.gethostname()}:{os.getpid()}',job='txmetrics'}}",
        "jobs_total{job='shop',worker='w7'}",
    }


@pytest.mark.parametrize(
    ("histograms", "names"),
    [
        ("classic", {"waits_seconds_bucket", "waits_seconds_count", "waits_seconds_sum"}),
        ("native", {"waits_seconds"}),
        ("vmrange", {"waits_seconds_bucket", "waits_seconds_count", "waits_seconds_sum"}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_histograms_arrive_as_they_are_wanted(place: Place, histograms: str, names: set[str]) -> None:
    """With the bounds that were given, if they are classic ones."""
    place.registry.timer("waits").add(0.3)
    await place.report(histograms=histograms, buckets=(0.25, 0.5)).stopService()
    told = {one.series for one in place.sent}
    assert {name.partition("{")[0] for name in told} == names
    label = {"classic": "le", "vmrange": "vmrange"}.get(histograms, "none")
    found = {found[1] for name in told if (found := re.search(rf",{label}='(.*?)'", name))}
    assert found == {"classic": {"0.25", "0.5", "+Inf"}, "vmrange": {"0.297302...0.32421"}}.get(histograms, set())


def slow(sink: Sink, request: Any, data: bytes) -> None:
    """Accepted, after a while."""
    the_reactor().callLater(0.5, answers.accept, sink, request, data)


@pytest.mark.parametrize(
    ("fault", "twice"),
    [
        (slow, False),
        (answers.status(500), False),
        (answers.status(429, retry_after="1"), False),
        (answers.cut, False),
        (answers.accept_and_cut_the_answer, True),
        (answers.accept_and_cut_the_body, False),
    ],
    ids=["slow", "500", "429", "cut", "answer cut", "body cut"],
)
@pytest_twisted.ensureDeferred
async def test_after_a_fault_the_same_body_comes_again(place: Place, fault: answers.Answer, twice: bool) -> None:
    """If it was not accepted for sure: before all others, with nothing else in it; the stop waits for it."""
    place.sink.answers.append(fault)
    for number in range(700):
        place.registry.counter(f"jobs.{number}").inc(number)
    reporter = place.report()
    await reporter.stopService()
    bodies = [seen.data for seen in place.sink.requests]
    again = 0 if fault in (slow, answers.accept_and_cut_the_body) else 1
    assert len(set(bodies)) == len(bodies) - again > 3
    assert bodies[0] == bodies[again]
    assert place.sink.accepted == bodies[0 if twice else again :]
    ledger = reporter.ledger()
    assert ledger["dropped"] == {}
    assert ledger["delivered"] == sum(len(read_body(body)) for body in set(bodies))


@pytest_twisted.ensureDeferred
async def test_what_is_refused_is_told_once_and_the_rest_arrives(place: Place, logged: Logged) -> None:
    """A 400 drops one body, whatever it holds, and no other."""
    place.sink.answers.append(answers.status(400, b"out of order sample\n"))
    for number in range(700):
        place.registry.counter(f"jobs.{number}").inc(number)
    reporter = place.report()
    await reporter.stopService()
    first, *others = [seen.data for seen in place.sink.requests]
    assert place.sink.accepted == others
    assert reporter.ledger()["dropped"] == {"refused": len(read_body(first))}
    [line] = [text for text in logged.texts() if "refuses" in text]
    assert f"{place.server.url} refuses points (400: out of order sample); they are dropped" in line


@pytest.mark.seconds(12)
@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_answer_does_not_hold_up_the_end(place: Place) -> None:
    """The reporter's five seconds are enough for everything, and all that is lost is counted."""
    place.sink.answers.extend([answers.hang] * 3)
    place.registry.counter("jobs").inc()
    reporter = place.report()
    await reporter.stopService()
    ledger = reporter.ledger()
    assert ledger["delivered"] == ledger["queued"] == 0
    assert sum(ledger["dropped"].values()) == ledger["collected"]


@pytest_twisted.ensureDeferred
async def test_a_spool_is_delivered_by_the_next_life(place: Place, tmp_path: Path) -> None:
    """The bodies of a life that found nobody, in their order and with their own times, before those of the next."""
    await place.server.stop()
    place.registry.counter("jobs").inc(5)
    first = place.report(spool=tmp_path, labels={"life": "1"})
    await first.stopService()
    assert first.ledger()["spooled"] == first.ledger()["collected"]
    await place.server.start()
    second = place.report(spool=tmp_path, labels={"life": "2"})
    await second.stopService()
    assert [(one.series, one.value) for one in place.sent] == [
        ("jobs_total{life='1'}", 5),
        ("jobs_total{life='1'}", ENDED),
        ("jobs_total{life='2'}", 5),
        ("jobs_total{life='2'}", ENDED),
    ]
    assert second.ledger()["dropped"] == {}


def test_its_delivery_is_one() -> None:
    """With all that IDelivery promises."""
    reactor = FakeReactor()
    reporter = backends.remote_write(MetricsRegistry(reactor.clock), URL, reactor=reactor)
    reporter.startService()
    assert verifyObject(IDelivery, reporter._delivery)
    assert reporter.numbers()["queue_points"] == 0
    reporter.stopService()
    reactor.pump([0.01] * 600)
    assert reactor.getDelayedCalls() == []
    check_books(reporter)


@pytest_twisted.ensureDeferred
async def test_an_error_in_the_ends_does_not_keep_the_rest(place: Place, logged: Logged) -> None:
    """The last report arrives, and the connection ends."""
    reporter = place.report()
    place.registry.counter("jobs").inc()
    reporter._delivery._wire._metrics._end = None
    await reporter.stopService()
    assert len(logged.flush(TypeError)) == 1
    assert values(place.sent, "jobs_total") == [0, 1]


def test_without_time_there_are_no_ends() -> None:
    """A stop has an end, whatever there is to say."""
    reactor = FakeReactor()
    reporter = backends.remote_write(MetricsRegistry(reactor.clock), URL, reactor=reactor)
    reporter.startService()
    reactor.advance(10)
    collected = reporter.ledger()["collected"]
    assert collected > 1
    stopped: list[None] = []
    reporter._delivery.stop(0).addCallback(stopped.append)
    reactor.advance(0)
    assert stopped == [None]
    assert sum(reporter.ledger()["dropped"].values()) == reporter.ledger()["collected"] == collected
    reporter.stopService()
    reactor.pump([0.01] * 600)
    assert reactor.getDelayedCalls() == []
