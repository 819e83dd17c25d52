"""What a stream writes while its connection holds: all chunks, in their order, in bounded memory."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from tests.delivery.network import HIGH_WATER, chunk, dropped
from tests.delivery.stream.net import BIG, Net, numbers
from txmetrics.delivery._queue import OVERHEAD
from txmetrics.interfaces import IDelivery


def test_a_stream_is_a_delivery(net: Net) -> None:
    """It has everything that IDelivery promises."""
    assert verifyObject(IDelivery, net.stream)


def test_nothing_happens_before_start(net: Net) -> None:
    """Chunks may come before, but nobody is called and nothing waits in the reactor."""
    net.deliver(1, 2)
    assert net.endpoint.attempts == []
    assert net.reactor.getDelayedCalls() == []
    assert net.stream.levels["queue_points"] == 2


def test_chunks_arrive_in_their_order(net: Net) -> None:
    """Those that waited for the connection first, then each as it is delivered."""
    net.deliver(1, 2)
    pipe = net.connect()
    net.deliver(3)
    assert numbers(pipe) == [1, 2, 3]
    assert pipe.keep_alive
    assert net.stream.counts == {
        "points_collected": 3,
        "points_sent": 3,
        "points_replayed": 0,
        "points_delivered": 0,
        "bytes_sent": 60,
        "connections": 1,
    }
    assert net.stream.levels["connected"] == 1


def test_starting_twice_connects_once(net: Net) -> None:
    """A second start finds the attempt, or the connection, of the first."""
    net.stream.start()
    net.stream.start()
    net.endpoint.latest.accept()
    net.stream.start()
    assert len(net.endpoint.attempts) == 1


def test_nothing_is_written_to_a_transport_that_asked_to_pause(net: Net) -> None:
    """The pipe fails the test if it happens; later everything is written, in order, chunk by chunk."""
    pipe = net.connect(full=True)
    net.deliver(*range(10), size=BIG)
    assert pipe.paused
    assert len(pipe.held) == 2 * BIG
    pipe.read()
    assert numbers(pipe) == list(range(10))
    assert net.stream.counts["points_sent"] == 10


def test_a_peer_that_never_reads_costs_bounded_memory(net: Net) -> None:
    """The transport holds its high water and one chunk, the outbox its limit; the oldest are dropped and counted."""
    net.make(max_bytes=5 * BIG)
    pipe = net.connect(full=True)
    net.deliver(*range(1000), size=BIG)
    assert len(pipe.held) <= HIGH_WATER + BIG
    assert net.stream.levels["buffer_bytes"] <= 5 * BIG
    pipe.read()
    arrived = numbers(pipe)
    assert arrived[-4:] == [996, 997, 998, 999]
    assert dropped(net.stream) == {"unconfirmed": 2, "overflow": 1000 - len(arrived)}


def test_an_outage_costs_bounded_memory_and_keeps_the_latest(net: Net) -> None:
    """Without any connection the outbox drops its oldest, and what is left arrives when the peer is back."""
    net.make(max_bytes=10 * (20 + OVERHEAD))
    net.stream.start()
    net.endpoint.latest.refuse()
    net.deliver(*range(100))
    assert net.stream.levels["buffer_bytes"] == 10 * (20 + OVERHEAD)
    net.pass_time(1)
    assert numbers(net.endpoint.latest.accept()) == list(range(90, 100))
    assert dropped(net.stream) == {"overflow": 90}


def test_a_frame_is_put_around_a_chunk_when_it_is_written(net: Net) -> None:
    """The outbox holds and counts bare chunks; only the transport sees the framed ones."""
    net.make(frame=lambda data: b"[" + data + b"]")
    net.deliver(1)
    assert net.stream.levels["buffer_bytes"] == 20 + OVERHEAD
    pipe = net.connect()
    assert pipe.value() == b"[" + chunk(1).data + b"]"
    assert net.stream.counts["bytes_sent"] == 22
