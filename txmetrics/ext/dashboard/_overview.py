"""The overview: the few numbers to look at first, the routes, and what else one asks when something is slow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from heapq import nlargest
from itertools import islice
from math import isnan, nan
from statistics import fmean
from typing import Any, NamedTuple

from twisted.logger import Logger

from txmetrics.clock import Clock
from txmetrics.ext.dashboard._history import History, Row
from txmetrics.ext.dashboard._json import finite, text
from txmetrics.ext.dashboard._reports import Reports
from txmetrics.ext.dashboard._work import Steps

__all__ = ["HTTP", "LATELY", "Overview", "Process", "Sources"]

HTTP = "http"
"""The name of the Site whose numbers are shown."""

LATELY = 10
"""Seconds that the first numbers are about."""

ROUTES = 200
LISTED = 20

_ROUTE = re.compile(rf"{HTTP}\.routes\.([^.]+)\.requests")

_FOLDERS = re.compile(r'File "[^"]*[/\\]([^"/\\]+[/\\][^"/\\]+)"')
"""In a stack: all of a file's path but its folder and name, which are nobody's business."""


class Sources(NamedTuple):
    """Who else is asked."""

    slowest: Callable[[], Iterable[Any]] | None
    """For SlowRequests."""
    blocked: Callable[[], Iterable[Any]] | None
    """For Blocks."""
    reports: Reports


class Process(NamedTuple):
    """Whose numbers they are, since when."""

    host: str
    pid: int
    started: float


class Overview:
    """Tells the state of things, from what ``history`` has of the last seconds and what the others are asked.

    One that raises is logged once, and told as if nobody had been given.
    """

    log = Logger()

    def __init__(self, history: History, clock: Clock, process: Process, sources: Sources) -> None:
        self._history = history
        self._clock = clock
        self._process = process
        self._sources = sources
        self._failed: set[str] = set()

    def steps(self) -> Steps[bytes]:
        """Write the state down as JSON, in steps."""
        process, history, sources = self._process, self._history, self._sources
        parts = [
            f'"time":{self._clock.wall()!r}',
            f'"started":{process.started!r}',
            f'"host":{text(process.host)}',
            f'"pid":{process.pid}',
            f'"series":{len(history.table)}',
            f'"series_not_kept":{history.not_kept}',
            f'"big":{text(self._big())}',
        ]
        yield
        routes = yield from self._routes()
        parts.append(f'"routes":[{",".join(routes)}]')
        for name, tell in (
            ("slowest", _told(sources.slowest, _slow)),
            ("blocked", _told(sources.blocked, _block)),
            ("reporters", sources.reports.told),
        ):
            parts.append(f'"{name}":{self._attempt(name, tell)}')
            yield
        return f"{{{','.join(parts)}}}".encode("ascii")

    def sample(self) -> None:
        """Look at the reporters; to be called every ten seconds."""
        self._attempt("reporters", self._sources.reports.sample)

    def _attempt(self, name: str, tell: Callable[[], Any]) -> str:
        """What ``tell`` says, as JSON; null if it raises."""
        try:
            return text(tell())
        except Exception:
            if name not in self._failed:
                self._failed.add(name)
                self.log.failure("what the dashboard was given as {name} failed; this is said only once", name=name)
            return "null"

    # The first numbers

    def _big(self) -> list[dict[str, Any]]:
        rows = self._recent()
        shown: list[dict[str, Any]] = []

        def show(
            key: str, label: str, value: float | None, unit: str, series: str | None, health: str = "none"
        ) -> None:
            shown.append({"key": key, "label": label, "value": value, "unit": unit, "health": health, "series": series})

        kept = self._history.table.kept
        requests, busy = f"{HTTP}.requests", "reactor.busy"
        if requests in kept:
            show("requests", "requests a second", self._mean(rows, f"{requests}.rate"), "1/s", f"{requests}.rate")
            errors, failed = self._errors(rows, HTTP), f"{HTTP}.status.5xx"
            series = f"{failed}.rate" if failed in kept else None
            show("errors", "errors", errors, "share", series, _errors_health(errors))
            show("p50", "median", self._last(rows, f"{requests}.p50"), "seconds", f"{requests}.p50")
            show("p99", "99th percentile", self._last(rows, f"{requests}.p99"), "seconds", f"{requests}.p99")
        if f"{HTTP}.active" in kept:
            show("active", "active requests", self._last(rows[-1:], f"{HTTP}.active"), "", f"{HTTP}.active")
        if busy in kept:
            share = self._last(rows[-1:], busy)
            show("busy", "reactor busy", share, "share", busy, _busy_health(share))
        if requests in kept:
            show("total", "requests so far", self._history.counted(requests), "", None)
        return shown

    def _recent(self) -> list[Row]:
        """The rows of the last seconds."""
        rows = self._history.tiers["5m"].rows
        since = self._clock.wall() - LATELY - 1
        return [row for row in islice(reversed(rows), LATELY) if row.time > since][::-1]

    def _numbers(self, rows: list[Row], series: str) -> list[float]:
        place = self._history.table.find(series)
        numbers = [] if place is None else [row.at(place) for row in rows]
        return [number for number in numbers if not isnan(number)]

    def _mean(self, rows: list[Row], series: str) -> float | None:
        numbers = self._numbers(rows, series)
        return finite(fmean(numbers)) if numbers else None

    def _last(self, rows: list[Row], series: str) -> float | None:
        numbers = self._numbers(rows, series)
        return finite(numbers[-1]) if numbers else None

    def _errors(self, rows: list[Row], scope: str) -> float | None:
        """The share of 5xx among the answers of ``scope``; None if there were none."""
        sums = {family: sum(self._numbers(rows, f"{scope}.status.{family}xx.rate")) for family in (2, 3, 4, 5)}
        total = sum(sums.values())
        return finite(sums[5] / total) if total > 0 else None

    # Routes

    def _routes(self) -> Steps[list[str]]:
        """The routes with most requests, each as JSON, of the last complete ten seconds."""
        found = yield from self._find_routes()
        row = self._history.latest("1h")
        shown = []
        for count, name in nlargest(ROUTES, found):
            shown.append(text(self._route(name, count, row)))
            yield
        return shown

    def _find_routes(self) -> Steps[list[tuple[float, str]]]:
        found = []
        names = iter([*self._history.table.kept])
        while some := [*islice(names, ROUTES)]:
            for match in filter(None, map(_ROUTE.fullmatch, some)):
                found.append((self._history.counted(match[0]) or 0, match[1]))
            yield
        return found

    def _route(self, name: str, count: float, row: Row | None) -> dict[str, Any]:
        scope = f"{HTTP}.routes.{name}"
        errors = None if row is None else self._errors([row], scope)
        fields = {field: self._at(row, f"{scope}.requests.{field}") for field in ("rate", "p50", "p95", "p99", "max")}
        return {"route": name, "count": count, "errors": errors, **fields, "health": _errors_health(errors)}

    def _at(self, row: Row | None, series: str) -> float | None:
        place = self._history.table.find(series)
        return finite(nan if row is None or place is None else row.at(place))


def _told(tell: Callable[[], Iterable[Any]] | None, form: Callable[[Any], dict[str, Any]]) -> Callable[[], Any]:
    return lambda: None if tell is None else [form(each) for each in islice(tell(), LISTED)]


def _slow(request: Any) -> dict[str, Any]:
    told = {field: finite(getattr(request, field)) for field in ("seconds", "body_wait", "blocking", "first_byte")}
    return {**told, "ended": request.ended, "route": request.route, "path": request.path, "code": request.code}


def _block(block: Any) -> dict[str, Any]:
    stack = None if block.stack is None else _FOLDERS.sub(r'File "\1"', block.stack)
    return {"name": block.name, "seconds": finite(block.seconds), "time": block.time, "stack": stack}


def _errors_health(share: float | None) -> str:
    return _health(share, 0.01, 0.05)


def _busy_health(share: float | None) -> str:
    return _health(share, 0.7, 0.9)


def _health(number: float | None, warn: float, bad: float) -> str:
    if number is None:
        return "none"
    return "good" if number < warn else "warn" if number < bad else "bad"
