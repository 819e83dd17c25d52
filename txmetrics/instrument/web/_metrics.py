"""What is measured of a Site, and of each of its routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.instrument.web._route import node
from txmetrics.metrics import FOLD, Counter
from txmetrics.registry import Scope

__all__ = ["SiteMetrics"]

ROUTES = 200
"""So many routes of a Site, with their methods, have series of their own."""

ERRORS = 16
"""So many types of exceptions of a route have one."""

CODES = 32
"""And so many status codes, if they are counted one by one."""

FAMILIES = (2, 3, 4, 5)


_Kept: TypeAlias = "tuple[RouteMetrics, float | None, float | None, float | None, int]"
"""Of a request: its route, how long it took, until the first byte, how long it held the reactor, bytes sent."""


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


class RouteMetrics:
    """The metrics of one route."""

    __slots__ = (
        "aborted",
        "codes",
        "errors",
        "long_lived",
        "request_bytes",
        "requests",
        "response_bytes",
        "statuses",
        "usual",
    )

    def __init__(self, scope: Scope, exact_codes: bool, source: Callable[[], None]) -> None:
        self.requests = scope.timer("requests")
        self.long_lived = scope.counter("long_lived")
        self.statuses = _statuses(scope)
        self.usual: dict[int, tuple[Counter, ...]] = {}
        """By status: the counters of those of its requests that end as usual, here and of the Site."""
        self.aborted = scope.counter("aborted")
        self.request_bytes = scope.histogram("request_bytes")
        self.response_bytes = scope.histogram("response_bytes")
        self.errors: Family[Counter] = Family(scope.scope("errors").counter, ERRORS)
        self.codes: Family[Counter] | None = Family(scope.scope("codes").counter, CODES) if exact_codes else None
        self.requests.feed(source)
        self.response_bytes.feed(source)

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


class SiteMetrics:
    """The metrics of one Site, made at once so that a quiet server shows its zeros."""

    def __init__(self, scope: Scope, exact_codes: bool = False) -> None:
        self._kept: list[_Kept] = []
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
        self.exact_codes = exact_codes
        routes = scope.scope("routes")
        self.routes = Family(lambda part: RouteMetrics(routes.scope(part), exact_codes, self._take_apart), ROUTES, node)
        for timer in (self.requests, self.blocking, self.first_byte):
            timer.feed(self._take_apart)

    def __del__(self) -> None:
        """The Site is gone, but its requests have been."""
        self._take_apart()

    def record_usual(self, of_route: RouteMetrics, seconds: float, sent: int, status: int) -> None:
        """Take in that a request has ended within its ``render``, and nothing else is to be told of it."""
        kept = self._kept
        kept.append((of_route, seconds, seconds, seconds, sent))
        if len(kept) >= FOLD:
            self._take_apart()
        self.bytes_sent.count += sent
        counters = of_route.usual.get(status)
        if counters is None:
            counters = of_route.usual[status] = self._counters(of_route, status)
        for counter in counters:
            counter.count += 1

    def record(self, end: End, of_route: RouteMetrics, care: Care) -> None:
        """Take in the ``end`` of a request; what one metric cannot take does not keep the others from it."""
        if end.seconds is not None:
            seconds = None if end.long_lived else end.seconds
            blocking = None if end.released else end.seconds
            self._kept.append((of_route, seconds, end.first_byte, blocking, end.sent))
            if len(self._kept) >= FOLD:
                self._take_apart()
        self.bytes_sent.count += end.sent
        if end.status is not None:
            for counter in self._counters(of_route, end.status):
                counter.count += 1
        if end.special or self.exact_codes:
            self._record_special(end, care)
            of_route.record_special(end, care)

    def _counters(self, of_route: RouteMetrics, status: int) -> tuple[Counter, ...]:
        """Those of a status."""
        family = status // 100
        return (self.statuses[family], of_route.statuses[family]) if family in FAMILIES else ()

    def _take_apart(self) -> None:
        """Add what was kept of each request to the timers and histograms, before somebody reads them."""
        if not self._kept:
            return
        kept = self._kept.copy()
        self._kept.clear()
        self.requests.take_in([seconds for _, seconds, _, _, _ in kept if seconds is not None])
        self.first_byte.take_in([seconds for _, _, seconds, _, _ in kept if seconds is not None])
        self.blocking.take_in([seconds for _, _, _, seconds, _ in kept if seconds is not None])
        by_route: dict[RouteMetrics, list[_Kept]] = {}
        for each in kept:
            by_route.setdefault(each[0], []).append(each)
        for of_route, its in by_route.items():
            of_route.requests.take_in([seconds for _, seconds, _, _, _ in its if seconds is not None])
            of_route.response_bytes.take_in([float(sent) for _, _, _, _, sent in its])

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
