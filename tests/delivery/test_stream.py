"""Stream: chunks over one persistent connection, in virtual time and on a network in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import OpenSSL.SSL
import pytest
import service_identity
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectionDone,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TimeoutError,
    UnknownHostError,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import LogLevel
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.delivery.network import HIGH_WATER, Attempt, Endpoint, Pipe, TLSPipe, check_books, chunk, dropped
from tests.strict import Logged
from txmetrics.delivery import Spool, Stream, _kernel
from txmetrics.delivery._outbox import OVERHEAD
from txmetrics.interfaces import Chunk, IDelivery
from txmetrics.testing import FakeReactor, GraphiteReceiver, Point

BIG = 60_000
"""A chunk of so many bytes, and one more, fill a transport."""


class Net:
    """A stream to an endpoint in memory, and what was seen of both."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.endpoint = Endpoint(self.reactor)
        self.stream = self.make()

    def make(self, **settings: Any) -> Stream:
        settings = {"random": lambda: 0.0, **settings}
        self.stream = Stream(self.reactor, settings.pop("endpoint", self.endpoint), "tcp:graphite:2003", **settings)
        return self.stream

    def connect(self, **how: Any) -> Any:
        """Start the stream and let the peer accept."""
        self.stream.start()
        return self.endpoint.latest.accept(**how)

    def deliver(self, *numbers: int, size: int = 20) -> None:
        for number in numbers:
            self.stream.deliver(chunk(number, size))
            check_books(self.stream)

    def pass_time(self, seconds: float, answer: Callable[[Attempt], object] = lambda attempt: None) -> None:
        """In steps of a tenth, while each attempt to connect that waits gets its `answer`."""
        for _ in range(round(seconds * 10)):
            if self.endpoint.attempts and self.endpoint.latest.waits:
                answer(self.endpoint.latest)
            self.reactor.advance(0.1)
            check_books(self.stream)

    def stop(self, seconds: float = 5.0) -> list[None]:
        """Stop the stream; the list holds its answer once there is one."""
        answers: list[None] = []
        self.stream.stop(seconds).addCallback(answers.append)
        check_books(self.stream)
        return answers


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    """A network in memory, kernel included; when the test is over nothing may wait there any more."""
    monkeypatch.setattr(_kernel, "unacknowledged", lambda pipe: pipe.unacknowledged)
    net = Net()
    yield net
    stopped = net.stop(0)
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.reactor.getDelayedCalls() == []
    assert net.stream.levels["connected"] == net.stream.levels["queue_points"] == net.stream.levels["buffer_bytes"] == 0
    check_books(net.stream)


def numbers(pipe: Pipe) -> list[int]:
    """Which chunks the peer has read, whole ones only."""
    return [int(line[:8]) for line in pipe.value().split(b"\n")[:-1]]


def refuse(attempt: Attempt) -> None:
    attempt.refuse()


def accept_and_close(attempt: Attempt) -> None:
    attempt.accept().end_of_stream()


def accept_and_reset(attempt: Attempt) -> None:
    attempt.accept().lose()


def waits(attempts: list[Attempt]) -> list[float]:
    return [later.at - earlier.at for earlier, later in pairwise(attempts)]


def network_log(logged: Logged) -> list[str]:
    return [text for text in logged.texts() if "connect" in text]


# Writing


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


# Connections that are lost


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


# Peers that take nothing


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


# Attempts to connect


def test_refusals_are_answered_with_growing_waits(net: Net) -> None:
    """0.5 seconds after the first, 1.7 times as long after each, a minute at most."""
    net.stream.start()
    net.pass_time(300, refuse)
    schedule = [min(60.0, 0.5 * 1.7**n) for n in range(12)]
    assert waits(net.endpoint.attempts) == pytest.approx(schedule, abs=0.11)
    assert net.stream.counts["connection_failures.refused"] == 13
    assert net.stream.counts["connections"] == 0


def test_an_endpoint_that_raises_is_a_refusal(net: Net) -> None:
    """What `connect` raises is logged and tried again like what its Deferred fails with."""

    @implementer(IStreamClientEndpoint)
    class Broken:
        calls = 0

        def connect(self, factory: object) -> Deferred[Any]:
            self.calls += 1
            raise DNSLookupError("no such host")

    broken = Broken()
    net.make(endpoint=broken).start()
    net.pass_time(2)
    assert broken.calls == 3
    assert net.stream.counts["connection_failures.dns"] == 3
    assert not net.stream.levels["connected"]


@pytest.mark.parametrize("answer", [accept_and_close, accept_and_reset])
@pytest.mark.parametrize("seed", range(5))
def test_a_peer_that_accepts_and_closes_is_left_alone_more_and_more(
    net: Net, seed: int, answer: Callable[[Attempt], None]
) -> None:
    """A balancer without a backend sees at most 20 attempts in ten minutes, whatever the jitter, and costs nothing."""
    net.make(random=Random(seed).random)
    net.deliver(1)
    net.stream.start()
    net.pass_time(600, answer)
    assert 12 <= len(net.endpoint.attempts) <= 20
    assert waits(net.endpoint.attempts)[-1] > 40
    assert net.stream.ledger.queued == 1


