"""Prometheus and VictoriaMetrics take remote write, are stopped and started meanwhile, and hold what the registry says.

One registry is reported to both, in each way that they understand histograms in, under a job each.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import ExitStack
from math import isnan
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from tests.prometheus import Prometheus, expose, read_text, samples, series
from tests.remote_write import VictoriaMetrics
from tests.strict import Logged, the_reactor
from tests.waiting import wait_gently
from txmetrics import MetricsRegistry, Reporter, backends
from txmetrics.clock import Clock
from txmetrics.wire import SECONDS, PrometheusText

PROMETHEUS, VICTORIA = "prometheus", "victoria"
WAYS = [(PROMETHEUS, "classic"), (PROMETHEUS, "native"), (VICTORIA, "classic"), (VICTORIA, "vmrange")]
FINE = [way for way in WAYS if way[1] != "classic"]
QUANTILES = (0.01, 0.5, 0.9, 0.99, 0.999)

ways = pytest.mark.parametrize("way", WAYS, ids="-".join)
fine_ways = pytest.mark.parametrize("way", FINE, ids="-".join)


class Scene(NamedTuple):
    """What was reported, and who has it now."""

    registry: MetricsRegistry
    servers: dict[str, Any]
    reporters: dict[tuple[str, str], Reporter]
    gone_by: float
    """When the metric ``goes`` had to be gone."""
    ended: float
    """When all had ended."""

    def query(self, way: tuple[str, str], form: str, moment: float | None = None) -> dict[str, Any]:
        """What a server says of a moment, if not that of the last report.

        The form has JOB where the way's own series are to be picked out.
        """
        text = form.replace("JOB", f"job='{way[1]}'")
        return self.servers[way[0]].query(text, self.reports(way)[-1][0] if moment is None else moment)

    def number(self, way: tuple[str, str], form: str) -> float:
        [value] = self.query(way, form).values()
        return float(value)

    def reports(self, way: tuple[str, str]) -> list[tuple[float, float]]:
        """When each report was made, and how many seconds after the first it was."""
        [told] = self.servers[way[0]].ask(f"second{{job='{way[1]}'}}[5m]", self.ended)
        # VictoriaMetrics shows the end as NaN.
        return [(float(moment), float(value)) for moment, value in told["values"] if value.lower() != "nan"]


def fill(registry: MetricsRegistry) -> None:
    """What there is from the start on."""
    begin = time.monotonic()
    registry.counter("http.routes.GET-a.status.2xx").inc(7)
    registry.counter("a-b").inc(1)
    registry.counter("a_b").inc(2)
    registry.counter("goes").inc()
    registry.gauge("404.a-b@c%d#e+f:g." + "long" * 29).set(4)
    registry.gauge("second", lambda: round(time.monotonic() - begin, 3))
    registry.gauge("inside").set(-0.1)
    registry.meter("mails").mark(3)
    registry.histogram("degrees").take_in([-10.0, -1.0, 0.0, 3.0])
    registry.timer("never")


def values() -> list[float]:
    """Of a timer: at bounds, small and large."""
    numbers = random.Random(4)
    return [*SECONDS, *(2 ** (n / 8) for n in range(-50, -20)), *(numbers.lognormvariate(-3, 1.5) for _ in range(500))]


async def sleep(seconds: float) -> None:
    await deferLater(the_reactor(), seconds)


@pytest_twisted.async_yield_fixture(scope="module")
async def scene() -> AsyncIterator[Scene]:
    """Some seconds of reports; both servers are stopped for a while in their midst. All reporters are stopped."""
    registry = MetricsRegistry()
    fill(registry)
    with ExitStack() as running:
        servers: dict[str, Any] = {
            PROMETHEUS: running.enter_context(Prometheus(None, "native-histograms")),
            VICTORIA: running.enter_context(VictoriaMetrics()),
        }
        reporters = {
            (server, style): backends.remote_write(
                registry, servers[server].write_url, 1, labels={"job": style, "instance": "i"}, histograms=style
            )
            for server, style in WAYS
        }
        for reporter in reporters.values():
            reporter.startService()

        async def all_report(more: int) -> None:
            """Until each has delivered so many reports more, and nothing waits."""
            counts = {way: reporter.numbers()["reports"] for way, reporter in reporters.items()}

            def done() -> bool:
                return all(
                    each.numbers()["reports"] >= counts[way] + more and not each.numbers()["queue_points"]
                    for way, each in reporters.items()
                )

            await wait_gently(done, lambda: str([each.numbers() for each in reporters.values()]), 20, 0.05)

        await all_report(1)
        registry.counter("late").inc(7)
        registry.timer("db").take_in(values())
        registry.unregister("goes")
        await all_report(2)
        gone_by = time.time() - 0.5
        for server in servers.values():
            await server.stop()
        registry.counter("late").inc(2)
        await sleep(2.2)
        for server in servers.values():
            server.start()
        await all_report(1)
        await gatherResults([reporter.stopService() for reporter in reporters.values()])
        # The last report may be dated a second ahead, and a VictoriaMetrics never looks at the last second.
        await sleep(2.1)
        yield Scene(registry, servers, reporters, gone_by, time.time())


@ways
def test_nothing_is_lost_while_a_server_is_away(scene: Scene, way: tuple[str, str]) -> None:
    """Each report is there, with its own time, once; and the ledger says so."""
    ledger = scene.reporters[way].ledger()
    assert ledger["delivered"] == ledger["collected"] > 0
    assert ledger["dropped"] == {}
    told = scene.reports(way)
    assert len(told) == scene.reporters[way].numbers()["reports"] >= 6
    assert told == sorted(set(told))
    assert [value for _, value in told] == sorted({value for _, value in told})


@ways
def test_the_servers_hold_what_the_registry_says(scene: Scene, way: tuple[str, str]) -> None:
    """At the last report, every series of it and no other one."""
    text = samples(read_text(expose(scene.registry.collect(), PrometheusText())))
    expected = {
        series(name, labels): value
        for (name, labels), value in text.items()
        if way[1] == "classic" or not name.endswith("_bucket")
    }
    if way[1] == "native":
        expected = {name: value for name, value in expected.items() if not name.startswith(("db_", "deg", "never_"))}
    told = scene.query(way, "{JOB}")
    ours = {
        name: value
        for name, value in told.items()
        if not name.startswith("txmetrics_") and "vmrange" not in name and not isinstance(value, dict)
    }
    del ours["second{}"], expected["second{}"]
    assert ours == pytest.approx(expected)
    assert len(ours) > (6 if way[1] == "native" else 12)


@fine_ways
def test_all_values_are_in_the_buckets(scene: Scene, way: tuple[str, str]) -> None:
    """Also what is negative or zero."""
    if way[1] == "native":
        told = {name: int(each["count"]) for name, each in scene.query(way, "{JOB}").items() if isinstance(each, dict)}
        assert told == {"db_seconds{}": len(values()), "degrees{}": 4, "never_seconds{}": 0}
    else:
        told = scene.query(way, "sum({JOB,vmrange!=''}) by (__name__)")
        assert told == {"db_seconds_bucket{}": len(values()), "degrees_bucket{}": 4}


@ways
def test_what_is_new_counts_from_nothing_on(scene: Scene, way: tuple[str, str]) -> None:
    """``increase`` knows all of it, of a counter that was made between two reports and of a histogram."""
    assert scene.number(way, "increase(late_total{JOB}[5m])") == pytest.approx(9, rel=0.01)
    form = (
        "histogram_count(increase(db_seconds{JOB}[5m]))"
        if way[1] == "native"
        else "increase(db_seconds_count{JOB}[5m])"
    )
    # Prometheus extrapolates, and of native histograms it does not know that they have begun at nothing.
    assert scene.number(way, form) == pytest.approx(len(values()), rel=0.2 if way[1] == "native" else 0.01)


def quantile(way: tuple[str, str], q: float) -> str:
    what = {
        "classic": "db_seconds_bucket{JOB}",
        "native": "db_seconds{JOB}",
        "vmrange": "sum(increase(db_seconds_bucket{JOB}[5m])) by (vmrange)",
    }
    return f"histogram_quantile({q}, {what[way[1]]})"


@pytest.mark.parametrize("q", QUANTILES)
@fine_ways
def test_fine_quantiles_are_within_a_bucket(scene: Scene, way: tuple[str, str], q: float) -> None:
    """A factor of 2**(1/8), and what the nearest number of eight bits takes besides."""
    own = scene.registry.timer("db").quantile(q)
    assert 1 / 1.008 < scene.number(way, quantile(way, q)) / own * 2 ** (1 / 8) < 2 ** (2 / 8) * 1.008


@pytest.mark.parametrize("q", QUANTILES)
@pytest.mark.parametrize("way", WAYS[::2], ids="-".join)
def test_classic_quantiles_are_in_the_right_bucket(scene: Scene, way: tuple[str, str], q: float) -> None:
    """That in which our own is, or could be as far as ours can tell."""
    own = scene.registry.timer("db").quantile(q)
    edges = [0.0, *SECONDS]
    lowest = edges[bisect_left(SECONDS, own * 0.992)]
    highest = [*SECONDS, SECONDS[-1]][bisect_left(SECONDS, own * 1.008)]
    assert lowest <= scene.number(way, quantile(way, q)) <= highest


@ways
def test_what_is_gone_vanishes_at_once(scene: Scene, way: tuple[str, str]) -> None:
    """A metric with the report after its end, and everything with the end of the reporter."""
    assert scene.query(way, "goes_total{JOB}", scene.gone_by) == {}
    assert len(scene.query(way, "{JOB}", scene.gone_by)) > 20
    assert scene.query(way, "{JOB}", scene.ended) == {}


@pytest_twisted.ensureDeferred
async def test_what_is_out_of_order_is_dropped_and_the_rest_arrives(logged: Logged) -> None:
    """Somebody else has been there, with the same labels: the body is refused whole, counted, and not tried again."""
    registry = MetricsRegistry()
    for number in range(700):
        registry.counter(f"jobs.{number}").inc(number)
    with Prometheus(None) as server:
        arguments: dict[str, Any] = {"labels": {"job": "a"}, "url": server.write_url, "interval": 3600}
        early = MetricsRegistry(Clock(wall=lambda: time.time() + 60, tick=time.monotonic))
        early.counter("jobs.0").inc(77)
        other = backends.remote_write(early, **arguments)
        other.startService()
        await other.stopService()
        assert other.ledger()["dropped"] == {}
        reporter = backends.remote_write(registry, **arguments)
        reporter.startService()
        await reporter.stopService()
        ledger = reporter.ledger()
        assert ledger["collected"] == ledger["delivered"] + ledger["dropped"]["refused"]
        assert ledger["delivered"] > ledger["dropped"]["refused"] > 2
        assert server.query("last_over_time(jobs_699_total[5m])", time.time() + 1) == {"jobs_699_total{}": 699}
        assert server.query("last_over_time(jobs_0_total[5m])", time.time() + 62) == {"jobs_0_total{}": 77}
    [line] = [text for text in logged.texts() if "refuses" in text]
    assert "refuses points (400: out of order sample); they are dropped" in line


@pytest_twisted.ensureDeferred
async def test_victoriametrics_says_nothing_of_native_histograms() -> None:
    """It answers 204, and drops them: so the way has to be chosen by whoever knows the server."""
    registry = MetricsRegistry()
    registry.counter("jobs").inc()
    registry.timer("waits").add(0.3)
    with VictoriaMetrics() as server:
        reporter = backends.remote_write(registry, server.write_url, histograms="native")
        reporter.startService()
        await reporter.stopService()
        assert reporter.ledger()["dropped"] == {}
        await sleep(2.1)
        there = server.query("{__name__=~'jobs.*|waits.*'}[5m]", time.time())
    assert {name for name, values in there.items() if not all(map(isnan, values))} == {"jobs_total{}"}
