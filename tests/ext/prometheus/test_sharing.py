"""One rendering for all who ask at about the same time; in turns; whoever leaves and whatever comes in between."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ext.prometheus.scraping import Rig, Scraper
from tests.prometheus import OPEN_METRICS, PROTOBUF, read_openmetrics, read_text, samples
from tests.strict import Logged
from txmetrics import MetricsRegistry
from txmetrics.clock import Clock
from txmetrics.ext.prometheus import ScrapeResource
from txmetrics.testing import FakeReactor


class Readings:
    """A gauge that counts how often it is read."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.times = 0
        registry.gauge("watched", self._read)

    def _read(self) -> int:
        self.times += 1
        return self.times


@pytest.mark.parametrize("accept", ["text/plain", OPEN_METRICS, PROTOBUF])
def test_who_asks_at_the_same_time_shares_a_rendering(accept: str) -> None:
    """Compressed or not; each gets a whole answer."""
    rig = Rig()
    watched = Readings(rig.registry)
    headers = f"Accept: {accept}"
    scrapers = [rig.ask(headers), rig.ask(headers), rig.ask(headers, "Accept-Encoding: gzip")]
    assert [scraper.answer for scraper in scrapers] == [None] * 3
    rig.work()
    assert watched.times == 1
    [first, second, third] = [scraper.answer for scraper in scrapers]
    assert first.body == second.body == third.body
    assert b"watched" in first.body


def test_a_rendering_is_given_out_for_most_of_a_second() -> None:
    """And no longer, so that who comes every second gets new values each time; and then it is forgotten."""
    rig = Rig()
    watched = Readings(rig.registry)
    for moment, times in [(0.0, 1), (0.3, 1), (0.7, 1), (1.0, 2), (1.9, 3), (2.9, 4)]:
        rig.reactor.advance(moment + 1_000_000_000 - rig.reactor.seconds())
        scraper = rig.ask()
        rig.work()
        assert f"\nwatched {times}\n".encode() in scraper.answer.body
        assert watched.times == times
    rig.reactor.advance(1)
    assert rig.reactor.getDelayedCalls() == []


def test_each_format_has_a_rendering_of_its_own() -> None:
    """And both are there at once."""
    rig = Rig()
    watched = Readings(rig.registry)
    text, open_metrics = rig.ask(), rig.ask(f"Accept: {OPEN_METRICS}")
    rig.work()
    assert watched.times == 2
    assert read_text(text.answer.body)
    assert read_openmetrics(open_metrics.answer.body)


def many(registry: MetricsRegistry, number: int = 3000) -> None:
    for n in range(number):
        registry.counter(f"part{n}.counted").inc(n)


def test_a_slow_reader_gets_it_piece_by_piece() -> None:
    """No more is written than is taken; and nobody else waits for it."""
    rig = Rig()
    many(rig.registry)
    slow, fast = rig.ask(), rig.ask()
    slow.transport.room = 1
    rig.work()
    size = len(fast.answer.body)
    assert size > 300_000
    received = [len(slow.transport.value())]
    while slow.transport.producer is not None:
        slow.transport.make_room(20_000)
        received.append(len(slow.transport.value()))
    assert all(later - earlier < 60_000 for earlier, later in pairwise(received))
    assert len(received) > 8
    assert slow.answer.body == fast.answer.body


def test_a_client_that_leaves_before_the_rendering_is_done() -> None:
    """The others are answered, and nothing is written to it."""
    rig = Rig()
    many(rig.registry, 10)
    leaves, stays = rig.ask(), rig.ask()
    leaves.leave()
    rig.work()
    assert leaves.transport.value() == b""
    assert stays.answer.status == 200


def test_a_client_that_leaves_in_the_middle() -> None:
    """What it left behind is forgotten, and the next scrape is as ever."""
    rig = Rig()
    many(rig.registry)
    leaves = rig.ask()
    leaves.transport.room = 1
    rig.work()
    written = leaves.transport.writes
    leaves.leave()
    rig.work()
    assert leaves.transport.writes == written
    assert rig.scrape().status == 200
    reference = weakref.ref(leaves)
    del leaves
    gc.collect()
    assert reference() is None


