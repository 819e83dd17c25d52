"""One report written down: what a wire makes of readings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from txmetrics.interfaces import Chunk

STAMP = 1_700_000_000


def encode(readings: Iterable[Any], wire: Any) -> tuple[list[Chunk], dict[str, int]]:
    """The chunks of a report of the second STAMP, and how many values were refused, by reason."""
    encoder = wire.encoder(STAMP)
    chunks = [encoder.add(reading) for reading in readings]
    chunks.append(encoder.finish())
    return [chunk for chunk in chunks if chunk is not None], dict(encoder.refused)
