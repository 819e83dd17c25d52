"""What a fleet reports to: how it is started and harmed, and what it is asked."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, TypeAlias
from urllib.parse import urlencode
from urllib.request import urlopen

from fleet import WORKERS
from twisted.internet.task import deferLater
from wire import Wire

from tests.carbon import HOST
from tests.graphite_web import GraphiteWeb
from tests.prometheus import Prometheus
from tests.receivers import Cache, Relay
from tests.remote_write import VictoriaMetrics
from txmetrics.fleet import quantile

__all__ = ["ENGINES", "Engine"]

Held: TypeAlias = dict[str, Any]
"""All points of all series, by whatever names these have."""


class Engine(ABC):
    """Started when it is made. The numbers are None while there are none."""

    part: str
    """What of it can be killed, in words."""

    redundant = False
    """Whether it goes on when a part of it is dead."""

    memory = 0.0
    """For so many seconds it has in memory only what it has accepted."""

    environment: dict[str, str]
    """Tells the workers where to report to."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    @abstractmethod
    def requests(self) -> float | None:
        """How many requests the fleet has answered."""

    @abstractmethod
    def p99(self) -> float | None:
        """Of the whole fleet, in seconds."""

    @abstractmethod
    def naive_requests(self) -> float | None:
        """What is to be seen where all workers report under one name."""

    @abstractmethod
    def averaged_p99(self) -> float | None:
        """The average of the workers' own, in seconds."""

    @abstractmethod
    def kill(self) -> None:
        """A part of it, by SIGKILL; all of it, if it has no parts."""

    @abstractmethod
    def restart(self) -> None:
        """What was killed: at the same port, with the data that it had."""

    @abstractmethod
    async def before_replay(self) -> None:
        """What has to happen for a replay, before `held` is asked."""

    @abstractmethod
    async def replay(self) -> str:
        """Make each worker send again what has arrived already; returns what was done."""

    @abstractmethod
    def held(self, until: float) -> Held:
        """All that the fleet has reported until then."""

    def lacking(self) -> int:
        """How many points would be lost with one of its parts, the one that matters most."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """End what was started."""

    async def _eventually(self, answer: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        end = self._reactor.seconds() + seconds
        while not answer():
            if self._reactor.seconds() > end:
                raise TimeoutError(f"{what} after {seconds:g} seconds")
            await deferLater(self._reactor, 0.1)


class Graphite(Engine):
    """carbon-c-relay before three carbon-caches, each series on two of them; graphite-web reads all three disks."""

    part = "a carbon-cache"
    redundant = True
    EACH = "fleet.*.*"

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._begin = int(reactor.seconds()) - 10
        self._caches = [Cache("2s:1h") for _ in range(3)]
        self._relay = Relay(self._caches, replication=2)
        self._web = GraphiteWeb(*self._caches)
        self._relay.start()
        self._web.start()
        self.environment = {"FLEET_GRAPHITE": f"tcp:{HOST}:{self._relay.line_port}"}

    def requests(self) -> float | None:
        return self._sum(f"sumSeries({self.EACH}.work.delta)")

    def p99(self) -> float | None:
        return quantile(self._render(f"groupByNode({self.EACH}.work.b.*,-1,'sum')"), 0.99)

    def naive_requests(self) -> float | None:
        points = self._points("naive.work.count")
        return points[-1] if points else None

    def averaged_p99(self) -> float | None:
        points = self._points(f"averageSeries({self.EACH}.work.p99)")
        return sum(points) / len(points) if points else None

    def kill(self) -> None:
        self._caches[1].kill()

    def restart(self) -> None:
        self._caches[1].start()

    async def before_replay(self) -> None:
        """Nothing: they write the last minute again, whatever becomes of it."""

    async def replay(self) -> str:
        before = self._replayed()
        self._relay.kill()
        self._relay.start()

        def again() -> list[float]:
            return [points - before.get(worker, 0) for worker, points in self._replayed().items()]

        await self._eventually(lambda: sum(points > 0 for points in again()) == WORKERS, "not all have written again")
        return f"the relay was killed, and each worker has written its last minute again: {sum(again()):,.0f} points"

    def held(self, until: float) -> Held:
        targets = [f"{self.EACH}.work.*", f"{self.EACH}.work.b.*"]
        series = [each for target in targets for each in self._render(target, until)]
        return {each["target"]: each["datapoints"] for each in series}

    def lacking(self) -> int:
        names = {name for cache in self._caches for name in cache.names() if name.startswith("fleet.")}
        held = [{(name, *point) for name in names for point in cache.stored(name).items()} for cache in self._caches]
        every = set().union(*held)
        return max(len(every - first - second) for first, second in combinations(held, 2))

    def close(self) -> None:
        self._web.close()
        self._relay.close()

    def _replayed(self) -> dict[str, float]:
        """How many points each worker has written again."""
        told = self._render(f"{self.EACH}.txmetrics.points_replayed.delta")
        return {each["target"]: sum(value or 0 for value, _ in each["datapoints"]) for each in told}

    def _sum(self, target: str) -> float | None:
        points = self._points(target)
        return sum(points) if points else None

    def _points(self, target: str) -> list[float]:
        return [value for each in self._render(target) for value, _ in each["datapoints"] if value is not None]

    def _render(self, target: str, until: float | None = None) -> Any:
        window = {"from": self._begin, "until": "now" if until is None else int(until)}
        arguments = urlencode({"target": target, "format": "json", **window})
        with urlopen(f"http://{HOST}:{self._web.port}/render?{arguments}", timeout=30) as answer:
            return json.load(answer)


class RemoteWrite(Engine):
    """One that takes Prometheus' remote write, over a `Wire`, and is asked in PromQL."""

    histograms: str
    """How it understands them."""

    # Queries. What each series was last is what counts, also of a worker that is no more.
    COUNT: str
    FLEET_P99: str
    OWN_P99: str

    def __init__(self, reactor: Any, server: Any, port: int) -> None:
        super().__init__(reactor)
        self._server = server.start()
        self._wire = Wire(reactor, port)
        self.environment = {
            "FLEET_HISTOGRAMS": self.histograms,
            "FLEET_REMOTE_WRITE": f"http://{self._wire.address}/api/v1/write",
            "NAIVE_REMOTE_WRITE": server.write_url,
        }

    def requests(self) -> float | None:
        return self._number(self.COUNT.format("fleet"))

    def p99(self) -> float | None:
        return self._number(self.FLEET_P99)

    def naive_requests(self) -> float | None:
        return self._number(self.COUNT.format("naive"))

    def averaged_p99(self) -> float | None:
        return self._number(f"avg({self.OWN_P99})")

    def kill(self) -> None:
        self._server.kill()

    def restart(self) -> None:
        self._server.start()

    async def before_replay(self) -> None:
        self._wire.cut = True
        await self._eventually(lambda: len(self._wire.swallowed) >= WORKERS, "not all have posted")

    async def replay(self) -> str:
        self._wire.cut = False
        await self._eventually(lambda: {*self._wire.swallowed} <= {*self._wire.repeated}, "not all have posted again")
        return f"{len(self._wire.swallowed)} answers of the engine were lost, and the bodies were posted again"

    def held(self, until: float) -> Held:
        return {json.dumps(each.pop("metric")): each for each in self._server.ask('{job="fleet"}[1h]', until)}

    def close(self) -> None:
        self._server.close()

    def _number(self, query: str) -> float | None:
        told = self._server.ask(query, self._reactor.seconds())
        return float(told[0]["value"][1]) if told else None


