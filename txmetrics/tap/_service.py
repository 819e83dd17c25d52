"""MeasuredService: a service that knows nothing of us, with everything in it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults, maybeDeferred
from twisted.logger import Logger

from txmetrics.instrument import (
    BlockingCalls,
    DeferredRadar,
    MeasuredConnections,
    MeasuredLog,
    MeasuredProcess,
    MeasuredReactor,
    MeasuredSites,
    MeasuredThreadPool,
    use_registry,
)
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Reporter
from txmetrics.tap._shared_ports import unshared

__all__ = ["DEFAULT", "INSTRUMENTS", "MeasuredService"]

Make = Callable[[MetricsRegistry, Any, Any], Service]

_SURROUNDINGS: Mapping[str, Make] = {
    "reactor": lambda registry, service, reactor: MeasuredReactor(registry, reactor),
    "process": lambda registry, service, reactor: MeasuredProcess(registry),
    "log": lambda registry, service, reactor: MeasuredLog(registry, reactor=reactor),
    "blocking": lambda registry, service, reactor: BlockingCalls(registry, reactor),
    "threads": lambda registry, service, reactor: MeasuredThreadPool(registry, reactor=reactor),
    "deferreds": lambda registry, service, reactor: DeferredRadar(registry),
}
"""What is measured before the service starts."""

_PORTS: Mapping[str, Make] = {
    "web": lambda registry, service, reactor: MeasuredSites(registry, service, reactor),
    "connections": lambda registry, service, reactor: MeasuredConnections(registry, reactor),
}
"""What looks for the ports that the service has opened."""

_PAGE, _SCRAPES = _VIEWS = ("the dashboard", "the port for Prometheus")
"""They are started last, so that all there is to show is there."""

INSTRUMENTS = (*_PORTS, *_SURROUNDINGS)
"""All that can be measured of a service."""

DEFAULT = ("web", "reactor", "process", "log")
"""What is measured if nothing else is asked for: all that costs next to nothing and needs no private attributes."""


class MeasuredService(MultiService):
    """Runs ``service``, measured by ``instruments``, and ``reporters`` for as long and a little longer.

    The instruments: "web" is MeasuredSites, so that every request is timed; "reactor" a MeasuredReactor, "process" a
    MeasuredProcess, "log" a MeasuredLog, "connections" MeasuredConnections, "threads" the MeasuredThreadPool of the
    reactor, "blocking" BlockingCalls, "deferreds" a DeferredRadar. Endpoints that begin with ``metrics:`` count in
    ``registry``. ``stopService`` stops ``service`` first and reports its last numbers then; its result is that of
    ``service``. What goes wrong with the metrics is logged, and ``service`` runs without.
    """

    log = Logger()

    def __init__(
        self,
        service: Any,
        registry: MetricsRegistry,
        reporters: Iterable[Reporter],
        *,
        instruments: Iterable[str] = DEFAULT,
        dashboard: str | None = None,
        prometheus: str | None = None,
        reactor: Any = None,
    ) -> None:
        """``dashboard`` is a server endpoint for a Dashboard that shows it all, ``prometheus`` one for a ScrapeResource
        at /metrics; None for none.

        ``reactor`` is the one that ``service`` listens with; None: the global one.
        """
        super().__init__()
        self._service = service
        self._registry = registry
        self._reporters = list(reporters)
        self._names = set(instruments)
        self._instruments: dict[str, Any] = {}
        self._prepared = False
        self._dashboard = dashboard
        self._prometheus = prometheus
        self._reactor = reactor
        for each in (*self._reporters, service):
            each.setServiceParent(self)

    def privilegedStartService(self) -> None:
        self._prepare()
        self._reporters = [each for each in self._reporters if self._begins("a reporter", each.privilegedStartService)]
        self._service.privilegedStartService()
        for name in _VIEWS:
            if name in self._instruments:
                self._begins(name, self._instruments[name].privilegedStartService)

    def startService(self) -> None:
        self._prepare()
        Service.startService(self)
        self._start(_SURROUNDINGS)
        self._reporters = [each for each in self._reporters if self._begins("a reporter", each.startService)]
        self._service.startService()
        self._start((*_PORTS, *_VIEWS))

    def stopService(self) -> Deferred[Any]:
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> Any:
        try:
            return await maybeDeferred(self._service.stopService)
        finally:
            await gatherResults([self._stopped(each) for each in self._reporters])
            for each in self._instruments.values():
                await self._stopped(each)
            use_registry(None)

    def _prepare(self) -> None:
        """Make the instruments, and let them see the service before it listens."""
        use_registry(self._registry)
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        if not self._prepared:
            self._prepared = True
            for name, make in {**_SURROUNDINGS, **_PORTS}.items():
                if name in self._names:
                    self._begins(name, self._make, name, make)
            if self._dashboard is not None:
                self._begins(_PAGE, self._make, _PAGE, partial(self._show, self._dashboard))
            if self._prometheus is not None:
                self._begins(_SCRAPES, self._make, _SCRAPES, partial(self._scrape, self._prometheus))
        for name, instrument in self._instruments.items():
            if name not in _VIEWS:
                self._begins(name, instrument.privilegedStartService)

    def _make(self, name: str, make: Make) -> None:
        self._instruments[name] = make(self._registry, self._service, self._reactor)

    def _show(self, endpoint: str, registry: MetricsRegistry, service: Any, reactor: Any) -> Service:
        # Late, for nobody else pays for what only this one needs.
        from txmetrics.ext.dashboard import Dashboard, DashboardService

        told = {what: each.slowest for what, each in self._instruments.items() if what in ("web", "blocking")}
        dashboard = Dashboard(
            registry,
            slowest=told.get("web"),
            blocked=told.get("blocking"),
            reporters=lambda: self._reporters,
            reactor=reactor,
        )
        return unshared(DashboardService(dashboard, endpoint, reactor))

    def _scrape(self, endpoint: str, registry: MetricsRegistry, service: Any, reactor: Any) -> Service:
        from txmetrics.tap._scrape_port import ScrapePort

        return unshared(ScrapePort(registry, endpoint, reactor))

    def _start(self, names: Iterable[str]) -> None:
        for name, instrument in self._instruments.items():
            if name in names:
                self._begins(name, instrument.startService)

    def _begins(self, what: str, start: Callable[..., None], *args: Any) -> bool:
        try:
            start(*args)
        except Exception:
            self.log.failure("{what} cannot be started; the service runs without it", what=what)
            return False
        return True

    def _stopped(self, each: Any) -> Deferred[None]:
        stopped = maybeDeferred(each.stopService)
        return stopped.addErrback(lambda failure: self.log.failure("{each} cannot be stopped", failure, each=each))
