"""A registry, a reporter and a Graphite in virtual time, and gauges that take their time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.delivery.network import Endpoint
from txmetrics import MetricsRegistry
from txmetrics.delivery import Stream
from txmetrics.reporter import Backend, Reporter
from txmetrics.testing import FakeReactor, GraphiteReceiver
from txmetrics.wire import Graphite

BEGIN = 1_000_000_000
"""When a FakeReactor begins: a multiple of ten."""


class Rig:
    """A registry, a reporter and a Graphite in virtual time, with a network in memory between them."""

    def __init__(
        self,
        interval: float = 10,
        reactor: FakeReactor | None = None,
        registry: Any = None,
        *,
        deltas: bool = False,
        graphite: GraphiteReceiver | None = None,
    ) -> None:
        self.reactor = FakeReactor() if reactor is None else reactor
        self.registry = MetricsRegistry(self.reactor.clock) if registry is None else registry
        self.wire: Any = Graphite(deltas=deltas)
        self.between: Callable[[Stream], Any] = lambda stream: stream
        self.endpoint = Endpoint(self.reactor)
        self.graphite = GraphiteReceiver() if graphite is None else graphite
        self.streams: list[Stream] = []
        self.pipe: Any = None
        self.reporter = Reporter(self.registry, self.backend, interval, deltas=deltas, reactor=self.reactor)

    def backend(self, reactor: Any) -> Backend:
        self.streams.append(Stream(reactor, self.endpoint, "tcp:graphite:2003", random=lambda: 0.0))
        return Backend(self.wire, self.between(self.streams[-1]))

    def start(self) -> Rig:
        """Start the reporter, and let Graphite accept."""
        self.reporter.startService()
        self.accept()
        return self

    def accept(self) -> None:
        self.pipe = self.endpoint.latest.accept(peer=self.graphite.buildProtocol(None))

    def stop(self) -> list[None]:
        """Stop the reporter; the list holds the answer once there is one."""
        answers: list[None] = []
        self.reporter.stopService().addCallback(answers.append)
        return answers

    def advance(self, seconds: float) -> None:
        """In steps of an eighth, which adds up without a rounding."""
        for _ in range(round(seconds * 8)):
            self.reactor.advance(0.125)

    def stamps(self, name: str = "txmetrics.reports.count") -> list[float]:
        """When the points under `name` were taken, in seconds since `BEGIN`, in the order of their arrival."""
        return [point.timestamp - BEGIN for point in self.graphite.points if point.name == name]

    def latest(self, name: str) -> float | None:
        return self.graphite.latest(name)


class SlowGauges:
    """Gauges of a rig, each reading of which takes so many `seconds`."""

    def __init__(self, rig: Rig, gauges: int, seconds: float) -> None:
        self.names = {f"slow.{number}" for number in range(gauges)}
        self.seconds = seconds
        self._reactor = rig.reactor
        for name in self.names:
            rig.registry.gauge(name, self.read)

    def read(self) -> float:
        self._reactor.rightNow += self.seconds
        return 1.0


READING = 2**-12  # 0.24 milliseconds, and exact in a sum with seconds
