"""Remote write of what is new and of what is gone: where a series begins and where it ends."""

from __future__ import annotations

import pytest

from tests.remote_write import ENDED, Sent
from tests.wire.bodies import BEFORE, ME, STAMP, a_registry, at, named, now, read, report
from txmetrics import MetricsRegistry
from txmetrics.snapshot import CounterReading
from txmetrics.wire import RemoteWrite
from txmetrics.wire._remote_write import FULL

# What is new


def test_what_is_new_was_nothing_at_the_report_before() -> None:
    """Counters, meters, all buckets; a gauge was not, and what was there already is told once."""
    registry = MetricsRegistry()
    registry.counter("old").inc(3)
    wire = RemoteWrite(ME)
    assert len(report(wire, registry.collect(), BEFORE)) == 1
    registry.counter("jobs").inc(5)
    registry.meter("mails").mark()
    registry.timer("waits").add(0.3)
    registry.gauge("queue").set(7)
    sent = report(wire, registry.collect())
    counted = {name for name in now(sent) if not name.startswith(("old", "queue"))}
    assert len(counted) == 2 + 16
    assert at(sent, BEFORE * 1000 + 2) == dict.fromkeys(counted, 0)
    assert len(sent) == len(counted) * 2 + 2
    assert len(report(wire, registry.collect(), STAMP + 10)) == len(now(sent))


def test_a_new_native_histogram_was_empty() -> None:
    """At the report before."""
    registry, wire = MetricsRegistry(), RemoteWrite(ME, "native")
    assert report(wire, [], BEFORE) == []
    registry.timer("waits").add(0.3)
    empty, full = report(wire, registry.collect())
    assert (empty.milliseconds, empty.value.count, [*empty.value.positive_spans]) == (BEFORE * 1000 + 2, 0, [])
    assert (full.milliseconds, full.value.count) == (STAMP * 1000, 1)


def test_a_new_range_was_empty() -> None:
    """And only that one."""
    registry, wire = MetricsRegistry(), RemoteWrite(ME, "vmrange")
    registry.timer("waits").add(0.3)
    report(wire, registry.collect(), BEFORE)
    registry.timer("waits").add(3.0)
    sent = report(wire, registry.collect())
    assert at(sent, BEFORE * 1000 + 2) == {named("waits_seconds_bucket", vmrange="2.82843...3.08442"): 0}
    assert len(sent) == 5


def test_at_the_first_report_all_was_nothing_at_the_start() -> None:
    """But for what had counted by then: nobody knows what that was an interval ago, and a zero would be a leap."""
    registry = MetricsRegistry()
    for name in ("old", "new"):
        registry.counter(name).inc(1000)
    wire = RemoteWrite(ME, since=BEFORE + 3.25, earlier=["old"])
    sent = report(wire, registry.collect())
    assert at(sent, BEFORE * 1000 + 3250) == {named("new_total"): 0}
    assert now(sent) == {named("old_total"): 1000, named("new_total"): 1000}


def test_a_report_at_the_very_start() -> None:
    """It is dated by whole seconds, and the start may be later than that: all was nothing right before it."""
    sent = report(RemoteWrite(ME, since=STAMP + 0.7), [CounterReading("a", 3)])
    assert [(one.milliseconds, one.value) for one in sent] == [(STAMP * 1000 - 1, 0), (STAMP * 1000, 3)]


def test_without_a_time_before_there_is_no_zero() -> None:
    """Nobody knows it, or the clock was set back."""
    wire = RemoteWrite(ME)
    assert len(report(wire, [CounterReading("a", 3)])) == 1
    assert len(report(wire, [CounterReading("b", 3)], BEFORE)) == 1


# What is gone


class Some:
    """Metrics, all of which are told, and some of which are taken away."""

    def __init__(self, style: str = "classic") -> None:
        self.registry = MetricsRegistry()
        self.wire = RemoteWrite(ME, style, exists=self.registry.__contains__)
        self.stamp = STAMP

    def report(self) -> list[Sent]:
        self.stamp += 10
        return report(self.wire, self.registry.collect(), self.stamp)


