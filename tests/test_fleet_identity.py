"""Which names and queries give the right total of a fleet, on a real carbon and graphite-web, and which a wrong one.

Each row is a way to name the workers' series and to ask Graphite for their total; what it must answer follows from what
the workers have served. The wrong ways are here as well: what they lose, or invent, is what the documents warn of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest

from tests.carbon import Carbon
from tests.fleet_of_workers import (
    ACTIVE,
    FIRST_PIDS,
    GAP,
    REBORN,
    RESTART,
    STEP,
    STEPS,
    Fleet,
    Kept,
    Stand,
    Worker,
    stored,
)
from tests.graphite_web import GraphiteWeb
from txmetrics.testing import FakeReactor
from txmetrics.wire import Graphite

W0, W1, W2, W3 = FIRST_PIDS
STAYING = (W0, W1, W3)


@pytest.fixture(scope="module")
def stand(_carbon_program: None) -> Iterator[Stand]:
    with Carbon("10s:1d") as carbon, GraphiteWeb(carbon) as web:
        yield Stand(carbon, web)


def grown(points: dict[int, float]) -> float:
    """By how much a series has grown, where it has."""
    return sum(max(after - before, 0.0) for before, after in pairwise(points.values()))


def per_second(series: str) -> str:
    """What a query says that adds up rates, as a number in a step."""
    return f"scale({series},{STEP})"


def first_intervals(fleet: Fleet) -> int:
    """What every process has served before its first report."""
    return fleet.sum(FIRST_PIDS, [0]) + fleet.sum([REBORN], [RESTART])


def until_restart(fleet: Fleet, *pids: int) -> int:
    """What processes had counted in all when the new one reported first."""
    return fleet.sum(pids, range(RESTART + 1))


class Row(NamedTuple):
    """A way to ask for the total, what it answers, and between which shares of the truth that is."""

    fleet: str
    target: str
    answer: Callable[[Fleet], float]
    at_least: float
    at_most: float


def right(fleet: str, target: str) -> Row:
    return Row(fleet, target, lambda told: told.sum(), 1, 1)


ROWS = {
    "no identity: the last one that reports wins": Row(
        "cold",
        per_second("perSecond(cold.none.req.count)"),
        lambda fleet: grown(stored(fleet.lines)["cold.none.req.count"]),
        0.2,
        0.5,
    ),
    "pid: the first interval of every process is lost": Row(
        "cold",
        per_second("sumSeries(perSecond(cold.pid.*.req.count))"),
        lambda fleet: fleet.sum() - first_intervals(fleet),
        0.9,
        0.98,
    ),
    "pid, summed before the rate: the whole restart is lost": Row(
        "cold",
        per_second("perSecond(sumSeries(cold.pid.*.req.count))"),
        lambda fleet: fleet.sum() - first_intervals(fleet) - fleet.sum(STAYING, [RESTART]),
        0.9,
        0.96,
    ),
    "pid with a zero first": right("warm", per_second("sumSeries(perSecond(warm.pid.*.req.count))")),
    "slot: the same first intervals are lost": Row(
        "cold",
        "sumSeries(nonNegativeDerivative(cold.slot.*.req.count))",
        lambda fleet: fleet.sum() - first_intervals(fleet),
        0.9,
        0.98,
    ),
    "slot with a zero first": right("warm", "sumSeries(nonNegativeDerivative(warm.slot.*.req.count,minValue=0))"),
    "slot, summed before the derivative: a spike of all that was ever counted": Row(
        "warm",
        "nonNegativeDerivative(sumSeries(warm.slot.*.req.count),minValue=0)",
        lambda fleet: fleet.sum() - fleet.sum(STAYING, [RESTART]) + until_restart(fleet, *STAYING),
        1.25,
        1.5,
    ),
    "deltas": right("warm", "sumSeries(warm.delta.*.req.delta)"),
    "deltas of processes with requests from their birth": right("cold", "sumSeries(cold.delta.*.req.delta)"),
    "deltas with tags": right("cold", "groupByTags(seriesByTag('name=cold.told.req.delta'),'sum','host')"),
    "tags with a zero first": right(
        "warm", per_second("groupByTags(perSecond(seriesByTag('name=warm.tags.req.count')),'sum','host')")
    ),
    "one lost report, pid: two intervals of it are lost": Row(
        "warm",
        "sumSeries(nonNegativeDerivative(gap.pid.*.req.count))",
        lambda fleet: fleet.sum() - fleet.sum([W1], [GAP, GAP + 1]),
        0.97,
        0.995,
    ),
    "one lost report, pid, with keepLastValue inside": right(
        "warm", "sumSeries(nonNegativeDerivative(keepLastValue(gap.pid.*.req.count)))"
    ),
    "one lost report, pid, summed before the rate: a spike": Row(
        "warm",
        per_second("perSecond(sumSeries(gap.pid.*.req.count))"),
        lambda fleet: (
            fleet.sum()
            - fleet.sum(STAYING, [RESTART])
            - fleet.sum([W0, W3, REBORN], [GAP])
            - fleet.sum([W1], [GAP, GAP + 1])
            + fleet.sum([W1], range(GAP + 2))
        ),
        1.05,
        1.2,
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_total(stand: Stand, row: Row) -> None:
    """What this way answers, to the last request; and how far that is from the truth."""
    fleet = {"cold": stand.cold, "warm": stand.warm}[row.fleet]
    total = stand.total(row.target)
    assert total == pytest.approx(row.answer(fleet), rel=1e-9)
    assert row.at_least <= round(total / fleet.sum(), 9) <= row.at_most


# Where the wrong ones go wrong


def test_a_rate_of_a_sum_has_nothing_at_the_restart(stand: Stand) -> None:
    """The sum falls by all that the old process had counted."""
    points = stand.points("perSecond(sumSeries(cold.pid.*.req.count))")
    assert set(range(stand.first + 2 * STEP, stand.last + 1, STEP)) - points.keys() == {
        stand.first + STEP * (RESTART + 1)
    }


def test_a_derivative_of_a_sum_has_a_spike_at_the_restart(stand: Stand) -> None:
    """All that the others have ever counted, in one step."""
    points = stand.points("nonNegativeDerivative(sumSeries(warm.slot.*.req.count),minValue=0)")
    spike = points.pop(stand.first + STEP * (RESTART + 1))
    assert spike == until_restart(stand.warm, *STAYING)
    assert spike > 8 * max(points.values())


def test_what_a_lost_report_told_comes_with_the_next(stand: Stand) -> None:
    """With keepLastValue inside the step of the gap has too little, and the one after it as much too much."""
    points = stand.points("sumSeries(nonNegativeDerivative(keepLastValue(gap.pid.*.req.count)))")
    late = stand.warm.sum([W1], [GAP])
    assert points[stand.hole] == stand.warm.sum(steps=[GAP]) - late
    assert points[stand.hole + STEP] == stand.warm.sum(steps=[GAP + 1]) + late


def test_the_hottest_worker_is_seen(stand: Stand) -> None:
    """In each step the one that has served most; what the old process served at its end is in its last whole step."""
    points = stand.points(per_second("maxSeries(perSecond(warm.pid.*.req.count))"))
    served = stand.warm.served.copy()
    served[W2, RESTART - 1] += served.pop((W2, RESTART))
    most = [max(served[pid, step] for pid in (*FIRST_PIDS, REBORN)) for step in range(STEPS)]
    assert [*points.values()] == pytest.approx(most)


# Deltas


def test_what_is_sent_twice_is_counted_once(stand: Stand) -> None:
    """A store keeps one value of a series and a step, so that replaying everything changes nothing."""
    before = stand.web.between("cold.delta.*.req.delta", stand.first, stand.last)
    deltas = [line for line in stand.cold.lines if ".delta " in line]
    # The last line is new, so that we see when all the others have arrived.
    stand.store([*deltas, f"marker.replayed 1 {stand.last}"])
    assert stand.web.between("cold.delta.*.req.delta", stand.first, stand.last) == before
    assert stand.total("sumSeries(cold.delta.*.req.delta)") == stand.cold.sum()


def test_a_lost_report_of_deltas_is_missed_until_it_is_replayed(stand: Stand) -> None:
    """By that one interval; late is as good as in time."""
    target = "sumSeries(gap.delta.*.req.delta)"
    missed = stand.warm.sum([W1], [GAP])
    assert stand.total(target) == stand.warm.sum() - missed
    assert 0.985 < stand.total(target) / stand.warm.sum() < 0.998
    stand.store([line for line in stand.lost if ".delta.w1." in line])
    assert stand.total(target) == stand.warm.sum()


def test_a_narrow_graph_shows_averages_unless_told_to_add_up(stand: Stand) -> None:
    """Graphite makes one point of five, as a browser's maxDataPoints wants it: of a fifth of what there was."""
    deltas = "sumSeries(warm.delta.*.req.delta)"
    window = (stand.first + STEP, stand.last)
    [averages] = stand.web.between(deltas, *window, maxDataPoints=6).values()
    [sums] = stand.web.between(f"consolidateBy({deltas},'sum')", *window, maxDataPoints=6).values()
    assert len(averages) == len(sums) == 6
    assert sum(averages.values()) == pytest.approx(stand.warm.sum() / 5)
    assert sum(sums.values()) == stand.warm.sum()


