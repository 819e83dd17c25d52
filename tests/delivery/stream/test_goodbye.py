"""What the end of a connection proves: which goodbyes confirm that the peer has read everything."""

from __future__ import annotations

import pytest

from tests.delivery.network import TLSPipe, dropped
from tests.delivery.stream.net import Net, numbers
from tests.strict import Logged


def test_an_orderly_close_confirms_the_window(net: Net) -> None:
    """The peer has read to our end of the stream and ended its own: a moment ago is as good as an hour."""
    net.connect()
    net.deliver(1, 2)
    net.pass_time(2)
    net.deliver(3)
    stopped = net.stop()
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.stream.ledger.delivered == 3
    assert dropped(net.stream) == {}


def test_a_close_that_is_not_answered_confirms_nothing(net: Net, logged: Logged) -> None:
    """At the deadline all that was not delivered before is dropped as unconfirmed, and told."""
    pipe = net.connect()
    pipe.answers = False
    net.deliver(1, 2)
    stopped = net.stop(5)
    net.pass_time(4.8)
    assert stopped == []
    net.pass_time(0.3)
    assert stopped == [None]
    assert pipe.ended == "ConnectionAborted"
    assert dropped(net.stream) == {"unconfirmed": 2}
    assert "2 points may not have reached tcp:graphite:2003" in logged.texts()


def test_the_end_of_the_peers_stream_before_ours_confirms_nothing(net: Net) -> None:
    """It closed for reasons of its own, with or without having read: what may be lost is sent again."""
    pipe = net.connect()
    net.deliver(1)
    pipe.answers = False
    stopped = net.stop()
    pipe.end_of_stream()
    net.reactor.advance(0)
    assert stopped == []
    second = net.endpoint.latest.accept()
    net.reactor.advance(0)
    assert stopped == [None]
    assert numbers(second) == [1]
    assert net.stream.ledger.delivered == 1


def test_an_end_with_something_still_on_its_way_confirms_nothing(net: Net) -> None:
    """A peer whose kernel has not acknowledged everything cannot have read it."""
    net.make(replay_window=0)
    pipe = net.connect()
    net.deliver(1)
    pipe.outstanding = 20
    stopped = net.stop()
    net.reactor.advance(0)
    assert stopped == [None]
    assert dropped(net.stream) == {"unconfirmed": 1}


@pytest.mark.parametrize("answered", [True, False])
def test_over_tls_the_answer_to_our_goodbye_confirms(net: Net, answered: bool) -> None:
    """Twisted calls that a clean close; anything else proves nothing."""
    net.make(replay_window=0)
    pipe = net.connect(pipe=TLSPipe)
    pipe.shake_hands()
    net.deliver(1)
    stopped = net.stop()
    if not answered:
        pipe.lose()
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.stream.ledger.delivered == answered
    assert dropped(net.stream) == ({} if answered else {"unconfirmed": 1})
