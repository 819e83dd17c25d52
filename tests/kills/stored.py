"""What carbon has on its disk of what was issued, and what became of it all."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.carbon import Carbon
from tests.kills.journal import Life
from txmetrics.testing import Point

LAST = 60.0
"""Seconds within which carbon writes what it has read, on a busy machine."""

Key = tuple[str, int]
"""The name of a series, and a second."""


class Issued:
    """The points of one life or of several."""

    def __init__(self, *lives: Life) -> None:
        self.values: dict[Key, set[float]] = defaultdict(set)
        """More than one only if two lives have met in a second."""
        for life in lives:
            for name, value, timestamp in life.points:
                self.values[name, timestamp].add(value)

    def names(self) -> set[str]:
        return {name for name, _ in self.values}


class Compared(NamedTuple):
    """What carbon has on its disk of what it should have, and besides."""

    missing: list[Key]
    foreign: list[Any]


def compare(carbon: Carbon, issued: Issued, keys: set[Key], prefix: str) -> Compared:
    """Look for ``keys`` on disk until carbon has written all that it holds; all else there must have been issued."""
    holds_nothing, end = 0, time.monotonic() + LAST
    back = int(time.time() - min(stamp for _, stamp in issued.values) + LAST) + 10
    while True:
        stored = {
            (name, stamp): value for name in issued.names() for stamp, value in carbon.stored(name, back=back).items()
        }
        missing = sorted(keys - stored.keys())
        if not missing or holds_nothing == 2 or time.monotonic() > end:
            break
        # While it writes a point carbon has it in neither place, so it is asked more than once.
        holds_nothing = 0 if any(carbon.cached(name) for name in {name for name, _ in missing}) else holds_nothing + 1
        time.sleep(0.5)
    foreign: list[Any] = [name for name in carbon.names() - issued.names() if name.startswith(f"{prefix}.")]
    foreign += [(key, value) for key, value in stored.items() if value not in issued.values.get(key, ())]
    return Compared(missing, foreign)


def keys(points: list[Point]) -> set[Key]:
    return {(point.name, point.timestamp) for point in points}


@dataclass
class Survived:
    """What became of the points of some lives."""

    faults: Tally[str] = field(default_factory=Tally)
    collected: int = 0
    delivered: int = 0
    early: int = 0
    """Points that were called delivered while the child still ran."""
    dropped: Tally[str] = field(default_factory=Tally)
    replayed: int = 0
    losses: Tally[str] = field(default_factory=Tally)
    """Connections that were lost, by reason."""
    missing: list[Key] = field(default_factory=list)
    foreign: list[Any] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def join(self, other: Survived) -> None:
        self.faults += other.faults
        self.dropped += other.dropped
        self.losses += other.losses
        for name in ("collected", "delivered", "early", "replayed", "missing", "foreign", "wrong"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def add(self, life: Life) -> None:
        """The end of a life."""
        self.collected += life.last["collected"] - life.recovered
        self.delivered += life.last["delivered"]
        self.dropped.update(life.last["dropped"])
        self.wrong += life.wrong

    @property
    def good(self) -> bool:
        return not (self.missing or self.foreign or self.wrong or self.dropped.total())

    def __str__(self) -> str:
        return (
            f"{self.faults.total()} faults ({listed(self.faults)}); connections lost: {listed(self.losses) or 0}; "
            f"{self.collected:,} points collected, {self.replayed:,} sent again, {self.delivered:,} delivered "
            f"({self.early:,} of them early), {self.dropped.total():,} dropped, {len(self.missing):,} missing on disk, "
            f"{len(self.foreign):,} foreign, {len(self.wrong):,} complaints"
        )


def listed(tally: Tally[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(tally.items()))