def test_a_peer_that_accepts_and_closes_is_one_line_in_the_log(net: Net, logged: Logged) -> None:
    """A mere connect is no return: nothing says that it is back as long as it closes at once."""
    net.stream.start()
    net.pass_time(600, accept_and_close)
    assert network_log(logged) == [
        "no connection to tcp:graphite:2003 (Connection was closed cleanly.); trying again",
    ]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ConnectionRefusedError(), "refused"),
        (DNSLookupError("no such host"), "dns"),
        (UnknownHostError(), "dns"),
        (TimeoutError(), "timeout"),
        (OpenSSL.SSL.Error(), "tls"),
        (service_identity.VerificationError([]), "tls"),
        (NoRouteError(), "lost"),
        (ValueError("a bug"), "lost"),
    ],
)
def test_a_failure_to_connect_is_counted_by_reason(net: Net, error: Exception, word: str) -> None:
    """One word for each, whatever the endpoint says."""
    net.stream.start()
    net.endpoint.latest.deferred.errback(error)
    assert net.stream.counts[f"connection_failures.{word}"] == 1


@pytest.mark.parametrize(("error", "word"), [(None, "lost"), (ConnectionDone(), "closed")])
def test_a_lost_connection_is_counted_by_reason(net: Net, error: Exception | None, word: str) -> None:
    """A peer that closes in order is told from one that vanishes; neither is a failure to connect."""
    net.connect().lose(error)
    assert net.stream.counts[f"connections_lost.{word}"] == 1
    assert not any(name.startswith("connection_failures") for name in net.stream.counts)


def test_only_a_connection_that_lives_begins_the_back_off_anew(net: Net) -> None:
    """One that is lost before it has lived ten seconds goes on with the waits, one that lasted begins anew."""
    net.stream.start()
    for lived, wait in [(0, 0.5), (9.8, 0.85), (9.8, 1.445), (10.2, 0.5), (3600, 0.5), (5, 0.85)]:
        pipe = net.endpoint.latest.accept()
        net.pass_time(lived)
        lost_at = net.reactor.seconds()
        pipe.lose()
        net.pass_time(2)
        assert net.endpoint.latest.at - lost_at == pytest.approx(wait, abs=0.11)


def test_an_outage_is_two_lines_in_the_log(net: Net, logged: Logged) -> None:
    """One when it goes, however often it is tried, and one when it is back for good."""
    net.connect().lose()
    net.pass_time(300, refuse)
    net.pass_time(100, Attempt.accept)
    assert network_log(logged) == [
        "no connection to tcp:graphite:2003 (Connection to the other side was lost in a non-clean fashion.);"
        " trying again",
        "connected to tcp:graphite:2003 again",
    ]
    assert all(event["log_level"] in (LogLevel.warn, LogLevel.info) for event in logged.events)


def test_trouble_after_a_usual_close_is_told(net: Net, logged: Logged) -> None:
    """A peer that closed a good connection and closes each new one at once is gone, and not idle."""
    pipe = net.connect()
    net.pass_time(60)
    pipe.lose(ConnectionDone())
    net.pass_time(100, accept_and_close)
    assert len(network_log(logged)) == 1


def test_each_outage_has_its_two_lines(net: Net, logged: Logged) -> None:
    """The second outage is told like the first."""
    pipe = net.connect()
    for _ in range(2):
        net.pass_time(20)
        pipe.lose()
        net.pass_time(1)
        pipe = net.endpoint.latest.accept()
    net.pass_time(20)
    assert len(network_log(logged)) == 4


def test_an_idle_time_out_of_the_peer_is_not_worth_a_word(net: Net, logged: Logged) -> None:
    """A balancer that closes good connections every minute gets a new one each time, silently and at once."""
    pipe = net.connect()
    for _ in range(10):
        net.pass_time(60)
        pipe.lose(ConnectionDone())
        net.pass_time(1)
        pipe = net.endpoint.latest.accept()
    assert network_log(logged) == []
    assert max(waits(net.endpoint.attempts)) < 62
    assert len(net.endpoint.attempts) == 11


def test_a_peer_that_closes_and_is_gone_is_told(net: Net, logged: Logged) -> None:
    """The silence about a clean close ends when the next attempt fails."""
    pipe = net.connect()
    net.pass_time(60)
    pipe.lose(ConnectionDone())
    net.pass_time(10, refuse)
    assert len(network_log(logged)) == 1
    assert "refused" in network_log(logged)[0]


# Openings


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


# Things that raise


