"""Graphite plaintext: ``name value timestamp`` and a newline, in chunks of whole lines.

Nothing that a name or a value holds can break a line or add one: a name is written only if ``names.full`` lets it
pass (and is remembered then, for the next report), and a value is a number that we have written. A metric's tags stand
behind the field, ``jobs.count;queue=mail``.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from zope.interface import implementer

from txmetrics import names
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import SHAPES, Reading, TimerReading
from txmetrics.wire._dialects import DIALECTS, DIGITS, DURATIONS, STATISTICS, UNITS, Dialect, one_of
from txmetrics.wire._numbers import PLAIN, VERBATIM, decimal, finite

__all__ = ["Graphite"]

FULL = 20_000
"""A chunk of so many bytes is full. The reading that fills it may, with the longest names there are, be 38,000 long."""

_ORDINARY = 1e300

SPARE = 10_000
"""So many names are remembered besides twice those that the last report had."""


class _Line(NamedTuple):
    """One line of a reading."""

    place: int
    """Of the value, among the reading's numbers."""
    field: str
    """What stands behind the metric's name."""
    factor: int
    form: str
    """How the value is written, by ``%``."""


class _Shape(NamedTuple):
    """The lines of all readings of one kind that have the same fields."""

    lines: tuple[_Line, ...]
    pieces: list[str]
    """What stands around the metric's name: joined by it they are all lines, to be filled with the values by ``%``."""
    tagged: list[str]
    """The same for one with tags: these belong in the place of each ``;``."""
    as_read: bool
    """Whether the values are just the numbers."""


class _Known(NamedTuple):
    """The names that were let pass before."""

    bare: set[str]
    """Those without tags."""
    tagged: set[str]


_Shapes: TypeAlias = Mapping[type, Mapping[int, _Shape]]
"""By the kind of reading, and by how many numbers it has."""


@implementer(IWire)
class Graphite:
    """Graphite's plaintext protocol.

    ``prefix`` stands before every name, with a dot between. ``dialect`` is "dropwizard" or "pyformance".
    ``durations`` is "seconds" or "milliseconds": the unit of a timer's fields; its rates are per second always.
    Raises ValueError for an argument that is none of these.

    What was counted, set or added up is written with the full precision of a double, and so is all in pyformance's
    dialect; the statistics in Dropwizard's have 14 significant digits.
    """

    def __init__(self, prefix: str = "", dialect: str = "dropwizard", durations: str = "seconds") -> None:
        self._prefix = f"{names.check(prefix, 'prefix')}." if prefix else ""
        unit = one_of(durations, UNITS, "durations")
        self._shapes = _shapes(one_of(dialect, DIALECTS, "dialect"), STATISTICS[dialect], unit)
        self._known = _Known(set(), set())
        self._latest: _Lines | None = None

    def encoder(self, timestamp: int) -> IEncoder:
        if self._latest is not None and sum(map(len, self._known)) > 2 * self._latest.readings + SPARE:
            # Of metrics that come and go, the names of those that are gone are in it.
            self._known = _Known(set(), set())
        self._latest = _Lines(self._prefix, self._shapes, self._known, int(timestamp))
        return self._latest


def _shapes(dialect: Dialect, rounded: frozenset[str], unit: int) -> _Shapes:
    return {
        kind: {size: _shape(kind, fields, names_, rounded, unit) for size, fields in SHAPES[kind].items()}
        for kind, names_ in dialect.items()
    }


def _shape(
    kind: type, fields: tuple[str, ...], names_: Mapping[str, str], rounded: frozenset[str], unit: int
) -> _Shape:
    lines = tuple(
        _Line(
            fields.index(field),
            f".{name}" if name else "",
            unit if kind is TimerReading and field in DURATIONS else 1,
            f"%.{DIGITS}g" if field in rounded else VERBATIM,
        )
        for field, name in names_.items()
        if field in fields
    )
    pieces = ["", *(f"{line.field} {line.form}" for line in lines)]
    tagged = ["", *(f"{line.field}; {line.form}" for line in lines)]
    as_read = [(line.place, line.factor) for line in lines] == [(place, 1) for place in range(len(fields))]
    return _Shape(lines, pieces, tagged, as_read)


