"""ShedLoad: while the reactor lags, a request is refused at once rather than answered too late."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from twisted.web.http import SERVICE_UNAVAILABLE
from twisted.web.resource import IResource
from zope.interface import implementer

from txmetrics.instrument._care import Care
from txmetrics.instrument.reactor import Lag
from txmetrics.instrument.web._stand import Stand
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["ShedLoad"]

PATIENCE = 40
"""After so many probes of its own lag for which nobody has asked, a ShedLoad stops probing: ten seconds."""


class ShedLoad(Stand):
    """Wraps the root resource of a Site, and answers 503 in its place while the reactor is late by over ``max_lag``.

    Such an answer asks the client to come back in ``retry_after`` seconds, and is counted under ``name`` (``http``) as
    ``shed``. Otherwise ``root`` answers, as without the wrapper. Goes inside a TimedResource, which then measures
    these answers too: ``Site(TimedResource(ShedLoad(root, registry), registry))``.

    ``lag`` tells how late the reactor is: the attribute of that name of a MeasuredReactor that runs (of one that does
    not, it is 0). Without it, a probe of its own runs in ``reactor`` (the global one), from a request on until there
    was none for ten seconds; that much longer a reactor is not idle, which a test may have to wait for. Then the first
    request after such a pause is never refused. An error in telling the lag is logged once, counted under
    ``measuring_errors``, and refuses nothing. Raises ValueError for a ``max_lag`` or ``retry_after`` that is not
    above 0.
    """

    def __init__(
        self,
        root: Any,
        registry: MetricsRegistry | Scope,
        max_lag: float = 0.5,
        retry_after: float = 1,
        name: str = "http",
        lag: Lag | None = None,
        reactor: Any = None,
    ) -> None:
        for what, seconds in {"max_lag": max_lag, "retry_after": retry_after}.items():
            if not seconds > 0:
                raise ValueError(f"{what} is {seconds!r} seconds; it has to be more than 0")
        scope = registry.scope(name)
        super().__init__(root)
        self._max_lag = max_lag
        self._shed = scope.counter("shed")
        self._care = Care("the reactor's lag", scope.counter("measuring_errors"))
        self._lag: Callable[[], float] = _OwnLag(registry.clock.tick, reactor).seconds if lag is None else lag.seconds
        self._refusal = _Refusal(b"%d" % ceil(retry_after))

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        return self._refusal if self._is_late() else super().getChildWithDefault(name, request)

    def render(self, request: Any) -> Any:
        return self._refusal.render(request) if self._is_late() else super().render(request)

    def _is_late(self) -> bool:
        late = self._care.attempt(self._lag)
        if late is None or late <= self._max_lag:
            return False
        self._care.attempt(self._shed.inc)
        return True


@implementer(IResource)
class _Refusal:
    """What clients get instead, whatever they have asked for."""

    isLeaf = True

    def __init__(self, retry_after: bytes) -> None:
        self._retry_after = retry_after

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        return self

    def putChild(self, path: bytes, child: Any) -> None:
        raise NotImplementedError("this has no children")

    def render(self, request: Any) -> bytes:
        request.setResponseCode(SERVICE_UNAVAILABLE)
        request.setHeader(b"retry-after", self._retry_after)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"" if request.method == b"HEAD" else b"The server is busy. Please try again later.\n"


class _OwnLag:
    """Probes while it is asked, and a little longer."""

    def __init__(self, tick: Callable[[], float], reactor: Any) -> None:
        self._lag = Lag(tick, reactor, self._probed)
        self._unasked = 0

    def seconds(self) -> float:
        self._unasked = 0
        self._lag.start()
        return self._lag.seconds()

    def _probed(self, late: float) -> None:
        self._unasked += 1
        if self._unasked >= PATIENCE:
            self._lag.stop()
