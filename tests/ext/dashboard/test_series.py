"""Which series are kept: so many, of the metrics that were made first, each in slots of its own."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.ext.dashboard.stand import Hands


def test_beyond_the_limit_the_rest_is_counted() -> None:
    """The metrics that were made first are kept, and none of them only in part."""
    hands = Hands(max_series=7)
    for name in "ab":
        hands.registry.counter(name)
    hands.registry.timer("t")
    hands.registry.counter("c")
    hands.registry.histogram("h")
    hands.look()
    assert hands.kept() == ["a.rate", "b.rate", "t.rate", "t.p50", "t.p95", "t.p99", "t.max"]
    assert hands.history.not_kept == 6
    hands.registry.gauge("g")
    hands.after(1)
    assert hands.history.not_kept == 7


def test_a_metric_with_too_many_series_lets_none_pass() -> None:
    """So it is known of each metric without looking at it whether it is kept: all are that were made before."""
    hands = Hands(max_series=3)
    hands.registry.timer("t")
    hands.registry.counter("c")
    hands.look()
    assert hands.kept() == []
    assert hands.history.not_kept == 6


def test_tags_belong_to_the_name() -> None:
    """Also where a value looks like the end of another series."""
    hands = Hands()
    jobs = hands.registry.counter("jobs", queue="mail.rate")
    hands.registry.gauge("depth", queue="a.p50").set(5)
    hands.registry.timer("took", queue="a")
    hands.look()
    jobs.inc(3)
    hands.after(1)
    assert hands.kept()[:3] == ["jobs;queue=mail.rate.rate", "depth;queue=a.p50", "took;queue=a.rate"]
    hands.after(1)
    assert hands.told("jobs;queue=mail.rate.rate") == {1: 3, 2: 0}
    assert hands.told("depth;queue=a.p50") == {1: 5, 2: 5}


def test_room_that_becomes_free_is_given_to_the_next() -> None:
    """It may have been there all the time, so what it has counted before is not of this second."""
    hands = Hands(max_series=2)
    hands.registry.counter("a")
    hands.registry.counter("b")
    late = hands.registry.counter("late")
    hands.look()
    late.inc(1_000_000)
    hands.after(1)
    hands.registry.unregister("a")
    hands.after(1)
    hands.after(1)
    assert hands.kept() == ["b.rate", "late.rate"]
    late.inc(3)
    hands.after(1)
    assert hands.told("late.rate") == {1: None, 2: None, 3: None, 4: 3}
    assert hands.history.not_kept == 0


def test_a_slot_is_used_again_without_its_old_numbers() -> None:
    """What the series before had in it is not shown under the new name."""
    hands = Hands()
    hands.registry.gauge("old").set(1)
    hands.look()
    hands.after(1)
    hands.registry.unregister("old")
    hands.after(1)
    hands.registry.gauge("new").set(2)
    hands.after(1)
    assert hands.history.table.width == 1
    assert hands.told("new") == {1: None, 2: None, 3: 2}
    assert hands.history.table.find("old") is None


def test_a_metric_that_is_made_anew_begins_anew() -> None:
    """Its count is not compared with that of the one before, whatever kind that was."""
    hands = Hands()
    hands.registry.counter("x").inc(100)
    hands.registry.counter("y").inc(100)
    hands.look()
    for name in "xy":
        hands.registry.unregister(name)
    hands.registry.counter("x").inc(3)
    hands.registry.timer("y").add(0.5)
    hands.after(1)
    assert hands.told("x.rate") == {1: 3}
    assert hands.told("y.rate") == {1: 1}
    assert hands.told("y.max") == {1: 0.5}


def test_a_gauge_is_meant_by_its_own_name() -> None:
    """Also where another metric has a series of that name."""
    hands = Hands()
    hands.registry.counter("a").inc(5)
    hands.registry.gauge("a.rate").set(77)
    hands.look()
    hands.after(1)
    assert hands.told("a.rate") == {1: 77}
    hands.registry.unregister("a.rate")
    hands.after(1)
    assert hands.told("a.rate")[2] == 0


def test_a_name_alone_is_no_series() -> None:
    """But of a gauge; and a suffix belongs to its kind."""
    hands = Hands()
    hands.registry.counter("c")
    hands.registry.gauge("g")
    hands.look()
    assert [hands.history.table.find(name) for name in ("c", "c.p99", "c.", "g.rate", "", ".rate", "nobody.rate")] == (
        [None] * 7
    )
    assert hands.history.table.find("c.rate") is not None
    assert hands.history.table.find("g") is not None


class ComingAndGoing(RuleBasedStateMachine):
    """Gauges come and go; each shows its own number as long as it lives, and nothing before it did."""

    LIMIT = 4

    def __init__(self) -> None:
        super().__init__()
        self.hands = Hands(max_series=self.LIMIT)
        self.hands.look()
        self.made = 0
        self.living: dict[str, int] = {}
        self.second = 0
        self.shown: dict[str, dict[int, int]] = {}

    @rule()
    def make(self) -> None:
        self.made += 1
        name = f"g{self.made % 6}"
        if name not in self.living:
            self.hands.registry.gauge(name).set(self.made)
            self.living[name] = self.made
            self.shown[name] = {}

    @rule(which=st.integers(0, 5))
    def unregister(self, which: int) -> None:
        if self.living.pop(f"g{which}", None) is not None:
            self.hands.registry.unregister(f"g{which}")

    @rule()
    def second_passes(self) -> None:
        self.second += 1
        table, registry = self.hands.history.table, self.hands.registry
        before = {each.metric for each in table.kept.values()}
        self.hands.after(1)
        for name, kept in table.kept.items():
            assert kept.metric is registry[name]
            self.shown[name][self.second] = self.living[name]
        first = {registry[name] for name in list(self.living)[: self.LIMIT]}
        after = {each.metric for each in table.kept.values()}
        assert first & before <= after <= first

    @invariant()
    def each_shows_its_own(self) -> None:
        table = self.hands.history.table
        assert len(table) == len(table.kept) <= table.width <= self.LIMIT
        for name, kept in table.kept.items():
            if name in self.living and self.hands.registry[name] is kept.metric:
                told = {time: value for time, value in self.hands.told(name).items() if value is not None}
                shown = {time: value for time, value in self.shown[name].items() if value == self.living[name]}
                # One that got its room from a walk of ten seconds has its first row a second later.
                assert told.items() <= shown.items()
                assert len(shown) - len(told) <= 1


TestComingAndGoing = ComingAndGoing.TestCase
TestComingAndGoing.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
