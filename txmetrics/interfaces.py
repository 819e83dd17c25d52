"""The three seams: a source of readings, a wire that writes them down, a delivery that carries them away.

All three are called in the reactor's thread only, and none of them blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from zope.interface import Attribute, Interface

from txmetrics.snapshot import Reading

__all__ = ["Chunk", "IDelivery", "IEncoder", "ISource", "IWire", "Ledger"]


class Chunk(NamedTuple):
    """Whole records, ready to send and never changed again."""

    data: bytes
    points: int
    timestamp: int
    """When the values held, in seconds since the epoch; every record in ``data`` carries it."""


class Ledger(NamedTuple):
    """Where every point is that was ever handed over; the others add up to ``collected``, at every moment."""

    collected: int
    delivered: int
    retained: int
    """Written and received, but so recently that a crash of the backend might lose it: kept to be sent again."""
    queued: int
    """In memory, not sent or not acknowledged."""
    spooled: int
    """On disk."""
    dropped: Mapping[str, int]
    """By reason."""


class ISource(Interface):
    """Where readings come from, such as ``MetricsRegistry.reader()``."""

    def collect() -> Iterator[Reading]:
        """All readings, each taken when it is asked for, so that a caller may pause between two of them.

        A metric that cannot be read comes as Unreadable; nothing is raised for it.
        """


class IEncoder(Interface):
    """One report being written down."""

    refused: Mapping[str, int] = Attribute("How many values were not written, by reason.")

    def add(reading: Reading) -> Chunk | None:
        """Write ``reading`` down; the answer is a chunk when one has become full.

        Every field is either in exactly one chunk or counted in ``refused``. Never raises for what a name or
        a value holds.
        """

    def finish() -> Chunk | None:
        """The rest, None if there is none. The encoder is not used again."""


class IWire(Interface):
    """A format."""

    def encoder(timestamp: int) -> IEncoder:
        """A fresh encoder for a report of the second ``timestamp``."""


class IDelivery(Interface):
    """The way to one backend. Takes chunks at any time, in bounded memory."""

    counts: Mapping[str, int] = Attribute("What happened so far, by name: only ever growing numbers.")
    levels: Mapping[str, float] = Attribute("How things stand, by name.")
    ledger: Ledger = Attribute("Where every point is.")

    def start() -> None:
        """Begin to deliver. Chunks may have come before."""

    def deliver(chunk: Chunk) -> None:
        """Take ``chunk`` over. Never raises, never blocks; what it cannot keep it drops and counts."""

    def stop(seconds: float):  # type: ignore[no-untyped-def]  # a Deferred; this floor knows no Twisted
        """Deliver what is there, then end. The answer is a Deferred that fires with None after at most
        ``seconds``; what was not delivered by then is spooled, or dropped and counted."""
