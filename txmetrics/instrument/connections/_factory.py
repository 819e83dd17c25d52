"""Any server or client factory, measured in place: how many connections, for how long, with how much in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.instrument._shadow import Shadow
from txmetrics.instrument.connections._protocol import before_connection
from txmetrics.instrument.connections._transport import Watch
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["Connections", "is_measured", "measure_connections", "unmeasure_connections"]

REASONS = 20
"""So many types of reasons, of lost connections and of failed attempts each, have a series of their own."""


def measure_connections(factory: Any, registry: MetricsRegistry | Scope, name: str = "connections") -> None:
    """Measure the connections of ``factory``, for a server or a client, from now on, under ``name``.

    Counters: ``accepted``, by a server, or made by a client; ``refused``, for which the factory built no protocol;
    ``bytes_received`` and ``bytes_sent``, by the protocols, without what TLS adds; ``lost`` and ``failed`` by the type
    of the reason (``lost.ConnectionDone``, ``failed.ConnectionRefusedError``), at most REASONS of each. ``open`` is a
    gauge of the connections that there are, and ``life`` a timer of those that were lost, in seconds. What goes wrong
    with these numbers is logged once and counted as ``measuring_errors``.

    The factory is not wrapped: it, its protocols and their transports keep their types and interfaces, and a few
    methods of theirs are shadowed by attributes. A protocol that takes a connection over from another is measured with
    it. Factories of one name share its numbers; one that is measured already stays as it is. An endpoint keeps a
    failed attempt to itself, so ``failed`` counts what ``reactor.connectTCP`` and its like tell the factory.

    Raises AttributeError for what is no factory, or one on which no attribute can be set.
    """
    Connections(registry, name).measure(factory)


def unmeasure_connections(factory: Any) -> None:
    """Measure no further connections of ``factory``; those that it has are measured to their end."""
    if is_measured(factory):
        factory.buildProtocol.end()


def is_measured(factory: Any) -> bool:
    """Whether the connections of ``factory`` are measured, under whatever name."""
    return isinstance(factory.buildProtocol, _Building)


class Connections:
    """The metrics of the connections of one name."""

    def __init__(self, registry: MetricsRegistry | Scope, name: str) -> None:
        scope = registry.scope(name)
        self.accepted = scope.counter("accepted")
        self.refused = scope.counter("refused")
        self.bytes_received = scope.counter("bytes_received")
        self.bytes_sent = scope.counter("bytes_sent")
        self.life = scope.timer("life")
        self._open = scope.gauge("open")
        self._lost = Family(scope.scope("lost").counter, REASONS)
        self._failed = Family(scope.scope("failed").counter, REASONS)
        self.care = Care("connections", scope.counter("measuring_errors"))

    def measure(self, factory: Any) -> None:
        """Measure ``factory``, unless it is measured already."""
        if not is_measured(factory):
            _Building(factory, self)

    def built(self, protocol: Any) -> None:
        """The factory has built ``protocol``, or None."""
        if protocol is None:
            self.refused.inc()
        else:
            before_connection(protocol, lambda transport: self.care.attempt(self._begin, transport, protocol))

    def failing(self, client_connection_failed: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """``clientConnectionFailed`` of a measured factory."""

        def counted(connector: Any, reason: Any) -> Any:
            self.care.attempt(self._count_failed, reason)
            return client_connection_failed(connector, reason)

        return counted

    def _begin(self, transport: Any, protocol: Any) -> None:
        lost = partial(self._end, self.life.now())
        Watch(transport, protocol, self.bytes_received, self.bytes_sent, lost, self.care)
        self._open.inc()
        self.accepted.inc()

    def _end(self, begin: float, reason: Any) -> None:
        self._open.dec()
        self.life.add(self.life.now() - begin)
        self._lost[reason.type.__name__].inc()

    def _count_failed(self, reason: Any) -> None:
        self._failed[reason.type.__name__].inc()


class _Building:
    """The ``buildProtocol`` of a measured factory."""

    def __init__(self, factory: Any, connections: Connections) -> None:
        self._connections = connections
        self._shadows = [Shadow(factory, "buildProtocol", self._instead_of)]
        if hasattr(factory, "clientConnectionFailed"):
            self._shadows.append(Shadow(factory, "clientConnectionFailed", connections.failing))

    def _instead_of(self, build: Callable[[Any], Any]) -> _Building:
        self._build = build
        return self

    def __call__(self, addr: Any) -> Any:
        care = self._connections.care
        try:
            protocol = self._build(addr)
        except BaseException:
            care.attempt(self._connections.built, None)
            raise
        care.attempt(self._connections.built, protocol)
        return protocol

    def end(self) -> None:
        while self._shadows:
            self._shadows.pop().remove()
