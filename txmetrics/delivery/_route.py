"""The way of datagrams: a name, its addresses, and a connected UDP socket to the one that takes them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from enum import Enum
from socket import SO_ERROR, SOL_SOCKET
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IResolutionReceiver
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from txmetrics.delivery._backoff import Backoff

__all__ = ["Route", "Socket", "check_host"]

LOOK_UP_TIMEOUT = 10.0

LOOK_UP_AGAIN = 60.0
"""Seconds for which an answer of the name service is taken to be true."""

LOOK_UP_LOST = 300.0
"""Twisted looks names up in a few threads that belong to the whole program: one that hangs is waited for, not joined
by another, until no answer can be expected any more."""


class Socket(DatagramProtocol):
    """A UDP socket that is connected to ``address``.

    It is never read: the refusals come with the next ``check`` or ``send``, while a reader's first error other than
    a refusal (the host is unreachable, a firewall objects) would be the end of Twisted's port, with a traceback in
    the log.
    """

    noisy = False

    def __init__(self, reactor: Any, address: str, port: int) -> None:
        self.address = address
        self._refused = False
        self._transport: Any = reactor.listenUDP(0, self, interface="::" if ":" in address else "")
        try:
            self._transport.connect(address, port)
            self._transport.stopReading()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raises what came back for an earlier datagram."""
        number = self._transport.getHandle().getsockopt(SOL_SOCKET, SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))

    def send(self, datagram: bytes) -> None:
        """Raises what the kernel says, of this one or of an earlier one; then this one is not sent."""
        self._refused = False
        self._transport.write(datagram)
        if self._refused:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    def connectionRefused(self) -> None:
        """The transport tells it here instead of raising it."""
        self._refused = True

    def fileno(self) -> int:
        return int(self._transport.fileno())

    def close(self) -> Deferred[object]:
        return maybeDeferred(self._transport.stopListening)

    def logPrefix(self) -> str:
        return "txmetrics"


class Phase(Enum):
    IDLE = "idle"
    LOOKING_UP = "looking up"
    OPEN = "open"
    WAITING = "waiting"