class Victoria(RemoteWrite):
    """VictoriaMetrics, with ranges for buckets; it is told to keep one sample of those that are the same."""

    part = "VictoriaMetrics"
    memory = 10.0
    histograms = "vmrange"
    COUNT = 'sum(last_over_time(work_seconds_count{{job="{}"}}[1h]))'
    BUCKETS = 'last_over_time(work_seconds_bucket{job="fleet"}[1h])'
    FLEET_P99 = f"histogram_quantile(0.99, sum({BUCKETS}) by (vmrange))"
    OWN_P99 = f"histogram_quantile(0.99, sum({BUCKETS}) by (vmrange, instance))"

    def __init__(self, reactor: Any) -> None:
        server = VictoriaMetrics("-dedup.minScrapeInterval=1ms")
        super().__init__(reactor, server, server.ports[1])


class PrometheusServer(RemoteWrite):
    """Prometheus, with native histograms."""

    part = "Prometheus"
    histograms = "native"
    # Of native histograms this one knows no last_over_time. A worker that was killed is to be seen for five minutes.
    COUNT = 'sum(max_over_time(histogram_count(work_seconds{{job="{}"}})[10m:1s]))'
    FLEET_P99 = 'histogram_quantile(0.99, sum(work_seconds{job="fleet"}))'
    OWN_P99 = 'histogram_quantile(0.99, work_seconds{job="fleet"})'

    def __init__(self, reactor: Any) -> None:
        server = Prometheus(None, "native-histograms")
        super().__init__(reactor, server, server.ports[0])


ENGINES: Mapping[str, Callable[[Any], Engine]] = {
    "graphite": Graphite,
    "victoriametrics": Victoria,
    "prometheus": PrometheusServer,
}
"""By the names that `check.py` has for them."""
