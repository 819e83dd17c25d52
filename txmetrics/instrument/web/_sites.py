"""Finding the Sites of an application that knows nothing of us, and instrumenting them in place.

In place, because a factory wrapped in WrappingFactory loses the negotiation of its TLS protocol. A tree of services
shows the factories it will listen with; a service that listens by itself, later, shows only as a port among the
reactor's readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from twisted.application.internet import SSLServer, StreamServerEndpointService, TCPServer, UNIXServer
from twisted.application.service import IService, IServiceCollection
from twisted.internet.interfaces import IListeningPort, IReactorFDSet
from twisted.web.server import Site

from txmetrics.instrument.web._resource import TimedResource
from txmetrics.registry import MetricsRegistry

__all__ = ["instrument_sites", "listening_sites", "sites_of"]


def instrument_sites(sites: Iterable[Site], registry: MetricsRegistry) -> None:
    """Put a TimedResource before the root of each of ``sites`` that has none yet."""
    for site in sites:
        if not isinstance(site.resource, TimedResource):
            site.resource = TimedResource(site.resource, registry)


def sites_of(service: IService) -> Iterator[Site]:
    """The Sites that ``service`` and the services in it will listen with, as far as that shows."""
    yield from _sites(_factory(service))
    if IServiceCollection.providedBy(service):
        for child in service:
            yield from sites_of(child)


def listening_sites(reactor: Any) -> Iterator[Site]:
    """The Sites that ``reactor`` listens with now."""
    if IReactorFDSet.providedBy(reactor):
        for reader in reactor.getReaders():
            if IListeningPort.providedBy(reader):
                yield from _sites(getattr(reader, "factory", None))


def _factory(service: Any) -> Any:
    if isinstance(service, StreamServerEndpointService):
        return service.factory
    if isinstance(service, TCPServer | SSLServer | UNIXServer):  # they keep listenXXX's arguments: port, factory
        arguments = (*service.args, None, None)
        return service.kwargs.get("factory", arguments[1])
    return None


def _sites(factory: Any) -> Iterator[Site]:
    """The Site in a factory and whatever wraps it."""
    while factory is not None:
        if isinstance(factory, Site):
            yield factory
        factory = getattr(factory, "wrappedFactory", None)
