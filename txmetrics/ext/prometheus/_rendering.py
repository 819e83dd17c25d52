"""A rendering: a whole exposition, written down and compressed a small step at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from txmetrics.ext.prometheus._catalogue import A_STEP, Catalogue
from txmetrics.snapshot import Reading
from txmetrics.wire import Family

__all__ = ["Body", "Compression", "Format", "Rendering"]

CHUNK = 16_000
"""A chunk of so many bytes is full."""

LEVEL = 4
"""Of zlib: 6, its own choice, takes half as long again for 7 % less."""

GZIP = 16 + zlib.MAX_WBITS


class Format(Protocol):
    """How an exposition is written down; see ``txmetrics.wire``."""

    content_type: str
    end: bytes

    def head(self, family: Family, size: int) -> bytes: ...

    def block(self, family: Family, labels: str, reading: Reading) -> bytes | None: ...


class Body(NamedTuple):
    """What is sent, not to be changed any more."""

    began: float
    """When the rendering began, by the registry's clock."""
    chunks: tuple[bytes, ...]
    size: int
    """Of all chunks, in bytes."""


class _Chunks:
    """Puts pieces together to chunks."""

    def __init__(self) -> None:
        self.size = 0
        """Of all pieces, in bytes."""
        self._full: list[bytes] = []
        self._pieces: list[bytes] = []
        self._room = CHUNK

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)
        self._room -= len(piece)
        if self._room <= 0:
            self._full.append(b"".join(self._pieces))
            self._pieces.clear()
            self._room = CHUNK

    def all(self) -> tuple[bytes, ...]:
        """Everything, in chunks."""
        return (*self._full, b"".join(self._pieces)) if self._pieces else tuple(self._full)


class Rendering:
    """All that is in the catalogue, in one format.

    ``unreadable`` is how many metrics had no value that could be told.
    """

    def __init__(self, catalogue: Catalogue, format: Format, began: float) -> None:
        self._catalogue = catalogue
        self._format = format
        self._began = began
        self._chunks = _Chunks()
        self._read = 0
        self.unreadable = 0

    def steps(self) -> Iterator[None]:
        yield from self._catalogue.update()
        for family in self._catalogue.families():
            yield from self._family(family)
        self._chunks.add(self._format.end)

    def body(self) -> Body:
        """After the last step."""
        return Body(self._began, self._chunks.all(), self._chunks.size)

    def _family(self, family: Family) -> Iterator[None]:
        block = self._format.block
        metrics = _Chunks()
        for labels, reading in self._catalogue.readings(family):
            piece = block(family, labels, reading)
            if piece is None:
                self.unreadable += 1
            else:
                metrics.add(piece)
            self._read += 1
            if family.type == "histogram" or self._read % A_STEP == 0:
                yield
        if size := metrics.size:
            self._chunks.add(self._format.head(family, size))
            for chunk in metrics.all():
                self._chunks.add(chunk)


class Compression:
    """The same ``body`` for ``Content-Encoding: gzip``, a chunk a step."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._chunks = _Chunks()

    def steps(self) -> Iterator[None]:
        deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
        for chunk in self._body.chunks:
            self._chunks.add(deflate.compress(chunk))
            yield
        self._chunks.add(deflate.flush())

    def body(self) -> Body:
        """After the last step."""
        return Body(self._body.began, self._chunks.all(), self._chunks.size)
