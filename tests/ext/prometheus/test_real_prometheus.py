"""Real servers scrape a registry in each of the three formats, while a timer goes from raw values to buckets."""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import ExitStack
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.carbon import HOST
from tests.prometheus import Prometheus, expose, read_text, samples, series
from tests.strict import the_reactor
from tests.waiting import wait_gently
from txmetrics import MetricsRegistry
from txmetrics.ext.prometheus import ScrapeResource
from txmetrics.wire import SECONDS, PrometheusText

FORMATS = ("text", "openmetrics", "protobuf")
QUANTILES = (0.01, 0.5, 0.9, 0.99, 0.999)


class Scene(NamedTuple):
    """What the servers have scraped."""

    registry: MetricsRegistry
    servers: dict[str, Prometheus]
    told: dict[str, set[str]]
    """Types and encodings of the answers."""
    moment: float
    """When all had scraped the last values."""


class Door(Resource):
    """Before a resource: it knows the scraper's connections and what they were told, and may hide what it wants."""

    isLeaf = True

    def __init__(self, resource: Resource, hides_wishes: bool) -> None:
        super().__init__()
        self._resource = resource
        self._hides_wishes = hides_wishes
        self._transports: set[Any] = set()
        self.told: set[str] = set()
        self.answered = 0

    def render(self, request: Any) -> Any:
        self._transports.add(request.transport)
        if self._hides_wishes:
            request.requestHeaders.removeHeader(b"accept")
        request.notifyFinish().addCallbacks(lambda _: self._keep(request.responseHeaders), lambda gone: None)
        return self._resource.render(request)

    def _keep(self, headers: Any) -> None:
        self.answered += 1
        for name in ("content-type", "content-encoding"):
            self.told.update(headers.getRawHeaders(name, []))

    def close(self) -> None:
        for transport in self._transports:
            transport.abortConnection()


async def sleep(seconds: float) -> None:
    await deferLater(the_reactor(), seconds)


def in_portions() -> list[list[float]]:
    """What a timer is given at a time.

    First, raw, many that are just at a bound, classic or native; then few large ones, until the first go into buckets,
    where a count that falls would be seen; then many that are spread.
    """
    numbers = random.Random(4)
    at_bounds = [*(SECONDS * 15), *(2 ** (n / 8) for n in range(-50, -20))]
    large = [[numbers.uniform(20, 60) for _ in range(20)] for _ in range(5)]
    return [at_bounds, *large, *([numbers.lognormvariate(-3, 1.5) for _ in range(150)] for _ in range(6))]


@pytest_twisted.async_yield_fixture(scope="module")
async def scene() -> AsyncIterator[Scene]:
    """Some seconds of scraping; afterwards nothing is scraped any more."""
    registry = MetricsRegistry()
    registry.counter("http.routes.GET-a.status.2xx").inc(7)
    registry.counter("http.routes.GET-a.status.5xx").inc(2**53)
    registry.counter("a-b").inc(1)
    registry.counter("a_b").inc(2)
    registry.gauge("404.a-b@c%d#e+f:g." + "long" * 29).set(4)
    registry.counter("x").inc()
    registry.gauge("x_total").set(5)
    registry.gauge("inside").set(-0.1)
    registry.gauge("endless").set(inf)
    registry.gauge("broken", lambda: 1 / 0)
    registry.meter("mails").mark(3)
    registry.histogram("mail.bytes").take_in([100.0, 256.0, 257.0, 258.0, 1e12])
    registry.histogram("degrees").take_in([-10.0, -1.0, 0.0, 3.0])
    registry.timer("never")
    resource = ScrapeResource(registry)
    doors = {format: Door(resource, hides_wishes=format == "text") for format in FORMATS}
    ports = {format: the_reactor().listenTCP(0, Site(door), interface=HOST) for format, door in doors.items()}
    features = {"protobuf": ["native-histograms"]}
    with ExitStack() as running:
        servers = {
            format: running.enter_context(Prometheus(port.getHost().port, *features.get(format, [])))
            for format, port in ports.items()
        }
        first, *others = in_portions()
        registry.timer("db").take_in(first)
        # A Prometheus begins to scrape five seconds after its start.
        await wait_gently(lambda: all(door.answered for door in doors.values()), lambda: "no scrape", 20, 0.1)
        for portion in others:
            registry.timer("db").take_in(portion)
            await sleep(0.4)
        await sleep(2.7)
        # A scrape that is broken off below began later than this, so that nothing is stale at the moment.
        moment = time.time() - 0.5
        for format, port in ports.items():
            await port.stopListening()
            doors[format].close()
        await sleep(1.2)  # the last renderings are forgotten by then
        yield Scene(registry, servers, {format: door.told for format, door in doors.items()}, moment)


