"""Graphite plaintext: ``name value timestamp`` and a newline, in chunks of whole lines.

Nothing that a name or a value holds can break a line or add one, and no name is written that ``names.check`` would
refuse. Lines are built as if all names were of the right characters, and each chunk is then checked as a whole, on
the very bytes that will be sent: only the alphabet of a line, two spaces and one newline a line. Where that fails, the
readings that spoil it are found, left out and counted.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping
from sys import float_info
from typing import Any, TypeAlias, TypeVar

from zope.interface import implementer

from txmetrics import names
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import Reading, TimerReading
from txmetrics.wire._dialects import DIALECTS, Dialect

__all__ = ["Graphite"]

LINES = 500
SIZE = 65_536
"""A chunk has at most so many lines (and one reading's more) and at most so many bytes."""

UNITS = {"seconds": 1, "milliseconds": 1000}

_ALPHABET = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.:%@#+- \n"
_LARGEST = float_info.max
_DURATIONS = frozenset({"sum", "max", "mean", "min", "stddev", "p50", "p75", "p95", "p98", "p99", "p999"})

_Table: TypeAlias = tuple[tuple[str, str, int], ...]
"""(field, what stands between the metric's name and the value, factor) for each line of one kind."""

T = TypeVar("T")


@implementer(IWire)
class Graphite:
    """Graphite's plaintext protocol.

    ``prefix`` stands before every name, with a dot between. ``dialect`` is "dropwizard" or "pyformance".
    ``durations`` is "seconds" or "milliseconds": the unit of a timer's fields; its rates are per second always.
    Numbers have the full precision of a double. Raises ValueError for an argument that is none of these.
    """

    def __init__(self, prefix: str = "", dialect: str = "dropwizard", durations: str = "seconds") -> None:
        self._prefix = f"{names.check(prefix, 'prefix')}." if prefix else ""
        unit = _one_of(durations, UNITS, "durations")
        self._tables = _tables(_one_of(dialect, DIALECTS, "dialect"), unit)

    def encoder(self, timestamp: int) -> IEncoder:
        return _Lines(self._prefix, self._tables, int(timestamp))


def _one_of(word: str, choices: Mapping[str, T], what: str) -> T:
    try:
        return choices[word]
    except KeyError:
        raise ValueError(f"{what} {word!r} is unknown; choose one of {', '.join(choices)}") from None


def _tables(dialect: Dialect, unit: int) -> dict[type, _Table]:
    return {
        kind: tuple(
            (
                field,
                f".{name} " if name else " ",
                unit if kind is TimerReading and field in _DURATIONS else 1,
            )
            for field, name in fields.items()
        )
        for kind, fields in dialect.items()
    }


@implementer(IEncoder)
class _Lines:
    """One report as lines."""

    def __init__(self, prefix: str, tables: Mapping[type, _Table], timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self._prefix = prefix
        self._tables = tables
        self._timestamp = timestamp
        self._end = f" {timestamp}\n"
        self._clear()

    def add(self, reading: Reading) -> Chunk | None:
        block, lines = self._block(reading)
        if not lines:
            return None
        full = self._lines >= LINES or self._size + len(block) > SIZE
        chunk = self.finish() if full else None
        self._blocks.append((block, lines))
        self._lines += lines
        self._size += len(block)
        return chunk

    def finish(self) -> Chunk | None:
        blocks, lines = self._blocks, self._lines
        self._clear()
        data = _bytes(blocks)
        if not _whole(data, lines):
            good = [(block, n) for block, n in blocks if _whole(_bytes([(block, n)]), n)]
            data, kept = _bytes(good), sum(n for _, n in good)
            self.refused["name"] += lines - kept
            lines = kept
        return Chunk(data, lines, self._timestamp) if lines else None

    def _clear(self) -> None:
        self._blocks: list[tuple[str, int]] = []
        self._lines = self._size = 0

    def _block(self, reading: Reading) -> tuple[str, int]:
        """The lines of one reading, and how many they are."""
        table = self._tables.get(type(reading))
        if table is None:
            self.refused["unreadable"] += 1
            return "", 0
        name, fields, end = reading.name, reading.fields(), self._end
        if type(name) is not str or ".." in f".{name}." or (len(name) > names.MAX_PART and not _fits(name)):
            self.refused["name"] += sum(field in fields for field, _, _ in table)
            return "", 0
        name = self._prefix + name
        lines = []
        for field, between, factor in table:
            if field in fields:
                number = _number(fields[field], factor)
                if number is None:
                    self.refused["value"] += 1
                else:
                    lines.append(f"{name}{between}{number}{end}")
        return "".join(lines), len(lines)


def _number(value: object, factor: int) -> str | None:
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
    return repr(number) if -_LARGEST <= number <= _LARGEST else None


def _bytes(blocks: list[tuple[str, int]]) -> bytes:
    return "".join([block for block, _ in blocks]).encode("ascii", "replace")


def _fits(name: str) -> bool:
    """Whether ``name`` is short enough, as a whole and between its dots."""
    return len(name) <= names.MAX_PATH and max(map(len, name.split("."))) <= names.MAX_PART


def _whole(data: bytes, lines: int) -> bool:
    """Whether ``data`` is exactly ``lines`` lines of three parts, in the alphabet of a line."""
    return data.count(b"\n") == lines and data.count(b" ") == 2 * lines and not data.translate(None, _ALPHABET)
