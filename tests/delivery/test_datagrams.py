"""Datagrams: chunks over UDP, in virtual time on a network in memory, and over loopback to a real carbon."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from socket import AF_INET6, SO_ERROR, SOCK_DGRAM, SOL_SOCKET, socket
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.carbon import HOST, Carbon
from tests.delivery.network import check_books, chunk, dropped, until
from tests.strict import Logged, the_reactor
from txmetrics.delivery._datagrams import BURST, PACE, PROBATION, Datagrams
from txmetrics.delivery._packer import LARGEST
from txmetrics.interfaces import Chunk, IDelivery
from txmetrics.testing import FakeReactor

HERE, THERE = "192.0.2.1", "192.0.2.2"
V6 = "2001:db8::1"
STEP = 0.01


class Arrival(NamedTuple):
    """A datagram that a listener has got."""

    at: float
    address: str
    data: bytes


class Port:
    """A UDP transport. What is sent to where nobody listens is lost, and refused a round trip later."""

    def __init__(self, net: Network, protocol: Any, interface: str) -> None:
        self.net = net
        self.address = ""
        self.open = True
        self.reading = True
        self.broken = False
        self._family = 6 if interface else 4
        self._protocol = protocol
        self._refused_at: float | None = None
        protocol.makeConnection(self)

    def connect(self, address: str, port: int) -> None:
        assert (6 if ":" in address else 4) == self._family
        if address in self.net.unreachable:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        self.address = address

    def stopReading(self) -> None:
        self.reading = False

    def write(self, datagram: bytes) -> None:
        assert self.open
        assert self.address
        if self.broken:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if self.net.obstacles:
            raise self.net.obstacles.pop(0)
        if len(datagram) > self.net.longest:
            raise MessageLengthError("message too long")
        if self.getsockopt(SOL_SOCKET, SO_ERROR):
            self._protocol.connectionRefused()
        elif self.address in self.net.listening:
            self.net.arrived.append(Arrival(self.net.seconds(), self.address, datagram))
        else:
            self.net.lost.append(Arrival(self.net.seconds(), self.address, datagram))
            self._refused_at = self._refused_at or self.net.seconds() + self.net.round_trip

    def getHandle(self) -> Port:
        return self

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (SOL_SOCKET, SO_ERROR)
        if self._refused_at is None or self.net.seconds() < self._refused_at:
            return 0
        self._refused_at = None
        return errno.ECONNREFUSED

    def stopListening(self) -> Deferred[None]:
        self.reading = False
        closed: Deferred[None] = Deferred()
        self.net.callLater(0, self._close, closed)
        return closed

    def _close(self, closed: Deferred[None]) -> None:
        assert self.open, "closed twice"
        self.open = False
        self._protocol.doStop()
        closed.callback(None)

    def fileno(self) -> int:
        return 1000 + self.net.ports.index(self)


@implementer(IHostnameResolver)
class Names:
    """A name service: tells `addresses`, or nothing at all while it `hangs`."""

    def __init__(self, net: Network) -> None:
        self.addresses = [HERE]
        self.hangs = False
        self.asked: list[float] = []
        self._net = net
        self._hanging: list[Any] = []

    def resolveHostName(
        self, receiver: Any, name: str, port: int = 0, types: object = None, transportSemantics: str = "TCP"
    ) -> None:
        assert (name, port, transportSemantics) == ("graphite", 2003, "UDP")
        self.asked.append(self._net.seconds())
        receiver.resolutionBegan(self)
        self._hanging.append(receiver)
        if not self.hangs:
            self.answer()

    def answer(self, questions: int = 10) -> None:
        """Answer the oldest that still wait."""
        waiting, self._hanging = self._hanging[:questions], self._hanging[questions:]
        for receiver in waiting:
            for address in self.addresses:
                kind = IPv6Address if ":" in address else IPv4Address
                receiver.addressResolved(kind("UDP", address, 2003))
            receiver.resolutionComplete()


class Network(FakeReactor):
    """A reactor with UDP in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.names = Names(self)
        self.nameResolver: Any = self.names
        self.listening = {HERE, THERE, V6}
        self.unreachable: set[str] = set()
        self.round_trip = 0.0
        self.obstacles: list[Exception] = []
        """What the next writes raise."""
        self.longest = 65_507
        """What the kernel sends in one datagram."""
        self.no_ports = False
        self.ports: list[Port] = []
        self.arrived: list[Arrival] = []
        self.lost: list[Arrival] = []

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> Port:
        assert port == 0
        if self.no_ports:
            raise CannotListenError(interface, port, OSError(errno.EMFILE, "Too many open files"))
        self.ports.append(Port(self, protocol, interface))
        return self.ports[-1]


