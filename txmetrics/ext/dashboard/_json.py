"""JSON in pieces, for answers that would take the reactor too long in one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from math import isfinite
from typing import Any

from txmetrics.ext.dashboard._history import RANGES, History, Row
from txmetrics.ext.dashboard._series import Kept, kind_of
from txmetrics.ext.dashboard._work import Steps
from txmetrics.metrics import Gauge, Timer
from txmetrics.registry import MetricsRegistry

__all__ = ["finite", "history", "metrics", "series", "text"]

ROWS = 100
"""So many numbers are written down in a step."""


def text(value: Any) -> str:
    """``value`` in ASCII, on one line. Raises ValueError for a number that JSON has no word for."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def finite(number: float | None) -> float | None:
    """``number`` in the digits that are kept, an int in all of them; None if it is not known, or not finite."""
    if isinstance(number, int):
        return number
    return float(f"{number:.7g}") if isinstance(number, float) and isfinite(number) else None


def metrics(registry: MetricsRegistry) -> Steps[bytes]:
    """What there is in ``registry``: a list of names and kinds."""
    known = (name for name in registry if name in registry)
    return _list(text({"name": name, "kind": kind_of(registry[name])}) for name in known)


def series(kept: Mapping[str, Kept]) -> Steps[bytes]:
    """All series of what is ``kept``; one that a gauge has the name of is hidden by it."""
    gauges = {name for name, each in kept.items() if isinstance(each.metric, Gauge)}
    return _list(
        text({"name": name, "metric": each.name, "kind": kind_of(each.metric), "unit": _unit(each, name)})
        for each in [*kept.values()]
        for name, _ in each.series()
        if isinstance(each.metric, Gauge) or name not in gauges
    )


def history(kept: History, range_: str, names: Iterable[str]) -> Steps[bytes]:
    """The rows of a tier: times, and the numbers of each of the series ``names`` that is kept, oldest first.

    Where rows are missing, the clock was set or the process stood still; there is one of nulls in the gap.
    """
    step, _ = RANGES[range_]
    rows = [*kept.tiers[range_].rows]
    places = [(name, place) for name in dict.fromkeys(names) if (place := kept.table.find(name)) is not None]
    times, with_gaps = _gaps(rows, step)
    pieces = [f'{{"range":{text(range_)},"step":{step},"times":{text(times)},"series":{{']
    for number, (name, place) in enumerate(places):
        pieces.append(f"{',' if number else ''}{text(name)}:[")
        for start in range(0, len(with_gaps), ROWS):
            some = with_gaps[start : start + ROWS]
            numbers = ("null" if row is None else _shown(row.at(place)) for row in some)
            pieces.append(("," if start else "") + ",".join(numbers))
            yield
        pieces.append("]")
    pieces.append("}}")
    return "".join(pieces).encode("ascii")


def _gaps(rows: list[Row], step: int) -> tuple[list[int], list[Row | None]]:
    times: list[int] = []
    with_gaps: list[Row | None] = []
    for row in rows:
        if times and row.time > times[-1] + step:
            times.append(times[-1] + step)
            with_gaps.append(None)
        times.append(row.time)
        with_gaps.append(row)
    return times, with_gaps


def _list(items: Iterator[str]) -> Steps[bytes]:
    pieces = []
    while some := list(islice(items, ROWS // 4)):
        pieces.append(",".join(some))
        yield
    return f"[{','.join(pieces)}]".encode("ascii")


def _unit(kept: Kept, name: str) -> str:
    if name.endswith(".rate") and not isinstance(kept.metric, Gauge):
        return "a second"
    return "seconds" if isinstance(kept.metric, Timer) else ""


def _shown(number: float) -> str:
    return f"{number:.7g}" if isfinite(number) else "null"
