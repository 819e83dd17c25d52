"""Log lines: one a metric and report, in JSON or logfmt, in chunks of whole lines.

    {"time": 1764380000, "name": "http.requests", "count": 3, "p99": 0.2}
    time=1764380000 name=http.requests count=3 p99=0.2

A metric's tags are an object in JSON, and each a word of its own in logfmt, where no field is called like one:

    {"time": 1764380000, "name": "jobs", "tags": {"queue": "mail"}, "count": 3}
    time=1764380000 name=jobs tags.queue=mail count=3

Nothing has to be quoted in them, and nothing can break one: a name is written only if ``names.full`` lets it pass,
the fields' names are the dialect's, and a value is a number that we have written.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping
from typing import Any, NamedTuple

from zope.interface import implementer

from txmetrics import names
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import SHAPES, Reading, TimerReading
from txmetrics.wire._dialects import DIALECTS, DIGITS, DURATIONS, STATISTICS, UNITS, one_of
from txmetrics.wire._graphite import FULL
from txmetrics.wire._numbers import VERBATIM, decimal, finite

__all__ = ["LogLines"]


class _Form(NamedTuple):
    """How a line is put together."""

    begin: str
    """Before the name, to be filled with the time by ``%``."""
    close: str
    """After the name."""
    tags: str
    """After that, where there are any, to be filled with them by ``%``."""
    tag: str
    """One of them, to be filled with its name and its value by ``%``."""
    between: str
    """Two of them."""
    field: str
    """Before a value, to be filled with the field's name by ``%``."""
    end: str


FORMS = {
    "json": _Form('{"time": %d, "name": "', '"', ', "tags": {%s}', '"%s": "%s"', ", ", ', "%s": ', "}\n"),
    "logfmt": _Form("time=%d name=", "", " %s", "tags.%s=%s", " ", " %s=", "\n"),
}


class _Field(NamedTuple):
    """One field of a line."""

    place: int
    """Of the value, among the reading's numbers."""
    before: str
    """What stands before the value."""
    factor: int
    form: str
    """How the value is written, by ``%``."""


class _Shape(NamedTuple):
    """The fields of all readings of one kind that have the same ones."""

    fields: tuple[_Field, ...]
    text: str
    """All of them, to be filled with the values by ``%``."""


@implementer(IWire)
class LogLines:
    """A line a reading: the time in seconds since the epoch, the name, its tags, and each field that the reading has.

    ``prefix`` stands before every name, with a dot between. ``form`` is "json" (an object a line) or "logfmt".
    ``dialect`` and ``durations`` are as for ``Graphite``, and so are the digits of the values; a gauge's field is
    ``value`` in both dialects. A point is a value. What is no finite number is left out of its line and counted, and
    a reading without any has no line. Raises ValueError for an argument that is none of these.
    """

    def __init__(
        self, prefix: str = "", dialect: str = "dropwizard", durations: str = "seconds", *, form: str = "json"
    ) -> None:
        self._prefix = f"{names.check(prefix, 'prefix')}." if prefix else ""
        self._form = one_of(form, FORMS, "form")
        unit = one_of(durations, UNITS, "durations")
        self._shapes = {
            kind: {size: _shape(kind, fields, dialect, unit, self._form.field) for size, fields in SHAPES[kind].items()}
            for kind in one_of(dialect, DIALECTS, "dialect")
        }

    def encoder(self, timestamp: int) -> IEncoder:
        return _Lines(self._prefix, self._form, self._shapes, int(timestamp))


def _shape(kind: type, fields: tuple[str, ...], dialect: str, unit: int, before: str) -> _Shape:
    written = tuple(
        _Field(
            fields.index(field),
            before % (name or field),
            unit if kind is TimerReading and field in DURATIONS else 1,
            f"%.{DIGITS}g" if field in STATISTICS[dialect] else VERBATIM,
        )
        for field, name in DIALECTS[dialect][kind].items()
        if field in fields
    )
    return _Shape(written, "".join([field.before + field.form for field in written]))


@implementer(IEncoder)
class _Lines:
    """One report as lines."""

    def __init__(self, prefix: str, form: _Form, shapes: Mapping[type, Mapping[int, _Shape]], timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self._begin = form.begin % timestamp + prefix
        self._form = form
        self._shapes = shapes
        self._timestamp = timestamp
        self._clear()

    def add(self, reading: Reading) -> Chunk | None:
        sizes = self._shapes.get(type(reading))
        if sizes is None:
            self.refused["unreadable"] += 1
            return None
        name: str = reading[0]
        numbers: tuple[Any, ...] = reading.numbers()
        shape = sizes[len(numbers)]
        if not names.is_full(name):
            self.refused["name"] += len(shape.fields)
            return None
        text, points = self._written(numbers, shape)
        if points:
            line = f"{self._begin}{self._named(name)}{text}{self._form.end}"
            self._lines.append(line)
            self._size += len(line)
            self._points += points
        return self.finish() if self._size >= FULL else None

    def finish(self) -> Chunk | None:
        data, points = "".join(self._lines).encode("ascii"), self._points
        self._clear()
        return Chunk(data, points, self._timestamp) if points else None

    def _named(self, name: str) -> str:
        """The name as it stands in a line, and its tags."""
        form = self._form
        if ";" not in name:
            return name + form.close
        tags = form.between.join([form.tag % tag for tag in names.tags_of(name).items()])
        return f"{name.partition(';')[0]}{form.close}{form.tags % tags}"

    def _clear(self) -> None:
        self._lines: list[str] = []
        self._size = self._points = 0

    def _written(self, numbers: tuple[Any, ...], shape: _Shape) -> tuple[str, int]:
        """The fields of a line, and how many they are."""
        if finite(numbers):
            values = tuple([numbers[place] * factor for place, _, factor, _ in shape.fields])
            if finite(values):
                return shape.text % values, len(values)
        told = []
        for place, before, factor, form in shape.fields:
            number = decimal(numbers[place], factor, form)
            if number is None:
                self.refused["value"] += 1
            else:
                told.append(before + number)
        return "".join(told), len(told)