@pytest.mark.parametrize("style", ["classic", "native", "vmrange"])
def test_what_is_unregistered_ends(style: str) -> None:
    """In the next report, right after the last value of each of its series; and is not told again."""
    some = Some(style)
    some.registry.counter("stays").inc()
    some.registry.counter("goes").inc()
    some.registry.timer("goes.too").take_in([0.1, 3.0])
    told = now(some.report(), some.stamp)
    for name in ("goes", "goes.too"):
        some.registry.unregister(name)
    sent = some.report()
    stays = named("stays_total")
    assert at(sent, (some.stamp - 10) * 1000 + 1) == {name: ENDED for name in told if name != stays}
    assert now(sent, some.stamp) == {stays: 1}
    assert len(some.report()) == 1


def test_what_comes_again_begins_after_its_end() -> None:
    """In the same report or a later one: the samples of its series are in order."""
    some = Some()
    sent = []
    for number in range(12):
        some.registry.counter("stays").inc()
        some.registry.counter("comes_and_goes").inc()
        sent += some.report()
        some.registry.unregister("comes_and_goes")
        if number % 3 == 0:
            sent += some.report()
    mine = [one for one in sent if one.series == named("comes_and_goes_total")]
    times = [one.milliseconds for one in mine]
    assert times == sorted(set(times))
    assert [one.value for one in mine][:4] == [1, ENDED, 0, 1]


def test_what_goes_during_a_report_ends_after_its_last_value() -> None:
    """Whether it was told by then or not; and what comes again meanwhile begins after that."""
    some = Some()
    for number in range(60):
        some.registry.counter(f"a.{number}").inc()
    sent = some.report()
    for _ in range(6):
        some.stamp += 10
        encoder = some.wire.encoder(some.stamp)
        chunks = []
        for told, reading in enumerate(some.registry.collect()):
            chunks.append(encoder.add(reading))
            if told == 30:
                for number in range(0, 60, 3):
                    some.registry.unregister(f"a.{number}")
            if told == 35:
                for number in range(0, 60, 3):
                    some.registry.counter(f"a.{number}").inc()
                    some.registry.counter(f"b.{number}").inc()
        sent += read([chunk for chunk in [*chunks, encoder.finish()] if chunk is not None], some.stamp)
    for name in {one.series for one in sent}:
        times = [one.milliseconds for one in sent if one.series == name]
        assert times == sorted(set(times))


@pytest.mark.parametrize("left", [0, 25])
def test_what_was_told_and_then_goes_ends_with_this_report(left: int) -> None:
    """Or with the next."""
    some = Some()
    for number in range(30):
        some.registry.counter(f"a.{number}").inc()
    some.report()
    some.stamp += 10
    encoder = some.wire.encoder(some.stamp)
    for reading in some.registry.collect():
        assert encoder.add(reading) is None
        if reading.name == f"a.{left}":
            some.registry.unregister("a.0")
    sent = [*read([encoder.finish()], some.stamp), *some.report()]
    assert [one.milliseconds for one in sent if one.value == ENDED] == [(some.stamp - 10) * 1000 + 1]


def test_what_becomes_of_another_kind_ends() -> None:
    """Its old series does, and the new one begins."""
    some = Some()
    some.registry.counter("a").inc()
    some.report()
    some.registry.unregister("a")
    some.registry.gauge("a").set(3)
    sent = some.report()
    assert at(sent, (some.stamp - 10) * 1000 + 1) == {named("a_total"): ENDED}
    assert now(sent, some.stamp) == {named("a"): 3}


def test_very_many_that_are_gone_end_in_several_reports() -> None:
    """Each of which stays short; none is forgotten, and none ends twice."""
    some = Some()
    for number in range(700):
        some.registry.counter(f"goes.{number}").inc()
    some.report()
    for number in range(700):
        some.registry.unregister(f"goes.{number}")
    reports = [some.report() for _ in range(12)]
    ended = [one.series for sent in reports for one in sent]
    assert len(ended) == len(set(ended)) == 700
    assert max(map(len, reports)) <= 100


@pytest.mark.parametrize("style", ["classic", "native", "vmrange"])
def test_the_farewell_ends_everything(style: str) -> None:
    """Each series that was told and is not ended, once, right after the last report, in bodies of the usual size."""
    registry = a_registry()
    for number in range(2000):
        registry.gauge(f"many.{number}").set(number)
    wire = RemoteWrite(ME, style)
    told = now(report(wire, registry.collect()))
    chunks = [*wire.farewell()]
    sent = read(chunks)
    assert at(sent, STAMP * 1000 + 1) == dict.fromkeys(told, ENDED)
    assert len(sent) == len(told)
    assert len(chunks) > 3
    assert max(len(chunk.data) for chunk in chunks) < FULL + 1000
