"""From the attempt to the first byte: openings and handshakes that take too long, come late, or come twice."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from tests.delivery.network import Endpoint, TLSPipe
from tests.delivery.stream.net import Net, network_log, numbers
from tests.strict import Logged


def test_an_opening_that_takes_too_long_is_given_up(net: Net, logged: Logged) -> None:
    """After ten seconds without an answer the attempt is cancelled, and made again with back-off."""
    net.deliver(1)
    net.stream.start()
    first = net.endpoint.latest
    net.pass_time(9.8)
    assert not first.cancelled
    net.pass_time(1)
    assert first.cancelled
    assert len(net.endpoint.attempts) == 2
    (line,) = network_log(logged)
    assert line.startswith("no connection to tcp:graphite:2003 (")
    assert "not open after 10 seconds" in line
    assert numbers(net.endpoint.latest.accept()) == [1]


def test_a_handshake_that_takes_too_long_is_given_up(net: Net, logged: Logged) -> None:
    """TCP is there, TLS never: the connection is aborted after ten seconds, without a byte on it."""
    net.deliver(1)
    pipe = net.connect(pipe=TLSPipe)
    net.pass_time(9.8)
    assert pipe.ended is None
    net.pass_time(1)
    assert pipe.ended == "ConnectionAborted"
    assert pipe.value() == b""
    assert len(net.endpoint.attempts) == 2
    assert len(network_log(logged)) == 1


def test_nothing_is_written_before_the_handshake_is_over(net: Net) -> None:
    """Until then nobody knows who the peer is."""
    net.deliver(1)
    pipe = net.connect(pipe=TLSPipe)
    net.deliver(2)
    assert pipe.value() == b""
    assert net.stream.levels["connected"] == 0
    pipe.shake_hands()
    assert numbers(pipe) == [1, 2]


def test_a_handshake_with_a_refused_certificate_is_none(net: Net) -> None:
    """Some Twisteds abort the connection and announce the handshake all the same: nothing is written, or lost."""
    net.deliver(1)
    pipe = net.connect(pipe=TLSPipe)
    pipe.disconnecting = True
    pipe.abortConnection()
    pipe.shake_hands()
    net.deliver(2)
    net.pass_time(1)
    assert net.stream.counts["connections"] == 0
    assert net.stream.counts["bytes_sent"] == 0
    assert numbers(net.endpoint.latest.accept()) == [1, 2]


def test_a_transport_that_pauses_before_the_handshake_is_heard(net: Net) -> None:
    """TLS transports do: the first chunk waits for the handshake and for the room."""
    net.deliver(1)
    pipe = net.connect(pipe=TLSPipe)
    pipe.paused = True
    pipe.producer.pauseProducing()
    pipe.shake_hands()
    assert pipe.value() == b""
    pipe.read()
    assert numbers(pipe) == [1]


def test_room_before_the_handshake_is_no_room(net: Net) -> None:
    """Pause and resume before the handshake do not make the connection writable."""
    net.deliver(1)
    pipe = net.connect(pipe=TLSPipe)
    pipe.producer.pauseProducing()
    pipe.producer.resumeProducing()
    assert pipe.value() == b""
    assert net.stream.levels["connected"] == 0
    pipe.shake_hands()
    assert numbers(pipe) == [1]


def test_a_connection_that_comes_after_all_is_hung_up(net: Net) -> None:
    """An endpoint may ignore that it was cancelled: its late connection gets no byte, the next attempt goes on."""
    net.deliver(1)
    net.stream.start()
    net.pass_time(11)
    late = net.endpoint.attempts[0].accept()
    net.pass_time(0.1)
    assert late.ended == "ConnectionAborted"
    assert late.value() == b""
    assert numbers(net.endpoint.latest.accept()) == [1]
    assert net.stream.levels["connected"] == 1
    assert net.stream.counts["connections"] == 1


def test_a_late_connection_that_is_lost_does_not_take_the_good_one_with_it(net: Net) -> None:
    """The stream listens to its own connection only."""
    net.stream.start()
    net.pass_time(11)
    pipe = net.endpoint.latest.accept()
    net.endpoint.attempts[0].accept().lose()
    net.deliver(1)
    assert numbers(pipe) == [1]
    assert net.stream.counts["connection_failures.timeout"] == 1
    assert not any(name.startswith("connections_lost") for name in net.stream.counts)


def test_an_attempt_that_cannot_be_cancelled_does_not_stop_the_others(net: Net) -> None:
    """A Deferred that swallows its cancellation is left behind, and the endpoint is tried again."""

    class Stubborn(Endpoint):
        def connect(self, factory: Any) -> Deferred[Any]:
            waiting = super().connect(factory)
            never: Deferred[None] = Deferred()
            return waiting.addErrback(lambda failure: failure.trap(CancelledError) and never)

    net.endpoint = Stubborn(net.reactor)
    net.make().start()
    net.pass_time(30)
    assert len(net.endpoint.attempts) == 3


def test_an_attempt_that_does_not_like_to_be_cancelled_does_not_stop_the_others(net: Net) -> None:
    """Twisted's own endpoints raise when their connector thinks that it is not connecting (any more)."""

    class Raising(Endpoint):
        def connect(self, factory: Any) -> Deferred[Any]:
            super().connect(factory)
            return Deferred(lambda deferred: 1 / 0)

    net.endpoint = Raising(net.reactor)
    net.make().start()
    net.pass_time(30)
    assert len(net.endpoint.attempts) == 3


def test_a_second_connection_of_one_attempt_is_hung_up(net: Net) -> None:
    """Happy eyeballs may win twice; one connection is enough, and only its own handshake counts."""
    net.deliver(1)
    pipe = net.connect(pipe=TLSPipe)
    second = net.endpoint.latest.accept(pipe=TLSPipe)
    second.shake_hands()
    assert net.stream.levels["connected"] == 0
    net.pass_time(0.1)
    assert second.ended == "ConnectionAborted"
    pipe.shake_hands()
    net.deliver(2)
    assert numbers(pipe) == [1, 2]
    assert second.value() == b""
