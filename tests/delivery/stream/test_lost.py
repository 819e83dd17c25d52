"""What a stream sends again when its connection is lost, and what it counts as delivered or dropped."""

from __future__ import annotations

from random import Random

import pytest

from tests.delivery.network import Endpoint, Pipe, check_books, chunk, dropped
from tests.delivery.stream.net import BIG, Net, numbers
from txmetrics.interfaces import Chunk
from txmetrics.testing import GraphiteReceiver, Point


def test_a_cut_off_chunk_is_sent_again(net: Net) -> None:
    """What the peer had not acknowledged is written anew, with its own bytes, before what came after it."""
    pipe = net.connect(full=True)
    net.deliver(*range(4), size=BIG)
    pipe.lose()
    check_books(net.stream)
    net.deliver(4)
    net.pass_time(1)
    assert numbers(net.endpoint.latest.accept()) == [0, 1, 2, 3, 4]
    assert net.stream.counts["points_replayed"] == 2
    assert dropped(net.stream) == {}


def test_a_cut_off_chunk_is_dropped_where_a_second_one_would_be_added(net: Net) -> None:
    """Without a replay window no byte is written twice, and what may have been cut off is counted."""
    net.make(replay_window=0)
    pipe = net.connect(full=True)
    net.deliver(*range(4), size=BIG)
    pipe.lose()
    net.deliver(4)
    net.pass_time(1)
    assert numbers(net.endpoint.latest.accept()) == [2, 3, 4]
    assert dropped(net.stream) == {"unconfirmed": 2}


def test_what_was_acknowledged_is_delivered_where_nothing_is_sent_twice(net: Net) -> None:
    """Without a replay window an acknowledgement is the best there is; a connection lost after it loses nothing."""
    net.make(replay_window=0)
    pipe = net.connect()
    net.deliver(1)
    net.pass_time(2)
    assert net.stream.ledger.delivered == 1
    pipe.lose()
    net.pass_time(1)
    assert numbers(net.endpoint.latest.accept()) == []
    assert dropped(net.stream) == {}


def test_the_ledger_follows_a_chunk(net: Net) -> None:
    """Queued until the peer's kernel has it, retained for the window, then delivered."""
    pipe = net.connect()
    pipe.outstanding = 20
    net.deliver(1)
    net.pass_time(5)
    assert net.stream.ledger.queued == net.stream.levels["queue_points"] == 1
    pipe.outstanding = 0
    net.pass_time(2)
    assert net.stream.ledger.retained == net.stream.levels["retained_points"] == 1
    net.pass_time(60)
    net.deliver(2)
    net.pass_time(2)
    assert net.stream.ledger.delivered == net.stream.counts["points_delivered"] == 1
    assert net.stream.ledger.retained == 1


@pytest.mark.parametrize(("seconds", "first"), [(0.3, 23), (2, 24), (9.7, 24)])
def test_the_window_is_sent_again_and_nothing_older(net: Net, seconds: float, first: int) -> None:
    """With its old bytes, so its old timestamps, and in its old order; it counts from the last acknowledgement."""
    pipe = net.connect()
    for number in range(30):
        net.deliver(number)
        net.pass_time(10 if number < 29 else seconds)
    pipe.lose()
    net.deliver(30)
    net.pass_time(1)
    second = net.endpoint.latest.accept()
    assert second.value() == b"".join(chunk(number).data for number in range(first, 31))
    assert net.stream.counts["points_replayed"] == 30 - first
    assert dropped(net.stream) == {}


def test_the_window_counts_from_the_last_sign_of_life(net: Net) -> None:
    """A peer may have been gone since its last acknowledgement, though the connection is lost only now."""
    pipe = net.connect()
    for number in range(10):
        net.deliver(number)
        net.pass_time(10 if number < 9 else 120)
    pipe.lose()
    net.pass_time(1)
    assert numbers(net.endpoint.latest.accept()) == [4, 5, 6, 7, 8, 9]
    assert net.stream.ledger.delivered == 4


def test_the_window_survives_several_losses(net: Net) -> None:
    """Each new connection gets the window, which counts from the last writing, until one lives."""
    pipe = net.connect()
    net.deliver(1, 2, 3)
    for _ in range(4):
        net.pass_time(2)
        pipe.lose()
        net.pass_time(5)
        pipe = net.endpoint.latest.accept()
        assert numbers(pipe) == [1, 2, 3]
    net.pass_time(62)
    net.deliver(4)
    net.pass_time(2)
    assert net.stream.ledger.delivered == 3


@pytest.mark.parametrize("seed", range(10))
def test_without_a_window_no_chunk_is_ever_written_twice(net: Net, seed: int) -> None:
    """Whatever happens to the connections and whenever; what did not arrive is counted."""
    random = Random(seed)
    net.make(replay_window=0, random=random.random)
    net.stream.start()
    pipes: list[Pipe] = []
    for number in range(200):
        net.deliver(number, size=random.choice([20, BIG]))
        if net.endpoint.latest.waits and random.random() < 0.7:
            pipes.append(net.endpoint.latest.accept(full=random.random() < 0.5))
        elif pipes and random.random() < 0.3:
            random.choice([pipes[-1].lose, pipes[-1].end_of_stream, pipes[-1].read])()
        net.pass_time(random.choice([0, 0.1, 1, 3]))
    stopped = net.stop(0)
    net.pass_time(1)
    assert stopped == [None]
    written = [number for pipe in pipes for number in numbers(pipe)]
    assert len(pipes) > 5
    assert len(written) == len(set(written))
    assert net.stream.ledger.delivered <= len(written)
    assert net.stream.ledger.delivered + sum(dropped(net.stream).values()) == 200
    assert net.stream.counts["points_replayed"] == 0


REPORT = Chunk(b"one.two 1.5 1000000000\nthree 2 1000000000\nfour.five.six -3e-07 1000000000\n", 3, 1_000_000_000)
POINTS = [Point("one.two", 1.5, 1_000_000_000), Point("three", 2, 1_000_000_000), Point("four.five.six", -3e-07, 10**9)]


@pytest.mark.parametrize("in_order", [True, False])
def test_a_server_that_closes_after_any_number_of_bytes_gets_it_all_in_the_end(net: Net, in_order: bool) -> None:
    """For every offset of a report: no torn value becomes a point, and every point is there after the next connect."""
    for offset in range(len(REPORT.data) + 1):
        net.endpoint = Endpoint(net.reactor)
        receiver = GraphiteReceiver()
        cut = receiver.buildProtocol(None)
        cut.makeConnection(Pipe(net.reactor, cut))
        net.make()
        pipe = net.connect(full=True)
        net.stream.deliver(REPORT)
        cut.dataReceived(pipe.held[:offset])
        (pipe.end_of_stream if in_order else pipe.lose)()
        net.pass_time(1)
        net.endpoint.latest.accept(peer=receiver.buildProtocol(None))
        assert receiver.wrong == []
        assert receiver.points[-3:] == POINTS
        assert set(receiver.points) == set(POINTS)
        stopped = net.stop()
        net.reactor.advance(0)
        assert stopped == [None]
        assert net.stream.ledger.delivered == 3
        check_books(net.stream)
