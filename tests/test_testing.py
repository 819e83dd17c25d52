"""The fakes that txmetrics ships for its users' tests: they do as they say."""

from __future__ import annotations

import random

import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport

from tests.delivery.network import until
from tests.strict import the_reactor
from txmetrics import MetricsRegistry, backends
from txmetrics.testing import FakeReactor, GraphiteReceiver, Point


def connect(receiver: GraphiteReceiver) -> Protocol:
    """One more connection to the receiver, in memory."""
    protocol = receiver.buildProtocol(None)
    protocol.makeConnection(StringTransport())
    return protocol


LINES = b"a.b 1 1000000000\na.b 2.5 1000000010\nc -1e-3 1000000000\n"
POINTS = [Point("a.b", 1.0, 1_000_000_000), Point("a.b", 2.5, 1_000_000_010), Point("c", -0.001, 1_000_000_000)]


def test_lines_become_points() -> None:
    """Name, value and timestamp, in the order in which they came."""
    receiver = GraphiteReceiver()
    connect(receiver).dataReceived(LINES)
    assert receiver.points == POINTS
    assert receiver.wrong == []
    assert receiver.connections == 1


def test_lines_may_come_torn_anywhere() -> None:
    """However the network cuts them, the points are the same."""
    for step in range(1, len(LINES)):
        receiver = GraphiteReceiver()
        protocol = connect(receiver)
        for start in range(0, len(LINES), step):
            protocol.dataReceived(LINES[start : start + step])
        assert receiver.points == POINTS


def test_a_line_without_an_end_is_no_line() -> None:
    """As with carbon: what a lost connection cut off is thrown away, and does not begin the next one's line."""
    receiver = GraphiteReceiver()
    connect(receiver).dataReceived(b"a.b 1 1000000000\na.b 2.")
    connect(receiver).dataReceived(b"5 1000000010\nc 3 1000000000\n")
    assert receiver.points == [POINTS[0], Point("c", 3.0, 1_000_000_000)]
    assert receiver.wrong == [b"5 1000000010"]


def test_what_is_no_line_is_kept_apart() -> None:
    """Junk is remembered, and the connection goes on as carbon's does."""
    receiver = GraphiteReceiver()
    wrong = [b"", b"a", b"a 1", b"a 1 2 3", b"a x 1", b"a 1 x", b"a 1 2.5", b"\xff 1 2", b"\x00\x01"]
    connect(receiver).dataReceived(b"\n".join([*wrong, LINES]))
    assert receiver.wrong == wrong
    assert receiver.points == POINTS


def test_any_junk_is_taken_without_an_error() -> None:
    """Whatever bytes come, each line is a point or wrong, and nothing is raised."""
    receiver = GraphiteReceiver()
    protocol = connect(receiver)
    dice = random.Random(1)
    for _ in range(300):
        protocol.dataReceived(dice.randbytes(dice.randrange(60)))
    protocol.dataReceived(b"\n" + LINES)
    assert receiver.points[-3:] == POINTS
    assert len(receiver.wrong) > 10


def test_a_line_too_long_ends_the_connection() -> None:
    """Carbon hangs up beyond 16,384 bytes, and so does the receiver."""
    receiver = GraphiteReceiver()
    protocol = connect(receiver)
    longest = b"a" * (16_384 - 4) + b" 1 2"
    protocol.dataReceived(longest + b"\n")
    assert not protocol.transport.disconnecting
    protocol.dataReceived(b"a" + longest + b"\n")
    assert protocol.transport.disconnecting
    assert len(receiver.points) == 1


def test_points_are_found_by_name() -> None:
    """`names`, `values` and `latest` answer what a test asks; in one second the last value wins."""
    receiver = GraphiteReceiver()
    connect(receiver).dataReceived(LINES + b"a.b 7 1000000010\na.b 0 999999999\n")
    assert receiver.names() == {"a.b", "c"}
    assert receiver.values("a.b") == {1_000_000_000: 1.0, 1_000_000_010: 7.0, 999_999_999: 0.0}
    assert receiver.latest("a.b") == 7.0
    assert receiver.values("nothing") == {}
    assert receiver.latest("nothing") is None


def test_each_point_is_told() -> None:
    """`on_point` is called with every point as it comes, and not with junk."""
    told: list[Point] = []
    receiver = GraphiteReceiver(told.append)
    connect(receiver).dataReceived(LINES + b"junk\n")
    assert told == POINTS


@pytest_twisted.ensureDeferred
async def test_it_listens_on_a_port() -> None:
    """On a real endpoint it takes several connections, torn lines and junk like in memory."""
    receiver = GraphiteReceiver()
    reactor = the_reactor()
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(receiver)
    client = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    first, second = [await connectProtocol(client, Protocol()) for _ in range(2)]
    first.transport.write(LINES[:30])
    await until(lambda: len(receiver.points) == 1)
    second.transport.write(b"junk\nd 4 5\n")
    await until(lambda: len(receiver.points) == 2)
    first.transport.write(LINES[30:])
    await until(lambda: len(receiver.points) == 4)
    for connection in (first, second):
        connection.transport.loseConnection()
    await port.stopListening()
    assert receiver.points == [POINTS[0], Point("d", 4.0, 5), *POINTS[1:]]
    assert receiver.wrong == [b"junk"]
    assert receiver.connections == 2


def test_the_time_of_a_fake_reactor_passes_by_advance_only() -> None:
    """It begins at a round second, and its clock shows a registry the same time."""
    reactor = FakeReactor()
    assert reactor.seconds() == reactor.clock.wall() == reactor.clock.tick() == 1_000_000_000
    called: list[float] = []
    reactor.callLater(2.5, lambda: called.append(reactor.seconds()))
    reactor.advance(2)
    assert called == []
    reactor.advance(1)
    assert called == [1_000_000_003.0]
    assert reactor.clock.wall() == reactor.clock.tick() == 1_000_000_003
    assert MetricsRegistry(reactor.clock).clock.wall() == 1_000_000_003


def test_a_whole_report_can_be_followed_in_memory() -> None:
    """A fake reactor, a backend of its own making and a receiver: what a user's own test looks like."""
    reactor, receiver = FakeReactor(), GraphiteReceiver()
    registry = MetricsRegistry(reactor.clock)
    registry.counter("jobs").inc(3)
    reporter = backends.graphite(registry, "tcp:127.0.0.1:2003", interval=10, prefix="web1", reactor=reactor)
    reporter.startService()
    host, port, factory, _, _ = reactor.tcpClients[0]
    client, server = factory.buildProtocol(None), connect(receiver)
    transport = StringTransport()
    client.makeConnection(transport)
    reactor.advance(10)
    server.dataReceived(transport.value())
    assert (host, port) == ("127.0.0.1", 2003)
    assert receiver.values("web1.jobs.count") == {1_000_000_010: 3.0}
    assert receiver.wrong == []
    reporter.stopService()
    reactor.advance(10)
    assert reactor.getDelayedCalls() == []
