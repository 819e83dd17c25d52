"""The rows of a dashboard: what every service has in an order of our own, and then whatever else this one has."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from txmetrics.console._grafana_metrics import COUNTED, LEVELS, SPREAD, Catalogue, Group, Queries
from txmetrics.console._grafana_panels import Json, Panel, Row, plot, stat

__all__ = ["MOST_PANELS", "bundles", "rows", "title_of"]

MOST_PANELS = 300
"""Beyond so many panels for what we do not know nobody looks at them, and the browser suffers."""

FEW_PANELS = 24
"""So many may be open from the start."""

MOST_LINES = 12

UNITS = {"seconds": "s", "bytes": "bytes", "ratio": "percentunit"}
"""Grafana's words by ours."""

APPLICATION = "Application"
"""The row of what has no dot in its name."""

ROUTE = "http.routes.$route"


def rows(catalogue: Catalogue, queries: Queries, reports: bool) -> tuple[list[Row], int]:
    """All rows that are not empty, and how many panels found no place in them.

    ``reports``: whether there are own numbers of who brings them there.
    """
    known = _Known(catalogue, queries)
    first = [known.requests(), known.routes(), known.route(), known.reactor(), known.process()]
    if reports:
        panels = [plot(title, unit, targets) for title, unit, targets in queries.itself()]
        first.append(Row("txmetrics itself", panels, collapsed=True))
    own, left_out = _own(catalogue.rest(), queries)
    return [row for row in [*first, *own] if row.panels], left_out


class _Known:
    """The rows of what txmetrics' own instruments measure."""

    def __init__(self, catalogue: Catalogue, queries: Queries) -> None:
        self._take = catalogue.take
        self._queries = queries

    def requests(self) -> Row:
        return Row("Requests", _present([*self._big_numbers(), *self._request_plots()]))

    def _big_numbers(self) -> list[Panel]:
        ask, requests = self._queries, self._take("http.requests", SPREAD)
        status, failed = (self._take(f"http.status.{which}", {"counter"}) for which in ("*", "5xx"))
        active, busy = (self._take(name, LEVELS) for name in ("http.active", "reactor.busy"))
        errors = [target for part in failed for whole in status for target in ask.share(part, whole, "errors")]
        return [
            stat("Requests a second", "reqps", _all(requests, lambda group: ask.total(group, "requests"))),
            stat("Errors", "percentunit", errors, [(0.01, "orange"), (0.05, "red")]),
            stat("Median", "s", _all(requests, lambda group: ask.highest(group, "p50", "p50"))),
            stat("99 % are faster", "s", _all(requests, lambda group: ask.highest(group, "p99", "p99"))),
            stat("In progress", "short", _all(active, lambda group: ask.total(group, "active"))),
            stat(
                "Reactor busy",
                "percentunit",
                _all(busy, lambda group: ask.highest(group, None, "busy")),
                [(0.7, "orange"), (0.9, "red")],
            ),
        ]

    def _request_plots(self) -> list[Panel]:
        return [
            plot("Answers a second", "reqps", self._rates("http.status.*"), stacked=True),
            plot("Time of a request", "s", self._spread("http.requests")),
            plot(
                "95 % take less: for the body, in the reactor, to the first byte",
                "s",
                self._p95("http.body_wait", "http.blocking", "http.first_byte"),
            ),
            plot("In progress", "short", self._levels("http.active", "http.active_long_lived")),
            plot("Traffic", "Bps", self._rates("http.bytes_received", "http.bytes_sent")),
            plot(
                "Aborted, upgraded, refused a second",
                "reqps",
                self._rates("http.aborted", "http.upgrades", "http.shed"),
            ),
        ]

    def routes(self) -> Row:
        panels = [
            plot("Requests a second", "reqps", self._rates(f"{ROUTE}.requests"), stacked=True),
            plot("95 % are faster", "s", self._p95(f"{ROUTE}.requests")),
            plot("Answers 5xx a second", "reqps", self._rates(f"{ROUTE}.status.5xx")),
        ]
        return Row("Routes", _present(panels))

    def route(self) -> Row:
        panels = [
            plot("Answers a second", "reqps", self._rates(f"{ROUTE}.status.*"), stacked=True),
            plot("Time of a request", "s", self._spread(f"{ROUTE}.requests")),
            plot("Exceptions a second", "cps", self._rates(f"{ROUTE}.errors.*")),
            plot(
                "95 % of the bodies are smaller",
                "bytes",
                self._p95(f"{ROUTE}.request_bytes", f"{ROUTE}.response_bytes"),
            ),
            plot("Aborted, long-lived a second", "reqps", self._rates(f"{ROUTE}.aborted", f"{ROUTE}.long_lived")),
            plot("Answers a second, by code", "reqps", self._rates(f"{ROUTE}.codes.*"), stacked=True),
        ]
        return Row("$route", _present(panels), collapsed=True, repeat="route")

    def reactor(self) -> Row:
        pool = "reactor.threadpool"
        panels = [
            plot("Late by", "s", self._spread("reactor.lag")),
            plot("Busy", "percentunit", self._levels("reactor.busy")),
            plot("What waits", "short", self._levels("reactor.delayed_calls", "reactor.readers", "reactor.writers")),
            plot("Who held it, the longest", "s", self._longest("reactor.blocked.*")),
            plot(
                "Threads", "short", self._levels(f"{pool}.threads", f"{pool}.working", f"{pool}.queue", f"{pool}.max")
            ),
            plot("Processor", "percentunit", self._growths("reactor.cpu_seconds")),
        ]
        return Row("Reactor", _present(panels))

    def process(self) -> Row:
        switches, collections = "process.context_switches.*", "process.gc.collections.*"
        panels = [
            plot("Processor", "percentunit", self._growths("process.cpu_seconds")),
            plot("Memory", "bytes", self._levels("process.resident_memory_bytes")),
            plot("Descriptors", "short", self._levels("process.open_fds", "process.max_fds")),
            plot("Threads", "short", self._levels("process.threads")),
            plot("Switches a second", "cps", self._growths(switches)),
            plot("Garbage collections a second", "cps", self._growths(collections)),
            plot("Pauses for them", "s", self._spread("process.gc.pause")),
            plot("Up for", "s", self._levels("process.uptime_seconds")),
        ]
        return Row("Process", _present(panels), collapsed=True)

    def _rates(self, *patterns: str) -> list[Json]:
        return self._each(patterns, COUNTED, self._queries.rate)

    def _levels(self, *patterns: str) -> list[Json]:
        return self._each(patterns, LEVELS, self._queries.level)

    def _growths(self, *patterns: str) -> list[Json]:
        return self._each(patterns, LEVELS, self._queries.growth)

    def _p95(self, *patterns: str) -> list[Json]:
        return self._each(patterns, SPREAD, lambda group: self._queries.quantile(group, "p95", by_name=True))

    def _longest(self, *patterns: str) -> list[Json]:
        return self._each(patterns, SPREAD, lambda group: self._queries.quantile(group, "max", by_name=True))

    def _spread(self, pattern: str) -> list[Json]:
        return self._each([pattern], SPREAD, lambda group: _spread(self._queries, group))

    def _each(self, patterns: Iterable[str], kinds: Collection[str], ask: Callable[[Group], list[Json]]) -> list[Json]:
        return [target for pattern in patterns for target in _all(self._take(pattern, kinds), ask)]


