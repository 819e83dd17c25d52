"""Sites, measured in place: one, or all of an application that knows nothing of us.

In place, because a factory wrapped in WrappingFactory loses the negotiation of its TLS protocol.
"""

from __future__ import annotations

from heapq import nlargest
from itertools import chain
from operator import attrgetter
from typing import Any
from weakref import WeakSet

from twisted.application.service import IService
from twisted.web.server import Site

from txmetrics.instrument._search import Searching, factories_of, listening_ports, unwrapped
from txmetrics.instrument.web._resource import TimedResource
from txmetrics.instrument.web._slowest import KEEP, SlowRequest
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["MeasuredSites", "leave_unmeasured", "measure_site"]

_UNMEASURED = "_txmetrics_unmeasured"


def measure_site(site: Site, registry: MetricsRegistry | Scope, name: str = "http", **options: Any) -> TimedResource:
    """Measure every request of ``site`` in place, as ``TimedResource(root, registry, name, **options)`` does.

    Returns the TimedResource before the root; one that is there already is kept, with its registry.
    """
    if not isinstance(site.resource, TimedResource):
        site.resource = TimedResource(site.resource, registry, name, **options)
    timed: TimedResource = site.resource
    timed.adopt(site)
    return timed


def leave_unmeasured(site: Site) -> Site:
    """Let no MeasuredSites measure ``site``, which shows the numbers and should not be among them; returns it."""
    setattr(site, _UNMEASURED, True)
    return site


class MeasuredSites(Searching):
    """An IService that measures every Site of an application, all under ``name`` (``http``).

    Those that ``service`` (None: none) will listen with are measured before they do, as far as its tree of services
    shows them; those that ``reactor`` (None: the global one) listens with when it runs, and every five seconds from
    then on; none that ``leave_unmeasured`` was called for. A Site stays measured when the service has stopped.
    """

    def __init__(
        self,
        registry: MetricsRegistry | Scope,
        service: IService | None = None,
        reactor: Any = None,
        name: str = "http",
    ) -> None:
        super().__init__("Sites", reactor)
        self._registry = registry
        self._service = service
        self._name = name
        self._measured: WeakSet[TimedResource] = WeakSet()

    def privilegedStartService(self) -> None:
        self._care.attempt(self._look)

    def _look(self) -> None:
        to_come = () if self._service is None else factories_of(self._service)
        listening = (unwrapped(getattr(port, "factory", None)) for port in listening_ports(self._reactor))
        for factory in chain(to_come, *listening):
            if isinstance(factory, Site) and not hasattr(factory, _UNMEASURED):
                self._measured.add(measure_site(factory, self._registry, self._name))

    def slowest(self) -> list[SlowRequest]:
        """The slowest requests of all these Sites, as TimedResource tells those of one."""
        observers = {timed.observer for timed in self._measured}  # which those before the roots of one Site share
        told = chain.from_iterable(observer.slowest.told() for observer in observers)
        return nlargest(KEEP, told, key=attrgetter("seconds"))
