"""The servers that are compared: a hello world, without metrics, and measured with each library in its own way.

Those that measure have a registry of so many values, as the rest of a large server would fill it: of each ten, two
belong to counters, one to gauges, one to meters and six to timers, each of which takes ten values a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall
from twisted.web.resource import IResource, Resource

from benchmarks.costs.operations import peer
from benchmarks.load import BODY, HOST
from txmetrics import MeasuredLog, MeasuredProcess, MeasuredReactor, MetricsRegistry, TimedResource, backends

__all__ = ["NONE", "PEERS", "PROMETHEUS", "PYFORMANCE", "QUIET", "SUBJECTS", "TXMETRICS", "Bare"]

NONE, TXMETRICS, QUIET = "none", "txmetrics", "txmetrics, no reports"
PYFORMANCE, PROMETHEUS = "pyformance", "prometheus_client"

Add = Callable[[float], object]


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return BODY


class Bare:
    """No metrics; the others override what they have more.

    ``values`` is how many of them a report has, about, and ``sink`` the port that takes the reports.
    """

    timers: Sequence[Add] = ()
    """They take ten values a second each, from outside."""

    def __init__(self, values: int, sink: int) -> None:
        self.resource: IResource = Hello()

    def start(self) -> None:
        """Begin to report, once a second."""

    def stop(self) -> Deferred[None]:
        """End that; everything is sent when the Deferred fires."""
        return succeed(None)

    def lines(self) -> int:
        """How many have been reported; call it after ``stop``."""
        return 0


class Quiet(Bare):
    """txmetrics with all that its plugin measures if nothing else is asked for, but no reports."""

    def __init__(self, values: int, sink: int) -> None:
        super().__init__(values, sink)
        self.registry = registry = MetricsRegistry()
        for number in range(values * 2 // 10):
            registry.counter(f"app.counter{number}").inc(number)
        for number in range(values // 10):
            registry.gauge(f"app.gauge{number}").set(number / 7)
        for number in range(values // 10 // 5):
            registry.meter(f"app.meter{number}").mark(number)
        self.timers = [registry.timer(f"app.timer{number}").add for number in range(values * 6 // 10 // 16)]
        self.resource = TimedResource(self.resource, registry)

    def start(self) -> None:
        for instrument in (MeasuredReactor, MeasuredProcess, MeasuredLog):
            instrument(self.registry).startService()


class Txmetrics(Quiet):
    """The same, with reports."""

    def __init__(self, values: int, sink: int) -> None:
        super().__init__(values, sink)
        self._reporter = backends.graphite(self.registry, f"tcp:{HOST}:{sink}", interval=1)

    def start(self) -> None:
        super().start()
        self._reporter.startService()

    def stop(self) -> Deferred[None]:
        return self._reporter.stopService()

    def lines(self) -> int:
        collected: int = self._reporter.ledger()["collected"]
        return collected


class Pyformance(Bare):
    """A counter and a timer in ``render``, as its documentation has it, and its reporter, which is a thread."""

    def __init__(self, values: int, sink: int) -> None:
        super().__init__(values, sink)
        registry = peer("pyformance").MetricsRegistry()
        for number in range(values * 2 // 10):
            registry.counter(f"app.counter{number}").inc(number)
        for number in range(values // 10):
            registry.gauge(f"app.gauge{number}").set_value(number / 7)
        for number in range(values // 10 // 5):
            registry.meter(f"app.meter{number}").mark(number)
        self.timers = [registry.timer(f"app.timer{number}")._update for number in range(values * 6 // 10 // 15)]

        class Measured(Hello):
            def render_GET(self, request: Any) -> bytes:
                registry.counter("hello.called").inc()
                with registry.timer("hello.time").time():
                    return BODY

        class Reporter(peer("pyformance.reporters.carbon_reporter").CarbonReporter):  # type: ignore[misc]
            lines = 0

            def report_now(self, registry: Any = None, timestamp: Any = None) -> None:
                super().report_now(registry, timestamp)
                self.lines += a_report

        self.resource = Measured()
        registry.counter("hello.called"), registry.timer("hello.time")  # so that the first report has them, too
        a_report = sum(map(len, registry.dump_metrics().values()))
        self._reporter = Reporter(registry, 1, server=HOST, port=sink)

    def start(self) -> None:
        self._reporter.start()

    def stop(self) -> Deferred[None]:
        self._reporter.stop()
        self._reporter._loop_thread.join(30)  # it looks up once a second
        return succeed(None)

    def lines(self) -> int:
        lines: int = self._reporter.lines
        return lines


class Prometheus(Bare):
    """A counter and a histogram in ``render``; all is written down in the reactor, as for a scrape, once a second."""

    def __init__(self, values: int, sink: int) -> None:
        super().__init__(values, sink)
        client = peer("prometheus_client")
        client.disable_created_metrics()  # a second value of each counter, which no other library has
        self._registry = registry = client.CollectorRegistry()
        self._write, self._sink, self._lines = client.generate_latest, sink, 0
        counters = client.Counter("app_counters", "Counters", ["number"], registry=registry)
        for number in range(values * 2 // 10):
            counters.labels(number).inc(number)
        gauges = client.Gauge("app_gauges", "Gauges, also in the place of meters", ["number"], registry=registry)
        for number in range(values * 2 // 10):
            gauges.labels(number).set(number / 7)
        timers = client.Histogram("app_timers", "Timers", ["number"], registry=registry)
        self.timers = [timers.labels(number).observe for number in range(values * 6 // 10 // 17)]
        called = client.Counter("hello_called", "Requests", registry=registry)
        time = client.Histogram("hello_time", "Their time", registry=registry)

        class Measured(Hello):
            def render_GET(self, request: Any) -> bytes:
                called.inc()
                with time.time():
                    return BODY

        self.resource = Measured()

    def start(self) -> None:
        self._client = Protocol()
        self._loop = LoopingCall(self._report)
        endpoint = TCP4ClientEndpoint(_reactor, HOST, self._sink)
        connectProtocol(endpoint, self._client).addCallback(lambda _: self._loop.start(1, now=False))

    def _report(self) -> None:
        text = self._write(self._registry)
        self._lines += text.count(b"\n")
        assert self._client.transport is not None
        self._client.transport.write(text)

    def stop(self) -> Deferred[None]:
        self._loop.stop()
        assert self._client.transport is not None
        self._client.transport.loseConnection()
        return succeed(None)

    def lines(self) -> int:
        return self._lines


SUBJECTS: dict[str, type[Bare]] = {
    NONE: Bare,
    TXMETRICS: Txmetrics,
    QUIET: Quiet,
    PYFORMANCE: Pyformance,
    PROMETHEUS: Prometheus,
}

PEERS = PYFORMANCE, PROMETHEUS
"""Those that are not always installed, by the name of their module."""
