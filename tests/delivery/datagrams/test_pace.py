"""When datagrams are sent: the first one ahead, the others at a pace that receivers can keep."""

from __future__ import annotations

from tests.delivery.datagrams.net import STEP, Net, lines
from txmetrics.delivery._datagrams import BURST, PACE, PROBATION


def test_nothing_happens_before_start(net: Net) -> None:
    """Chunks may come before, but no port is opened and nothing waits in the reactor."""
    net.deliver(1, 2)
    assert net.reactor.ports == []
    assert net.reactor.getDelayedCalls() == []
    assert net.delivery.levels["queue_points"] == 2
    net.delivery.start()
    net.pass_time(1)
    assert net.numbers == [1, 2]


def test_starting_twice_opens_once(net: Net) -> None:
    """A second start finds the port of the first."""
    net.start()
    net.delivery.start()
    net.deliver(1)
    net.pass_time(1)
    net.delivery.start()
    assert len(net.reactor.ports) == 1
    assert net.numbers == [1]


def test_the_first_datagram_goes_ahead(net: Net) -> None:
    """A quarter of a second later nobody has refused it, and the others follow."""
    net.start()
    net.deliver(*range(10), size=1000)
    net.pass_time(PROBATION - STEP)
    assert net.numbers == [0]
    assert net.delivery.ledger.delivered == 0
    net.pass_time(3 * STEP)
    assert net.numbers == list(range(10))
    assert net.delivery.ledger.delivered == 10


def test_a_backlog_is_sent_at_the_pace(net: Net) -> None:
    """In no stretch of time more than it allows, and one burst; and not much less."""
    net.start()
    for number in range(0, 20_000, 500):
        net.delivery.deliver(lines(number, number + 500))
    net.pass_time(3, step=0.001)
    assert net.numbers == list(range(20_000))
    sent = [(at, len(data)) for at, _, data in net.reactor.arrived]
    for first in range(1, len(sent), 20):
        volume = 0
        for at, length in sent[first:]:
            volume += length
            assert volume <= PACE * (at - sent[first][0]) + BURST + 1400
    assert sent[-1][0] - sent[1][0] <= 1.2 * 20_000 * 50 / PACE


def test_lost_time_is_not_made_up_for(net: Net) -> None:
    """A reactor that was blocked for a minute does not send a minute's worth at once."""
    net.start()
    for number in range(0, 2000, 500):
        net.delivery.deliver(lines(number, number + 500))
    net.pass_time(0.3)
    before = len(net.reactor.arrived)
    net.reactor.advance(60)
    assert sum(len(data) for _, _, data in net.reactor.arrived[before:]) <= BURST + 1400


def test_small_reports_are_held_to_the_pace_together(net: Net) -> None:
    """A chunk that comes right after a burst waits for its turn."""
    net.start()
    net.deliver(0)
    net.pass_time(1)
    for number in range(1, 200):
        net.deliver(number, size=1000)
        net.reactor.advance(0)
    assert net.numbers == [0, 1]
    net.pass_time(2)
    assert net.numbers == list(range(200))