@implementer(IEncoder)
class _Lines:
    """One report as lines."""

    def __init__(self, prefix: str, shapes: _Shapes, known: _Known, timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self.readings = 0
        """How many are in the chunks that are finished."""
        self._prefix = prefix
        self._bare, self._tagged = known
        self._timestamp = timestamp
        self._end = f" {timestamp}\n"
        self._shapes = {
            kind: {
                size: shape._replace(pieces=self._ended(shape.pieces), tagged=self._ended(shape.tagged))
                for size, shape in sizes.items()
            }
            for kind, sizes in shapes.items()
        }
        only = {kind: sizes[1].lines[0].field for kind, sizes in shapes.items() if len(sizes) == 1 and 1 in sizes}
        self._only = {kind: (f"{field} ", f"{field};") for kind, field in only.items()}
        """Of a kind that is one number: what stands behind the name, and what between name and tags."""
        self._clear()

    def add(self, reading: Reading) -> Chunk | None:
        block = ""
        only = self._only.get(type(reading))
        if only is not None:  # the quickest way, for most are of one number, and most numbers are ordinary ones
            one: Any = reading
            name, number = one
            if type(number) in PLAIN and -_ORDINARY < number < _ORDINARY and type(name) is str:
                if name in self._bare:
                    block = f"{self._prefix}{name}{only[0]}{number!r}{self._end}"
                elif name in self._tagged:
                    block = f"{self._prefix}{name.replace(';', only[1], 1)} {number!r}{self._end}"
        block = block or self._block(reading)
        self._blocks.append(block)
        self._size += len(block)
        return self.finish() if self._size >= FULL else None

    def finish(self) -> Chunk | None:
        data = "".join(self._blocks).encode("ascii")
        self.readings += len(self._blocks)
        self._clear()
        return Chunk(data, data.count(b"\n"), self._timestamp) if data else None

    def _clear(self) -> None:
        self._blocks: list[str] = []
        self._size = 0

    def _ended(self, pieces: list[str]) -> list[str]:
        first, *others = pieces
        return [first, *(piece + self._end for piece in others)]

    def _block(self, reading: Reading) -> str:
        """The lines of one reading."""
        sizes = self._shapes.get(type(reading))
        if sizes is None:
            self.refused["unreadable"] += 1
            return ""
        name: str = reading[0]
        numbers: tuple[Any, ...] = reading.numbers()
        lines, pieces, tagged, as_read = sizes[len(numbers)]
        if not (type(name) is str and (name in self._bare or name in self._tagged)) and not self._get_to_know(name):
            self.refused["name"] += len(lines)
            return ""
        path, semicolon, tags = name.partition(";")
        path, tags = self._prefix + path, semicolon + tags
        if finite(numbers) and "%" not in path and "%" not in tags:
            values = numbers if as_read else tuple([numbers[place] * factor for place, _, factor, _ in lines])
            if as_read or finite(values):
                return (path.join(tagged).replace(";", tags) if tags else path.join(pieces)) % values
        return self._line_by_line(path, tags, numbers, lines)

    def _get_to_know(self, name: str) -> bool:
        """Whether a line can carry the name, which is remembered then."""
        if not names.is_full(name):
            return False
        (self._tagged if ";" in name else self._bare).add(name)
        return True

    def _line_by_line(self, path: str, tags: str, numbers: tuple[object, ...], lines: tuple[_Line, ...]) -> str:
        block = ""
        for place, field, factor, form in lines:
            number = decimal(numbers[place], factor, form)
            if number is None:
                self.refused["value"] += 1
            else:
                block += f"{path}{field}{tags} {number}{self._end}"
        return block
