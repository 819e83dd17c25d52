"""The machine: virtual time, a reactor that turns in it, and Twisted's own transports over sockets in memory.

    transport | send buffer -> (latency, black hole, cut) -> receive buffer -> the server's process

A byte in the send buffer is unacknowledged; one in the receive buffer is acknowledged, and lost if the server's process
dies before it has read it.
"""

from __future__ import annotations

import errno
import heapq
import socket
from collections import Counter as Tally
from collections.abc import Callable
from itertools import count
from math import inf
from random import Random
from struct import pack
from typing import TYPE_CHECKING, Any

from twisted.internet import error, tcp
from twisted.internet.address import IPv4Address
from twisted.internet.posixbase import _DisconnectSelectableMixin
from twisted.python.failure import Failure

from txmetrics.testing import FakeReactor

if TYPE_CHECKING:
    from tests.simulation.server import Server

__all__ = ["Link", "Network", "Reactor", "outstanding"]

SYN_RETRIES = (1.0, 3.0, 7.0)
"""When a kernel tries again to connect, in seconds after the first time."""

KEEP_ALIVE = 11.0
"""Seconds after which keep-alive probes find an idle peer dead."""


class Reactor(_DisconnectSelectableMixin, FakeReactor):
    """Twisted's order of things: first the calls that are due, then what the network allows.

    ``later`` is for the world outside the process, whose events no application can see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network: Any = None
        self.blocked_until = 0.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._number = count()

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        heapq.heappush(self._events, (self.rightNow + seconds, next(self._number), call))

    def step(self, end: float) -> bool:
        """Go to the next moment at which something happens, and let it happen; False if that is after ``end``."""
        outside = self._events[0][0] if self._events else inf
        inside = self.rightNow if self._ready() else min((call.getTime() for call in self.calls), default=inf)
        inside = max(inside, self.blocked_until)
        now = max(self.rightNow, min(outside, inside))
        if now > end:
            self.rightNow = end
            return False
        self.rightNow = now
        if outside <= inside:
            heapq.heappop(self._events)[2]()
        else:
            self._turn()
        return True

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        return _Connecting(self.network, factory, timeout)

    def forget_process(self) -> None:
        """The process is no more: nothing in it waits for anything."""
        self.calls.clear()
        self.readers.clear()
        self.writers.clear()
        self.blocked_until = 0.0

    def _turn(self) -> None:
        self.advance(0)
        for selectable in sorted(self.readers | self.writers, key=lambda each: each.socket.number):
            self._read_or_write(selectable)

    def _ready(self) -> bool:
        return any(each.socket.readable for each in self.readers) or any(each.socket.writable for each in self.writers)

    def _read_or_write(self, selectable: Any) -> None:
        reads = selectable in self.readers and selectable.socket.readable
        why = selectable.doRead() if reads else None
        if not why and selectable in self.writers and selectable.socket.writable:
            reads = False
            why = selectable.doWrite()
        if why:
            self._disconnectSelectable(selectable, why, reads)


class Network:
    """Everything between the process and the server; ``trouble`` counts what is wrong just now, by its name."""

    def __init__(self, reactor: Reactor, server: Server, random: Random, settings: Any) -> None:
        self.reactor = reactor
        self.server = server
        self.random = random
        self.settings = settings
        self.trouble: Tally[str] = Tally()
        self.links: list[Link] = []
        self.cut_at: float | None = None
        """After which part of the next bytes on their way the connection breaks."""
        self.cuts = 0
        self.attempts = 0
        self.generation = 0
        """How often the process has died."""
        self.numbers = count()

    def connect(self, connecting: _Connecting) -> None:
        self.attempts += 1
        self.reactor.later(self.settings.latency, lambda: self._syn(connecting, SYN_RETRIES))

    def process_died(self) -> None:
        """The kernel closes its sockets in order, and goes on sending what it has taken over."""
        self.generation += 1
        for link in list(self.links):
            if not link.closed:
                link.close()

    def _syn(self, connecting: _Connecting, retries: tuple[float, ...]) -> None:
        if not connecting.waits or connecting.generation != self.generation:
            return
        if self.trouble["blackhole"]:
            if retries:
                self.reactor.later(retries[0], lambda: self._syn(connecting, retries[1:]))
        elif self.trouble["dead"] or self.trouble["refusing"]:
            connecting.failed(error.ConnectionRefusedError())
        else:
            link = Link(self, next(self.numbers))
            self.links.append(link)
            connecting.succeeded(link)
            self.server.accepted(link)

    def reset_all(self) -> None:
        for link in list(self.links):
            link.break_both()

    def heal_blackhole(self) -> None:
        """Packets pass again; the next ones are those that each side sends by itself after a while."""
        for link in list(self.links):
            self.reactor.later(self.random.uniform(0.0, 5.0), link.wake)

    def begin_blackhole(self) -> None:
        for link in self.links:
            if link.keep_alive:
                self.reactor.later(KEEP_ALIVE, link.probe)


class Link:
    """One TCP connection; as the socket it is the client's end of it."""

    def __init__(self, network: Network, number: int) -> None:
        self.network = network
        self.number = number
        self.outgoing = bytearray()
        self.incoming = bytearray()
        self.partial = b""
        self.answers = bytearray()
        self.shut = False  # the client has ended its side
        self.shut_seen = False  # and the server's kernel knows
        self.closed = False  # the client has no socket any more
        self.server_open = True
        self.ending = ""  # how the server's end went: "FIN" or "RST", if the client has not seen it yet
        self.eof = False
        self.error = 0
        self.keep_alive = False
        self.dawdling = False
        self.user_timeout = 0.0
        self._moving = False
        self._progress_at = 0.0
        self._watched = False
        self._linger = True

    # The client's socket

    @property
    def readable(self) -> bool:
        return bool(self.error or self.eof or self.answers)

    @property
    def writable(self) -> bool:
        return bool(self.error) or len(self.outgoing) < self.network.settings.send_buffer

    def setblocking(self, flag: bool) -> None:
        pass

    def fileno(self) -> int:
        return -1

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._linger = False
        elif (level, option) == (socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            self.keep_alive = bool(value) and self.network.settings.kernel_timeouts
        elif (level, option) == (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", None)):
            self.user_timeout = value / 1000 if self.network.settings.kernel_timeouts else 0.0

    def send(self, data: Any) -> int:
        self._check()
        room = self.network.settings.send_buffer - len(self.outgoing)
        if room <= 0:
            raise BlockingIOError(errno.EWOULDBLOCK, "full")
        if not self.outgoing:
            self._progress_at = self.network.reactor.rightNow
        self.outgoing += data[:room]
        self.wake()
        self._watch()
        return min(room, len(data))

    def recv(self, size: int) -> bytes:
        if self.answers:
            data = bytes(self.answers[:size])
            del self.answers[:size]
            return data
        self._check()
        if self.eof:
            return b""
        raise BlockingIOError(errno.EWOULDBLOCK, "nothing")

    def shutdown(self, how: int) -> None:
        self._check()
        self.shut = True
        self.wake()

    def close(self) -> None:
        self.closed = self.shut = True
        if self._linger and not self.error:
            self.wake()
        else:
            self.outgoing.clear()
            if not self.network.trouble["blackhole"]:
                self._gone_for_server()

    def _check(self) -> None:
        if self.error:
            raise OSError(self.error, errno.errorcode[self.error])

    # The network

    def wake(self) -> None:
        """Look whether something can move, in a moment."""
        if not self._moving:
            self._moving = True
            self.network.reactor.later(self.network.settings.latency, self._move)

    def _move(self) -> None:
        self._moving = False
        if self.network.trouble["blackhole"] or self.error:
            return
        if not self.server_open:
            self._tell_ending()
            return
        size = min(len(self.outgoing), self.network.settings.receive_buffer - len(self.incoming))
        if size and self.network.cut_at is not None:
            self._cut(max(1, int(size * self.network.cut_at)))
            return
        self._pass_on(size)
        if self.outgoing and size:
            self.wake()
        self.shut_seen = self.shut and not self.outgoing
        self.network.server.arrived(self)

    def _pass_on(self, size: int) -> None:
        if size:
            self.incoming += self.outgoing[:size]
            del self.outgoing[:size]
            self._progress_at = self.network.reactor.rightNow

    def _cut(self, size: int) -> None:
        """Some of the bytes arrive, and then nothing any more."""
        self.network.cut_at = None
        self.network.cuts += 1
        self._pass_on(size)
        self.network.server.arrived(self)
        self.break_both()

    def probe(self) -> None:
        """Keep-alive: nobody has answered."""
        if self.network.trouble["blackhole"] and not self.outgoing:
            self._fail(errno.ETIMEDOUT)

    def _watch(self) -> None:
        if self.user_timeout and not self._watched:
            self._watched = True
            self.network.reactor.later(self.user_timeout, self._look)

    def _look(self) -> None:
        self._watched = False
        if self.outgoing and not self.error:
            if self.network.reactor.rightNow - self._progress_at >= self.user_timeout - 1e-6:
                self._fail(errno.ETIMEDOUT)
            else:
                self._watch()

    def _fail(self, number: int) -> None:
        """What the client's kernel says from now on."""
        self.error = self.error or number
        if self.server_open and not self.network.trouble["blackhole"]:
            self._gone_for_server()
        self._forget()

    def _forget(self) -> None:
        if self in self.network.links and not self.server_open:
            self.network.links.remove(self)

    # The server's end

    def answer(self, data: bytes) -> None:
        """Bytes for the client."""
        self.network.reactor.later(self.network.settings.latency, lambda: self._answered(data))

    def _answered(self, data: bytes) -> None:
        if self.network.trouble["blackhole"]:
            self.network.reactor.later(1.0, lambda: self._answered(data))
        else:
            self.answers += data

    def end(self, notice: float = 0.0) -> None:
        """The server's process closes it, or dies: a FIN, or a RST where bytes were not read."""
        if self.server_open:
            self.server_open = False
            self.ending = "RST" if self.incoming else "FIN"
            self.incoming.clear()
            self.network.reactor.later(self.network.settings.latency + notice, self._tell_ending)

    def _tell_ending(self) -> None:
        """The client's kernel hears of it, unless nothing passes; then later, when something does."""
        if self.network.trouble["blackhole"]:
            return
        if self.ending == "FIN" and not self.outgoing:
            self.eof = True
            self._forget()
        elif self.ending:
            self._fail(errno.ECONNRESET)

    def break_both(self) -> None:
        """A reset, from the middle of the network, for both."""
        self._gone_for_server()
        self._fail(errno.ECONNRESET)

    def _gone_for_server(self) -> None:
        """The server's kernel got a reset: what the process had not read it may read, or not."""
        if self.server_open:
            self.network.server.broken(self, readable=self.network.random.random() < 0.5)
            self.server_open = False
            self.ending = "RST"
            self.incoming.clear()
        self._forget()


class _Connecting:
    """What Twisted calls a connector: one attempt to connect."""

    def __init__(self, network: Network, factory: Any, timeout: float) -> None:
        self.waits = True
        self.generation = network.generation
        self._network = network
        self._factory = factory
        factory.doStart()
        factory.startedConnecting(self)
        network.connect(self)

    def getDestination(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 2003)

    def stopConnecting(self) -> None:
        self.waits = False

    def failed(self, reason: Exception) -> None:
        self.waits = False
        self._factory.clientConnectionFailed(self, Failure(reason))

    def succeeded(self, link: Any) -> None:
        self.waits = False
        protocol = self._factory.buildProtocol(self.getDestination())
        transport = tcp.Connection(link, protocol, self._network.reactor)
        transport.connected = True
        transport.startReading()
        protocol.makeConnection(transport)


def outstanding(network: Network) -> Callable[..., bytes]:
    """An ``ioctl`` that knows the sockets of ``network``."""

    def ioctl(link: Link, request: int, argument: bytes) -> bytes:
        if not network.settings.kernel_counts:
            raise OSError(errno.EINVAL, "not here")
        return pack("i", len(link.outgoing))

    return ioctl
