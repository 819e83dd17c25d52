"""docs/fleets.md: each of its queries is asked of the real engine, and its answer is the truth."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from tests.carbon import HOST, Carbon
from tests.console.grafana import filled, targets, variables
from tests.fleets import BOUND, WORKERS, Truth, measure, queries, requests
from tests.graphite_web import GraphiteWeb
from tests.prometheus import Prometheus
from tests.remote_write import VictoriaMetrics
from tests.strict import the_reactor
from tests.waiting import wait_gently
from txmetrics import Clock, MetricsRegistry, Reporter, backends
from txmetrics.console._grafana import grafana_dashboard
from txmetrics.console._graphite_config import graphite_files
from txmetrics.fleet import buckets, quantile

pytestmark = pytest.mark.seconds(90)

STEPS = 3
"""So many reports of ten seconds."""


# Graphite


class Stored(NamedTuple):
    """What three workers have reported by deltas, by path and by tags."""

    web: GraphiteWeb
    victoria: VictoriaMetrics
    stamps: list[int]

    def answer(self, target: str, **more: object) -> Any:
        arguments = {"from": self.stamps[0] - 1, "until": self.stamps[-1] + 1, "format": "json", **more}
        return self.web._get("/render", target=target, **arguments)

    def values(self, target: str, **more: object) -> dict[str, list[float]]:
        """By the name of each line its values."""
        return {
            each["target"]: [value for value, _ in each["datapoints"] if value is not None]
            for each in self.answer(target, **more)
        }


async def report(port: int, worker: str, step: int, at: int, way: dict[str, Any]) -> None:
    """One report of what has happened in a step, of a process that began as long before it as it has to."""
    registry = MetricsRegistry(Clock(wall=lambda: at - 10.5, tick=time.monotonic))
    measure(registry, worker, step)
    reporter = backends.graphite(
        registry,
        f"tcp:{HOST}:{port}",
        temporality="delta",
        buckets=["http.requests"],
        slo={"http.requests": [0.1, BOUND, 1]},
        reactor=the_reactor(),
        **way,
    )
    reporter.startService()
    await reporter.stopService()
    assert reporter.ledger()["dropped"] == {}


@pytest_twisted.async_yield_fixture(scope="module")
async def stored(_carbon_program: None) -> AsyncIterator[Stored]:
    """Before a graphite-web, and, of those with tags, in a VictoriaMetrics."""
    now = int(time.time()) // 10 * 10
    stamps = [now - 10 * step for step in range(STEPS, 0, -1)]
    with Carbon(conf=graphite_files(10)) as carbon, GraphiteWeb(carbon) as web, VictoriaMetrics() as victoria:
        for worker in WORKERS:
            by_tags = {"prefix": "app", "tags": dict(zip(("host", "worker"), worker.split("/"), strict=True))}
            by_path = {"prefix": f"app.{worker.replace('/', '.')}"}
            for step, at in enumerate(stamps):
                await report(carbon.line_port, worker, step, at, by_tags)
                await report(carbon.line_port, worker, step, at, by_path)
                await report(victoria.line_port, worker, step, at, by_tags)
        last = [f"app.{worker.replace('/', '.')}.http.requests.delta" for worker in WORKERS]
        await carbon.eventually(lambda: all(len(carbon.stored(name)) == STEPS for name in last))
        victoria.samples("app")
        names = {full_name(each) for each in victoria.ask('{__name__=~"app.*"}[5m]', time.time())}
        web.index(sorted(names))
        yield Stored(web, victoria, stamps)


def full_name(told: dict[str, Any]) -> str:
    labels = dict(told["metric"])
    return ";".join([labels.pop("__name__"), *(f"{key}={value}" for key, value in sorted(labels.items()))])


BUCKET = 2 ** (1 / 8) - 1


def deltas_truth(seconds: float) -> Truth:
    return Truth({worker: [t for step in range(STEPS) for t in requests(worker, step)] for worker in WORKERS}, seconds)


@pytest.mark.parametrize("row", queries("Graphite, by path"))
@pytest.mark.parametrize("way", ["path", "tags"])
def test_graphite_answers_right(stored: Stored, way: str, row: str) -> None:
    """All points of it together, or each; and on a screen that is narrower than the time shown."""
    target = queries(f"Graphite, by {way}")[row]
    expected = deltas_truth(10 * STEPS).of(row)
    if row.startswith("p99"):
        for width in (1000, 1):
            assert quantile(stored.answer(target, maxDataPoints=width), 0.99) == pytest.approx(expected, rel=BUCKET)
        return
    found = stored.values(target)
    told = {name.replace(".", "/"): sum(values) if row == "total" else mean(values) for name, values in found.items()}
    if row == "per worker":
        assert told == pytest.approx(expected)
        return
    [value] = told.values()
    assert value == pytest.approx(expected, rel=0.01)
    if row == "total":
        [narrow] = stored.values(target, maxDataPoints=1).values()
        assert narrow == [expected]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


PATHS, TAGS = "app.*.*.http.requests.b.*", "seriesByTag('name=app.http.requests.bucket')"


@pytest.mark.parametrize(
    "target",
    [
        *(
            PATHS,
            f"groupByNode({PATHS},-1,'sum')",
            f"aliasByNode({PATHS},1,2,-1)",
            f"sumSeriesWithWildcards({PATHS},1,2)",
        ),
        *(f"groupByNodes({PATHS},'sum',1,-1)", f"summarize(groupByNode({PATHS},6,'sum'),'1h','sum')"),
        *(TAGS, f"groupByTags({TAGS},'sum','b')", f"groupByTags({TAGS},'sum','name','host','b')"),
        *(f"aliasByTags({TAGS},'b')", f"summarize({TAGS},'1h','sum')"),
    ],
)
def test_a_fleets_quantile_is_that_of_every_way_to_ask(stored: Stored, target: str) -> None:
    """As it comes out of graphite-web, which changes targets and tags in the one way or the other."""
    expected = deltas_truth(1).of("p99")
    assert quantile(stored.answer(target), 0.99) == pytest.approx(expected, rel=BUCKET)
    assert sum(buckets(stored.answer(target)).values()) == deltas_truth(1).of("total")


@pytest.mark.parametrize("way", [("app.{host}.{worker}", ()), ("app", ("host", "worker"))])
def test_the_dashboard_of_a_fleet_shows_what_is_really_sent(stored: Stored, way: tuple[str, tuple[str, ...]]) -> None:
    """Each of its targets has data."""
    metrics = {"http.requests": "timer", "http.status.2xx": "counter", "http.status.5xx": "counter"}
    dashboard, _ = grafana_dashboard(metrics, True, "graphite", way[0], None, way[1], fleet=True)
    every = {each["name"]: each["allValue"] for each in variables(dashboard)}
    asked = [filled(target["target"], every) for target in targets(dashboard)]
    assert len(asked) > 20
    assert [target for target in asked if not any(stored.values(target).values())] == []


LINES = "VictoriaMetrics, fed with the lines of Graphite, with tags"


@pytest.mark.parametrize("row", queries(LINES))
def test_victoriametrics_answers_right_of_graphites_lines(stored: Stored, row: str) -> None:
    """Rates are of five minutes."""
    told = stored.victoria.ask(queries(LINES)[row], time.time())
    check(
        row, {f"{each['metric'].get('host')}/{each['metric'].get('worker')}": each for each in told}, deltas_truth(300)
    )


def check(row: str, told: dict[str, Any], truth: Truth) -> None:
    """What an engine said, by worker or with just one value, is the truth."""
    values = {worker: float(each["value"][1]) for worker, each in told.items()}
    if row == "per worker":
        assert values == pytest.approx(truth.of(row), rel=0.05)
    else:
        [value] = values.values()
        assert value == pytest.approx(truth.of(row), rel=BUCKET if row == "p99" else 0.05)


# Prometheus and VictoriaMetrics


class Written(NamedTuple):
    """What three workers have written to both by remote write, and when that was so."""

    servers: dict[str, Any]
    moment: float

    def seconds(self, way: str) -> float:
        """Of which a rate is: in VictoriaMetrics only those between the samples that it has."""
        count = "http_requests_seconds_count[5m]"
        if way != "vmrange":
            return 300
        between: float = self.servers[way].number(f"sum(increase({count})) / sum(rate({count}))", self.moment)
        assert 2 < between < 30
        return between


SECTIONS = {
    'VictoriaMetrics, by remote write with `histograms="vmrange"`': "vmrange",
    "Prometheus, by remote write or scraped, classic buckets": "classic",
    "Prometheus, native histograms": "native",
}
"""The sections, and how histograms were written to the engine that each is about."""


@pytest_twisted.async_yield_fixture(scope="module")
async def written() -> AsyncIterator[Written]:
    """Two reports and more of each."""
    with Prometheus(None, "native-histograms") as prometheus, VictoriaMetrics() as victoria:
        servers = {"classic": prometheus, "native": prometheus, "vmrange": victoria}
        registries = {worker: MetricsRegistry() for worker in WORKERS}
        for registry in registries.values():
            registry.timer("http.requests")
            registry.counter("http.status.2xx")
            registry.counter("http.status.5xx")
        reporters = [
            backends.remote_write(
                registry, server.write_url, 1, labels={"job": way, "instance": worker}, histograms=way
            )
            for way, server in servers.items()
            for worker, registry in registries.items()
        ]
        for reporter in reporters:
            reporter.startService()
        await reports_of(reporters, 2)
        for worker, registry in registries.items():
            measure(registry, worker, 0)
        await reports_of(reporters, 2)
        await deferLater(the_reactor(), 1.5)  # VictoriaMetrics never looks at the last second
        yield Written(servers, time.time() - 0.5)
        for reporter in reporters:
            await reporter.stopService()


async def reports_of(reporters: list[Reporter], more: int) -> None:
    """Until each has delivered so many reports more."""
    counts = [each.numbers()["reports"] for each in reporters]

    def done() -> bool:
        numbers = [each.numbers() for each in reporters]
        return all(
            now["reports"] >= before + more and not now["queue_points"]
            for now, before in zip(numbers, counts, strict=True)
        )

    await wait_gently(done, lambda: str([each.numbers() for each in reporters]), 20, 0.05)


@pytest.mark.parametrize(("section", "row"), [(section, row) for section in SECTIONS for row in queries(section)])
def test_prometheus_and_victoriametrics_answer_right(written: Written, section: str, row: str) -> None:
    """Each of the histograms that it was written; classic buckets as their bounds allow."""
    told = written.servers[SECTIONS[section]].ask(queries(section)[row], written.moment)
    truth = Truth({worker: requests(worker, 0) for worker in WORKERS}, written.seconds(SECTIONS[section]))
    if row == "p99, as the bounds allow":
        [each] = told
        assert 0.1 < truth.of(row) <= BOUND
        assert 0.1 < float(each["value"][1]) <= BOUND
    else:
        check(row, {each["metric"].get("instance", ""): each for each in told}, truth)
