"""Reports of deltas: each in a step of its own, whoever leaves and whoever comes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reporter.rig import BEGIN, Rig
from tests.strict import Logged
from txmetrics.testing import FakeReactor, GraphiteReceiver


def stored(graphite: GraphiteReceiver, name: str, step: float = 10) -> dict[float, float]:
    """What a store of such steps has of a series, in seconds since BEGIN: the last value in each."""
    return {point.timestamp // step * step - BEGIN: point.value for point in graphite.points if point.name == name}


def test_a_report_tells_what_happened_since_the_last(make: Callable[..., Rig]) -> None:
    """In a step of its own, also the reporter's own numbers; and the last one in the step that has just begun."""
    rig = make(deltas=True).start()
    for _ in range(4):
        rig.registry.counter("jobs").inc(3)
        rig.advance(10)
    rig.registry.counter("jobs").inc(1)
    rig.advance(1)
    rig.stop()
    rig.advance(1)
    assert stored(rig.graphite, "jobs.delta") == {20: 6, 30: 3, 40: 3, 50: 1}
    assert stored(rig.graphite, "txmetrics.reports.delta") == {20: 0, 30: 1, 40: 1, 50: 1}
    assert rig.latest("jobs.count") is None


def test_a_stop_before_the_first_report_leaves_a_predecessor_alone(make: Callable[..., Rig]) -> None:
    """Who was here in the same step may have used the next one for its last."""
    rig = make(deltas=True).start()
    rig.registry.counter("jobs").inc()
    rig.advance(2)
    rig.stop()
    rig.advance(1)
    assert stored(rig.graphite, "jobs.delta") == {20: 1}


def test_a_second_start_counts_nothing_twice(make: Callable[..., Rig]) -> None:
    """Neither of the registry nor of the reporter itself, whose delivery is a new one that counts from zero."""
    rig = make(deltas=True).start()
    rig.registry.counter("jobs").inc(5)
    rig.advance(35)
    rig.stop()
    rig.advance(1)
    rig.registry.counter("jobs").inc(2)
    rig.start()
    rig.advance(30)
    assert sum(stored(rig.graphite, "jobs.delta").values()) == 7
    reports = sum(stored(rig.graphite, "txmetrics.reports.delta").values())
    assert reports == rig.reporter.numbers()["reports"] - 1
    assert min(stored(rig.graphite, "txmetrics.connections.delta").values()) >= 0
    assert sum(stored(rig.graphite, "txmetrics.connections.delta").values()) == 2


def test_a_report_that_broke_off_loses_nothing_of_the_others(make: Callable[..., Rig], logged: Logged) -> None:
    """What it did not come to is told by the next."""
    rig = make(deltas=True).start()
    rig.registry.counter("jobs").inc(5)
    rig.advance(20)
    rig.registry.counter("jobs").inc(5)
    encoder = rig.wire.encoder

    def broken(stamp: int) -> None:
        rig.wire.encoder = encoder
        raise RuntimeError("no encoder today")

    rig.wire.encoder = broken
    rig.advance(20)
    assert stored(rig.graphite, "jobs.delta") == {20: 5, 40: 5}
    assert [str(failure.value) for failure in logged.flush(RuntimeError)] == ["no encoder today"]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([1.0, 2.0, 10.0]),
    st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.integers(0, 90)), min_size=1, max_size=6),
)
def test_a_worker_that_comes_never_overwrites_one_that_left(
    interval: float, lives: list[tuple[int, bool, int]]
) -> None:
    """Each lives for a step and some eighths of a second, ends or is killed, and after some more the next one comes."""
    reactor, graphite = FakeReactor(), GraphiteReceiver()
    truth = 0.0
    for eighths, is_killed, pause in lives:
        rig = Rig(interval, reactor, deltas=True, graphite=graphite).start()
        before = sent(graphite)
        for _ in range(eighths + 8 * round(interval)):
            rig.registry.counter("jobs").inc()
            reactor.advance(0.125)
        if not is_killed:
            rig.stop()
            reactor.advance(0)
            assert sent(graphite) - before == rig.registry.counter("jobs").count
        truth += sent(graphite) - before
        for call in list(reactor.getDelayedCalls()):
            call.cancel()
        reactor.advance(pause / 8)
    assert sum(stored(graphite, "jobs.delta", interval).values()) == truth


def sent(graphite: GraphiteReceiver) -> float:
    """All that was ever told of the jobs, whatever a store made of it."""
    return sum(point.value for point in graphite.points if point.name == "jobs.delta")
