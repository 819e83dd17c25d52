"""A report that waits before it is sent, so that a fleet does not send as one."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.delivery.network import check_books
from tests.delivery.stream.net import Net, numbers
from txmetrics.interfaces import Chunk


def report(net: Net, stamp: int, chunks: int = 2) -> None:
    """Deliver a report's chunks, which are told from others by ten times its stamp, and more."""
    for number in range(chunks):
        net.stream.deliver(Chunk(f"{10 * stamp + number:08d}\n".encode(), 1, stamp))


def test_each_report_waits_anew_and_whole(net: Net) -> None:
    """From its first chunk on; what comes meanwhile waits for the same moment."""
    chances = [0.5, 0.25, 0.75]
    net.make(jitter=1.0, random=iter(chances).__next__)
    pipe = net.connect()
    for before, chance in enumerate(chances):
        report(net, before, 1)
        net.pass_time(chance - 0.15)
        report(net, before, 3)
        assert len(numbers(pipe)) == 4 * before
        net.pass_time(0.2)
        assert len(numbers(pipe)) == 4 * before + 4
        net.pass_time(3)


def test_nothing_waits_behind_what_waits_for_other_reasons(net: Net) -> None:
    """A backlog goes on when there is room, and reports behind it go with it."""
    net.make(jitter=5.0, random=lambda: 0.9)
    report(net, 1)
    net.pass_time(10)
    report(net, 2)
    pipe = net.connect()
    assert numbers(pipe) == [10, 11, 20, 21]


def test_a_connection_that_is_made_meanwhile_waits_as_well(net: Net) -> None:
    """And has it then, without being asked again."""
    net.make(jitter=5.0, random=lambda: 0.5)
    report(net, 1)
    pipe = net.connect()
    assert numbers(pipe) == []
    net.pass_time(2.6)
    assert numbers(pipe) == [10, 11]


def test_a_stop_does_not_wait(net: Net) -> None:
    """Neither for a report that does, nor with the last one, which is taken just before."""
    net.make(jitter=5.0, random=lambda: 0.9)
    pipe = net.connect()
    report(net, 1)
    report(net, 2)
    stopped = net.stop()
    net.reactor.advance(0)
    net.reactor.advance(0)
    assert numbers(pipe) == [10, 11, 20, 21]
    assert stopped == [None]
    assert net.stream.ledger.delivered == 4


def test_what_comes_after_the_stop_does_not_wait(net: Net) -> None:
    """It goes with the last connection that there will be."""
    net.make(jitter=5.0, random=lambda: 0.9)
    pipe = net.connect()
    pipe.answers = False
    report(net, 1)
    net.pass_time(5)
    net.stop()
    net.reactor.advance(0)
    report(net, 2)
    pipe.end_of_stream()
    net.reactor.advance(0)
    assert numbers(net.endpoint.latest.accept()) == [20, 21]


def test_without_jitter_nothing_waits(net: Net) -> None:
    """It is written in the very turn in which it is delivered."""
    pipe = net.connect()
    report(net, 1)
    assert numbers(pipe) == [10, 11]


steps = st.lists(
    st.tuples(st.sampled_from(["report", "report", "lose", "refuse", "accept"]), st.sampled_from([0, 0.5, 1, 4])),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 1000))
def test_all_arrives_in_order_whatever_happens_meanwhile(steps: list[tuple[str, float]], seed: int) -> None:
    """Connections that come and go while a report waits cost nothing, and none waits longer than it should."""
    net = Net()
    net.make(jitter=1.0, replay_window=600, random=Random(seed).random)
    net.stream.start()
    pipe: Any = None
    stamp = 0
    for what, seconds in steps:
        attempt = net.endpoint.latest
        if what == "report":
            stamp += 1
            report(net, stamp)
        elif what == "lose" and net.stream.levels["connected"]:
            pipe.lose()
        elif attempt.waits and what == "refuse":
            attempt.refuse()
        elif attempt.waits and what == "accept":
            pipe = attempt.accept()
        net.pass_time(seconds)
        check_books(net.stream)
    while not net.stream.levels["connected"]:
        if net.endpoint.latest.waits:
            pipe = net.endpoint.latest.accept()
        net.pass_time(1)
    net.pass_time(1.1)
    assert net.stream.counts["points_sent"] - net.stream.counts["points_replayed"] == 2 * stamp
    read = numbers(pipe)
    assert read == sorted(read)
    assert net.stop(5) == []
    net.pass_time(1)
    assert net.reactor.getDelayedCalls() == []
    assert net.stream.ledger.delivered == 2 * stamp
