"""SysLogReporter: one message of JSON for each report, to a system log."""

from __future__ import annotations

import json
import socket
from collections import Counter as Tally
from logging.handlers import SysLogHandler
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from txmetrics.compat.pyformance.registry import Told
from txmetrics.compat.pyformance.reporters._messages import Messages
from txmetrics.compat.pyformance.reporters.reporter import Reporter, no_reactor
from txmetrics.delivery import Stream, with_own_lookups
from txmetrics.interfaces import Chunk, IDelivery, IEncoder, IWire
from txmetrics.snapshot import Reading
from txmetrics.steady import steady

__all__ = ["DEFAULT_SYSLOG_ADDRESS", "DEFAULT_SYSLOG_FACILITY", "DEFAULT_SYSLOG_SOCKTYPE", "SysLogReporter"]

DEFAULT_SYSLOG_ADDRESS = "/dev/log"
DEFAULT_SYSLOG_SOCKTYPE = socket.SOCK_DGRAM
DEFAULT_SYSLOG_FACILITY = SysLogHandler.LOG_USER

LONGEST = 200_000
"""Characters of a message: no socket takes a datagram that is much longer."""


class SysLogReporter(Reporter):
    """Sends all metrics as one message, a JSON object, of the priority "info" under ``tag``.

    ``address`` is the path of a socket of this machine or a pair of host and port; ``socktype`` socket.SOCK_DGRAM or
    SOCK_STREAM, where a newline ends a message. ``facility`` is one of ``logging.handlers.SysLogHandler``, its number
    or its name. What a log does not take at once is dropped.

    Raises ValueError for a facility, an address or a kind of socket that is none.
    """

    def __init__(
        self,
        registry: Any = None,
        reporting_interval: float = 5,
        tag: str | None = "pyformance",
        clock: Any = None,
        address: str | tuple[str, int] = DEFAULT_SYSLOG_ADDRESS,
        socktype: int = DEFAULT_SYSLOG_SOCKTYPE,
        facility: int | str = DEFAULT_SYSLOG_FACILITY,
    ) -> None:
        super().__init__(registry, reporting_interval, clock)
        if socktype not in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            raise ValueError(f"socktype {socktype!r} is unknown; choose socket.SOCK_DGRAM or socket.SOCK_STREAM")
        if not isinstance(address, str) and not (isinstance(address, tuple) and len(address) == 2):
            raise ValueError(f"{address!r} is no address; give a path such as /dev/log, or a pair of host and port")
        self._address = address
        self._is_stream = socktype == socket.SOCK_STREAM
        priority = _number(facility) << 3 | SysLogHandler.LOG_INFO
        self._head = f"<{priority}>{tag}: " if tag else f"<{priority}>"

    def _write_as(self) -> IWire:
        return _Json(self._head, "\n" if self._is_stream else "")

    def _deliver_to(self, reactor: Any) -> IDelivery:
        if reactor is None:
            raise no_reactor(self)
        reactor = with_own_lookups(reactor)
        if not self._is_stream:
            return Messages(reactor, self._address)
        if isinstance(self._address, str):
            return Stream(
                steady(reactor), UNIXClientEndpoint(reactor, self._address), "the system log", replay_window=0
            )
        endpoint = HostnameEndpoint(reactor, *self._address)
        return Stream(steady(reactor), endpoint, "the system log", replay_window=0)


def _number(facility: int | str) -> int:
    names: dict[str, int] = SysLogHandler.facility_names
    number = names.get(facility) if isinstance(facility, str) else facility
    if number is None or number not in names.values():
        raise ValueError(f"facility {facility!r} is unknown; choose one of {', '.join(names)}")
    return number


@implementer(IWire)
class _Json:
    log = Logger()

    def __init__(self, head: str, end: str) -> None:
        self.head = head
        self.end = end
        self._told = False

    def encoder(self, timestamp: int) -> IEncoder:
        return _Message(self, timestamp)

    def tell_too_long(self) -> None:
        if not self._told:
            self._told = True
            self.log.warn("a message of more than {longest} characters is too long for a system log", longest=LONGEST)


@implementer(IEncoder)
class _Message:
    """One report."""

    def __init__(self, wire: _Json, timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self._wire = wire
        self._timestamp = timestamp
        self._pairs = {"timestamp": f'"timestamp": {timestamp}'}
        self._size = 0

    def add(self, reading: Reading | Told) -> None:
        if not isinstance(reading, Told):
            return
        for field, value in reading.fields.items():
            key = f"{reading.name}.{field}"
            if self._size > LONGEST:
                self.refused["too_long"] += 1
            else:
                self._pairs[key] = f"{json.dumps(key)}: {json.dumps(value, default=str)}"
                self._size += len(self._pairs[key]) + 2

    def finish(self) -> Chunk | None:
        pairs, self._pairs = self._pairs, {}
        if self._size > LONGEST:
            self._wire.tell_too_long()
            return None
        if not pairs:
            return None
        text = ", ".join([pairs[key] for key in sorted(pairs)])
        data = f"{self._wire.head}{{{text}}}{self._wire.end}".encode()
        return Chunk(data, len(pairs) - 1, self._timestamp)
