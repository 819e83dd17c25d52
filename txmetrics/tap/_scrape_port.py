"""A port of its own for Prometheus."""

from __future__ import annotations

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from txmetrics.ext.prometheus import ScrapeResource
from txmetrics.instrument import leave_unmeasured
from txmetrics.registry import MetricsRegistry

__all__ = ["ScrapePort"]


class ScrapePort(StreamServerEndpointService):
    """An IService that serves a ScrapeResource of ``registry`` as ``/metrics`` at ``endpoint``, and closes it.

    Its requests are not in the log, and are not measured as the application's. ``reactor`` is the one to listen with.
    """

    def __init__(self, registry: MetricsRegistry, endpoint: str, reactor: Any) -> None:
        root = Resource()
        root.putChild(b"", _Signpost())
        root.putChild(b"metrics", ScrapeResource(registry, reactor=reactor))
        super().__init__(serverFromString(reactor, endpoint), leave_unmeasured(_Site(root)))


class _Signpost(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"The metrics are at /metrics.\n"


class _Site(Site):
    def logPrefix(self) -> str:
        """So the log says on which port: ``Prometheus starting on 9100``."""
        return "Prometheus"

    def log(self, request: Any) -> None:
        """Those who scrape would fill the log."""
