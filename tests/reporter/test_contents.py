"""What a reporter reports: each kind of metric, for the interval it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from twisted.internet.defer import Deferred

from tests.reporter.rig import BEGIN, Rig


def test_each_kind_is_reported(make: Callable[..., Rig]) -> None:
    """Counts are cumulative, the rest is the interval's."""
    rig = make().start()
    registry = rig.registry
    registry.counter("jobs").inc(3)
    registry.gauge("depth").set(7)
    registry.gauge("age", lambda: rig.reactor.seconds() - BEGIN)
    registry.meter("hits").mark(50)
    registry.histogram("sizes").add(15)
    registry.timer("waits").add(0.25)
    rig.advance(10)
    assert rig.latest("jobs.count") == 3
    assert rig.latest("depth") == 7
    assert rig.latest("age") == 10
    assert rig.latest("hits.count") == 50
    assert rig.latest("hits.mean_rate") == 5
    assert rig.latest("sizes.p99") == 15
    assert rig.latest("waits.max") == 0.25
    assert rig.latest("waits.mean_rate") == 0.1


def test_an_idle_interval_sends_no_percentile(make: Callable[..., Rig]) -> None:
    """What happened before is not told again; count and sum go on."""
    rig = make().start()
    rig.registry.histogram("sizes").add(15)
    rig.advance(30)
    assert rig.stamps("sizes.p99") == rig.stamps("sizes.mean") == rig.stamps("sizes.max") == [10]
    assert rig.stamps("sizes.count") == rig.stamps("sizes.sum") == [10, 20, 30]


def test_two_reporters_do_not_disturb_each_other(make: Callable[..., Rig]) -> None:
    """Each tells the spread of its own interval, and all counts, of one registry."""
    fast = make(2)
    slow = make(5, fast.reactor, fast.registry)
    sizes = fast.registry.histogram("sizes")
    fast.start()
    slow.start()
    for second in range(1, 11):
        fast.advance(1)
        if second % 2:
            sizes.add(second)
    assert [fast.graphite.values("sizes.max")[BEGIN + second] for second in range(2, 11, 2)] == list(range(1, 11, 2))
    assert fast.graphite.values("sizes.min") == fast.graphite.values("sizes.max")
    assert slow.graphite.values("sizes.max") == {BEGIN + 5: 3, BEGIN + 10: 9}
    assert slow.graphite.values("sizes.min") == {BEGIN + 5: 1, BEGIN + 10: 5}
    assert slow.latest("sizes.count") == fast.latest("sizes.count") == 5


def test_what_a_restart_missed_is_told_after_it(make: Callable[..., Rig]) -> None:
    """The first report after a pause covers the pause, and not once more what was told before it."""
    rig = make().start()
    sizes = rig.registry.histogram("sizes")
    sizes.add(1000)
    rig.advance(12)
    rig.stop()
    rig.advance(1)
    sizes.add(1)
    rig.start()
    rig.advance(10)
    assert rig.graphite.values("sizes.max") == {BEGIN + 10: 1000, BEGIN + 20: 1}
    assert rig.latest("sizes.count") == 2


JUNK = [10**400, float("nan"), float("inf"), None, "1", b"1", [], Deferred(), 1j, "x\ny 1 2"]


@pytest.mark.parametrize(
    ("shown", "value"),
    [(True, 1), (Decimal("2.5"), 2.5), (2**70, 2**70), (-0.5, -0.5), *((junk, None) for junk in JUNK)],
    ids=lambda shown: repr(shown).partition(" at 0x")[0][:20],
)
def test_a_gauge_shows_a_number_or_nothing(make: Callable[..., Rig], shown: object, value: float | None) -> None:
    """Whatever it is, it disturbs no other line, and a refusal is counted."""
    rig = make().start()
    rig.registry.gauge("odd").set(shown)
    rig.registry.gauge("even").set(2)
    rig.advance(20)
    assert rig.latest("odd") == value
    assert rig.latest("even") == 2
    assert rig.latest("txmetrics.values_refused.value.count") == (1 if value is None else None)