def test_a_transport_that_raises_costs_the_connection(net: Net, logged: Logged) -> None:
    """Nobody sees the exception; the next connection gets everything."""
    pipe = net.connect()
    pipe.write = lambda data: 1 / 0
    net.deliver(1, 2)
    net.pass_time(1)
    assert pipe.ended == "ConnectionAborted"
    assert numbers(net.endpoint.latest.accept()) == [1, 2]
    assert dropped(net.stream) == {}
    assert logged.flush_text("writing to tcp:graphite:2003 failed (ZeroDivisionError)")


def test_a_frame_that_raises_costs_its_chunk(net: Net, logged: Logged) -> None:
    """The poisoned chunk is dropped and counted instead of being tried for ever; its neighbours are not harmed."""

    def frame(data: bytes) -> bytes:
        if data == chunk(1).data:
            raise ValueError(data)
        return data

    net.make(frame=frame)
    net.deliver(0, 1, 2)
    pipe = net.connect()
    assert numbers(pipe) == [0, 2]
    assert dropped(net.stream) == {"unwritable": 1}
    net.pass_time(2)
    assert net.stream.ledger.retained == 2
    pipe.lose()
    net.pass_time(1)
    assert numbers(net.endpoint.latest.accept()) == [0, 2]
    assert logged.flush_text("writing to tcp:graphite:2003 failed (ValueError)")
    assert "00000001" not in "".join(logged.texts())


def test_a_stream_that_cannot_write_still_stops(net: Net, logged: Logged) -> None:
    """The exception may come during the last attempt."""
    net.make(frame=lambda data: 1 / 0)
    net.deliver(1, 2)
    net.stream.start()
    stopped = net.stop()
    net.endpoint.latest.accept()
    net.pass_time(6)
    assert stopped == [None]
    assert dropped(net.stream) == {"unwritable": 2}
    assert logged.flush_text("failed (ZeroDivisionError)")


# Stop


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


# With a spool


def on_disk(net: Net, path: Path, **settings: Any) -> Stream:
    net.endpoint = Endpoint(net.reactor)
    return net.make(spool=Spool(path / "spool"), **settings)


def test_what_has_to_wait_goes_to_disk_and_comes_back_in_its_order(net: Net, tmp_path: Path) -> None:
    """After a second of outage memory is empty; when the peer is back it gets the spool first, then what is new."""
    on_disk(net, tmp_path)
    net.stream.start()
    net.endpoint.latest.refuse()
    for number in range(20):
        net.deliver(number)
        net.pass_time(0.1)
    net.pass_time(2, refuse)
    assert net.stream.ledger.spooled == 20
    assert net.stream.levels["spool_points"] == 20
    assert net.stream.levels["buffer_bytes"] == 0
    net.deliver(20)
    net.pass_time(5)
    pipe = net.endpoint.latest.accept()
    assert numbers(pipe) == list(range(21))
    net.pass_time(2)
    assert net.stream.ledger.retained == 21
    pipe.lose()
    net.pass_time(10)
    assert sorted(numbers(net.endpoint.latest.accept())) == list(range(21))
    assert dropped(net.stream) == {}


def test_what_a_stop_cannot_deliver_is_there_in_the_next_life(net: Net, tmp_path: Path) -> None:
    """Also what was written and not confirmed; nothing is dropped."""
    on_disk(net, tmp_path)
    pipe = net.connect()
    pipe.answers = False
    net.deliver(1, 2)
    net.pass_time(2)
    pipe.full = True
    net.deliver(3)
    stopped = net.stop(3)
    net.pass_time(4)
    assert stopped == [None]
    assert net.stream.ledger.spooled == 3
    assert dropped(net.stream) == {}
    on_disk(net, tmp_path)
    pipe = net.connect()
    net.deliver(4)
    assert numbers(pipe) == [1, 2, 3, 4]
    assert net.stream.ledger.collected == 4


def test_where_nothing_is_sent_twice_the_spool_keeps_only_what_was_never_sent(net: Net, tmp_path: Path) -> None:
    """What was written and not confirmed is counted, and does not come back."""
    on_disk(net, tmp_path, replay_window=0)
    net.connect(full=True)
    net.deliver(1, 2, 3, size=BIG)
    stopped = net.stop(1)
    net.pass_time(2)
    assert stopped == [None]
    assert dropped(net.stream) == {"unconfirmed": 2}
    on_disk(net, tmp_path, replay_window=0)
    assert numbers(net.connect()) == [3]


def test_a_stop_drains_the_spool(net: Net, tmp_path: Path) -> None:
    """What an earlier life left is delivered in this one's last seconds, if that is all it has."""
    on_disk(net, tmp_path)
    net.deliver(*range(10))
    net.stream.start()
    net.stop(0)
    net.reactor.advance(0)
    assert net.stream.ledger.spooled == 10
    on_disk(net, tmp_path)
    pipe = net.connect(full=True)
    stopped = net.stop()
    pipe.read()
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.stream.ledger.delivered == 10
    assert list((tmp_path / "spool").glob("*.spool")) == []
