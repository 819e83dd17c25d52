"""Graphite plaintext: ``name value timestamp`` and a newline, in chunks of whole lines.

Nothing that a name or a value holds can break a line or add one: a name is written only if ``names.full`` lets it
pass (and is remembered then, for the next report), and a value is a number that we have written. A metric's tags stand
behind the field, ``jobs.count;queue=mail``.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from zope.interface import implementer

from txmetrics import names
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import HistogramReading, Reading, TimerReading
from txmetrics.wire._graphite_buckets import BUCKET_TAG, Buckets
from txmetrics.wire._graphite_names import Names
from txmetrics.wire._graphite_shapes import Line, Shapes, shapes_of
from txmetrics.wire._numbers import PLAIN, decimal, finite

__all__ = ["Graphite"]

FULL = 20_000
"""A chunk of so many bytes is full. The reading that fills it may, with the longest names there are, be 38,000 long,
and its buckets 500,000."""

_ORDINARY = 1e300

SPARE = 10_000
"""So many names are remembered besides twice those that the last report had."""


@implementer(IWire)
class Graphite:
    """Graphite's plaintext protocol.

    ``prefix`` stands before every name, with a dot between. ``dialect`` is "dropwizard" or "pyformance".
    ``durations`` is "seconds" or "milliseconds": the unit of a timer's fields; its rates are per second always.
    ``tags`` are on every line. With ``deltas`` the readings' counts and sums are those since the last report, and are
    called so; then ``buckets`` and ``slo`` say which histograms have buckets, as in ``Buckets``.
    Raises ValueError for an argument that is none of these.

    What was counted, set or added up is written with the full precision of a double, and so is all in pyformance's
    dialect; the statistics in Dropwizard's have 14 significant digits.
    """

    def __init__(
        self,
        prefix: str = "",
        dialect: str = "dropwizard",
        durations: str = "seconds",
        *,
        tags: Mapping[str, str] = MappingProxyType({}),
        deltas: bool = False,
        buckets: Iterable[str] = (),
        slo: Mapping[str, Sequence[float]] = MappingProxyType({}),
    ) -> None:
        self._shapes = shapes_of(dialect, durations, deltas)
        self._buckets = Buckets(buckets, slo)
        if self._buckets and not deltas:
            raise ValueError(
                "buckets and slo tell what happened since the last report, and so must counts and sums; "
                "give the temporality 'delta' with them"
            )
        if self._buckets and BUCKET_TAG in tags:
            raise ValueError(f"tag {BUCKET_TAG!r} is that of the buckets; call it otherwise")
        self._names = Names(
            f"{names.check(prefix, 'prefix')}." if prefix else "", tags, {BUCKET_TAG} if self._buckets else set()
        )
        self._latest: _Lines | None = None

    def encoder(self, timestamp: int) -> IEncoder:
        if self._latest is not None and len(self._names) > 2 * self._latest.readings + SPARE:
            self._names.clear()  # of metrics that come and go, the names of those that are gone are in it
        self._latest = _Lines(self._names, self._shapes, self._buckets, int(timestamp))
        return self._latest


@implementer(IEncoder)
class _Lines:
    """One report as lines."""

    def __init__(self, known: Names, shapes: Shapes, buckets: Buckets, timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self.readings = 0
        """How many are in the chunks that are finished."""
        self._names = known
        self._prefix = known.prefix
        self._bare, self._tagged = known.bare, known.tagged
        self._buckets = buckets
        self._timestamp = timestamp
        self._end = f" {timestamp}\n"
        self._shapes = {
            kind: {
                size: shape._replace(pieces=self._ended(shape.pieces), tagged=self._ended(shape.tagged))
                for size, shape in sizes.items()
            }
            for kind, sizes in shapes.items()
        }
        self._only = {
            kind: (sizes[1].lines[0].field, known.heads[kind])
            for kind, sizes in shapes.items()
            if len(sizes) == 1 and 1 in sizes
        }
        """Of a kind that is one number: its field, and what stands before the number if there are tags."""
        self._clear()

    def add(self, reading: Reading) -> Chunk | None:
        block = ""
        only = self._only.get(type(reading))
        if only is not None:  # the quickest way, for most are of one number, and most numbers are ordinary ones
            one: Any = reading
            name, number = one
            if type(number) in PLAIN and -_ORDINARY < number < _ORDINARY and type(name) is str:
                field, heads = only
                if name in self._bare:
                    block = f"{self._prefix}{name}{field} {number!r}{self._end}"
                elif (head := heads.get(name) or self._head(name, field, heads)) is not None:
                    block = f"{head}{number!r}{self._end}"
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
        known = self._place(name)
        if known is None:
            self.refused["name"] += len(lines)
            return ""
        path, tags = known
        block = ""
        if finite(numbers) and "%" not in path and "%" not in tags:
            values = numbers if as_read else tuple([numbers[place] * factor for place, _, factor, _ in lines])
            if as_read or finite(values):
                block = (path.join(tagged).replace(";", tags) if tags else path.join(pieces)) % values
        block = block or self._line_by_line(path, tags, numbers, lines)
        if self._buckets and isinstance(reading, HistogramReading | TimerReading):
            block += self._buckets.lines(name, reading.spread, known, self._end, self.refused)
        return block

    def _head(self, name: str, field: str, heads: dict[str, str]) -> str | None:
        """What stands before the number of a name that has only one; None if a line cannot carry it."""
        place = self._names.place(name)
        if place is None:
            return None
        path, tags = place
        head = f"{path}{field}{tags} "
        if tags:
            heads[name] = head
        return head

    def _place(self, name: str) -> tuple[str, str] | None:
        """What stands before the fields of that name, and behind them; None if a line cannot carry it."""
        if type(name) is str:
            if name in self._bare:
                return self._prefix + name, ""
            if name in self._tagged:
                return self._tagged[name]
        place = self._names.place(name)
        if place is not None and place[1]:
            self._tagged[name] = place
        return place

    def _line_by_line(self, path: str, tags: str, numbers: tuple[object, ...], lines: tuple[Line, ...]) -> str:
        block = ""
        for place, field, factor, form in lines:
            number = decimal(numbers[place], factor, form)
            if number is None:
                self.refused["value"] += 1
            else:
                block += f"{path}{field}{tags} {number}{self._end}"
        return block
