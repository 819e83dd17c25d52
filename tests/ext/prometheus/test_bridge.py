"""A registry as a collector of prometheus_client: the same that a scrape gets, by somebody else's writers."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest, write_to_textfile
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from tests.ext.prometheus.scraping import Rig
from tests.prometheus import OPEN_METRICS, read_openmetrics, read_text, samples
from txmetrics import MetricsRegistry
from txmetrics.ext.prometheus_bridge import RegistryCollector


def bridged(registry: MetricsRegistry, **options: object) -> CollectorRegistry:
    collectors = CollectorRegistry(auto_describe=True)
    collectors.register(RegistryCollector(registry, **options))
    return collectors


def fill(registry: MetricsRegistry) -> None:
    """With something of each kind, and something of what goes wrong."""
    numbers = random.Random(3)
    for status in ("2xx", "5xx"):
        registry.counter(f"http.routes.GET-a.status.{status}").inc(7)
    registry.counter("a-b").inc(1)
    registry.counter("a_b").inc(2)
    registry.gauge("a.b").set(2.5)
    registry.gauge("text").set("text")
    registry.gauge("broken", lambda: 1 / 0)
    registry.meter("mails").mark(3)
    registry.timer("db").take_in([numbers.lognormvariate(-3, 1) for _ in range(1000)])
    registry.histogram("mail.bytes").take_in([numbers.uniform(0, 1e6) for _ in range(100)])
    registry.histogram("degrees").take_in([-3.0, 4.0])
    registry.histogram("empty")
    for queue in ("mail", "print"):
        registry.counter("jobs", queue=queue, zone=1).inc(4)
        registry.timer("jobs.took", queue=queue).add(0.5)
    registry.timer("http.routes.GET-a.requests").add(0.5)
    registry.timer("http.routes.GET-a.requests", route="x").add(0.5)
    registry.gauge("a.status.x").set(1)
    registry.gauge("a.status", status="x").set(2)


def test_it_tells_what_a_scrape_tells() -> None:
    """Families, types, units, sentences, labels and values, in prometheus_client's writing of OpenMetrics."""
    rig = Rig()
    fill(rig.registry)
    scraped = read_openmetrics(rig.scrape(f"Accept: {OPEN_METRICS}").body)
    ours = [family for family in scraped if not family.name.startswith("txmetrics_")]
    theirs = read_openmetrics(generate_openmetrics(bridged(rig.registry)))
    assert [(each.name, each.type, each.unit, each.documentation) for each in theirs] == [
        (each.name, each.type, each.unit, each.documentation) for each in ours
    ]
    assert samples(theirs) == samples(ours)
    assert len(samples(ours)) > 60


def test_tags_are_labels() -> None:
    """In each text, beside those that a part of the name becomes; where both are called alike, the tag is the label."""
    rig = Rig()
    fill(rig.registry)
    for told in (
        samples(read_text(rig.scrape().body)),
        samples(read_openmetrics(rig.scrape(f"Accept: {OPEN_METRICS}").body)),
        samples(read_text(generate_latest(bridged(rig.registry)))),
    ):
        jobs = {labels: value for (name, labels), value in told.items() if name == "jobs_total"}
        assert jobs == {frozenset({("queue", queue), ("zone", "1")}): 4 for queue in ("mail", "print")}
        for queue in ("mail", "print"):
            assert told["jobs_took_seconds_bucket", frozenset({("queue", queue), ("le", "0.5")})] == 1
        assert told["http_routes_requests_seconds_count", frozenset({("route", "GET-a")})] == 1
        assert told["http_routes_GET_a_requests_seconds_count", frozenset({("route", "x")})] == 1
        assert told["a_status", frozenset({("status", "x")})] == 1
        assert told["a_status", frozenset({("status", "x"), ("name", "a.status;status=x")})] == 2


def test_text_and_text_files(tmp_path: Path) -> None:
    """``generate_latest`` and what is built on it; with bounds and sentences of one's own."""
    registry = MetricsRegistry()
    fill(registry)
    collectors = bridged(registry, buckets=[0.1, 1], help={"db": "How long the database takes."})
    text = generate_latest(collectors)
    assert b"# HELP db_seconds How long the database takes.\n" in text
    assert text.count(b"db_seconds_bucket") == 3
    assert samples(read_text(text))["mails_total", frozenset()] == 3
    write_to_textfile(str(tmp_path / "metrics.prom"), collectors)
    assert (tmp_path / "metrics.prom").read_bytes() == text


def test_it_stands_beside_others() -> None:
    """To register it reads nothing; metrics that are made later are there, those that are removed are not."""
    registry = MetricsRegistry()
    asked = []
    registry.gauge("watched", lambda: asked.append(1) or 5)
    collectors = bridged(registry)
    Counter("theirs", "One of theirs.", registry=collectors).inc()
    assert asked == []
    registry.counter("later")
    told = samples(read_text(generate_latest(collectors)))
    assert {name: value for (name, _), value in told.items() if "created" not in name} == {
        "watched": 5,
        "later_total": 0,
        "theirs_total": 1,
    }
    registry.unregister("watched")
    assert ("watched", frozenset()) not in samples(read_text(generate_latest(collectors)))


names = st.lists(
    st.sampled_from(["a", "a.b", "a_b", "a-b", "a.status.x", "a_status", "a.total", "a_sum", "1", "seconds"]),
    unique=True,
)


@settings(deadline=None)
@given(names, st.data())
def test_any_names_and_kinds(names: list[str], data: st.DataObject) -> None:
    """Whatever would clash: both of their formats are valid, and nobody is missing."""
    registry = MetricsRegistry()
    for name in names:
        kind = data.draw(st.sampled_from(["counter", "gauge", "meter", "histogram", "timer"]))
        with suppress(ValueError):  # it would be another one's field
            getattr(registry, kind)(name)
    collectors = bridged(registry)
    families = read_openmetrics(generate_openmetrics(collectors))
    assert samples(families).keys() == samples(read_text(generate_latest(collectors))).keys()
    told = sum(
        family.type != "histogram" or sample.labels.get("le") == "+Inf"
        for family in families
        for sample in family.samples
    )
    assert told == len(registry)


def test_bounds_that_are_none() -> None:
    """They are refused when it is made."""
    with pytest.raises(ValueError, match="give finite numbers in ascending order"):
        RegistryCollector(MetricsRegistry(), buckets=[])
