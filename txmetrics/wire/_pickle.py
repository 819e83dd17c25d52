"""Graphite's pickle protocol: a length, then a pickle of ``[(path, (timestamp, value)), ...]``.

A frame is a chunk of the plaintext wire in another form, so both wires have the same fields, the same refusals and
the same bounds: a chunk's lines make a frame of at most 100,000 bytes, 700,000 with buckets, and carbon hangs up on one
of over 1,048,576. A value is the number that stands in the line. Nothing here reads a pickle.
"""

from __future__ import annotations

from pickle import dumps
from struct import pack

from zope.interface import implementer

from txmetrics.interfaces import Chunk, IEncoder
from txmetrics.snapshot import Reading
from txmetrics.wire._graphite import Graphite

__all__ = ["Pickle"]

PROTOCOL = 2
"""The one that the receivers' documents name; it holds plain str, int and float without naming any class."""


class Pickle(Graphite):
    """Graphite's pickle protocol, a frame a chunk; arguments and errors as for ``Graphite``."""

    def encoder(self, timestamp: int) -> IEncoder:
        return _Frames(super().encoder(timestamp))


@implementer(IEncoder)
class _Frames:
    """One report as frames."""

    def __init__(self, lines: IEncoder) -> None:
        self._lines = lines
        self.refused = lines.refused

    def add(self, reading: Reading) -> Chunk | None:
        chunk = self._lines.add(reading)
        return None if chunk is None else _framed(chunk)

    def finish(self) -> Chunk | None:
        chunk = self._lines.finish()
        return None if chunk is None else _framed(chunk)


def _framed(chunk: Chunk) -> Chunk:
    """``chunk`` with its lines as one frame."""
    stamp = chunk.timestamp
    words = chunk.data.decode("ascii").split()
    points = [(path, (stamp, _number(value))) for path, value in zip(words[::3], words[1::3], strict=True)]
    data = dumps(points, PROTOCOL)
    return chunk._replace(data=pack("!L", len(data)) + data)


def _number(text: str) -> int | float:
    return float(text) if "." in text or "e" in text else int(text)
