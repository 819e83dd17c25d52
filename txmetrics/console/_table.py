"""A service's state as lines of text: the big numbers, the routes, the slowest requests, the reporters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from txmetrics.console import _figures as figures
from txmetrics.console._state import ReporterState, Route, Slow, State
from txmetrics.console._text import clipped, width

__all__ = ["SORTABLE", "Line", "Order", "table"]

Line: TypeAlias = "list[tuple[str, str]]"
"""Texts, each with its style: bold, dim, chosen, good, warn or bad; "" is none."""

GAP, WIDE_GAP = "  ", "    "
FEW = 5
"""Of the slowest and of the reporters so many are shown beside the routes."""
LEAST = 3
"""And of the routes so many at least."""

NAME = 20
"""Cells for the name of a route: on a narrow terminal there are fewer numbers instead, first without those of ..."""
FIRST_TO_GO = ("max", "p95", "count", "errors", "p50", "health")

WORDS = {"good", "warn", "bad"}


class Column(NamedTuple):
    """Of a table."""

    field: str
    title: str
    form: Callable[[Any], str]


ROUTES = (
    Column("rate", "RATE/S", figures.rate),
    Column("count", "COUNT", figures.count),
    Column("errors", "ERRORS", figures.share),
    Column("p50", "P50", figures.duration),
    Column("p95", "P95", figures.duration),
    Column("p99", "P99", figures.duration),
    Column("max", "MAX", figures.duration),
    Column("health", "HEALTH", str),
    Column("route", "ROUTE", str),
)
REPORTERS = (
    Column("health", "HEALTH", str),
    Column("connected", "CONNECTED", lambda connected: "yes" if connected else "no"),
    Column("lag", "LAG", figures.duration),
    Column("queued", "QUEUED", figures.count),
    Column("dropped", "DROPPED", figures.count),
    Column("delivered", "DELIVERED", figures.count),
    Column("where", "REPORTER", str),
)

SORTABLE = tuple(column.field for column in ROUTES if column.field != "health")


class Order(NamedTuple):
    """What the routes are sorted by: numbers the highest first, names from A, unless it is ``turned``."""

    field: str = "rate"
    turned: bool = False

    def sort(self, routes: Sequence[Route]) -> list[Route]:
        known = [route for route in routes if getattr(route, self.field) is not None]
        unknown = [route for route in routes if getattr(route, self.field) is None]
        down = (self.field != "route") != self.turned
        return [*sorted(known, key=lambda route: getattr(route, self.field), reverse=down), *unknown]


def table(state: State, order: Order, columns: int, height: int | None = None) -> list[Line]:
    """The lines for ``state``, made for so many ``columns``, and not more than ``height``; None: all there is."""
    head = [_title(state), *_big(state, columns), []]
    few = None if height is None else FEW
    blocks = [_slowest(state, few), _reporters(state.reporters[:few])]
    if height is None:
        room = len(state.routes)
    else:
        while blocks and height - len(head) - sum(map(len, blocks)) - 1 < min(LEAST, len(state.routes)):
            blocks.pop(0)
        room = max(0, height - len(head) - sum(map(len, blocks)) - 1)
    lines = [*head, *_routes(state.routes, order, columns, room), *(line for block in blocks for line in block)]
    return lines[:height]


def _title(state: State) -> Line:
    texts = [state.host or "?"]
    if state.pid is not None:
        texts.append(f"process {state.pid:.0f}")
    if state.time is not None and state.started is not None:
        texts.append(f"up {figures.span(state.time - state.started)}")
    return [(texts[0], "bold"), *((f"{GAP}{text}", "dim") for text in texts[1:])]


def _big(state: State, columns: int) -> list[Line]:
    """As many numbers a line as there is room for: the label, the number, and its health."""
    lines: list[Line] = [[]]
    for big in state.big:
        health = big.health if big.health in WORDS else ""
        entry = [(f"{big.label} ", ""), (figures.in_unit(big.value, big.unit), health or "bold")]
        if health:
            entry.append((f" {health}", health))
        if lines[-1] and _length(lines[-1]) + len(WIDE_GAP) + _length(entry) > columns:
            lines.append([])
        lines[-1] += [(WIDE_GAP, ""), *entry] if lines[-1] else entry
    return lines if state.big else []


def _routes(routes: Sequence[Route], order: Order, columns: int, room: int) -> list[Line]:
    if not routes:
        return [[("no requests yet", "dim")]]
    shown = order.sort(routes)[:room]
    rest = f" ({len(shown)} of {len(routes)})" if len(shown) < len(routes) else ""
    left = list(ROUTES)
    lines = _rows(left, shown, order.field, rest)
    for field in FIRST_TO_GO:
        if _length(lines[0][:-1]) + NAME > columns and field != order.field:
            left = [column for column in left if column.field != field]
            lines = _rows(left, shown, order.field, rest)
    return lines


def _slowest(state: State, few: int | None) -> list[Line]:
    if not state.slowest:
        return []

    def ago(ended: float | None) -> str:
        return figures.span(None if ended is None or state.time is None else state.time - ended)

    columns = (
        Column("seconds", "SLOWEST", figures.duration),
        Column("ended", "AGO", ago),
        Column("code", "CODE", _code),
        Column("route", "ROUTE", lambda route: clipped(route, 40)),
        Column("path", "PATH", str),
    )
    slowest: Sequence[Slow] = state.slowest[:few]
    return [[], *_rows(columns, slowest)]


def _reporters(reporters: Sequence[ReporterState]) -> list[Line]:
    return [[], *_rows(REPORTERS, reporters)] if reporters else []


def _code(code: float | None) -> str:
    return "gone" if code is None else f"{code:.0f}"


def _rows(columns: Sequence[Column], rows: Sequence[Any], chosen: str = "", rest: str = "") -> list[Line]:
    """A table whose last column, of names, stands at the left and may be of any length."""
    texts = [[column.form(getattr(row, column.field)) for column in columns] for row in rows]
    *titles, last = [column.title for column in columns]
    rooms = [max(map(width, each)) for each in zip(titles, *(row[:-1] for row in texts), strict=True)]
    head = [_right(title, room) for title, room in zip(titles, rooms, strict=True)] + [last]
    lines = [[(text, _head_style(column, chosen)) for column, text in zip(columns, head, strict=True)]]
    lines[0][-1] = (f"{last}{rest}", lines[0][-1][1])
    for row, cells in zip(rows, texts, strict=True):
        padded = [_right(text, room) for text, room in zip(cells[:-1], rooms, strict=True)] + cells[-1:]
        health = getattr(row, "health", "")
        lines.append([(text, _cell_style(column, health)) for column, text in zip(columns, padded, strict=True)])
    return [_spaced(line) for line in lines]


def _head_style(column: Column, chosen: str) -> str:
    return "chosen" if column.field == chosen else "dim"


def _cell_style(column: Column, health: str) -> str:
    return health if column.field == "health" and health in WORDS else ""


def _spaced(line: Line) -> Line:
    spaced: Line = []
    for part in line:
        spaced += [(GAP, ""), part]
    return spaced[1:]


def _length(line: Line) -> int:
    return sum(width(text) for text, _ in line)


def _right(text: str, cells: int) -> str:
    return " " * (cells - width(text)) + text
