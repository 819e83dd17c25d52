"""Measuring whatever listens: each port's connections, under a name of its own."""

from __future__ import annotations

from typing import Any
from weakref import ref

from txmetrics import names
from txmetrics.family import Family
from txmetrics.instrument._search import Searching, listening_ports, unwrapped
from txmetrics.instrument.connections._factory import Connections, is_measured, unmeasure_connections
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["MeasuredConnections", "port_name"]

PORTS = 50
"""So many ports have series of their own; an FTP server may open any number."""


class MeasuredConnections(Searching):
    """An IService that measures each factory that ``reactor`` (None: the global one) listens with.

    Each is measured by ``measure_connections`` under ``name`` and its port: ``connections.8080``, or the path of a UNIX
    socket, ``connections.run_app_sock``; those of more than PORTS ports share ``connections._other``. A factory that
    wraps another is left to that one: so TLS, and what policies add, is not counted. The service looks for them when it
    starts, when the reactor runs, and every SEARCH seconds; when it stops they are measured no more, but for the
    connections that are open. One that somebody else measures already stays as it is, and one that listens on several
    ports is measured under one of them.
    """

    def __init__(self, registry: MetricsRegistry | Scope, reactor: Any = None, name: str = "connections") -> None:
        super().__init__("listening ports", reactor)
        self._family = Family(lambda part: Connections(registry, f"{name}.{part}"), PORTS)
        self._measured: list[ref[Any]] = []

    def stopService(self) -> None:
        super().stopService()
        for factory in self._living():
            self._care.attempt(unmeasure_connections, factory)
        self._measured.clear()

    def _look(self) -> None:
        self._measured = [ref(factory) for factory in self._living()]
        for port in listening_ports(self._reactor):
            self._care.attempt(self._measure, port)

    def _measure(self, port: Any) -> None:
        *_, factory = None, *unwrapped(getattr(port, "factory", None))
        if factory is not None and not is_measured(factory):
            self._family[port_name(port.getHost())].measure(factory)
            self._measured.append(ref(factory))

    def _living(self) -> list[Any]:
        """The factories measured here that are still there."""
        return [factory for each in self._measured if (factory := each()) is not None]


def port_name(address: Any) -> str:
    """What a port that listens at ``address`` is called: its number, or the path of its socket, as a part of a path."""
    if hasattr(address, "port"):
        return str(address.port)
    path = getattr(address, "name", None)
    if isinstance(path, bytes):
        path = path.decode("utf-8", "replace")
    return names.clean((path or "unnamed").strip("/\0"))
