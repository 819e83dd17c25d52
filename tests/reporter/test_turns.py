"""How long a reporter holds up the reactor, and what its own metrics say of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import ceil

import pytest

from tests.reporter.rig import READING, Rig, SlowGauges
from txmetrics.reporter import TURN


def test_one_turn_of_the_reactor_exceeds_its_budget_by_one_reading_at_most(make: Callable[..., Rig]) -> None:
    """And others have their turn between any two, however many metrics there are."""
    rig = make()
    slow = SlowGauges(rig, 1000, READING)
    requests: list[float] = []

    def request() -> None:
        requests.append(rig.reactor.seconds())
        if len(requests) < 2000:
            rig.reactor.callLater(0, request)

    rig.reactor.callLater(10, request)
    rig.start()
    rig.advance(10)
    busy = [later - earlier for earlier, later in pairwise(requests) if later > earlier]
    assert sum(busy) == 1000 * READING
    assert max(busy) < TURN + READING
    assert len(busy) == pytest.approx(1000 / ceil(TURN / READING), abs=1)
    assert slow.names <= rig.graphite.names()
    assert rig.reporter.longest_turn == max(busy)
    slow.seconds = 0
    rig.advance(10)
    assert rig.latest("txmetrics.longest_turn") == max(busy)  # of the report before this one
    assert rig.latest("txmetrics.report_seconds") == 1000 * READING
    assert rig.reporter.longest_turn == 0


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
