"""The lines that a reading has, by its kind and by which of its fields are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from txmetrics.snapshot import SHAPES, TimerReading
from txmetrics.wire._dialects import DELTAS, DIALECTS, DIGITS, DURATIONS, STATISTICS, UNITS, one_of
from txmetrics.wire._numbers import VERBATIM

__all__ = ["Line", "Shape", "Shapes", "shapes_of"]


class Line(NamedTuple):
    """One line of a reading."""

    place: int
    """Of the value, among the reading's numbers."""
    field: str
    """What stands behind the metric's name."""
    factor: int
    form: str
    """How the value is written, by ``%``."""


class Shape(NamedTuple):
    """The lines of all readings of one kind that have the same fields."""

    lines: tuple[Line, ...]
    pieces: list[str]
    """What stands around the metric's name: joined by it they are all lines, to be filled with the values by ``%``."""
    tagged: list[str]
    """The same for one with tags: these belong in the place of each ``;``."""
    as_read: bool
    """Whether the values are just the numbers."""


Shapes: TypeAlias = Mapping[type, Mapping[int, Shape]]
"""By the kind of reading, and by how many numbers it has."""


def shapes_of(dialect: str, durations: str, deltas: bool) -> Shapes:
    """The shapes in a dialect, with durations in a unit; ``deltas`` says that counts and sums are such.

    Raises ValueError for a dialect or a unit that is none.
    """
    unit = one_of(durations, UNITS, "durations")
    kinds = one_of(dialect, DIALECTS, "dialect")
    if deltas:
        kinds = {
            kind: {**told, **{each: DELTAS[each] for each in told if each in DELTAS}} for kind, told in kinds.items()
        }
    return {
        kind: {size: _shape(kind, fields, told, STATISTICS[dialect], unit) for size, fields in SHAPES[kind].items()}
        for kind, told in kinds.items()
    }


def _shape(kind: type, fields: tuple[str, ...], told: Mapping[str, str], rounded: frozenset[str], unit: int) -> Shape:
    lines = tuple(
        Line(
            fields.index(field),
            f".{name}" if name else "",
            unit if kind is TimerReading and field in DURATIONS else 1,
            f"%.{DIGITS}g" if field in rounded else VERBATIM,
        )
        for field, name in told.items()
        if field in fields
    )
    pieces = ["", *(f"{line.field} {line.form}" for line in lines)]
    tagged = ["", *(f"{line.field}; {line.form}" for line in lines)]
    as_read = [(line.place, line.factor) for line in lines] == [(place, 1) for place in range(len(fields))]
    return Shape(lines, pieces, tagged, as_read)