def _own(groups: Iterable[Group], queries: Queries) -> tuple[list[Row], int]:
    """A row for each first part of the names, and how many panels were too many."""
    panels = [each for bundle in bundles(groups) for each in _panels_of(bundle, queries)]
    by_row: dict[str, list[Panel]] = {}
    for row, panel in panels[:MOST_PANELS]:
        by_row.setdefault(row, []).append(panel)
    collapsed = len(panels) > FEW_PANELS
    return [Row(title, inside, collapsed) for title, inside in by_row.items()], max(0, len(panels) - MOST_PANELS)


def bundles(groups: Iterable[Group]) -> Iterator[list[Group]]:
    """What goes into one plot: counters beside each other, of one unit; of all else each by itself."""
    bundles: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        parent = group.pattern.partition(";")[0].rpartition(".")[0]
        together = parent and group.kind in ("counter", "meter") and not group.pattern.endswith(".*")
        bundles.setdefault((parent, _unit(group)) if together else (group.pattern, group.kind), []).append(group)
    for bundle in bundles.values():
        yield from (bundle[start : start + MOST_LINES] for start in range(0, len(bundle), MOST_LINES))


def title_of(bundle: list[Group]) -> str:
    """What those in one plot are: ``db.query by table``, or what they have in common."""
    path, _, tags = bundle[0].pattern.partition(";")
    if len(bundle) > 1:
        return path.rpartition(".")[0]
    return f"{path} by {tags.replace(',', ', ')}" if tags else path


def _panels_of(bundle: list[Group], queries: Queries) -> Iterator[tuple[str, Panel]]:
    """The plots of a bundle, each with the title of its row."""
    group = bundle[0]
    row, dot, _ = group.pattern.partition(".")
    row = row if dot else APPLICATION
    title = title_of(bundle)
    if group.kind in LEVELS:
        yield row, plot(title, _unit(group), queries.level(group))
        return
    counts_bytes = group.kind in ("counter", "meter") and _unit(group) == "bytes"
    yield row, plot(f"{title} a second", "Bps" if counts_bytes else "cps", _all(bundle, queries.rate))
    if group.kind in SPREAD:
        yield row, plot(title, "s" if group.kind == "timer" else _unit(group), _spread(queries, group))


def _spread(queries: Queries, group: Group) -> list[Json]:
    return [target for field in ("p50", "p95", "p99", "max") for target in queries.quantile(group, field)]


def _unit(group: Group) -> str:
    """What the name says of it: its last words are its unit, as in ``bytes_sent``, or have none."""
    words = re.split(r"[._]", group.names[0].partition(";")[0])
    return next((unit for word in words[:-3:-1] if (unit := UNITS.get(word))), "short")


def _all(groups: Sequence[Group], ask: Callable[[Group], list[Json]]) -> list[Json]:
    return [target for group in groups for target in ask(group)]


def _present(panels: Iterable[Panel]) -> list[Panel]:
    """Those for which the service has anything."""
    return [panel for panel in panels if panel.body["targets"]]
