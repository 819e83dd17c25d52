"""How long a reporter holds up the reactor, and what its own metrics say of it."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import pytest

from tests.reporter.rig import READING, Rig, SlowGauges
from txmetrics.reporter import PAUSE, TURN

STEP = 2**-9
"""Seconds, more than a PAUSE and exact in a sum."""


def test_one_turn_of_the_reactor_exceeds_its_budget_by_one_reading_at_most(make: Callable[..., Rig]) -> None:
    """And others have their turn between any two, however many metrics there are."""
    rig = make().start()
    slow = SlowGauges(rig, 1000, READING)
    busy = []
    for step in (10, *[STEP] * 1100):
        before = rig.reactor.seconds()
        rig.reactor.advance(step)
        busy.append(rig.reactor.seconds() - before - step)
    turns = [seconds for seconds in busy if seconds > 0]
    assert STEP > PAUSE
    assert sum(turns) == 1000 * READING
    assert max(turns) < TURN + READING
    assert len(turns) == pytest.approx(1000 / ceil(TURN / READING), abs=1)
    assert slow.names <= rig.graphite.names()
    assert rig.reporter.longest_turn == max(turns)
    slow.seconds = 0
    rig.advance(10)
    assert rig.latest("txmetrics.longest_turn") == max(turns)  # of the report before this one
    assert rig.latest("txmetrics.report_seconds") == 1000 * READING
    assert rig.reporter.longest_turn == 0


def test_pauses_between_turns_are_a_part_of_the_interval_only(make: Callable[..., Rig]) -> None:
    """A report of very many turns does not wait as long as it would, from the second time on."""
    rig = make(1).start()
    rig.advance(1)
    slow = SlowGauges(rig, 1000, READING / 4)
    taken = []
    for _ in range(2):
        rig.reactor.advance(1 - rig.reactor.seconds() % 1)
        begun = rig.reactor.seconds()
        while rig.reporter._report is not None:
            rig.reactor.advance(2**-14)
        taken.append(rig.reactor.seconds() - begun)
    turns = 1000 / ceil(4 * TURN / READING)
    assert taken[0] == pytest.approx(1000 * READING / 4 + turns * PAUSE, rel=0.1)
    assert taken[1] == pytest.approx(1000 * READING / 4 + 0.25, rel=0.1)
    assert slow.names <= rig.graphite.names()


def test_a_report_of_many_turns_carries_one_timestamp(make: Callable[..., Rig]) -> None:
    """Although it takes longer than a second."""
    rig = make().start()
    slow = SlowGauges(rig, 30, seconds=0.125)
    rig.advance(15)
    slow.seconds = 0
    assert {tuple(rig.stamps(name)) for name in slow.names} == {(10,)}


def test_a_tick_during_an_unfinished_report_is_skipped(make: Callable[..., Rig]) -> None:
    """It is counted, and reports never overlap: each of them has each line once."""
    rig = make(1).start()
    slow = SlowGauges(rig, 10, seconds=0.375)
    rig.advance(12)
    slow.seconds = 0
    rig.advance(10)
    assert {tuple(rig.stamps(name)) for name in slow.names} == {tuple(rig.stamps())}
    assert rig.stamps() == sorted(set(rig.stamps()))
    assert rig.stamps()[-10:] == list(range(rig.stamps()[-10], rig.stamps()[-10] + 10))
    assert rig.latest("txmetrics.reports_skipped.count") >= 6


def test_the_self_metrics_balance(make: Callable[..., Rig]) -> None:
    """In every report: points collected = delivered + retained + queued + dropped, also while Graphite is away."""
    rig = make(1).start()
    rig.registry.histogram("sizes").add(1)
    rig.advance(3)
    rig.pipe.lose()
    for _ in range(20):
        rig.advance(1)
        if rig.endpoint.latest.waits:
            rig.endpoint.latest.refuse()
    while not rig.endpoint.latest.waits:
        rig.advance(1)
    rig.accept()
    rig.advance(3)

    def told(name: str) -> dict[int, float]:
        return rig.graphite.values(f"txmetrics.{name}")

    collected, delivered = told("points_collected.count"), told("points_delivered.count")
    retained, queued = told("retained_points"), told("queue_points")
    assert len(collected) > 20
    assert queued[max(queued)] < max(queued.values()) / 10  # the report before, unacknowledged yet
    assert max(queued.values()) > 0
    assert max(retained.values()) > 0
    for stamp, points in collected.items():
        dropped = sum(
            rig.graphite.values(name).get(stamp, 0) for name in rig.graphite.names() if ".points_dropped." in name
        )
        assert points == delivered[stamp] + retained[stamp] + queued[stamp] + dropped
    assert told("reports.count")[max(collected)] == len(set(rig.stamps())) - 1
    assert told("connections.count")[max(collected)] == 2
