"""While nobody listens or the kernel refuses to send, nothing is lost but what was on its way."""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest

from tests.delivery.datagrams.net import HERE, STEP, Net, lines, network_log, numbers
from tests.delivery.network import dropped
from tests.strict import Logged
from txmetrics.delivery._datagrams import BURST, PACE, PROBATION


def test_while_nobody_listens_nothing_but_one_datagram_is_sent(net: Net, logged: Logged) -> None:
    """At growing intervals, the same one; nothing is lost, and two lines in the log tell of it."""
    net.reactor.listening.clear()
    net.start()
    net.deliver(*range(50), size=1000)
    net.pass_time(600)
    assert 10 <= len(net.reactor.lost) <= 20
    assert set(numbers(net.reactor.lost)) == {0}
    waits = [later.at - earlier.at for earlier, later in pairwise(net.reactor.lost)]
    assert waits == sorted(waits)
    assert net.delivery.counts["refusals"] == len(net.reactor.lost)
    assert net.delivery.counts["errors"] == net.delivery.ledger.delivered == 0
    assert network_log(logged) == [
        f"no way to udp:{HERE}:2003 ([Errno {errno.ECONNREFUSED}] Connection refused); trying again"
    ]
    net.reactor.listening.add(HERE)
    net.pass_time(62)
    assert net.numbers == list(range(50))
    net.pass_time(10)
    net.deliver(50)
    net.pass_time(1)
    assert network_log(logged)[1:] == [f"sending to udp:{HERE}:2003 again"]
    assert len(net.reactor.ports) == 1, "a refusal is no reason for another port"


def test_it_is_connected_only_while_it_sends(net: Net) -> None:
    """The level says so, for whoever watches it."""
    net.reactor.listening.clear()
    net.start()
    net.deliver(1)
    assert net.delivery.levels["connected"] == 1
    net.pass_time(PROBATION + 2 * STEP)
    assert net.delivery.levels["connected"] == 0


@pytest.mark.parametrize("round_trip", [0.0, 0.05])
def test_what_a_dying_receiver_was_sent_is_gone_and_the_rest_waits(net: Net, round_trip: float) -> None:
    """Only a round trip's worth of a long backlog is lost: it was sent, and that is all one can know."""
    net.start()
    net.deliver(1)
    net.pass_time(20)
    net.reactor.listening.clear()
    net.reactor.round_trip = round_trip
    for number in range(100, 20_100, 500):
        net.delivery.deliver(lines(number, number + 500))
    net.pass_time(0.2)
    lost = numbers(net.reactor.lost)
    assert 0 < len(lost) * 50 < PACE * round_trip + 3 * BURST
    net.reactor.listening.add(HERE)
    net.pass_time(10)
    assert lost + net.numbers[1:] == list(range(100, 20_100))
    assert net.delivery.ledger.delivered == 20_001


def test_an_outage_after_a_good_time_is_a_new_one(net: Net, logged: Logged) -> None:
    """The back-off begins anew, and the log tells of each."""
    net.start()
    for outage in range(3):
        net.reactor.listening.clear()
        net.reactor.lost.clear()
        net.deliver(1, 2)
        net.pass_time(100)
        first, second, *_ = [arrival.at for arrival in net.reactor.lost]
        assert second - first < 1
        net.reactor.listening.add(HERE)
        net.pass_time(75)
        net.deliver(3)
        net.pass_time(1)
        assert len(network_log(logged)) == 2 * (outage + 1)


def test_refusals_that_come_late_are_no_reason_to_knock_more_often(net: Net, logged: Logged) -> None:
    """From a host so far away that its refusals take longer than the probation: that proves no health."""
    net.reactor.listening.clear()
    net.reactor.round_trip = 2 * PROBATION
    net.start()
    for number in range(600):
        net.delivery.deliver(lines(500 * number, 500 * number + 500))
        net.pass_time(1, step=0.02)
    assert 10 <= net.delivery.counts["refusals"] <= 20
    assert len(network_log(logged)) == 1


def test_an_outage_costs_bounded_memory_and_keeps_the_latest(net: Net) -> None:
    """Of what waits the oldest is dropped and counted; so is the chunk under way, though it still arrives."""
    net.reactor.listening.clear()
    net.start(max_bytes=20_000)
    for number in range(200):
        net.deliver(number, size=1000)
        net.pass_time(0.1)
        assert net.delivery.levels["buffer_bytes"] <= 20_000
    net.reactor.listening.add(HERE)
    net.pass_time(60)
    kept = len(net.numbers)
    assert kept >= 15
    assert net.numbers == [0, *range(201 - kept, 200)]
    assert dropped(net.delivery) == {"unconfirmed": 1, "overflow": 200 - kept}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EAGAIN, "Resource temporarily unavailable"),
        OSError(errno.ENOBUFS, "No buffer space available"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        PermissionError(errno.EPERM, "Operation not permitted"),
        RuntimeError("somebody else's transport"),
    ],
    ids=repr,
)
def test_a_datagram_that_cannot_be_written_is_tried_again(net: Net, error: Exception, logged: Logged) -> None:
    """At whichever datagram it happens, all arrive once and in order, and nobody else is bothered."""
    net.start()
    net.reactor.obstacles = [error]
    net.deliver(*range(10), size=1000)
    net.pass_time(1)
    net.reactor.obstacles = [error, error]
    net.deliver(*range(10, 20), size=1000)
    net.pass_time(3)
    assert net.numbers == list(range(20))
    assert net.delivery.counts["errors"] == 3
    assert net.delivery.counts["points_delivered"] == 20
    assert logged.flush() == []


def test_a_broken_port_is_replaced(net: Net) -> None:
    """Whatever it is that is wrong with it."""
    net.start()
    net.deliver(1)
    net.pass_time(1)
    net.reactor.ports[0].broken = True
    net.deliver(2, 3)
    net.pass_time(2)
    assert net.numbers == [1, 2, 3]
    assert [port.open for port in net.reactor.ports] == [False, True]


def test_a_full_send_buffer_is_no_outage(net: Net, logged: Logged) -> None:
    """It is waited for, in short steps."""
    net.start()
    net.reactor.obstacles = [OSError(errno.ENOBUFS, "No buffer space available")] * 20
    net.deliver(1)
    net.pass_time(2.5)
    assert net.numbers == [1]
    assert network_log(logged) == []


def test_a_kernel_that_sends_only_short_datagrams_gets_short_ones(net: Net) -> None:
    """Every line arrives once."""
    net.start()
    net.reactor.longest = 400
    net.delivery.deliver(lines(0, 500))
    net.pass_time(2)
    assert net.numbers == list(range(500))
    assert max(len(data) for _, _, data in net.reactor.arrived) <= 400


def test_a_line_that_the_kernel_never_sends_is_dropped_and_counted(net: Net) -> None:
    """The first such line costs its chunk, or what is left of it; from then on only itself."""
    net.start()
    net.reactor.longest = 400
    short = [b"%08d\n" % number for number in range(5)]
    net.deliver_lines(*short[:2], b"x" * 450 + b"\n", *short[2:])
    net.pass_time(2)
    assert net.numbers == [0, 1]
    assert dropped(net.delivery) == {"refused": 6}
    net.deliver_lines(*short[:2], b"x" * 450 + b"\n", *short[2:])
    net.pass_time(2)
    assert net.numbers == [0, 1, 0, 1, 2, 3, 4]
    assert dropped(net.delivery) == {"refused": 7}
