"""Graphite plaintext: ``name value timestamp`` and a newline, in chunks of whole lines.

Nothing that a name or a value holds can break a line or add one: a name is written only if ``names.check`` lets it
pass (and is remembered then, for the next report), and a value is a number that we have written.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping
from math import isfinite
from sys import float_info
from typing import Any, NamedTuple, TypeAlias, TypeVar

from zope.interface import implementer

from txmetrics import names
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import SHAPES, Reading, TimerReading
from txmetrics.wire._dialects import DIALECTS, DIGITS, STATISTICS, Dialect

__all__ = ["Graphite"]

FULL = 20_000
"""A chunk of so many bytes is full. The reading that fills it may, with the longest names there are, be 38,000 long."""

UNITS = {"seconds": 1, "milliseconds": 1000}

_LARGEST = float_info.max
_ORDINARY = 1e300
_DURATIONS = frozenset({"sum", "max", "mean", "min", "stddev", "p50", "p75", "p95", "p98", "p99", "p999"})
_PLAIN = frozenset({int, float})

VERBATIM = "%r"

SPARE = 10_000
"""So many names are remembered besides twice those that the last report had."""

T = TypeVar("T")


class _Line(NamedTuple):
    """One line of a reading."""

    place: int
    """Of the value, among the reading's numbers."""
    between: str
    """What stands between the metric's name and the value."""
    factor: int
    form: str
    """How the value is written, by ``%``."""


class _Shape(NamedTuple):
    """The lines of all readings of one kind that have the same fields."""

    lines: tuple[_Line, ...]
    pieces: list[str]
    """What stands around the metric's name: joined by it they are all lines, to be filled with the values by ``%``."""
    as_read: bool
    """Whether the values are just the numbers."""


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
        unit = _one_of(durations, UNITS, "durations")
        self._shapes = _shapes(_one_of(dialect, DIALECTS, "dialect"), STATISTICS[dialect], unit)
        self._known: set[str] = set()
        self._latest: _Lines | None = None

    def encoder(self, timestamp: int) -> IEncoder:
        if self._latest is not None and len(self._known) > 2 * self._latest.readings + SPARE:
            self._known.clear()  # of metrics that come and go, the names of those that are gone are in it
        self._latest = _Lines(self._prefix, self._shapes, self._known, int(timestamp))
        return self._latest


def _one_of(word: str, choices: Mapping[str, T], what: str) -> T:
    try:
        return choices[word]
    except KeyError:
        raise ValueError(f"{what} {word!r} is unknown; choose one of {', '.join(choices)}") from None


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
            f".{name} " if name else " ",
            unit if kind is TimerReading and field in _DURATIONS else 1,
            f"%.{DIGITS}g" if field in rounded else VERBATIM,
        )
        for field, name in names_.items()
        if field in fields
    )
    pieces = ["", *(f"{line.between}{line.form}" for line in lines)]
    as_read = [(line.place, line.factor) for line in lines] == [(place, 1) for place in range(len(fields))]
    return _Shape(lines, pieces, as_read)


@implementer(IEncoder)
class _Lines:
    """One report as lines."""

    def __init__(self, prefix: str, shapes: _Shapes, known: set[str], timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self.readings = 0
        """How many are in the chunks that are finished."""
        self._prefix = prefix
        self._known = known
        self._timestamp = timestamp
        self._end = f" {timestamp}\n"
        self._shapes = {
            kind: {size: shape._replace(pieces=self._ended(shape.pieces)) for size, shape in sizes.items()}
            for kind, sizes in shapes.items()
        }
        self._between = {
            kind: sizes[1].lines[0].between for kind, sizes in shapes.items() if len(sizes) == 1 and 1 in sizes
        }
        self._clear()

    def add(self, reading: Reading) -> Chunk | None:
        block = ""
        between = self._between.get(type(reading))
        if between is not None:  # the quickest way, for most are of one number, and most numbers are ordinary ones
            one: Any = reading
            name, number = one
            if type(number) in _PLAIN and -_ORDINARY < number < _ORDINARY and type(name) is str and name in self._known:
                block = f"{self._prefix}{name}{between}{number!r}{self._end}"
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
        lines, pieces, as_read = sizes[len(numbers)]
        if not (type(name) is str and name in self._known) and not self._get_to_know(name):
            self.refused["name"] += len(lines)
            return ""
        name = self._prefix + name
        if _finite(numbers) and "%" not in name:
            values = numbers if as_read else tuple([numbers[place] * factor for place, _, factor, _ in lines])
            if as_read or _finite(values):
                return name.join(pieces) % values
        return self._line_by_line(name, numbers, lines)

    def _get_to_know(self, name: object) -> bool:
        """Whether a line can carry the name, which is remembered then."""
        if type(name) is not str:
            return False
        try:
            names.check(name)
        except ValueError:
            return False
        self._known.add(name)
        return True

    def _line_by_line(self, name: str, numbers: tuple[object, ...], lines: tuple[_Line, ...]) -> str:
        block = ""
        for place, between, factor, form in lines:
            number = _number(numbers[place], factor, form)
            if number is None:
                self.refused["value"] += 1
            else:
                block += f"{name}{between}{number}{self._end}"
        return block


def _finite(values: tuple[Any, ...]) -> bool:
    """Whether all are just floats and integers, as nearly always, and such as a double can hold."""
    try:
        return _PLAIN.issuperset(map(type, values)) and isfinite(sum(values))  # which NaN and infinities spoil
    except OverflowError:  # an integer
        return False


def _number(value: object, factor: int, form: str) -> str | None:
    """``value`` times ``factor`` in decimal, None unless that is a finite number that a double can hold."""
    number: Any = value
    kind = type(value)  # not __class__, about which a mock lies
    if kind is not float and kind is not int:
        if issubclass(kind, str | bytes | bytearray):  # float() would read text
            return None
        try:
            number = float(number)  # a bool, a Decimal, a numpy scalar
        except Exception:  # whatever somebody else's number may raise
            return None
    number *= factor
    if not -_LARGEST <= number <= _LARGEST:
        return None
    return repr(number) if form == VERBATIM else form % number
