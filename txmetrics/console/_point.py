"""One point, as the reporter would write it."""

from __future__ import annotations

from txmetrics import names
from txmetrics.console._seam import Trouble
from txmetrics.interfaces import Chunk
from txmetrics.snapshot import GaugeReading
from txmetrics.wire import Graphite

__all__ = ["point"]


def point(name: str, value: float, timestamp: int) -> Chunk:
    """A line with the name as it stands; Trouble for a name or a value that Graphite cannot take."""
    try:
        name = names.full(name)
    except ValueError as error:
        raise Trouble(str(error)) from None
    encoder = Graphite().encoder(timestamp)
    encoder.add(GaugeReading(name, value))
    chunk = encoder.finish()
    if chunk is None:
        raise Trouble(f"the value {value} is none that Graphite keeps; give a finite number")
    return chunk