class Treacherous(MetricsRegistry):
    """A registry that cannot be gone through when it does not want to."""

    broken = False

    def __iter__(self) -> Iterator[str]:
        if self.broken:
            raise RuntimeError("nothing to see")
        return super().__iter__()


def test_an_error_is_told_and_logged_once(logged: Logged) -> None:
    """To all who wait, without a word about why; and the next scrape works."""
    reactor = FakeReactor()
    registry = Treacherous(reactor.clock)
    resource = ScrapeResource(registry, reactor=reactor)
    registry.broken = True
    waiting = [Scraper(resource, reactor), Scraper(resource, reactor, "Accept-Encoding: gzip")]
    gone = Scraper(resource, reactor)
    gone.leave()
    for _ in range(5):
        reactor.advance(0.001)
    for scraper in waiting:
        assert scraper.answer.status == 500
        assert scraper.answer.body == b"The metrics could not be written down; the log of this server says why.\n"
    assert [str(failure.value) for failure in logged.flush(RuntimeError)] == ["nothing to see"]
    registry.broken = False
    again = Scraper(resource, reactor)
    reactor.advance(0.001)
    assert again.answer.status == 200
    reactor.advance(1)


class Ticking:
    """A rig whose clock goes on by a part of a turn with each look at it, so that there are many turns."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        ticks = count()
        self.registry = MetricsRegistry(Clock(wall=self.reactor.seconds, tick=lambda: next(ticks) / 8000))
        self.resource = ScrapeResource(self.registry, reactor=self.reactor)

    def turns(self, scraper: Scraper) -> Iterator[int]:
        """Number the turns until the scraper has its answer."""
        for turn in range(10_000):
            if scraper.answer is not None:
                return
            yield turn
            self.reactor.advance(0.001)
        raise AssertionError("no answer in 10,000 turns")


def test_a_rendering_takes_many_short_turns() -> None:
    """Some steps each, with pauses for everybody else."""
    rig = Ticking()
    many(rig.registry, 2000)
    for number in range(50):
        rig.registry.timer(f"timers.{number}").add(0.1)
    scraper = Scraper(rig.resource, rig.reactor)
    turns = [*rig.turns(scraper)]
    # In 20s they are looked up and read; and each timer by itself.
    assert len(turns) > (2000 / 20 * 2 + 50) / 8
    assert len(samples(read_text(scraper.answer.body))) == 3 + 2000 + 50 * 16
    compressed = Scraper(rig.resource, rig.reactor, "Accept-Encoding: gzip")
    assert len([*rig.turns(compressed)]) > 3


NAMES = ["a", "a.b", "a_b", "a-b", "a.status.x", "a_status", "b", "b.count", "b_total", "c.seconds", "c"]

doings = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.sampled_from(["counter", "gauge", "meter", "histogram", "timer", "unregister"])
    ),
    max_size=12,
)


def do(registry: MetricsRegistry, name: str, what: str) -> None:
    """As far as the registry lets it be done."""
    try:
        if name in registry:
            registry.unregister(name)
        if what != "unregister":
            getattr(registry, what)(name)
    except ValueError:
        pass  # it would be another metric's field


@settings(deadline=None, max_examples=60)
@given(doings, doings, st.integers(1, 5))
def test_metrics_that_come_and_go_meanwhile(before: Any, meanwhile: Any, each: int) -> None:
    """Whatever happens between two turns, also by other renderings, the exposition is valid and lacks nobody."""
    rig = Ticking()
    many(rig.registry, 100)
    for name, what in before:
        do(rig.registry, name, what)
    left = [*meanwhile]
    untouched = {name for name in rig.registry if name not in {name for name, _ in meanwhile}}
    scraper = Scraper(rig.resource, rig.reactor, f"Accept: {OPEN_METRICS}")
    for turn in rig.turns(scraper):
        if left and turn % each == 0:
            do(rig.registry, *left.pop())
            Scraper(rig.resource, rig.reactor, "Accept-Encoding: gzip").leave()
    families = read_openmetrics(scraper.answer.body)
    assert samples(families)
    told = sum(
        family.type != "histogram" or sample.labels.get("le") == "+Inf"
        for family in families
        for sample in family.samples
    )
    assert len(untouched) <= told - 3 <= len(untouched | set(NAMES))
    rig.reactor.advance(2)
    while rig.reactor.getDelayedCalls():
        rig.reactor.advance(2)
