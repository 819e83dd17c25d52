"""The fakes that the tests of txmetrics use, for yours: a clock, and a Graphite that remembers what it was sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.basic import LineOnlyReceiver

from txmetrics.clock import Clock

__all__ = ["FakeReactor", "GraphiteReceiver", "Point"]


class FakeReactor(MemoryReactorClock):
    """A reactor without a network, whose time passes by ``advance(seconds)`` only.

    ``clock`` shows the same time to a registry: ``MetricsRegistry(reactor.clock)``. It starts at 1,000,000,000
    seconds after the epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1_000_000_000.0
        self.clock = Clock(wall=self.seconds, tick=self.seconds)


class Point(NamedTuple):
    """One line as Graphite understands it."""

    name: str
    value: float
    timestamp: int


class GraphiteReceiver(Factory):
    """A server factory for any endpoint: reads Graphite plaintext and keeps it in memory.

    ``points`` are all that arrived, in order; ``wrong`` the lines that are no three parts of name, number and
    timestamp. ``on_point`` is called with each point. Its protocols work on a StringTransport, too.
    """

    noisy = False

    def __init__(self, on_point: Callable[[Point], None] | None = None) -> None:
        self.points: list[Point] = []
        self.wrong: list[bytes] = []
        self.connections = 0
        self._on_point = on_point

    def buildProtocol(self, addr: object) -> _Lines:
        self.connections += 1
        return _Lines(self)

    def names(self) -> set[str]:
        """The names that arrived."""
        return {point.name for point in self.points}

    def values(self, name: str) -> dict[int, float]:
        """What is stored under ``name``, by timestamp; as in carbon the last value of a second wins."""
        return {point.timestamp: point.value for point in self.points if point.name == name}

    def latest(self, name: str) -> float | None:
        """The value with the latest timestamp, None if nothing came under ``name``."""
        values = self.values(name)
        return values[max(values)] if values else None

    def line_arrived(self, line: bytes) -> None:
        try:
            name, value, timestamp = line.decode("ascii").split()
            point = Point(name, float(value), int(timestamp))
        except ValueError:
            self.wrong.append(line)
            return
        self.points.append(point)
        if self._on_point is not None:
            self._on_point(point)


class _Lines(LineOnlyReceiver):
    delimiter = b"\n"

    def __init__(self, receiver: GraphiteReceiver) -> None:
        self._receiver = receiver

    def lineReceived(self, line: bytes) -> None:
        self._receiver.line_arrived(line)
