"""A network in memory for datagrams, with hosts that listen or not and names that resolve or not."""

from __future__ import annotations

import errno
from socket import SO_ERROR, SOL_SOCKET
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IHostnameResolver
from zope.interface import implementer

from tests.delivery.network import check_books, chunk
from tests.strict import Logged
from txmetrics.delivery._datagrams import Datagrams
from txmetrics.interfaces import Chunk
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


def numbers(arrivals: list[Arrival]) -> list[int]:
    return [int(line[:8]) for _, _, data in arrivals for line in data.split(b"\n")[:-1]]


def network_log(logged: Logged) -> list[str]:
    return [text for text in logged.texts() if "udp:" in text]


def lines(first: int, last: int) -> Chunk:
    """Lines of 50 bytes that are told from others by their numbers."""
    return Chunk(b"".join(b"%08d" % number + b"." * 41 + b"\n" for number in range(first, last)), last - first, 0)