class Route:
    """Keeps a socket to one of the host's addresses, for as long as it is wanted.

        IDLE --start--> LOOKING_UP --answer--> OPEN --fail--> OPEN, to the next address
                        LOOKING_UP --no answer--> WAITING     WAITING, after the last one --back-off--> LOOKING_UP ...

    Calls ``opened()`` whenever it has a socket, ``gave_up()`` when it waits.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        time: Any,
        host: str,
        port: int,
        where: str,
        random: Callable[[], float],
        opened: Callable[[], None],
        gave_up: Callable[[], None],
    ) -> None:
        self._literal = _is_address(check_host(host))
        self._reactor = reactor
        self._time = time
        self._host = host
        self._port = port
        self._where = where
        self._backoff = Backoff(random)
        self._opened = opened
        self._gave_up = gave_up
        self._phase = Phase.IDLE
        self._timer: IDelayedCall | None = None  # the end of the looking up, or of the waiting
        self._socket: Socket | None = None
        self._look_up: _LookUp | None = None
        self._answered_at = 0.0
        self._untried: list[str] = []
        self._troubled = False
        self.refusals = self.errors = 0

    @property
    def socket(self) -> Socket | None:
        """The one to send by, if there is one."""
        return self._socket if self._phase is Phase.OPEN else None

    def filenos(self) -> Iterable[int]:
        return [] if self._socket is None else [self._socket.fileno()]

    # What the owner calls

    def start(self) -> None:
        """Find an address and open a socket, unless that is under way or done."""
        if self._phase not in (Phase.IDLE, Phase.WAITING):
            return
        self._enter(Phase.LOOKING_UP, LOOK_UP_TIMEOUT, self._give_up_looking)
        if self._literal:
            self._try([self._host])
        elif self._untried:  # an answer that came late
            self._try(self._untried)
        else:
            self._ask()

    def refresh(self) -> None:
        """See whether the name still means the address, if that was not asked for a minute."""
        if not self._literal and self._time.seconds() - self._answered_at >= LOOK_UP_AGAIN:
            self._answered_at = self._time.seconds()
            self._ask()

    def fail(self, error: Exception) -> None:
        """The socket has come to nothing: try the next address, or wait."""
        refused = isinstance(error, ConnectionRefusedError)
        self.refusals += refused
        self.errors += not refused
        if not refused:
            self._close()
        self._try_next(error)

    def recover(self) -> None:
        """The socket has proved to be a good one."""
        self._backoff.reset()
        self._untried = []
        if self._troubled:
            self._troubled = False
            self.log.info("sending to {where} again", where=self._where)

    def stop(self) -> Deferred[object]:
        """End what there is, at once; fires when the socket is closed. Calls nobody back."""
        self._enter(Phase.IDLE)
        return self._close()

    # Looking up

    def _ask(self) -> None:
        now = self._time.seconds()
        if self._look_up is not None and now - self._look_up.began_at < LOOK_UP_LOST:
            return
        self._look_up = _LookUp(now, self._answered)
        try:
            resolver = self._reactor.nameResolver
            resolver.resolveHostName(self._look_up, self._host, self._port, transportSemantics="UDP")
        except Exception:
            self._answered(self._look_up, [])

    def _answered(self, look_up: _LookUp, addresses: list[str]) -> None:
        if look_up is not self._look_up:
            return
        self._look_up = None
        self._answered_at = self._time.seconds()
        if self._phase is Phase.LOOKING_UP:
            if addresses:
                self._try(addresses)
            else:
                self._no_answer(DNSLookupError(self._host))
        elif not addresses:
            self.errors += 1
        elif self._phase is Phase.WAITING:
            self._untried = addresses
        elif self._socket is not None and self._socket.address not in addresses:
            self._try(addresses)

    def _give_up_looking(self) -> None:
        self._no_answer(TimeoutError(f"no address after {LOOK_UP_TIMEOUT:g} seconds"))

    def _no_answer(self, error: Exception) -> None:
        self.errors += 1
        if self._socket is not None:
            self._untried = [self._socket.address]  # it may still be right
        self._try_next(error)

    # Opening

    def _try(self, addresses: list[str]) -> None:
        self._untried = addresses
        self._try_next(DNSLookupError(self._host))

    def _try_next(self, error: Exception) -> None:
        """Open a socket to the next address that can be had; if there is none, wait because of ``error``."""
        while self._untried:
            address, *self._untried = self._untried
            try:
                self._open(address)
            except Exception as cannot:
                self.errors += 1
                error = cannot
            else:
                self._enter(Phase.OPEN)
                self._opened()
                return
        self._enter(Phase.WAITING, self._backoff.failed(), self.start)
        if not self._troubled:
            self._troubled = True
            text = str(error) or type(error).__name__
            self.log.warn("no way to {where} ({error}); trying again", where=self._where, error=text)
        self._gave_up()

    def _open(self, address: str) -> None:
        if self._socket is None or self._socket.address != address:
            self._close()
            self._socket = Socket(self._reactor, address, self._port)

    def _close(self) -> Deferred[object]:
        socket, self._socket = self._socket, None
        return succeed(None) if socket is None else socket.close()

    def _enter(self, phase: Phase, seconds: float = 0.0, then: Callable[[], None] | None = None) -> None:
        """Change the phase; ``then`` is called if it still is that phase after ``seconds``."""
        self._phase = phase
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if then is None else self._time.callLater(seconds, then)


def check_host(host: str) -> str:
    """Return ``host`` if it can be a name or is an address; ValueError otherwise."""
    # What is refused here, Twisted's resolver answers with an error in the log, and with silence.
    try:
        good = _is_address(host) or ("\0" not in host and host.encode("idna") != b"")
    except UnicodeError:
        good = False
    if not good:
        raise ValueError(f"{host!r} is neither a name nor an address of a host")
    return host


def _is_address(host: str) -> bool:
    return isIPAddress(host) or isIPv6Address(host)


@implementer(IResolutionReceiver)
class _LookUp:
    """One question to the name service."""

    def __init__(self, began_at: float, answered: Callable[[_LookUp, list[str]], None]) -> None:
        self.began_at = began_at
        self._answered = answered
        self._addresses: list[str] = []

    def resolutionBegan(self, resolution: object) -> None:
        """It cannot be cancelled, in most resolvers."""

    def addressResolved(self, address: Any) -> None:
        if address.host not in self._addresses:
            self._addresses.append(address.host)

    def resolutionComplete(self) -> None:
        self._answered(self, self._addresses)
