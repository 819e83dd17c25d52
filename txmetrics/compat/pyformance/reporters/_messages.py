"""Messages: whole datagrams to a system log, on this machine or on another, that never wait for it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer

from txmetrics.interfaces import Chunk, IDelivery, Ledger
from txmetrics.steady import steady

__all__ = ["Messages"]


@implementer(IDelivery, IResolutionReceiver)
class Messages:
    """Sends each chunk in a datagram to ``address``, a path or a pair of host and port; nobody knows what arrives.

    What the kernel does not take at once is dropped and counted. A name is looked up without blocking, with the first
    chunk and after trouble; the latest chunk waits for that. The log has a line when trouble begins.
    """

    log = Logger()

    def __init__(self, reactor: Any, address: str | tuple[str, int]) -> None:
        """``reactor`` has a name resolver, if the address is not a number."""
        self._reactor = reactor
        self._address = address
        self._target = _target(address)
        self._socket: socket.socket | None = None
        self._looking: Any = None  # the resolution that is under way
        self._waiting: Chunk | None = None  # for that
        self._troubled = False
        self._sent = self._dropped = 0
        self._deadline: IDelayedCall | None = None
        self._done: Deferred[None] = Deferred()

    @property
    def counts(self) -> Mapping[str, int]:
        return {"points_sent": self._sent, "points_dropped.refused": self._dropped}

    @property
    def levels(self) -> Mapping[str, float]:
        return {"connected": int(self._socket is not None)}

    @property
    def ledger(self) -> Ledger:
        waiting = 0 if self._waiting is None else self._waiting.points
        collected = self._sent + waiting + self._dropped
        return Ledger(collected, self._sent, 0, waiting, 0, {"refused": self._dropped})

    def start(self) -> None:
        """Nothing is opened before there is something to send."""

    def deliver(self, chunk: Chunk) -> None:
        if self._target is not None:
            self._send(chunk)
            return
        self._drop_waiting()
        self._waiting = chunk
        if self._looking is None and not isinstance(self._address, str):
            host, port = self._address
            self._reactor.nameResolver.resolveHostName(self, host, port, transportSemantics="UDP")

    def stop(self, seconds: float) -> Deferred[None]:
        if self._waiting is None:
            self._close()
            return succeed(None)
        self._deadline = steady(self._reactor).callLater(seconds, self._give_up)
        return self._done

    # What the name resolver tells

    def resolutionBegan(self, resolution: Any) -> None:
        self._looking = resolution

    def addressResolved(self, address: Any) -> None:
        if self._target is None:
            family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
            self._target = family, (address.host, address.port)

    def resolutionComplete(self) -> None:
        self._looking = None
        chunk = self._waiting
        if self._target is None:
            self._tell("no address is known")
            self._drop_waiting()
        elif chunk is not None:
            self._waiting = None
            self._send(chunk)
        if self._deadline is not None:
            self._deadline.cancel()
            self._end()

    # Sending

    def _send(self, chunk: Chunk) -> None:
        try:
            try:
                self._open().send(chunk.data)
            except OSError:  # the log was started anew perhaps, or refused what came before
                self._close()
                self._open().send(chunk.data)
        except OSError as error:
            self._close()
            self._target = _target(self._address)
            self._dropped += chunk.points
            self._tell(error)
        else:
            self._sent += chunk.points
            self._troubled = False

    def _open(self) -> socket.socket:
        assert self._target is not None
        if self._socket is None:
            family, address = self._target
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.connect(address)
        return self._socket

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _drop_waiting(self) -> None:
        if self._waiting is not None:
            self._dropped += self._waiting.points
            self._waiting = None

    def _tell(self, reason: object) -> None:
        if not self._troubled:
            text = "the system log at {address} gets no messages ({reason}); trying again with each report"
            self.log.warn(text, address=self._address, reason=reason)
        self._troubled = True

    # The end

    def _give_up(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._tell("its name was not found in time")
        self._drop_waiting()
        self._end()

    def _end(self) -> None:
        self._deadline = None
        self._close()
        self._done.callback(None)


def _target(address: str | tuple[str, int]) -> tuple[int, Any] | None:
    """Family and address for a socket; None for a name that is to be looked up."""
    if isinstance(address, str):
        return socket.AF_UNIX, address
    if isIPAddress(address[0]):
        return socket.AF_INET, address
    return (socket.AF_INET6, address) if isIPv6Address(address[0]) else None
