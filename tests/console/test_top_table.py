"""The table of ``txmetrics top``: what is shown where there is room, and where there is none; numbers for people."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.console.terminal import a_route, a_state
from txmetrics.console import _figures as figures
from txmetrics.console._screen import rendered
from txmetrics.console._seam import Trouble
from txmetrics.console._state import read
from txmetrics.console._table import SORTABLE, Order, table
from txmetrics.console._text import width

USUAL = Order()


def drawn(state: Any, order: Order = USUAL, columns: int = 120, height: int | None = None) -> list[str]:
    return [rendered(line, columns) for line in table(read(state), order, columns, height)]


def many(routes: int, slowest: int, reporters: int) -> dict[str, Any]:
    slow = {"seconds": 1.5, "ended": 1_764_379_990.0, "route": "GET-slow", "path": "/slow", "code": 200}
    reporter = {"where": "tcp:graphite:2003", "health": "bad", "connected": False, "lag": 32.0, "queued": 5}
    return a_state(
        routes=[a_route(f"GET-{number}", number, number, 0.1) for number in range(routes)],
        slowest=[slow] * slowest,
        reporters=[reporter] * reporters,
    )


def test_all_there_is() -> None:
    """Without a limit: the routes, the slowest, the reporters, each under its title."""
    lines = drawn(many(2, 1, 1))
    assert lines == [
        "web1  process 4711  up 2 h 46 min",
        "requests a second 12.0    errors 1.2 % warn    99th percentile 12.3 ms    requests so far 123,456",
        "",
        "RATE/S  COUNT  ERRORS      P50      P95     P99     MAX  HEALTH  ROUTE",
        "  1.00      1       -  1.00 ms  50.0 ms  100 ms  2.50 s    good  GET-1",
        "  0.00      0       -  1.00 ms  50.0 ms  100 ms  2.50 s    good  GET-0",
        "",
        "SLOWEST   AGO  CODE     ROUTE  PATH",
        " 1.50 s  10 s   200  GET-slow  /slow",
        "",
        "HEALTH  CONNECTED     LAG  QUEUED  DROPPED  DELIVERED  REPORTER",
        "   bad         no  32.0 s       5        -          -  tcp:graphite:2003",
    ]


def test_what_there_is_room_for() -> None:
    """A few of each, and of the routes what is left, with their number; then the slowest go, then the reporters."""
    lines = drawn(many(200, 20, 20), height=30)
    assert len(lines) == 30
    assert lines[3].endswith("ROUTE (12 of 200)")
    assert [sum("GET-slow" in line for line in lines), sum("graphite" in line for line in lines)] == [5, 5]
    lines = drawn(many(200, 20, 20), height=15)
    assert [sum("GET-slow" in line for line in lines), sum("graphite" in line for line in lines)] == [0, 5]
    lines = drawn(many(200, 20, 20), height=10)
    assert lines[3].endswith("ROUTE (6 of 200)")
    assert len(lines) == 10


def test_a_narrow_terminal() -> None:
    """Has fewer numbers, but the one that is sorted by, and names that can be read."""
    assert drawn(many(2, 0, 0), columns=50)[-3].split() == ["RATE/S", "P99", "HEALTH", "ROUTE"]
    assert drawn(many(2, 0, 0), Order("max"), columns=40)[-3].split() == ["RATE/S", "P99", "MAX", "ROUTE"]


def test_nothing_yet() -> None:
    """A service that has just begun."""
    assert drawn(a_state(big=[], routes=[])) == ["web1  process 4711  up 2 h 46 min", "", "no requests yet"]


@pytest.mark.parametrize("field", SORTABLE)
def test_the_order(field: str) -> None:
    """Numbers the highest first, names from A; what is unknown comes last, also the other way round."""
    values: list[Any] = ["b", "a", "c"] if field == "route" else [2, None, 3, 1]
    routes = read(a_state(routes=[{**a_route("x", 1, 1, 1), field: value} for value in values])).routes
    known = sorted([value for value in values if value is not None], reverse=field != "route")
    unknown = [None] * (len(values) - len(known))
    assert [getattr(route, field) for route in Order(field).sort(routes)] == known + unknown
    assert [getattr(route, field) for route in Order(field, turned=True).sort(routes)] == known[::-1] + unknown


def test_colours() -> None:
    """Say what the words beside them say; what is clipped ends its colour."""
    line = [("errors ", ""), ("5 %", "bad"), (" bad", "bad")]
    assert rendered(line) == "errors 5 % bad"
    assert rendered(line, 80, colour=True) == "errors \x1b[1;31m5 %\x1b[0m\x1b[1;31m bad\x1b[0m"
    assert rendered(line, 9, colour=True) == "errors \x1b[1;31m5~\x1b[0m"
    assert rendered(line, 7, colour=True) == "errors"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["label", "value", "unit", "health", "route", "rate", "count", "errors", "p50", "p95", "p99", "max"]
FIELDS += ["seconds", "ended", "code", "path", "where", "connected", "lag", "queued", "dropped", "delivered"]
rows = st.lists(anything | st.dictionaries(st.sampled_from(FIELDS), anything, max_size=9), max_size=4)
states = st.fixed_dictionaries(
    {"big": rows, "routes": rows},
    optional={
        "slowest": rows | anything,
        "reporters": rows | anything,
        "host": anything,
        "pid": anything,
        "time": anything,
        "started": anything,
    },
)


@settings(deadline=None)
@given(states, st.integers(1, 200), st.none() | st.integers(0, 60), st.sampled_from(SORTABLE))
def test_whatever_a_dashboard_tells(state: Any, columns: int, height: int | None, field: str) -> None:
    """Becomes printable lines that fit, in width and in number."""
    lines = drawn(state, Order(field), columns, height)
    assert all(line.isprintable() and width(line) <= columns for line in lines)
    assert height is None or len(lines) <= height


@settings(deadline=None)
@given(anything)
def test_what_is_no_state(told: Any) -> None:
    """Is refused in a sentence."""
    with pytest.raises(Trouble, match="no dashboard of txmetrics"):
        read(told)


@pytest.mark.parametrize(
    ("shown", "number", "text"),
    [
        (figures.duration, 0, "0 s"),
        (figures.duration, 1.2345, "1.23 s"),
        (figures.duration, 12.345, "12.3 s"),
        (figures.duration, 1234.5, "1,234 s"),
        (figures.duration, 0.99949, "999 ms"),
        (figures.duration, 0.9996, "1.00 s"),
        (figures.duration, 0.0123, "12.3 ms"),
        (figures.duration, 0.00099949, "999 us"),
        (figures.duration, 0.0000012, "1.20 us"),
        (figures.duration, None, "-"),
        (figures.rate, 0.123, "0.12"),
        (figures.rate, 12.34, "12.3"),
        (figures.rate, 1234.5, "1,234"),
        (figures.share, 0.001, "0.1 %"),
        (figures.share, 0.0994, "9.9 %"),
        (figures.share, 0.0996, "10 %"),
        (figures.share, 1, "100 %"),
        (figures.count, 1234567.0, "1,234,567"),
        (figures.span, 0, "0 s"),
        (figures.span, 59.9, "59 s"),
        (figures.span, 3600, "1 h 0 min"),
        (figures.span, 90061, "1 d 1 h"),
        (figures.span, -5, "0 s"),
        (figures.span, None, "-"),
    ],
)
def test_numbers(shown: Any, number: float | None, text: str) -> None:
    """As many digits as one can read at a glance."""
    assert shown(number) == text


def test_units() -> None:
    """Those of a dashboard; a number without one is whole if it can be."""
    assert figures.in_unit(12, "1/s") == "12.0"
    assert figures.in_unit(0.5, "share") == "50 %"
    assert figures.in_unit(0.5, "seconds") == "500 ms"
    assert figures.in_unit(3.0, "") == "3"
    assert figures.in_unit(3.25, "") == "3.25"
    assert figures.in_unit(None, "") == "-"
