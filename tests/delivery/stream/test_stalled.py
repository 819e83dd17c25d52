"""Which peers are given up because they take nothing, and which are only slow or idle."""

from __future__ import annotations

import pytest

from tests.delivery.network import dropped
from tests.delivery.stream.net import BIG, Net, network_log, numbers
from tests.strict import Logged


def test_a_peer_that_takes_nothing_is_given_up(net: Net, logged: Logged) -> None:
    """After ten seconds, or half a second more: the connection is aborted, and the next one gets everything again."""
    pipe = net.connect()
    pipe.outstanding = 20
    net.deliver(1)
    net.pass_time(10)
    assert pipe.ended is None
    net.pass_time(1)
    assert pipe.ended == "ConnectionAborted"
    assert net.stream.counts["connections_lost.stalled"] == 1
    net.pass_time(1)
    assert numbers(net.endpoint.latest.accept()) == [1]
    assert dropped(net.stream) == {}
    assert network_log(logged) == [
        "no connection to tcp:graphite:2003 (it took nothing for 10 seconds); trying again",
    ]


def test_a_peer_that_never_reads_is_given_up(net: Net) -> None:
    """All is full, kernel and transport, and nothing moves."""
    pipe = net.connect(full=True)
    net.deliver(*range(10), size=BIG)
    net.pass_time(11)
    assert pipe.ended == "ConnectionAborted"
    assert numbers(net.endpoint.latest.accept()) == list(range(10))


def test_a_peer_that_takes_nothing_is_given_up_though_reports_go_on(net: Net) -> None:
    """What is written into the kernel every second is no sign of life of the peer."""
    pipe = net.connect(full=True)
    for number in range(12):
        net.deliver(number)
        net.pass_time(1)
    assert pipe.ended == "ConnectionAborted"
    assert net.stream.counts["connections_lost.stalled"] == 1


def test_a_slow_peer_is_not_given_up(net: Net) -> None:
    """A byte every nine seconds is little, but it is read."""
    pipe = net.connect()
    pipe.outstanding = 100
    net.deliver(1)
    for _ in range(30):
        net.pass_time(9)
        pipe.outstanding -= 1
    assert pipe.ended is None
    pipe.outstanding = 0
    net.pass_time(2)
    assert net.stream.ledger.delivered == 1


def test_a_peer_that_reads_a_chunk_now_and_then_is_not_given_up(net: Net) -> None:
    """The kernel may always be full: room in the transport is progress, too."""
    pipe = net.connect(full=True)
    net.deliver(*range(40), size=BIG)
    for _ in range(15):
        net.pass_time(9)
        pipe.held, pipe.paused = b"", False
        pipe.producer.resumeProducing()
    assert pipe.ended is None


def test_an_idle_connection_is_no_stall(net: Net) -> None:
    """Nothing to take is no reason to take nothing; and nobody looks while there is nothing."""
    pipe = net.connect()
    net.deliver(1)
    net.pass_time(12)
    assert net.reactor.getDelayedCalls() == []
    net.pass_time(3600)
    assert pipe.ended is None


@pytest.mark.parametrize("blocks", [1, 19])
def test_a_reactor_that_was_blocked_is_no_stall(net: Net, blocks: int) -> None:
    """Whoever has not been to the network for an hour cannot say that the peer took nothing meanwhile."""
    pipe = net.connect()
    pipe.outstanding = 20
    net.deliver(1)
    for _ in range(blocks):
        net.reactor.advance(3600)
    assert pipe.ended is None
    pipe.outstanding = 0
    net.pass_time(2)
    assert net.stream.ledger.delivered + net.stream.ledger.retained == 1
