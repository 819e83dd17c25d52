"""What is measured of a Site, and of each of its routes."""

from __future__ import annotations

from typing import Protocol

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.instrument.web._route import node
from txmetrics.metrics import FOLD, Counter, Histogram
from txmetrics.registry import Scope

__all__ = ["SiteMetrics"]

ROUTES = 200
"""So many routes of a Site, with their methods, have series of their own."""

ERRORS = 16
"""So many types of exceptions of a route have one."""

CODES = 32
"""And so many status codes, if they are counted one by one."""

FAMILIES = (2, 3, 4, 5)


class End(Protocol):
    """How a request has ended. Times are in seconds, sizes in bytes; None is what did not happen, or is not known."""

    begun: float
    """The tick of the clock."""
    seconds: float | None
    released: bool
    """Whether it gave the reactor back before the end, and how long it had held it is recorded already."""
    long_lived: bool
    body_wait: float | None
    first_byte: float | None
    status: int | None
    upgraded: bool
    received: int
    sent: int
    error: str | None
    special: bool
    """Whether there is more to it than ``seconds``, ``first_byte``, ``sent`` and ``status``."""


class _Together:
    """Timers and histograms that get a value each at the end of a request, by their inlets; folded together."""

    __slots__ = ("_metrics", "pending")

    def __init__(self, *metrics: Histogram) -> None:
        self._metrics = metrics
        self.pending = 0
        """So many values are in each of them at most, and at FOLD they are to be folded."""

    def fold(self) -> None:
        self.pending = 0
        for metric in self._metrics:
            metric.fold()


class RouteMetrics(_Together):
    """The metrics of one route."""

    __slots__ = (
        "aborted",
        "add_bytes",
        "add_seconds",
        "codes",
        "errors",
        "long_lived",
        "request_bytes",
        "statuses",
    )

    def __init__(self, scope: Scope, exact_codes: bool) -> None:
        requests = scope.timer("requests")
        self.long_lived = scope.counter("long_lived")
        self.statuses = _statuses(scope)
        self.aborted = scope.counter("aborted")
        self.request_bytes = scope.histogram("request_bytes")
        response_bytes = scope.histogram("response_bytes")
        self.errors: Family[Counter] = Family(scope.scope("errors").counter, ERRORS)
        self.codes: Family[Counter] | None = Family(scope.scope("codes").counter, CODES) if exact_codes else None
        super().__init__(requests, response_bytes)
        self.add_seconds = requests.inlet()
        self.add_bytes = response_bytes.inlet()

    def record_special(self, end: End, care: Care) -> None:
        if end.long_lived:
            care.attempt(self.long_lived.inc)
        if end.received:
            care.attempt(self.request_bytes.add, end.received)
        if end.error is not None:
            care.attempt(_count, self.errors, end.error)
        if end.status is None and not end.upgraded:
            care.attempt(self.aborted.inc)
        if end.status is not None and self.codes is not None:
            care.attempt(_count, self.codes, str(end.status))


class SiteMetrics(_Together):
    """The metrics of one Site, made at once so that a quiet server shows its zeros."""

    def __init__(self, scope: Scope, exact_codes: bool = False) -> None:
        self.requests = scope.timer("requests")
        self.body_wait = scope.timer("body_wait")
        self.blocking = scope.timer("blocking")
        self.first_byte = scope.timer("first_byte")
        self.long_lived = scope.timer("long_lived")
        self.active = scope.gauge("active")
        self.active_long_lived = scope.gauge("active_long_lived")
        self.statuses = _statuses(scope)
        self.aborted = scope.counter("aborted")
        self.upgrades = scope.counter("upgrades")
        self.bytes_received = scope.counter("bytes_received")
        self.bytes_sent = scope.counter("bytes_sent")
        self.measuring_errors = scope.counter("measuring_errors")
        routes = scope.scope("routes")
        self.routes = Family(lambda part: RouteMetrics(routes.scope(part), exact_codes), ROUTES, node)
        super().__init__(self.requests, self.first_byte, self.blocking)
        self._add_seconds = self.requests.inlet()
        self._add_first_byte = self.first_byte.inlet()
        self._add_blocking = self.blocking.inlet()

    def record(self, end: End, route: str | bytes, care: Care) -> None:
        """Take in the ``end`` of a request; what one metric cannot take does not keep the others from it."""
        of_route = self.routes[route]
        seconds, status = end.seconds, end.status
        if seconds is not None:
            if not end.long_lived:
                self._add_seconds(seconds)
                of_route.add_seconds(seconds)
            if end.first_byte is not None:
                self._add_first_byte(end.first_byte)
            if not end.released:
                self._add_blocking(seconds)
            of_route.add_bytes(float(end.sent))
            self.pending += 1
            if self.pending == FOLD:
                self.fold()
            of_route.pending += 1
            if of_route.pending == FOLD:
                of_route.fold()
        self.bytes_sent.count += end.sent
        if status is not None:
            family = status // 100
            if family in self.statuses:
                self.statuses[family].count += 1
                of_route.statuses[family].count += 1
        if end.special or of_route.codes is not None:
            self._record_special(end, care)
            of_route.record_special(end, care)

    def _record_special(self, end: End, care: Care) -> None:
        if end.long_lived and end.seconds is not None:
            care.attempt(self.long_lived.add, end.seconds)
        if end.received:
            care.attempt(self.bytes_received.inc, end.received)
        if end.body_wait is not None:
            care.attempt(self.body_wait.add, end.body_wait)
        if end.status is None:
            care.attempt(self.upgrades.inc if end.upgraded else self.aborted.inc)


def _statuses(scope: Scope) -> dict[int, Counter]:
    return {family: scope.counter(f"status.{family}xx") for family in FAMILIES}


def _count(counters: Family[Counter], name: str) -> None:
    counters[name].inc()
