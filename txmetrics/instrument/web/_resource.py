"""TimedResource: every request of a Site, measured once, from the root to the last byte."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from txmetrics.instrument.web._metrics import SiteMetrics
from txmetrics.instrument.web._observation import Observation, Observer
from txmetrics.instrument.web._request import MARK, measured
from txmetrics.instrument.web._slowest import Slowest, SlowRequest
from txmetrics.instrument.web._stand import Stand
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["TimedResource"]


class TimedResource(Stand):
    """Wraps the root resource of a Site: ``Site(TimedResource(root, registry))``, and answers as ``root`` does.

    Under ``name`` (``http``) the registry gets, for each request exactly once, in seconds: ``requests``, a timer from
    the complete request to the call of ``finish`` (or the loss of the connection); ``blocking``, a timer of how long
    finding and rendering the resource held the reactor, at most until ``finish``; ``first_byte``, a timer until the
    answer begins; ``long_lived``, a timer in the place of ``requests`` for server-sent events and whatever
    ``set_long_lived`` was called for; and ``body_wait``, a timer of the time before all this, from the headers of a
    request with a body until that was there. ``active`` and ``active_long_lived`` are gauges of the requests whose
    ``render`` has returned and that are not over, those that ask for a websocket left out. Counters: ``status.2xx`` ..
    ``status.5xx``; ``aborted`` for clients that went away, which have no status; ``upgrades`` for websockets, whose
    handshake is the request; ``bytes_received`` and ``bytes_sent``, of bodies, the latter after compression.

    Under ``name.routes`` each route with its method has ``requests``, ``long_lived`` (a counter), ``status.*``,
    ``aborted``, ``errors.*`` by type of exception, ``request_bytes`` and ``response_bytes`` (histograms; the former of
    requests with a body), and ``codes.*`` with ``exact_codes``. Beyond 200 of them all are counted under ``_other``,
    so that their counts always add up to the Site's. A route is what the author of the server wrote: ``GET /users/{}``
    where ``users`` was put there and its child is found for the occasion; Klein's rule; and one, ``_404``, for all
    that does not exist. ``route(request)`` may tell a better one when the request is over, or None; ``set_route`` has
    precedence.

    With ``server_timing`` every answer tells its client the phases until its first byte, in a header of that name.

    At its first request the wrapper also replaces the ``requestFactory`` of a Site whose root it is, for what no
    resource can see: ``body_wait``, requests of ``*`` (``OPTIONS *``), and those after somebody has given the Site
    another root. ``measure_site`` does so from the beginning. An error in the measuring is logged once, counted under
    ``measuring_errors`` and never reaches the request. A wrapper inside another one measures nothing.
    """

    def __init__(
        self,
        root: Any,
        registry: MetricsRegistry | Scope,
        name: str = "http",
        *,
        route: Callable[[Any], str | None] | None = None,
        exact_codes: bool = False,
        server_timing: bool = False,
    ) -> None:
        super().__init__(root)
        metrics = SiteMetrics(registry.scope(name), exact_codes)
        self.observer = Observer(metrics, Slowest(registry.clock), route, server_timing)

    def slowest(self) -> list[SlowRequest]:
        """The slowest requests of the last five to ten minutes, none long-lived, at most twenty, the slowest first."""
        return self.observer.slowest.told()

    def adopt(self, site: Any) -> None:
        """Be told of the requests of ``site``, whose root this is, before a resource is asked for.

        So ``body_wait`` is known, ``OPTIONS *`` is measured, and when ``site`` is given another root, that is wrapped
        as well. A ``requestFactory`` that is no class stays as it is, and requests are measured from the root on.
        """
        if isinstance(site.requestFactory, type) and not hasattr(site.requestFactory, MARK):
            site.requestFactory = measured(site.requestFactory, self)

    def announced(self) -> float | None:
        """A request has told that a body may follow; returns when, on the clock of its Observation."""
        return self.observer.care.attempt(self.observer.now)

    def arrived(self, request: Any, announced: float | None) -> None:
        """The whole of ``request`` is there, and its body since ``announced``; nothing was done with it yet."""
        try:
            root = request.channel.site.resource
            if not isinstance(root, TimedResource):
                root = self._follow(request.channel.site)
            if request._txmetrics_observation is not None:
                return  # somebody has it processed again
            observation = request._txmetrics_observation = Observation(request, root.observer, None)
            if announced is not None:
                observation.weigh(request.content)
                if observation.received:
                    observation.body_wait = observation.begun - announced
            if request.path == b"*":
                observation.name, observation.usual = "_star", False
        except Exception:
            self.observer.care.failed()

    def _meet(self, request: Any) -> None:
        """``request``, whose class tells nothing, is the first one of its connection: let those to come be told of."""
        site: Any = getattr(request.channel, "site", None)
        if getattr(site, "resource", None) is self:
            self.adopt(site)
            connection = getattr(request.channel, "_conn", request.channel)  # of which an HTTP/2 channel is a stream
            if getattr(connection, "requestFactory", None) is request.__class__:
                connection.requestFactory = site.requestFactory

    def _follow(self, site: Any) -> TimedResource:
        """Stand before the new root of ``site``, too."""
        other = copy(self)
        Stand.__init__(other, site.resource)
        site.resource = other
        return other

    def _begin(self, request: Any) -> Observation | None:
        """Measure ``request``, unless it is the copy that a distrib.ResourcePublisher got, which never ends."""
        try:
            if not hasattr(request, "channel"):
                return None
            if not hasattr(request.__class__, MARK):
                self._meet(request)
            observation = self.observer.observe(request, self._root)
        except Exception:
            self.observer.care.failed()
            return None
        self.observer.care.attempt(observation.weigh, request.content)
        return observation
