"""A port of its own for a dashboard."""

from __future__ import annotations

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.web.server import Site

from txmetrics.ext.dashboard._resource import Dashboard
from txmetrics.instrument import leave_unmeasured

__all__ = ["DashboardService"]


class DashboardService(StreamServerEndpointService):
    """An IService that serves ``dashboard`` at ``endpoint``, such as ``tcp:8002:interface=127.0.0.1``, and closes it.

    Its requests are not in the log, and are not measured as the application's. ``reactor`` is the one to listen with;
    None: the global one. Raises ValueError for what is no server endpoint.
    """

    def __init__(self, dashboard: Dashboard, endpoint: str, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        try:
            listening = serverFromString(reactor, endpoint)
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise ValueError(f"{endpoint!r} is no endpoint such as tcp:8002:interface=127.0.0.1 ({reason})") from None
        super().__init__(listening, leave_unmeasured(_Site(dashboard)))
        self._dashboard = dashboard
        self._reactor = reactor

    def startService(self) -> None:
        super().startService()
        self._reactor.callWhenRunning(self._dashboard.start)

    def stopService(self) -> Deferred[None]:
        self._dashboard.close()
        stopped: Deferred[None] = super().stopService()
        return stopped


class _Site(Site):
    def logPrefix(self) -> str:
        """So the log says on which port: ``Dashboard starting on 8002``."""
        return "Dashboard"

    def log(self, request: Any) -> None:
        """Those who look would fill the log."""