class Net:
    """A delivery to a host of that network, and what became of it."""

    def __init__(self) -> None:
        self.reactor = Network()
        self.delivery = self.make()

    def make(self, host: str = HERE, **settings: Any) -> Datagrams:
        where = f"udp:{host}:2003"
        self.delivery = Datagrams(self.reactor, host, 2003, where, **{"random": lambda: 0.0, **settings})
        return self.delivery

    def start(self, host: str = HERE, **settings: Any) -> Datagrams:
        """Make one and start it."""
        self.make(host, **settings).start()
        return self.delivery

    def deliver(self, *numbers: int, size: int = 20) -> None:
        for number in numbers:
            self.delivery.deliver(chunk(number, size))
            check_books(self.delivery)

    def deliver_lines(self, *lines: bytes) -> None:
        self.delivery.deliver(Chunk(b"".join(lines), len(lines), 0))
        check_books(self.delivery)

    def pass_time(self, seconds: float, step: float = STEP) -> None:
        for _ in range(round(seconds / step)):
            self.reactor.advance(step)
            check_books(self.delivery)

    def stop(self, seconds: float = 5.0) -> list[None]:
        """Stop; the list holds the answer once there is one."""
        answers: list[None] = []
        self.delivery.stop(seconds).addCallback(answers.append)
        check_books(self.delivery)
        return answers

    @property
    def numbers(self) -> list[int]:
        """Which chunks of a single line have arrived."""
        return numbers(self.reactor.arrived)

    def end(self) -> None:
        """When a test is over nothing may be left: no call, no open port, and nothing in the books but the past."""
        stopped = self.stop(0)
        self.reactor.advance(0)
        self.reactor.advance(0)
        assert stopped == [None]
        assert self.reactor.getDelayedCalls() == []
        assert not any(port.open for port in self.reactor.ports)
        assert not any(port.reading for port in self.reactor.ports)
        levels = self.delivery.levels
        assert levels["connected"] == levels["queue_points"] == levels["buffer_bytes"] == 0
        check_books(self.delivery)


@pytest.fixture
def net() -> Iterator[Net]:
    """A network in memory; when the test is over nothing may wait there any more."""
    net = Net()
    yield net
    net.end()


def numbers(arrivals: list[Arrival]) -> list[int]:
    return [int(line[:8]) for _, _, data in arrivals for line in data.split(b"\n")[:-1]]


def network_log(logged: Logged) -> list[str]:
    return [text for text in logged.texts() if "udp:" in text]


def test_it_is_a_delivery(net: Net) -> None:
    """It has everything that IDelivery promises."""
    assert verifyObject(IDelivery, net.delivery)


@pytest.mark.parametrize("size", [0, 511, 8193, 65_536])
def test_a_size_out_of_reason_is_refused(size: int) -> None:
    """Smaller ones would be a line each, carbon reads no longer ones."""
    with pytest.raises(ValueError, match="512 to 8192"):
        Datagrams(Network(), HERE, 2003, "udp", size=size)


@pytest.mark.parametrize("host", ["", "a..b", "x" * 64, "a\0b", "\u00e4" * 64])
def test_a_host_that_can_be_none_is_refused(host: str) -> None:
    """Twisted's resolver would never answer, and log an error each time."""
    with pytest.raises(ValueError, match="neither a name nor an address"):
        Datagrams(Network(), host, 2003, "udp")


# Packing


@st.composite
def reports(draw: st.DrawFn) -> list[list[bytes]]:
    """Chunks of lines, which are short, or about as long as a datagram, or longer than any."""
    lengths = st.one_of(st.integers(9, 60), st.integers(9, 1500), st.integers(8180, 8200))
    chunks = draw(st.lists(st.lists(lengths, min_size=1, max_size=40), min_size=1, max_size=5))
    count = iter(range(10_000))
    return [[b"%08d" % next(count) + b"." * (length - 9) + b"\n" for length in lengths] for lengths in chunks]


