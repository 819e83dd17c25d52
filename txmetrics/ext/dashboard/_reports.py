"""How the reporters are: connected or not, what waits, what was lost of late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from txmetrics.ext.dashboard._json import finite
from txmetrics.reporter import Reporter

__all__ = ["LATE", "SAMPLES", "Reporters", "Reports"]

Reporters: TypeAlias = Collection[Reporter] | Callable[[], Iterable[Reporter]]

LATE = 30.0
"""Seconds for which a report may wait for a connection until that is bad."""

SAMPLES = 7
"""With ten seconds between two of them, they tell the last minute."""


class Reports:
    """What there is to tell of ``reporters``, which are asked for anew each time if that is a callable."""

    def __init__(self, reporters: Reporters) -> None:
        self._tell: Callable[[], Iterable[Reporter]] = reporters if callable(reporters) else lambda: reporters
        self._dropped: WeakKeyDictionary[Reporter, deque[int]] = WeakKeyDictionary()

    def sample(self) -> None:
        """Remember how much was dropped until now; to be called every ten seconds."""
        for reporter in self._tell():
            self._dropped.setdefault(reporter, deque(maxlen=SAMPLES)).append(_dropped(reporter))

    def told(self) -> list[dict[str, Any]]:
        return [self._one(reporter) for reporter in self._tell()]

    def _one(self, reporter: Reporter) -> dict[str, Any]:
        numbers, ledger = reporter.numbers(), reporter.ledger()
        connected, lag, dropped = bool(numbers.get("connected")), numbers.get("queue_seconds", 0.0), _dropped(reporter)
        samples = self._dropped.get(reporter)
        lately = dropped - samples[0] if samples else 0
        return {
            "where": reporter.where,
            "health": _health(connected, lag, lately),
            "connected": connected,
            "lag": finite(lag),
            "queued": ledger["queued"],
            "dropped": dropped,
            "delivered": ledger["delivered"],
            "collected": ledger["collected"],
            "reports": numbers.get("reports", 0),
        }


def _dropped(reporter: Reporter) -> int:
    return sum(reporter.ledger()["dropped"].values())


def _health(connected: bool, lag: float, lately: int) -> str:
    if lately > 0 or (not connected and lag > LATE):
        return "bad"
    return "good" if connected else "warn"
