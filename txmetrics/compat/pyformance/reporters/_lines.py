"""Graphite's lines as pyformance wrote them: prefix, name, a dot, field; no dot between prefix and name.

What no line can carry is left out, counted and told once: a name with white space in it, a value that is no number.
"""

from __future__ import annotations

import re
from collections import Counter as Tally
from math import isfinite
from pickle import dumps
from struct import pack
from sys import float_info
from typing import Any, TypeAlias

from twisted.logger import Logger
from zope.interface import implementer

from txmetrics import names
from txmetrics.compat.pyformance.registry import Told
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import Reading

__all__ = ["Frames", "HostedLines", "Lines"]

FULL = 20_000
"""A chunk of so many bytes is full."""

LONGEST = 2 * names.MAX_PATH
"""Characters of a path: with far longer ones carbon would close the connection."""

PICKLE_PROTOCOL = 2
"""The one that the receivers' documents name."""

_HOSTED = re.compile(r"[A-Za-z0-9:._$%#=\-\[\];{}\",]+")

Point: TypeAlias = tuple[str, Any]
"""A path and its value, which is a number or the text of one."""


@implementer(IWire)
class Lines:
    """Lines as pyformance wrote them, with ``prefix`` before every name as it stands."""

    log = Logger()

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._told: set[str] = set()

    def encoder(self, timestamp: int) -> IEncoder:
        return _Points(self, timestamp)

    def path(self, name: object, field: str) -> str | None:
        """The whole name of a value; None if no line can carry it."""
        path = f"{self._prefix}{name}.{field}"
        return path if path.isprintable() and " " not in path and len(path) <= LONGEST else None

    def value(self, value: object) -> Any:
        """A number, or the text of one, as it is to be written; None if it is none."""
        if type(value) is float:
            return value
        if isinstance(value, int):
            return int(value) if -float_info.max <= value <= float_info.max else None
        try:
            text = str(value)
            float(text)
        except Exception:  # whatever somebody else's number may raise
            return None
        return text if [text] == text.split() else None

    def data(self, points: list[Point], timestamp: int) -> bytes:
        """``points`` as they are sent."""
        return "".join([f"{path} {value} {timestamp}\n" for path, value in points]).encode()

    def tell(self, reason: str, name: object, field: str) -> None:
        """Log, once for each ``reason``, what is not sent."""
        if reason not in self._told:
            self._told.add(reason)
            text = "{path!r} is not sent, for its {reason} cannot be; further ones are only left out"
            self.log.warn(text, path=f"{name}.{field}", reason=reason)


class HostedLines(Lines):
    """Lines that HostedGraphite takes: of names that it documents, and of finite numbers.

    It refuses all lines that come together with another one.
    """

    def path(self, name: object, field: str) -> str | None:
        path = super().path(name, field)
        return path if path is not None and _HOSTED.fullmatch(path) else None

    def value(self, value: object) -> Any:
        number = super().value(value)
        return number if number is not None and isfinite(float(number)) else None


class Frames(Lines):
    """The same as frames of Graphite's pickle protocol."""

    def value(self, value: object) -> Any:
        number = super().value(value)
        return float(number) if isinstance(number, str) else number

    def data(self, points: list[Point], timestamp: int) -> bytes:
        data = dumps([(path, (timestamp, value)) for path, value in points], PICKLE_PROTOCOL)
        return pack("!L", len(data)) + data


@implementer(IEncoder)
class _Points:
    """One report being written down."""

    def __init__(self, wire: Lines, timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self._wire = wire
        self._timestamp = timestamp
        self._points: list[Point] = []
        self._size = 0

    def add(self, reading: Reading | Told) -> Chunk | None:
        if not isinstance(reading, Told):  # txmetrics' reporter has numbers of its own, of which pyformance sent none
            return None
        for field, number in reading.fields.items():
            path, value = self._wire.path(reading.name, field), self._wire.value(number)
            if path is None or value is None:
                self._refuse("name" if path is None else "value", reading.name, field)
            else:
                self._points.append((path, value))
                self._size += len(path) + 32
        return self.finish() if self._size >= FULL else None

    def finish(self) -> Chunk | None:
        points, self._points, self._size = self._points, [], 0
        return Chunk(self._wire.data(points, self._timestamp), len(points), self._timestamp) if points else None

    def _refuse(self, reason: str, name: object, field: str) -> None:
        self.refused[reason] += 1
        self._wire.tell(reason, name, field)
