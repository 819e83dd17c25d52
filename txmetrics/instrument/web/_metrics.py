"""What is measured of a Site, and of each of its routes."""

from __future__ import annotations

from typing import Protocol

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.instrument.web._route import node
from txmetrics.metrics import Counter
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

    seconds: float | None
    long_lived: bool
    body_wait: float | None
    first_byte: float | None
    status: int | None
    upgraded: bool
    received: int
    sent: int
    error: str | None


class RouteMetrics:
    """The metrics of one route."""

    __slots__ = ("aborted", "codes", "errors", "long_lived", "request_bytes", "requests", "response_bytes", "statuses")

    def __init__(self, scope: Scope, exact_codes: bool) -> None:
        self.requests = scope.timer("requests")
        self.long_lived = scope.counter("long_lived")
        self.statuses = _statuses(scope)
        self.aborted = scope.counter("aborted")
        self.request_bytes = scope.histogram("request_bytes")
        self.response_bytes = scope.histogram("response_bytes")
        self.errors: Family[Counter] = Family(scope.scope("errors").counter, ERRORS)
        self.codes: Family[Counter] | None = Family(scope.scope("codes").counter, CODES) if exact_codes else None

    def record(self, end: End, care: Care) -> None:
        """Take in the ``end`` of a request; what one metric cannot take does not keep the others from it."""
        if end.long_lived:
            care.attempt(self.long_lived.inc)
        elif end.seconds is not None:
            try:
                self.requests.add(end.seconds)
            except Exception:
                care.failed()
        try:
            self.response_bytes.add(float(end.sent))  # which a histogram takes faster than an integer
        except Exception:
            care.failed()
        if end.status is not None:
            _count_status(self.statuses, end.status, care)
            if self.codes is not None:
                care.attempt(_count, self.codes, str(end.status))
        elif not end.upgraded:
            care.attempt(self.aborted.inc)
        if end.received:
            care.attempt(self.request_bytes.add, end.received)
        if end.error is not None:
            care.attempt(_count, self.errors, end.error)


class SiteMetrics:
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

    def record(self, end: End, care: Care) -> None:
        """Take in the ``end`` of a request; what one metric cannot take does not keep the others from it."""
        if end.seconds is not None:
            try:
                (self.long_lived if end.long_lived else self.requests).add(end.seconds)
            except Exception:
                care.failed()
        if end.first_byte is not None:
            try:
                self.first_byte.add(end.first_byte)
            except Exception:
                care.failed()
        try:
            self.bytes_sent.inc(end.sent)
        except Exception:
            care.failed()
        if end.status is not None:
            _count_status(self.statuses, end.status, care)
        else:
            care.attempt(self.upgrades.inc if end.upgraded else self.aborted.inc)
        if end.received:
            care.attempt(self.bytes_received.inc, end.received)
        if end.body_wait is not None:
            care.attempt(self.body_wait.add, end.body_wait)


def _statuses(scope: Scope) -> dict[int, Counter]:
    return {family: scope.counter(f"status.{family}xx") for family in FAMILIES}


def _count_status(statuses: dict[int, Counter], status: int, care: Care) -> None:
    try:
        counter = statuses.get(status // 100)
        if counter is not None:
            counter.inc()
    except Exception:
        care.failed()


def _count(counters: Family[Counter], name: str) -> None:
    counters[name].inc()
