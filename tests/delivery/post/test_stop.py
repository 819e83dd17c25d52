"""Stopping a post: what is there is posted by the deadline, or counted."""

from __future__ import annotations

from pathlib import Path

from tests.delivery.network import dropped
from tests.delivery.post.net import Net, refuse, told
from tests.strict import Logged
from txmetrics.delivery import Spool


def test_an_idle_post_stops_at_once(net: Net) -> None:
    """There is nothing to wait for."""
    net.start(1)
    net.answer(202)
    net.reactor.advance(0)
    assert net.stop() == [None]


def test_a_post_that_was_never_started_stops(net: Net) -> None:
    """At once if there is nothing; what is there is posted first."""
    assert net.stop() == [None]
    net.make()
    net.deliver(1)
    stopped = net.stop()
    net.answer(202)
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.post.ledger.delivered == 1
    net.post.start()
    assert net.stop() == [None]


def test_everything_is_delivered_before_the_end(net: Net) -> None:
    """Chunk after chunk, also those that come meanwhile, and then it ends before its deadline."""
    net.start(1, 2, 3)
    stopped = net.stop(60)
    net.deliver(4)
    for _ in range(4):
        assert stopped == []
        net.answer(202)
        net.reactor.advance(0)
    assert stopped == [None]
    assert net.post.ledger.delivered == 4


def test_a_server_that_hangs_does_not_hold_up_the_end(net: Net, logged: Logged) -> None:
    """At the deadline the request is cancelled; that chunk may have arrived, the other has not."""
    asked = net.start(1, 2)
    stopped, again = net.stop(5), net.stop(60)
    net.reactor.advance(4.9)
    assert stopped == again == []
    net.reactor.advance(0.2)
    assert stopped == again == [None]
    assert asked.cancelled
    assert dropped(net.post) == {"unconfirmed": 1, "stopped": 1}
    assert "2 points may not have reached the sink" in told(logged)


def test_a_body_that_hangs_does_not_hold_up_the_end(net: Net) -> None:
    """What was accepted is delivered all the same."""
    net.start(1)
    response = net.answer(202, ends=False)
    stopped = net.stop(5)
    net.reactor.advance(5)
    assert stopped == [None]
    assert response.transport.disconnecting
    assert dropped(net.post) == {}


def test_the_end_does_not_wait_for_the_back_off(net: Net) -> None:
    """One more attempt is made at once, and as many as there is time for."""
    net.start(1)
    net.pass_time(20, refuse)
    asked = len(net.agent.asked)
    stopped = net.stop(5)
    net.reactor.advance(0)
    assert len(net.agent.asked) == asked + 1
    net.answer(202)
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.post.ledger.delivered == 1


def test_the_end_comes_at_once_when_nothing_can_happen_before_it(net: Net) -> None:
    """The attempt failed, and the next one would come too late."""
    net.start(1)
    net.pass_time(100, refuse)
    stopped = net.stop(5)
    net.reactor.advance(0)
    refuse(net.agent.latest)
    assert stopped == [None]
    assert dropped(net.post) == {"unconfirmed": 1}


def test_the_end_does_not_wait_for_what_the_spool_keeps(net: Net, tmp_path: Path) -> None:
    """While the server is away, and all that there is has gone to the spool, it comes at once."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.start(1, 2)
    net.pass_time(20, refuse)
    assert net.post.ledger.spooled == 2
    assert net.stop(3600) == [None]
    assert net.post.ledger.spooled == 2


def test_the_end_respects_a_wish_for_rest(net: Net) -> None:
    """There is another attempt only if the server wants one by then."""
    net.start(1)
    net.answer(429, retry_after="3")
    asked = len(net.agent.asked)
    stopped = net.stop(5)
    net.reactor.advance(2.9)
    assert len(net.agent.asked) == asked
    net.reactor.advance(0.2)
    net.answer(429, retry_after="3")
    assert stopped == [None]


def test_what_comes_after_the_end_is_counted(net: Net) -> None:
    """It is dropped, and nobody is asked."""
    assert net.stop() == [None]
    net.deliver(1)
    assert dropped(net.post) == {"stopped": 1}
    assert net.agent.asked == []