@given(reports(), st.integers(512, 8192))
def test_every_line_arrives_whole_once_and_in_order(chunks: list[list[bytes]], size: int) -> None:
    """Whatever the lengths: but for lines longer than any datagram, which are counted."""
    net = Net()
    net.start(size=size)
    for lines in chunks:
        net.deliver_lines(*lines)
    net.pass_time(4)
    fitting = [line for lines in chunks for line in lines if len(line) <= LARGEST]
    too_long = sum(map(len, chunks)) - len(fitting)
    datagrams = [arrival.data for arrival in net.reactor.arrived]
    assert b"".join(datagrams) == b"".join(fitting)
    for data in datagrams:
        assert data.endswith(b"\n")
        assert len(data) <= size or (data.count(b"\n") == 1 and len(data) <= LARGEST)
    assert dropped(net.delivery) == ({"refused": too_long} if too_long else {})
    assert net.delivery.ledger.delivered == len(fitting)
    net.end()


@given(st.lists(st.integers(9, 900), min_size=1, max_size=100))
def test_a_datagram_is_as_full_as_it_can_be(lengths: list[int]) -> None:
    """The next line of the chunk would not have fitted."""
    net = Net()
    net.start(size=1000)
    net.deliver_lines(*(b"." * (length - 1) + b"\n" for length in lengths))
    net.pass_time(2)
    for data, following in pairwise(arrival.data for arrival in net.reactor.arrived):
        assert len(data) + following.index(b"\n") + 1 > 1000
    net.end()


def test_a_full_datagram_is_not_longer_than_it_may_be(net: Net) -> None:
    """Two lines that fill it to the last byte go together, with one byte more they do not."""
    net.start(size=1000)
    net.deliver_lines(b"a" * 499 + b"\n", b"b" * 499 + b"\n")
    net.deliver_lines(b"a" * 499 + b"\n", b"b" * 500 + b"\n")
    net.pass_time(1)
    assert [len(arrival.data) for arrival in net.reactor.arrived] == [1000, 500, 501]


def test_a_chunk_whose_last_line_has_no_end_arrives_all_the_same(net: Net) -> None:
    """Chunks are whole records; one that is not costs no point, and no endless loop."""
    net.start()
    net.deliver_lines(b"a" * 1000, b"\n", b"b" * 1000)
    net.deliver_lines(b"")
    net.pass_time(1)
    assert [arrival.data for arrival in net.reactor.arrived] == [b"a" * 1000 + b"\n", b"b" * 1000]
    assert net.delivery.levels["queue_points"] == 0


def test_the_numbers(net: Net) -> None:
    """What the reporter sends of a delivery."""
    net.start()
    net.deliver(1, 2)
    assert net.delivery.levels["connected"] == 1
    net.pass_time(1)
    counts = net.delivery.counts
    assert counts["points_collected"] == counts["points_sent"] == counts["points_delivered"] == 2
    assert (counts["datagrams"], counts["bytes_sent"], counts["refusals"], counts["errors"]) == (2, 40, 0, 0)


# Pace


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


# Nobody listens


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


# Where to


def test_an_address_is_not_looked_up(net: Net) -> None:
    """Of either family."""
    net.reactor.names.hangs = True
    net.start(V6)
    net.deliver(1)
    net.pass_time(200)
    assert [arrival.address for arrival in net.reactor.arrived] == [V6]
    net.end()
    net.start(HERE)
    net.deliver(2)
    net.pass_time(200)
    assert net.reactor.names.asked == []
    assert net.numbers == [1, 2]


def test_the_next_address_is_tried_at_once(net: Net, logged: Logged) -> None:
    """As with a localhost that is ::1 first, where carbon does not listen: nothing is lost and nobody is alarmed."""
    net.reactor.names.addresses = ["::1", "127.0.0.1"]
    net.reactor.listening = {"127.0.0.1"}
    net.start("graphite")
    net.deliver(*range(10), size=1000)
    net.pass_time(1)
    assert net.numbers == list(range(10))
    assert numbers(net.reactor.lost) == [0]
    assert network_log(logged) == []


def test_an_address_without_a_route_is_passed_over(net: Net) -> None:
    """As IPv6 ones are on a machine without IPv6."""
    net.reactor.names.addresses = [V6, HERE]
    net.reactor.unreachable = {V6}
    net.start("graphite")
    net.deliver(1)
    net.pass_time(1)
    assert net.numbers == [1]
    assert net.delivery.counts["errors"] == 1