@pytest.mark.parametrize(
    ("format", "content_type"),
    [
        ("text", "text/plain; version=0.0.4; charset=utf-8"),
        ("openmetrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("protobuf", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"),
    ],
)
def test_each_server_got_its_format(scene: Scene, format: str, content_type: str) -> None:
    """By what it said of itself; compressed; and it was content with it."""
    assert scene.told[format] == {content_type, "gzip"}
    server = scene.servers[format]
    assert server.number("up", scene.moment) == 1
    assert server.number("sum_over_time(up[1m])", scene.moment) > 3
    assert server.number("txmetrics_scrapes_total", scene.moment) > 9


@pytest.mark.parametrize("format", FORMATS)
def test_the_servers_hold_what_the_registry_says(scene: Scene, format: str) -> None:
    """Every series of it and no other one; but for classic buckets where there are native ones."""
    expected = {
        series(name, labels): value
        for (name, labels), value in samples(read_text(expose(scene.registry.collect(), PrometheusText()))).items()
        if format != "protobuf" or not name.endswith(("_bucket", "_count", "_sum"))
    }
    if format == "openmetrics":  # which has no sum where it may fall, nor a count without one
        del expected["degrees_sum{}"], expected["degrees_count{}"]
    told = scene.servers[format].query('{job="test"}', scene.moment)
    ours = {name: value for name, value in told.items() if not name.startswith(("txmetrics_", "scrape_", "up"))}
    if format == "protobuf":
        native = {name: ours.pop(name) for name in [*ours] if isinstance(ours[name], dict)}
        check_native(scene.registry, native)
    assert ours == expected
    assert len(ours) > (6 if format == "protobuf" else 60)


def check_native(registry: MetricsRegistry, told: dict[str, Any]) -> None:
    """All histograms are there, with their counts, sums, and values below zero, at it and above."""
    names = {"db_seconds{}": "db", "never_seconds{}": "never", "mail_bytes{}": "mail.bytes", "degrees{}": "degrees"}
    assert told.keys() == names.keys()
    for series_name, name in names.items():
        fields = registry.read(name)
        assert int(told[series_name]["count"]) == fields["count"]
        assert float(told[series_name]["sum"]) == pytest.approx(fields["sum"])
    [below, one_below, zero, above] = told["degrees{}"]["buckets"]
    assert float(below[1]) <= -10 < float(below[2])
    assert float(one_below[1]) <= -1 < float(one_below[2])
    assert float(zero[1]) <= 0 <= float(zero[2])
    assert float(above[1]) < 3 <= float(above[2])
    assert [bucket[3] for bucket in (below, one_below, zero, above)] == ["1"] * 4


@pytest.mark.parametrize("q", QUANTILES)
@pytest.mark.parametrize("format", FORMATS[:2])
def test_classic_quantiles_are_in_the_right_bucket(scene: Scene, format: str, q: float) -> None:
    """That in which our own is, or could be as far as ours can tell."""
    own = scene.registry.timer("db").quantile(q)
    told = scene.servers[format].number(f"histogram_quantile({q}, db_seconds_bucket)", scene.moment)
    edges = [0.0, *SECONDS]
    lowest = edges[bisect_left(SECONDS, own * 0.992)]
    highest = [*SECONDS, SECONDS[-1]][bisect_left(SECONDS, own * 1.008)]
    assert lowest <= told <= highest


@pytest.mark.parametrize("q", QUANTILES)
def test_native_quantiles_are_within_a_bucket(scene: Scene, q: float) -> None:
    """A factor of 2**(1/8), and what the nearest number of eight bits takes besides."""
    own = scene.registry.timer("db").quantile(q)
    told = scene.servers["protobuf"].number(f"histogram_quantile({q}, db_seconds)", scene.moment)
    assert 1 / 1.008 < told / own * 2 ** (1 / 8) < 2 ** (2 / 8) * 1.008


@pytest.mark.parametrize("format", FORMATS[:2])
def test_no_count_ever_falls(scene: Scene, format: str) -> None:
    """Not when the values go into buckets, either; a count that fell would be a restart to Prometheus."""
    told = scene.servers[format].query('{__name__=~".+_(total|bucket|count)"}[1m]', scene.moment)
    assert sum(name.startswith("db_seconds_bucket{") for name in told) == len(SECONDS) + 1
    for counts in told.values():
        assert len(counts) > 3
        assert counts == sorted(counts)
    everything = told["db_seconds_bucket{le='+Inf'}"]
    assert everything[0] <= 256 < everything[-1] == sum(map(len, in_portions()))


def test_no_native_count_ever_falls(scene: Scene) -> None:
    """Each bucket by itself, from scrape to scrape."""
    [told] = scene.servers["protobuf"].query("db_seconds[1m]", scene.moment).values()
    counts = [{(low, high): int(count) for _, low, high, count in each["buckets"]} for each in told]
    assert len(counts) > 3
    for earlier, later in pairwise(counts):
        assert all(later.get(bucket, 0) >= count for bucket, count in earlier.items())
    assert int(told[0]["count"]) <= 256 < int(told[-1]["count"]) == sum(map(len, in_portions()))
