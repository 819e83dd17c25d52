"""Stopping a stream: in whatever state it is, it is drained, and it ends by the deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.delivery.network import Endpoint, TLSPipe, dropped
from tests.delivery.stream.net import BIG, Net, numbers
from tests.strict import Logged


def test_stop_before_start_ends_at_once(net: Net) -> None:
    """There is nothing to wait for, and nobody is called."""
    assert net.stop() == [None]
    assert net.endpoint.attempts == []
    assert net.reactor.getDelayedCalls() == []


def test_an_idle_stream_closes_its_connection(net: Net, logged: Logged) -> None:
    """It says goodbye in order: the peer sees a close, not an abort, and nobody calls it a failure."""
    pipe = net.connect()
    net.deliver(1)
    stopped = net.stop()
    net.reactor.advance(0)
    assert stopped == [None]
    assert pipe.ended == "ConnectionDone"
    assert not any(name.startswith(("connection_failures", "connections_lost")) for name in net.stream.counts)
    assert logged.texts() == []
    assert net.reactor.getDelayedCalls() == []


def test_a_connected_stream_is_drained_before_it_stops(net: Net) -> None:
    """What waits is written, what the transport holds is passed on, then the connection is closed."""
    pipe = net.connect(full=True)
    net.deliver(*range(5), size=BIG)
    stopped = net.stop()
    net.pass_time(2)
    assert stopped == []
    pipe.read()
    net.reactor.advance(0)
    assert stopped == [None]
    assert pipe.ended == "ConnectionDone"
    assert numbers(pipe) == list(range(5))
    assert net.stream.ledger.delivered == 5
    assert net.reactor.getDelayedCalls() == []


def test_a_peer_that_never_reads_does_not_hold_up_a_stop(net: Net, logged: Logged) -> None:
    """At the deadline the connection is aborted and all that is left is dropped, counted and told."""
    pipe = net.connect(full=True)
    net.deliver(*range(5), size=BIG)
    stopped = net.stop(3)
    net.pass_time(2.8)
    assert stopped == []
    net.pass_time(0.3)
    assert stopped == [None]
    assert pipe.ended == "ConnectionAborted"
    assert dropped(net.stream) == {"unconfirmed": 2, "stopped": 3}
    assert "5 points may not have reached tcp:graphite:2003" in logged.texts()
    assert net.reactor.getDelayedCalls() == []


def test_a_peer_that_does_not_read_the_rest_does_not_hold_up_a_close(net: Net) -> None:
    """Everything is in the transport, which cannot pass it on: the deadline holds here, too."""
    pipe = net.connect(full=True)
    net.deliver(1)
    stopped = net.stop(3)
    net.pass_time(3.1)
    assert stopped == [None]
    assert pipe.ended == "ConnectionAborted"
    assert net.reactor.getDelayedCalls() == []


def test_stop_without_anything_to_send_cancels_an_attempt(net: Net) -> None:
    """Nobody waits for a connection that nobody needs."""
    net.stream.start()
    assert net.stop() == [None]
    assert net.endpoint.latest.cancelled
    assert net.reactor.getDelayedCalls() == []


def test_stop_while_connecting_sends_what_waits(net: Net) -> None:
    """The attempt may still succeed; then everything is written before the end."""
    net.deliver(1)
    net.stream.start()
    stopped = net.stop()
    assert stopped == []
    pipe = net.endpoint.latest.accept()
    net.reactor.advance(0)
    assert stopped == [None]
    assert numbers(pipe) == [1]
    assert pipe.ended == "ConnectionDone"
    assert len(net.endpoint.attempts) == 1


def test_stop_while_connecting_ends_at_the_deadline(net: Net) -> None:
    """An attempt that has no end is cancelled then, and what waited is counted."""
    net.deliver(1)
    net.stream.start()
    stopped = net.stop(2)
    net.pass_time(2.1)
    assert stopped == [None]
    assert net.endpoint.latest.cancelled
    assert dropped(net.stream) == {"stopped": 1}


def test_stop_during_a_handshake_ends_at_the_deadline(net: Net) -> None:
    """A peer that never finishes its handshake is aborted, and has seen no byte."""
    net.deliver(1)
    pipe = net.connect(pipe=TLSPipe)
    stopped = net.stop(2)
    net.pass_time(2.1)
    assert stopped == [None]
    assert pipe.ended == "ConnectionAborted"
    assert pipe.value() == b""
    assert dropped(net.stream) == {"stopped": 1}


def test_stop_during_a_handshake_sends_what_waits(net: Net) -> None:
    """A handshake that ends in time is followed by all there is."""
    net.deliver(1)
    pipe = net.connect(pipe=TLSPipe)
    stopped = net.stop(2)
    pipe.shake_hands()
    net.reactor.advance(0)
    assert stopped == [None]
    assert numbers(pipe) == [1]
    assert pipe.ended == "ConnectionDone"


def test_stop_during_the_back_off_makes_one_last_attempt(net: Net) -> None:
    """At once and not when the back-off is over; a refusal is the end."""
    net.stream.start()
    net.deliver(1)
    net.endpoint.latest.refuse()
    stopped = net.stop()
    assert len(net.endpoint.attempts) == 2
    assert stopped == []
    net.endpoint.latest.refuse()
    assert stopped == [None]
    assert dropped(net.stream) == {"stopped": 1}
    net.pass_time(120)
    assert len(net.endpoint.attempts) == 2


def test_the_last_attempt_may_succeed(net: Net) -> None:
    """A peer that is back just in time gets everything."""
    net.stream.start()
    net.deliver(1, 2)
    net.endpoint.latest.refuse()
    stopped = net.stop()
    pipe = net.endpoint.latest.accept()
    net.reactor.advance(0)
    assert stopped == [None]
    assert numbers(pipe) == [1, 2]
    assert dropped(net.stream) == {}


def test_stop_during_the_back_off_with_nothing_to_send_ends_at_once(net: Net) -> None:
    """No last attempt is made for nothing."""
    net.stream.start()
    net.endpoint.latest.refuse()
    assert net.stop() == [None]
    assert len(net.endpoint.attempts) == 1
    assert net.reactor.getDelayedCalls() == []


def test_a_connection_that_is_lost_while_draining_is_tried_once_more(net: Net) -> None:
    """What it took with it is sent again where that is allowed."""
    pipe = net.connect(full=True)
    net.deliver(*range(4), size=BIG)
    stopped = net.stop()
    pipe.lose()
    assert stopped == []
    second = net.endpoint.latest.accept()
    net.reactor.advance(0)
    assert stopped == [None]
    assert numbers(second) == [0, 1, 2, 3]
    assert second.ended == "ConnectionDone"


def test_a_peer_that_always_closes_ends_the_draining(net: Net) -> None:
    """Lost while draining, and lost again on the last attempt: the rest is dropped and counted."""
    pipe = net.connect(full=True)
    net.deliver(*range(4), size=BIG)
    stopped = net.stop()
    pipe.lose()
    net.endpoint.latest.accept(full=True).lose()
    assert stopped == [None]
    assert dropped(net.stream) == {"unconfirmed": 2, "stopped": 2}
    net.pass_time(120)
    assert len(net.endpoint.attempts) == 2


def test_a_connection_that_is_lost_while_closing_is_tried_once_more(net: Net) -> None:
    """The goodbye was not answered: what the peer may not have read is sent again, once."""
    pipe = net.connect(full=True)
    net.deliver(1)
    stopped = net.stop()
    pipe.lose()
    assert stopped == []
    second = net.endpoint.latest.accept()
    net.reactor.advance(0)
    assert stopped == [None]
    assert numbers(second) == [1]
    assert net.stream.ledger.delivered == 1


def test_a_connection_that_is_lost_while_closing_is_the_end_where_nothing_is_sent_twice(net: Net) -> None:
    """What was on its way is counted, and nobody connects again for nothing."""
    net.make(replay_window=0)
    pipe = net.connect(full=True)
    net.deliver(1)
    stopped = net.stop()
    pipe.lose()
    assert stopped == [None]
    assert len(net.endpoint.attempts) == 1
    assert dropped(net.stream) == {"unconfirmed": 1}


def test_every_stop_is_answered(net: Net) -> None:
    """A second stop waits for the first, a third finds everything done; the first deadline holds."""
    net.connect(full=True)
    net.deliver(*range(3), size=BIG)
    first, second = net.stop(2), net.stop(60)
    net.pass_time(2.1)
    assert first == second == net.stop() == [None]


def test_a_stop_that_nobody_waits_for_any_more_goes_on(net: Net) -> None:
    """Cancelling the answer cancels nothing else."""
    net.connect(full=True)
    net.deliver(*range(3), size=BIG)
    answer = net.stream.stop(2)
    answer.addErrback(lambda failure: failure.trap(CancelledError))
    answer.cancel()
    stopped = net.stop()
    net.pass_time(2.1)
    assert stopped == [None]


def test_what_is_delivered_while_draining_still_goes_out(net: Net) -> None:
    """Until the connection is closed it is not too late."""
    pipe = net.connect(full=True)
    net.deliver(*range(3), size=BIG)
    stopped = net.stop()
    net.deliver(3)
    pipe.read()
    net.reactor.advance(0)
    assert stopped == [None]
    assert numbers(pipe) == [0, 1, 2, 3]


def test_what_is_delivered_while_closing_is_sent_or_counted(net: Net) -> None:
    """The goodbye has been said: one last connection is made for it."""
    net.connect()
    stopped = net.stop()
    net.deliver(1)
    net.reactor.advance(0)
    assert stopped == []
    second = net.endpoint.latest.accept()
    net.reactor.advance(0)
    assert stopped == [None]
    assert numbers(second) == [1]


def test_what_is_delivered_after_stop_is_dropped_and_counted(net: Net) -> None:
    """It does not gather in memory for ever."""
    assert net.stop() == [None]
    net.deliver(1, 2)
    assert dropped(net.stream) == {"stopped": 2}
    assert net.stream.levels["buffer_bytes"] == 0


def test_a_stopped_stream_does_not_start_again(net: Net) -> None:
    """Start after stop, and during one, makes no connection that nobody would close."""
    net.deliver(1)
    net.stream.start()
    net.stop()
    net.stream.start()
    net.endpoint.latest.refuse()
    net.endpoint.latest.refuse()
    net.stream.start()
    net.pass_time(120)
    assert len(net.endpoint.attempts) == 2
    assert net.reactor.getDelayedCalls() == []


def test_stop_in_the_middle_of_a_chunk_by_chunk_drain(net: Net) -> None:
    """A peer that reads slowly is followed, room by room, until the deadline."""
    pipe = net.connect(full=True)
    net.deliver(*range(20), size=BIG)
    stopped = net.stop(5)
    for _ in range(3):
        net.pass_time(1)
        pipe.held, pipe.paused = b"", False  # the peer read it all, and nothing after that
        pipe.producer.resumeProducing()
    net.pass_time(2.1)
    assert stopped == [None]
    assert net.stream.counts["points_sent"] == 8
    assert dropped(net.stream) == {"unconfirmed": 8, "stopped": 12}


@pytest.mark.parametrize("when", ["connect", "accept", "room", "lost"])
def test_a_stop_in_reaction_to_anything_is_fine(net: Net, when: str) -> None:
    """Frames, endpoints and peers may run code that stops the stream, in the middle of its own work."""
    calls: list[Callable[[], object]] = [lambda: net.stop(1)]

    def now(moment: str) -> None:
        if moment == when and calls:
            calls.pop()()

    class Talkative(Endpoint):
        def connect(self, factory: Any) -> Deferred[Any]:
            result = super().connect(factory)
            now("connect")
            return result

    def frame(data: bytes) -> bytes:
        now("room")
        return data

    net.endpoint = Talkative(net.reactor)
    net.make(frame=frame)
    net.deliver(1, 2)
    net.stream.start()
    now("accept")
    pipe = net.endpoint.latest.accept(full=True)
    pipe.lose()
    now("lost")
    net.pass_time(2)
    assert calls == []
    assert net.reactor.getDelayedCalls() == []
