"""CarbonReporter and UdpCarbonReporter: to Graphite's carbon, over one connection that is kept, or in datagrams."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint

from txmetrics.compat.pyformance.reporters._at_once import DatagramsAtOnce, StreamAtOnce
from txmetrics.compat.pyformance.reporters._lines import Frames, Lines
from txmetrics.compat.pyformance.reporters.reporter import Reporter, no_reactor
from txmetrics.delivery import Datagrams, Stream, check_host, with_own_lookups
from txmetrics.interfaces import IDelivery, IWire
from txmetrics.steady import steady

__all__ = ["DEFAULT_CARBON_PORT", "DEFAULT_CARBON_SERVER", "CarbonReporter", "UdpCarbonReporter"]

DEFAULT_CARBON_SERVER = "0.0.0.0"
DEFAULT_CARBON_PORT = 2003


class CarbonReporter(Reporter):
    """Reports to the carbon at ``server`` and ``port``, in lines or with the ``pickle_protocol``.

    ``prefix`` stands before every name as it is: a dot after it is its own. While carbon cannot be reached, reports
    wait in at most 8 MiB of memory, the oldest of them are dropped beyond that; what a lost connection may have cost is
    sent again. A ``socket_factory`` makes sockets that block, and is used by ``report_now`` where no reactor runs.

    Raises ValueError for a server or a port that can be none.
    """

    def __init__(
        self,
        registry: Any = None,
        reporting_interval: float = 5,
        prefix: str = "",
        server: str = DEFAULT_CARBON_SERVER,
        port: int = DEFAULT_CARBON_PORT,
        socket_factory: Callable[..., Any] = socket.socket,
        clock: Any = None,
        pickle_protocol: bool = False,
    ) -> None:
        super().__init__(registry, reporting_interval, clock)
        check_host(server)
        if not (isinstance(port, int) and 0 < port < 65536):
            raise ValueError(f"the port {port!r} is none; give a number from 1 to 65535, such as {DEFAULT_CARBON_PORT}")
        self.prefix = prefix
        self.server = server
        self.port = port
        self.socket_factory = socket_factory
        self.pickle_protocol = pickle_protocol

    def start(self) -> bool:
        """Begin, as every reporter does; a ValueError if it has a ``socket_factory``."""
        if self.socket_factory is not socket.socket:
            raise ValueError("a socket_factory makes sockets that the reactor would wait for; leave that argument out")
        return super().start()

    def _write_as(self) -> IWire:
        return Frames(self.prefix) if self.pickle_protocol else Lines(self.prefix)

    def _deliver_to(self, reactor: Any) -> IDelivery:
        if reactor is None:
            return StreamAtOnce(self._without_reactor(), self.server, self.port)
        endpoint = HostnameEndpoint(with_own_lookups(reactor), self.server, self.port)
        return Stream(steady(reactor), endpoint, f"tcp:{self.server}:{self.port}")

    def _without_reactor(self) -> Callable[..., Any]:
        """What makes the sockets where no reactor runs; a RuntimeError if nobody said so."""
        if self.socket_factory is socket.socket:
            raise no_reactor(self)
        return self.socket_factory


class UdpCarbonReporter(CarbonReporter):
    """Reports to carbon in datagrams of whole lines; nobody knows what arrives.

    Raises ValueError for the ``pickle_protocol``, too, which carbon does not understand over UDP.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.pickle_protocol:
            raise ValueError("over UDP carbon understands lines only; leave pickle_protocol out")

    def _deliver_to(self, reactor: Any) -> IDelivery:
        if reactor is None:
            return DatagramsAtOnce(self._without_reactor(), self.server, self.port)
        where = f"udp:{self.server}:{self.port}"
        return Datagrams(with_own_lookups(reactor), self.server, self.port, where, time=steady(reactor))