def test_who_leaves_and_who_comes_within_a_step_are_both_counted(stand: Stand) -> None:
    """Of one slot: the 40 of the old one's last report, and the 55 of the new one's first, after 100 before."""
    kept, reactor = Kept(), FakeReactor()
    reactor.rightNow = stand.first + 1.0

    def born(requests: int) -> Worker:
        worker = Worker(reactor, kept, [(Graphite("hot.w0", deltas=True), True)])
        worker.requests.inc(requests)
        return worker

    def pass_by(seconds: int) -> None:
        for _ in range(seconds):
            reactor.advance(1)

    old = born(100)
    pass_by(20)
    old.requests.inc(40)
    pass_by(2)
    old.end()
    pass_by(1)
    born(55)
    pass_by(20)
    stand.store(kept.lines)
    shown = stand.points("hot.w0.req.delta")
    assert {at - stand.first: value for at, value in shown.items() if value} == {20: 100, 30: 40, 40: 55}
    assert sum(shown.values()) == 195


# Gauges


def test_no_last_value_is_kept_of_a_gauge(stand: Stand) -> None:
    """The process that is gone would count for ever; the plain sum is right."""
    assert stand.points("sumSeries(warm.pid.*.active)")[stand.last] == 4 * ACTIVE
    assert stand.points("sumSeries(keepLastValue(warm.pid.*.active))")[stand.last] == 5 * ACTIVE


# graphite-web's minValue

GAPPY = "gap.slot.w1.req.count"


@pytest.mark.parametrize(
    ("target", "steps_before", "status"),
    [
        ("nonNegativeDerivative(warm.slot.w1.req.count,minValue=0)", 0, 200),
        ("nonNegativeDerivative(warm.slot.w1.req.count,minValue=0)", 1, 500),
        (f"nonNegativeDerivative({GAPPY},minValue=0)", 0, 500),
        (f"perSecond({GAPPY},minValue=0)", 0, 500),
        (f"nonNegativeDerivative({GAPPY})", 1, 200),
        (f"nonNegativeDerivative(keepLastValue({GAPPY}),minValue=0)", 0, 200),
        (f"nonNegativeDerivative(keepLastValue({GAPPY}),minValue=0)", 1, 500),
        (f"nonNegativeDerivative(transformNull(keepLastValue({GAPPY})),minValue=0)", 1, 200),
    ],
)
def test_min_value_fails_where_there_is_no_value(stand: Stand, target: str, steps_before: int, status: int) -> None:
    """In the gap, or in a step before the series began; so it is in none of our dashboards."""
    assert stand.web.status(target, stand.first - STEP * steps_before, stand.last) == status
