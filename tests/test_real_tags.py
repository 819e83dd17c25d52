"""Tags on their way through real servers: what a registry says is found again by name and tags."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted

from tests.carbon import HOST, Carbon
from tests.graphite_web import GraphiteWeb
from tests.receivers import Relay, Victoria
from tests.strict import the_reactor
from tests.wire import hostile
from txmetrics import Clock, MetricsRegistry, backends
from txmetrics.names import full
from txmetrics.testing import GraphiteReceiver
from txmetrics.wire._dialects import DIGITS, STATISTICS

pytestmark = pytest.mark.seconds(60)


@pytest.fixture
def registry() -> MetricsRegistry:
    """All five kinds with tags, and a tag with each character that a value can have."""
    registry = MetricsRegistry(Clock(wall=time.time, tick=lambda: 1000.0))
    registry.counter("jobs").inc(1)
    registry.counter("jobs", queue="mail", zone=1).inc(2)
    registry.counter("jobs", queue="print", zone=1).inc(3)
    registry.gauge("depth", queue="a.b").set(0.5)
    registry.meter("hits", of="x", at="y").mark(17)
    registry.histogram("sizes", kind="%s").add(3)
    registry.timer("waits", table="users").add(0.25)
    for number, character in enumerate(sorted(hostile.ALPHABET)):
        registry.gauge("value", of=f"a{character}{number}", alone=character).set(number)
    return registry


def said(registry: MetricsRegistry, prefix: str) -> dict[str, float]:
    """What each series is to hold, by the name that carbon files it under."""
    series = {}
    for reading in registry.snapshot():
        path, semicolon, tags = reading.name.partition(";")
        for field, value in reading.fields().items():
            told = float(f"{value:.{DIGITS}g}") if field in STATISTICS["dropwizard"] else float(value)
            series[f"{prefix}.{path}.{field}".removesuffix(".value") + semicolon + tags] = told
    assert len(series) == 3 + 1 + 5 + 12 + 16 + len(hostile.ALPHABET)
    return series


async def report(registry: MetricsRegistry, port: int, prefix: str, protocol: str = "plaintext") -> None:
    """One report to that port of a server."""
    reporter = backends.graphite(registry, f"tcp:{HOST}:{port}", interval=3600, prefix=prefix, protocol=protocol)
    reporter.startService()
    await reporter.stopService()


@pytest.mark.parametrize("protocol", ["plaintext", "pickle"])
@pytest_twisted.ensureDeferred
async def test_carbon_stores_each_field(carbon: Carbon, prefix: str, registry: MetricsRegistry, protocol: str) -> None:
    """On its disk, under the name that has the tags in its order."""
    port = carbon.line_port if protocol == "plaintext" else carbon.pickle_port
    await report(registry, port, prefix, protocol)
    expected = said(registry, prefix)
    await carbon.eventually(lambda: all(carbon.stored(name) for name in expected))
    assert {name: [*carbon.stored(name).values()] for name in expected} == {
        name: [value] for name, value in expected.items()
    }


@pytest.mark.usefixtures("_carbon_program")
@pytest_twisted.ensureDeferred
async def test_a_relay_changes_no_tag(prefix: str, registry: MetricsRegistry) -> None:
    """carbon-c-relay, which writes some characters of a name as ``_``, leaves those of the tags alone."""
    expected = said(registry, prefix)
    with Relay() as relay:
        await report(registry, relay.line_port, prefix)

        def stored(name: str) -> list[float]:
            return [value for cache in relay.caches for value in cache.stored(name).values()]

        await relay.eventually(lambda: all(map(stored, expected)))
        assert {name: stored(name) for name in expected} == {name: [value] for name, value in expected.items()}


@pytest_twisted.ensureDeferred
async def test_victoriametrics_has_labels(prefix: str, registry: MetricsRegistry) -> None:
    """The same names and values as the tags."""
    expected = said(registry, prefix)
    with Victoria() as victoria:
        await report(registry, victoria.line_port, prefix)

        def held() -> dict[str, float]:
            victoria.samples(prefix)  # it shows only what it has written
            selector = {
                "match[]": f'{{__name__=~"{prefix}[.](jobs|depth|hits|sizes|waits|value).*"}}',
                "start": "-120s",
            }
            lines = victoria._get(victoria.ports[1], "/api/v1/export", **selector).splitlines()
            return dict(series(json.loads(line)) for line in lines)

        def series(told: dict[str, Any]) -> tuple[str, float]:
            name = told["metric"].pop("__name__")
            [value] = told["values"]
            return full(name, told["metric"]) if told["metric"] else name, value

        await victoria.eventually(lambda: len(held()) == len(expected))
        assert held() == pytest.approx(expected, rel=1e-11)


@pytest.fixture
def graphite_web(own_carbon: Carbon) -> Iterator[GraphiteWeb]:
    """Before a carbon of its own."""
    with GraphiteWeb(own_carbon) as started:
        yield started


@pytest_twisted.ensureDeferred
async def test_graphite_web_finds_series_by_their_tags(
    own_carbon: Carbon, graphite_web: GraphiteWeb, prefix: str, registry: MetricsRegistry
) -> None:
    """It files them under the names that we wrote, and what is asked for by tags is what was said."""
    await report(registry, own_carbon.line_port, prefix)
    expected = said(registry, prefix)
    await own_carbon.eventually(lambda: all(own_carbon.stored(name) for name in expected))
    tagged = [name for name in expected if ";" in name]
    graphite_web.index(tagged)

    def found(*tags: str) -> dict[str, list[float]]:
        target = f"seriesByTag({','.join(map(repr, tags))})"
        return {name: [*points.values()] for name, points in graphite_web.render(target).items()}

    jobs = f"{prefix}.jobs.count"
    assert found(f"name={jobs}") == {f"{jobs};queue=mail;zone=1": [2.0], f"{jobs};queue=print;zone=1": [3.0]}
    assert found(f"name={jobs}", "queue=mail") == {f"{jobs};queue=mail;zone=1": [2.0]}
    assert len(found(f"name=~{prefix}.waits.*", "table=users")) == 16
    sums = graphite_web.render(f"groupByTags(seriesByTag('name={jobs}'),'sum','zone')")
    assert [[*points.values()] for points in sums.values()] == [[5.0]]
    values = found(f"name={prefix}.value")
    assert values == {name: [value] for name, value in expected.items() if f"{prefix}.value" in name}


@pytest_twisted.ensureDeferred
async def test_hosted_graphite_gets_the_same_names(registry: MetricsRegistry) -> None:
    """With the key before them, and the tags behind as it wants them."""
    graphite = GraphiteReceiver()
    port = the_reactor().listenTCP(0, graphite, interface=HOST)
    endpoint = f"tcp:{HOST}:{port.getHost().port}"
    reporter = backends.hosted_graphite(
        registry, "the-key", 3600, "web", transport="cleartext", endpoint=endpoint, reactor=the_reactor()
    )
    reporter.startService()
    await reporter.stopService()
    await port.stopListening()
    told = {point.name: point.value for point in graphite.points if ".txmetrics." not in point.name}
    assert told == {f"the-key.{name}": value for name, value in said(registry, "web").items()}
    assert not graphite.wrong
