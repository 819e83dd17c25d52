"""Finding the factories of an application that knows nothing of us.

A tree of services shows the factories it will listen with; a service that listens by itself, later, shows only as a
port among the reactor's readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.application.internet import SSLServer, StreamServerEndpointService, TCPServer, UNIXServer
from twisted.application.service import IService, IServiceCollection, Service
from twisted.internet.interfaces import IListeningPort, IReactorFDSet
from twisted.internet.task import LoopingCall

from txmetrics.instrument._care import Care

__all__ = ["SEARCH", "Searching", "factories_of", "listening_ports", "unwrapped"]

SEARCH = 5.0
"""Seconds between two looks for ports that were opened meanwhile."""


class Searching(Service):
    """An IService that looks for something when it starts, when ``reactor`` runs, and every SEARCH seconds after that.

    ``reactor`` may be None for the global one, which is asked for at the start.
    """

    def __init__(self, what: str, reactor: Any) -> None:
        self._care = Care(what)
        self._reactor = reactor
        self._search: LoopingCall | None = None

    def startService(self) -> None:
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        super().startService()
        self._care.attempt(self._look)
        self._reactor.callWhenRunning(self._begin_search)

    def stopService(self) -> None:
        super().stopService()
        if self._search is not None:
            self._search.stop()
            self._search = None

    def _begin_search(self) -> None:
        if self.running and self._search is None:
            self._search = LoopingCall(self._care.attempt, self._look)
            self._search.clock = self._reactor
            self._search.start(SEARCH)

    def _look(self) -> None:
        """Look once; what for, the service says that is made of this one. May raise, which is logged once."""
        raise NotImplementedError


def factories_of(service: IService) -> Iterator[Any]:
    """The factories that ``service`` and the services in it will listen with, as far as that shows.

    After each comes the one that it wraps, if it does, and so on.
    """
    yield from unwrapped(_factory(service))
    if IServiceCollection.providedBy(service):
        for child in service:
            yield from factories_of(child)


def listening_ports(reactor: Any) -> Iterator[Any]:
    """The ports that ``reactor`` listens on now; none for a reactor that does not tell what it reads from."""
    if IReactorFDSet.providedBy(reactor):
        yield from filter(IListeningPort.providedBy, reactor.getReaders())


def unwrapped(factory: Any) -> Iterator[Any]:
    """``factory``, which may be None, and those that it wraps, each in the one before."""
    while factory is not None:
        yield factory
        factory = getattr(factory, "wrappedFactory", None)


def _factory(service: Any) -> Any:
    if isinstance(service, StreamServerEndpointService):
        return service.factory
    if isinstance(service, TCPServer | SSLServer | UNIXServer):  # they keep listenXXX's arguments: port, factory
        arguments = (*service.args, None, None)
        return service.kwargs.get("factory", arguments[1])
    return None
