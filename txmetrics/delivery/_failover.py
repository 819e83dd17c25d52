"""Failover: several endpoints for one connection at a time, the best one first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

__all__ = ["Failover"]


@implementer(IStreamClientEndpoint)
class Failover:
    """Connects to that one of ``ways`` whose turn it is: to the first, and in their order to the others.

    ``ways`` are one endpoint or more, by what the log calls them. Whoever connects says how it went: the turn changes
    with ``lost`` and ``begin_again`` only.
    """

    def __init__(self, ways: Mapping[str, IStreamClientEndpoint]) -> None:
        self._ways = list(ways.items())
        self._turn = 0

    @property
    def where(self) -> str:
        """What the log calls the one whose turn it is."""
        return self._ways[self._turn][0]

    @property
    def number(self) -> int:
        """Which one's turn it is; 1 is the first's."""
        return self._turn + 1

    def connect(self, factory: Any) -> Deferred[Any]:
        return self._ways[self._turn][1].connect(factory)

    def lost(self, good: bool) -> bool:
        """The connection is lost, or was not made: after a good one it is the first one's turn, else the next one's.

        Whether that is one that has not had its turn since the first one's.
        """
        self._turn = 0 if good else (self._turn + 1) % len(self._ways)
        return self._turn > 0

    def begin_again(self) -> None:
        """It is the first one's turn."""
        self._turn = 0
