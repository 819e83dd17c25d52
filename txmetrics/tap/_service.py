"""MeasuredService: a service that knows nothing of us, with everything in it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.server import Site

from txmetrics.instrument import MeasuredProcess, instrument_sites, listening_sites, sites_of
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Reporter

__all__ = ["INSTRUMENTS", "SEARCH", "MeasuredService"]

INSTRUMENTS = ("web", "process")

SEARCH = 5.0
"""Seconds between two looks for Sites that began to listen meanwhile."""


class MeasuredService(MultiService):
    """Runs ``service``, measured by ``instruments``, and ``reporters`` for as long and a little longer.

    The instrument "web" times every request of every Site, "process" is a MeasuredProcess. Sites that show in the tree
    of services are instrumented before they listen, those that the service listens with by itself as soon as it has
    started, or SEARCH seconds later. ``stopService`` stops ``service`` first and
    reports its last numbers then; its result is that of ``service``. What goes wrong with the metrics is logged, and
    ``service`` runs without.
    """

    log = Logger()

    def __init__(
        self,
        service: Any,
        registry: MetricsRegistry,
        reporters: Iterable[Reporter],
        *,
        instruments: Iterable[str] = INSTRUMENTS,
        reactor: Any = None,
    ) -> None:
        """``reactor`` is the one that ``service`` listens with; None: the global one."""
        super().__init__()
        self._service = service
        self._registry = registry
        self._reporters = list(reporters)
        self._instruments = set(instruments)
        self._process: MeasuredProcess | None = None
        self._reactor = reactor
        self._search: LoopingCall | None = None
        self._troubled = False
        for each in (*self._reporters, service):
            each.setServiceParent(self)

    def privilegedStartService(self) -> None:
        self._instrument(sites_of, self._service)
        self._reporters = [each for each in self._reporters if self._begins(each.privilegedStartService)]
        self._service.privilegedStartService()

    def startService(self) -> None:
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        self._instrument(sites_of, self._service)
        self._measure_process()
        Service.startService(self)
        self._reporters = [each for each in self._reporters if self._begins(each.startService)]
        self._service.startService()
        self._reactor.callWhenRunning(self._begin_search)

    def stopService(self) -> Deferred[Any]:
        Service.stopService(self)
        if self._search is not None:
            self._search.stop()
            self._search = None
        return ensureDeferred(self._stop())

    async def _stop(self) -> Any:
        try:
            return await maybeDeferred(self._service.stopService)
        finally:
            await gatherResults([self._stopped(each) for each in self._reporters])
            if self._process is not None:
                self._process.stopService()

    def _begins(self, reporter_starts: Callable[[], None]) -> bool:
        try:
            reporter_starts()
        except Exception:
            self.log.failure("a reporter cannot be started; the service runs without it")
            return False
        return True

    def _stopped(self, reporter: Reporter) -> Deferred[None]:
        stopped = maybeDeferred(reporter.stopService)
        return stopped.addErrback(lambda failure: self.log.failure("a reporter cannot be stopped", failure))

    def _begin_search(self) -> None:
        if self.running and self._search is None and "web" in self._instruments:
            self._search = LoopingCall(self._instrument, listening_sites, self._reactor)
            self._search.clock = self._reactor
            self._search.start(SEARCH)

    def _measure_process(self) -> None:
        try:
            if self._process is None and "process" in self._instruments:
                self._process = MeasuredProcess(self._registry)
            if self._process is not None:
                self._process.startService()
        except Exception:
            self.log.failure("the process cannot be measured; the service runs without that")

    def _instrument(self, find: Callable[[Any], Iterable[Site]], where: Any) -> None:
        if "web" not in self._instruments:
            return
        try:
            instrument_sites(find(where), self._registry)
        except Exception:
            if not self._troubled:  # the search would say it again and again
                self._troubled = True
                self.log.failure("some Sites cannot be instrumented; the service runs without that")
