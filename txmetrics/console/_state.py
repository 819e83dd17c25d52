"""How a service is, as its dashboard tells it; nothing of what comes from there is believed to have the right shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from txmetrics.console._seam import Trouble
from txmetrics.console._text import plain

__all__ = ["Big", "ReporterState", "Route", "Slow", "State", "read"]


@dataclass(frozen=True)
class Big:
    """One of the few numbers that matter most."""

    label: str
    value: float | None
    unit: str
    health: str


@dataclass(frozen=True)
class Route:
    """Of the requests to one route: rate and times of the last ten seconds; shares of 1, times in seconds."""

    route: str
    rate: float | None
    count: float | None
    errors: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    health: str


@dataclass(frozen=True)
class Slow:
    """One of the slowest requests."""

    seconds: float | None
    ended: float | None
    code: float | None
    route: str
    path: str


@dataclass(frozen=True)
class ReporterState:
    """One of those who report."""

    where: str
    health: str
    connected: bool
    lag: float | None
    queued: float | None
    dropped: float | None
    delivered: float | None


@dataclass(frozen=True)
class State:
    """All that a table shows; texts are printable."""

    host: str
    pid: float | None
    time: float | None
    started: float | None
    big: list[Big]
    routes: list[Route]
    slowest: list[Slow]
    reporters: list[ReporterState]


def read(told: Any) -> State:
    """What a dashboard's ``state`` says; Trouble if it is none."""
    if not (isinstance(told, dict) and all(isinstance(told.get(part), list) for part in ("big", "routes"))):
        raise Trouble("what answers there is no dashboard of txmetrics; give the URL that its page is at")
    return State(
        _text(told, "host"),
        _number(told, "pid"),
        _number(told, "time"),
        _number(told, "started"),
        [_made(Big, each) for each in _each(told, "big")],
        [_made(Route, each) for each in _each(told, "routes")],
        [_made(Slow, each) for each in _each(told, "slowest")],
        [_made(ReporterState, each) for each in _each(told, "reporters")],
    )


def _each(told: Mapping[str, Any], what: str) -> Iterator[Mapping[str, Any]]:
    found = told.get(what)
    return (each for each in (found if isinstance(found, list) else []) if isinstance(each, dict))


def _made(kind: Any, told: Mapping[str, Any]) -> Any:
    """A ``kind``, each field of which is read as what it should be."""
    readers = {"str": _text, "bool": _truth}
    return kind(**{each.name: readers.get(str(each.type), _number)(told, each.name) for each in fields(kind)})


def _text(told: Mapping[str, Any], field: str) -> str:
    value = told.get(field)
    return "" if value is None else plain(value)


def _truth(told: Mapping[str, Any], field: str) -> bool:
    return told.get(field) is True


def _number(told: Mapping[str, Any], field: str) -> float | None:
    value = told.get(field)
    try:
        return float(value) if isinstance(value, (int, float)) and isfinite(value) else None
    except OverflowError:
        return None