def test_when_every_address_refuses_all_are_tried_again(net: Net) -> None:
    """In rounds, which begin with a look-up and have the back-off between them."""
    net.reactor.names.addresses = [V6, HERE]
    net.reactor.listening = set()
    net.start("graphite")
    net.deliver(1)
    net.pass_time(600)
    tried = [arrival.address for arrival in net.reactor.lost]
    assert 20 <= len(tried) <= 40
    assert tried == [V6, HERE] * (len(tried) // 2)
    assert len(net.reactor.names.asked) == len(tried) // 2
    net.reactor.listening = {HERE}
    net.pass_time(62)
    assert net.numbers == [1]


def test_a_name_is_looked_up_every_minute_while_something_is_sent(net: Net) -> None:
    """And not while nothing is. The port is kept as long as its address is one of the name's."""
    net.start("graphite")
    for number in range(30):
        net.deliver(number)
        net.pass_time(10)
    assert 5 <= len(net.reactor.names.asked) <= 6
    assert min(later - earlier for earlier, later in pairwise(net.reactor.names.asked)) >= 60
    net.reactor.names.addresses = [THERE, HERE]
    asked = len(net.reactor.names.asked)
    net.pass_time(600)
    assert len(net.reactor.names.asked) == asked
    net.deliver(30, 31)
    net.pass_time(1)
    assert len(net.reactor.names.asked) == asked + 1
    assert len(net.reactor.ports) == 1
    assert net.numbers == list(range(32))


def test_a_name_that_moves_is_followed(net: Net) -> None:
    """To its new address, within a minute."""
    net.start("graphite")
    net.deliver(1)
    net.pass_time(30)
    net.reactor.names.addresses = [THERE]
    net.pass_time(31)
    net.deliver(2)
    net.pass_time(1)
    net.deliver(3)
    net.pass_time(1)
    assert [(one.address, numbers([one])) for one in net.reactor.arrived] == [(HERE, [1]), (HERE, [2]), (THERE, [3])]
    assert [port.open for port in net.reactor.ports] == [False, True]


def test_addresses_of_long_ago_are_not_tried(net: Net) -> None:
    """When one that was good for long is refused, the name is looked up anew."""
    net.reactor.names.addresses = [HERE, THERE]
    net.start("graphite")
    for number in range(3):
        net.deliver(number)
        net.pass_time(10)
    net.reactor.names.addresses = [HERE, V6]
    net.reactor.listening.remove(HERE)
    net.deliver(3, 4)
    net.pass_time(5)
    assert {arrival.address for arrival in net.reactor.arrived[3:]} == {V6}
    assert net.numbers == [0, 1, 2, 4]


def test_a_name_that_moves_while_the_first_datagram_is_on_its_way(net: Net) -> None:
    """It is sent to the new address, too: the old one has perhaps refused it, but nobody will hear that any more."""
    net.start("graphite")
    net.pass_time(70)
    net.reactor.names.addresses = [THERE]
    net.deliver(1, 2)
    net.pass_time(1)
    assert [(one.address, numbers([one])) for one in net.reactor.arrived if one.address == THERE] == [
        (THERE, [1]),
        (THERE, [2]),
    ]
    assert net.delivery.ledger.delivered == 2


@pytest.mark.parametrize("hangs", [False, True])
def test_a_name_service_that_fails_does_not_end_what_works(net: Net, hangs: bool) -> None:
    """The last address that was known is good until there is a better one, also after a refusal."""
    net.start("graphite")
    net.deliver(0)
    net.pass_time(1)
    net.reactor.names.addresses = []
    net.reactor.names.hangs = hangs
    for number in range(1, 20):
        net.deliver(number)
        net.pass_time(10)
    net.reactor.listening.clear()
    net.deliver(20)
    net.pass_time(10)
    net.deliver(21, 22)
    net.pass_time(10)
    net.reactor.listening.add(HERE)
    net.pass_time(40)
    assert net.numbers == [*range(20), 21, 22]
    assert numbers(net.reactor.lost)[0] == 20


def test_a_name_without_an_address_is_looked_up_again(net: Net, logged: Logged) -> None:
    """With growing waits between; one line in the log tells of it."""
    net.reactor.names.addresses = []
    net.start("graphite")
    net.deliver(1)
    net.pass_time(600)
    assert 10 <= len(net.reactor.names.asked) <= 20
    assert net.delivery.counts["errors"] == len(net.reactor.names.asked)
    assert network_log(logged) == ["no way to udp:graphite:2003 (DNS lookup failed: graphite.); trying again"]
    net.reactor.names.addresses = [HERE]
    net.pass_time(62)
    assert net.numbers == [1]


def test_a_look_up_that_hangs_is_waited_for_and_not_joined_by_others(net: Net, logged: Logged) -> None:
    """Each would hold one of the few threads of the program. After ten seconds it is told, and a late answer is one."""
    net.reactor.names.hangs = True
    net.start("graphite")
    net.deliver(1)
    net.pass_time(9)
    assert network_log(logged) == []
    net.pass_time(2)
    assert network_log(logged) == ["no way to udp:graphite:2003 (no address after 10 seconds); trying again"]
    net.pass_time(200)
    assert len(net.reactor.names.asked) == 1
    assert net.delivery.counts["errors"] >= 3
    net.reactor.names.answer()
    net.pass_time(61)
    assert net.numbers == [1]
    assert len(net.reactor.names.asked) == 1


def test_a_look_up_that_is_never_answered_is_made_again(net: Net) -> None:
    """After more than five minutes, in which any answer would have come; a later one of the first is not heard."""
    net.reactor.names.hangs = True
    net.start("graphite")
    net.deliver(1)
    net.pass_time(400)
    assert len(net.reactor.names.asked) == 2
    net.reactor.names.addresses = [THERE]
    net.reactor.names.answer(1)
    net.pass_time(61)
    assert net.numbers == []
    net.reactor.names.addresses = [HERE]
    net.reactor.names.answer()
    net.pass_time(61)
    assert [arrival.address for arrival in net.reactor.arrived] == [HERE]


def test_a_reactor_without_names_or_ports_is_an_outage_like_any_other(net: Net) -> None:
    """Nothing is raised; it is counted and tried again."""
    net.reactor.no_ports = True
    net.start()
    net.deliver(1)
    net.pass_time(2)
    assert net.delivery.counts["errors"] >= 2
    net.reactor.no_ports = False
    net.pass_time(3)
    assert net.numbers == [1]
    net.end()
    net.reactor.nameResolver = None
    net.start("graphite")
    net.deliver(2)
    net.pass_time(2)
    assert net.delivery.counts["errors"] >= 2


# Stop


def test_stop_with_nothing_to_send_ends_at_once(net: Net) -> None:
    """The port is closed by then."""
    net.start()
    net.deliver(1)
    net.pass_time(1)
    stopped = net.stop()
    net.reactor.advance(0)
    assert stopped == [None]
    assert not net.reactor.ports[0].open


def test_stop_sends_what_waits_at_the_pace(net: Net, logged: Logged) -> None:
    """And ends when that is done, however long it might have taken."""
    net.start()
    for number in range(0, 2000, 500):
        net.delivery.deliver(lines(number, number + 500))
    stopped = net.stop(5)
    net.pass_time(0.3)
    assert stopped == []
    net.pass_time(0.5)
    assert stopped == [None]
    assert net.numbers == list(range(2000))
    assert network_log(logged) == []


def test_what_is_not_sent_by_the_deadline_is_dropped_and_counted(net: Net, logged: Logged) -> None:
    """The chunk that was under way is unconfirmed, the rest was stopped."""
    net.start()
    for number in range(0, 40_000, 500):
        net.delivery.deliver(lines(number, number + 500))
    stopped = net.stop(2)
    net.pass_time(2 - STEP)
    assert stopped == []
    net.pass_time(2 * STEP)
    assert stopped == [None]
    ledger = net.delivery.ledger
    assert dict(ledger.dropped) == {"unconfirmed": 500, "stopped": 39_500 - ledger.delivered}
    assert ledger.delivered <= len(net.numbers) < ledger.delivered + 500
    assert network_log(logged) == [f"{40_000 - ledger.delivered} points may not have reached udp:{HERE}:2003"]


def test_stop_before_start_sends_what_is_there(net: Net) -> None:
    """Nothing opens if there is nothing."""
    assert net.stop() == [None]
    assert net.reactor.ports == []
    net.make()
    net.deliver(1)
    stopped = net.stop()
    net.pass_time(1)
    assert stopped == [None]
    assert net.numbers == [1]


@pytest.mark.parametrize("listening", [True, False])
def test_stop_during_the_back_off_makes_one_last_attempt(net: Net, listening: bool) -> None:
    """It may succeed; if it does not, there is nothing to wait for."""
    net.reactor.listening.clear()
    net.start()
    net.deliver(1, 2)
    net.pass_time(100)
    attempts = len(net.reactor.lost)
    if listening:
        net.reactor.listening.add(HERE)
    stopped = net.stop(5)
    net.pass_time(0.5)
    assert stopped == [None]
    if listening:
        assert net.numbers == [1, 2]
    else:
        assert len(net.reactor.lost) == attempts + 1
        assert net.delivery.ledger.dropped == {"unconfirmed": 1, "stopped": 1}


def test_stop_when_no_port_can_be_had_ends_at_once(net: Net) -> None:
    """The last attempt fails while stop is still being called."""
    net.reactor.no_ports = True
    net.start()
    net.deliver(1)
    net.pass_time(2)
    assert net.stop(5) == [None]
    assert dropped(net.delivery) == {"stopped": 1}


def test_stop_while_looking_up_waits_until_the_deadline(net: Net) -> None:
    """An answer may still come; one that comes after the end opens nothing."""
    net.reactor.names.hangs = True
    net.start("graphite")
    net.deliver(1)
    stopped = net.stop(3)
    net.pass_time(2.9)
    assert stopped == []
    net.pass_time(0.2)
    assert stopped == [None]
    net.reactor.names.answer()
    assert net.reactor.ports == []
    assert net.reactor.getDelayedCalls() == []


def test_every_stop_is_answered(net: Net) -> None:
    """Whenever it comes, and also when nobody waits for the first any more."""
    net.start()
    net.deliver(1)
    nobody = net.delivery.stop(5)
    nobody.addErrback(lambda cancelled: None)
    nobody.cancel()
    first = net.stop(5)
    net.pass_time(1)
    assert first == [None]
    assert net.stop(5) == [None]
    assert net.numbers == [1]


def test_what_is_delivered_while_stopping_is_sent_and_after_it_dropped(net: Net) -> None:
    """And counted; nor does a stopped one start again."""
    net.start()
    net.deliver(1)
    stopped = net.stop(5)
    net.deliver(2)
    net.pass_time(1)
    assert stopped == [None]
    assert net.numbers == [1, 2]
    net.delivery.start()
    net.deliver(3)
    net.pass_time(1)
    assert net.numbers == [1, 2]
    assert dropped(net.delivery) == {"stopped": 1}


def test_a_chunk_between_the_end_and_its_answer_is_dropped(net: Net) -> None:
    """The port takes a turn of the reactor to close."""
    net.start()
    stopped = net.stop(5)
    assert stopped == []
    net.deliver(1)
    assert dropped(net.delivery) == {"stopped": 1}


def test_a_forked_child_sends_nothing(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is the parent's to send, also if the child's reactor goes on."""
    net.start()
    net.deliver(1)
    net.pass_time(1)
    net.deliver(2)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    net.pass_time(1)
    net.deliver(3)
    net.pass_time(1)
    assert net.numbers == [1]


# Over loopback


class Receiver(DatagramProtocol):
    """Keeps what it is sent."""

    noisy = False

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def datagramReceived(self, data: bytes, address: object) -> None:
        self.datagrams.append(data)


class Loopback:
    """Receivers and deliveries that are closed when the test is over."""

    def __init__(self) -> None:
        self.ports: list[Any] = []
        self._deliveries: list[Datagrams] = []

    def receive(self, interface: str = HOST, port: int = 0) -> Receiver:
        receiver = Receiver()
        self.ports.append(the_reactor().listenUDP(port, receiver, interface=interface))
        return receiver

    @property
    def port(self) -> int:
        return int(self.ports[-1].getHost().port)

    def start(self, host: str, port: int, **settings: Any) -> Datagrams:
        delivery = Datagrams(the_reactor(), host, port, f"udp:{host}:{port}", **settings)
        delivery.start()
        self._deliveries.append(delivery)
        return delivery

    async def close(self) -> None:
        for delivery in self._deliveries:
            await delivery.stop(0)
            assert list(delivery.filenos()) == []
            check_books(delivery)
        for port in self.ports:
            await port.stopListening()


@pytest_twisted.async_yield_fixture
async def loopback() -> AsyncIterator[Loopback]:
    loopback = Loopback()
    yield loopback
    await loopback.close()


def lines(first: int, last: int) -> Chunk:
    """Lines of 50 bytes that are told from others by their numbers."""
    return Chunk(b"".join(b"%08d" % number + b"." * 41 + b"\n" for number in range(first, last)), last - first, 0)


def has_ipv6() -> bool:
    try:
        with socket(AF_INET6, SOCK_DGRAM) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("interface", [HOST, "::1"])
@pytest_twisted.ensureDeferred
async def test_everything_arrives_in_order(loopback: Loopback, interface: str) -> None:
    """Over either family."""
    if interface == "::1" and not has_ipv6():
        pytest.skip("this machine has no ::1")
    receiver = loopback.receive(interface)
    delivery = loopback.start(interface, loopback.port)
    for number in range(0, 5000, 500):
        delivery.deliver(lines(number, number + 500))
        check_books(delivery)
    await until(lambda: delivery.ledger.delivered == 5000)
    await until(lambda: sum(map(len, receiver.datagrams)) == 250_000)
    assert b"".join(receiver.datagrams) == lines(0, 5000).data
    (descriptor,) = delivery.filenos()
    assert stat.S_ISSOCK(os.fstat(descriptor).st_mode)


@pytest_twisted.ensureDeferred
async def test_a_name_is_looked_up_by_the_real_resolver(loopback: Loopback) -> None:
    """Its IPv6 address, which may come first and where nobody listens, does not stand in the way."""
    receiver = loopback.receive(HOST)
    delivery = loopback.start("localhost", loopback.port)
    delivery.deliver(lines(0, 100))
    await until(lambda: len(receiver.datagrams) == 4)
    assert b"".join(receiver.datagrams) == lines(0, 100).data


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_comes_late_misses_nothing(loopback: Loopback) -> None:
    """The kernel's refusals keep everything back until it is there."""
    loopback.receive()
    port = loopback.port
    await loopback.ports.pop().stopListening()
    delivery = loopback.start(HOST, port, random=lambda: 0.0)
    for number in range(0, 2000, 500):
        delivery.deliver(lines(number, number + 500))
    await until(lambda: delivery.counts["refusals"] >= 2)
    assert delivery.ledger.queued == 2000
    receiver = loopback.receive(port=port)
    await until(lambda: delivery.ledger.delivered == 2000)
    await until(lambda: sum(map(len, receiver.datagrams)) == 100_000)
    assert b"".join(receiver.datagrams) == lines(0, 2000).data


@pytest_twisted.ensureDeferred
async def test_stop_before_a_port_where_nobody_listens_does_not_wait(loopback: Loopback) -> None:
    """Nor does it log anything but that points are lost."""
    loopback.receive()
    port = loopback.port
    await loopback.ports.pop().stopListening()
    delivery = loopback.start(HOST, port)
    delivery.deliver(lines(0, 100))
    began = time.monotonic()
    await delivery.stop(20)
    assert time.monotonic() - began < 10
    assert delivery.ledger.dropped == {"unconfirmed": 100}


@pytest.mark.seconds(120)
@pytest_twisted.ensureDeferred
async def test_carbon_stores_every_point(loopback: Loopback, carbon: Carbon, prefix: str) -> None:
    """20,000 points of 2,000 names, at the usual pace."""
    delivery = loopback.start(HOST, carbon.udp_port)
    names = [f"{prefix}.s{number}" for number in range(2000)]
    now = int(time.time())
    moments = range(now - 9, now + 1)
    for moment in moments:
        for first in range(0, 2000, 500):
            batch = names[first : first + 500]
            data = "".join(f"{name} {moment % 1000} {moment}\n" for name in batch).encode()
            delivery.deliver(Chunk(data, 500, moment))
            check_books(delivery)
    await until(lambda: delivery.ledger.delivered == 20_000, 60)
    expected = {moment: float(moment % 1000) for moment in moments}
    for name in names:
        await carbon.eventually(lambda name=name: carbon.stored(name, now) == expected, 60)
