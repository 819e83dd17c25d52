"""Deltas, tags on every line, and buckets that can be added up, as Graphite has them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.report import STAMP, encode
from txmetrics import MetricsRegistry
from txmetrics.metrics import Histogram
from txmetrics.snapshot import CounterReading, Distribution, GaugeReading, HistogramReading
from txmetrics.wire import Graphite, Pickle

TAGS = {"host": "a", "worker": "w1"}


def lines(readings: Any, **options: Any) -> dict[str, float]:
    """Series and values of a report, from its second encoder on: when the names are known."""
    wire = Graphite(**options)
    encode(readings, wire)
    chunks, refused = encode(readings, wire)
    assert refused == {}
    told = {}
    for line in b"".join(chunk.data for chunk in chunks).decode().splitlines():
        name, value, stamp = line.split(" ")
        assert int(stamp) == STAMP
        assert name not in told
        told[name] = float(value)
    assert sum(chunk.points for chunk in chunks) == len(told)
    return told


def spread(name: str, *values: float) -> Any:
    """The reading of a histogram with these values."""
    histogram = Histogram()
    histogram.take_in(map(float, values))
    return histogram.read(name)


def buckets(name: str, *values: float, **options: Any) -> dict[str, float]:
    told = lines([spread(name, *values)], deltas=True, **{"buckets": [name.partition(";")[0]], **options})
    return {series: value for series, value in told.items() if ".b" in series or ".le" in series}


# Deltas


@pytest.mark.parametrize("dialect", ["dropwizard", "pyformance"])
def test_counts_and_sums_are_called_what_they_are(dialect: str) -> None:
    """So that nobody takes a delta for a total; and nothing else has another name."""
    registry = MetricsRegistry()
    registry.counter("c").inc()
    registry.meter("m").mark()
    registry.timer("t").add(1)
    registry.histogram("h").add(1)
    registry.gauge("g").set(1)
    usual = lines(registry.snapshot(), dialect=dialect)
    deltas = lines(registry.snapshot(), dialect=dialect, deltas=True)
    renamed = {name.replace(".count", ".delta").replace(".sum", ".sum_delta") for name in usual}
    assert set(deltas) == renamed
    assert {"c.delta", "m.delta", "t.delta", "t.sum_delta"} <= renamed
    assert ("h.delta" in renamed) == ("h.count" in usual)


# Tags on every line


def test_the_tags_are_on_every_line() -> None:
    """Behind the field, in carbon's order, with the metric's own."""
    readings = [CounterReading("jobs", 3), GaugeReading("depth;queue=mail", 5), GaugeReading("odd%s;a=%d", 2**2000)]
    assert lines(readings[:2], prefix="web", tags=TAGS) == {
        "web.jobs.count;host=a;worker=w1": 3,
        "web.depth;host=a;queue=mail;worker=w1": 5,
    }
    _, refused = encode(readings, Graphite(tags=TAGS))
    assert refused == {"value": 1}


def test_a_metrics_own_tag_does_not_hide_ours() -> None:
    """Nor ours that one: it is there under another name, as with Prometheus."""
    readings = [CounterReading("jobs;host=db", 1), CounterReading("jobs;exported_host=x;host=y", 2)]
    assert lines(readings, tags=TAGS) == {
        "jobs.count;exported_host=db;host=a;worker=w1": 1,
        "jobs.count;exported_exported_host=y;exported_host=x;host=a;worker=w1": 2,
    }


def test_each_line_of_a_histogram_has_them() -> None:
    """And is otherwise what it is without."""
    readings = [spread("sizes;kind=x", 1, 2, 300)]
    bare, tagged = lines(readings), lines(readings, tags=TAGS)
    assert {name.replace(";host=a", "").replace(";worker=w1", ""): value for name, value in tagged.items()} == bare
    assert all(name.endswith(";host=a;kind=x;worker=w1") for name in tagged)


def test_a_pickle_has_them_all() -> None:
    """Both wires are one."""
    (chunk,), _ = encode([spread("lat", 0.3)], Pickle(tags=TAGS, deltas=True, buckets=["lat"], slo={"lat": [1]}))
    assert b"lat.bucket;host=a;worker=w1;b=499" in chunk.data
    assert b"lat.le;host=a;worker=w1;le=+Inf" in chunk.data


# Buckets


def test_a_bucket_is_a_series() -> None:
    """By its number without tags, by a tag with them; only those with something in them."""
    assert buckets("lat", 0.25, 0.25, 1.0, 1.05) == {"lat.b.496": 2, "lat.b.512": 1, "lat.b.513": 1}
    assert buckets("lat", 0.25, tags=TAGS) == {"lat.bucket;host=a;worker=w1;b=496": 1}
    assert buckets("lat;queue=mail", 0.25) == {"lat.bucket;queue=mail;b=496": 1}
    assert buckets("lat;b=mine", 0.25) == {"lat.bucket;exported_b=mine;b=496": 1}
    assert buckets("lat") == {}


@pytest.mark.parametrize(
    ("value", "number"),
    [(0.0, 272), (-5.0, 272), (1e-300, 272), (2**-30, 272), (2**-29.875, 273), (2**60, 992), (1e300, 993)],
)
def test_what_is_beyond_is_in_the_outermost(value: float, number: int) -> None:
    """Nothing is lost, and no number is negative."""
    assert buckets("lat", value) == {f"lat.b.{number}": 1}


def test_exact_bounds_belong_below() -> None:
    """Bucket 512 + k ends at 2**(k/8): where Prometheus' native histograms have it."""
    for k in (-40, -8, 0, 1, 8, 80):
        assert buckets("lat", 2 ** (k / 8)) == {f"lat.b.{512 + k}": 1}


def test_what_is_fast_enough_is_told_always() -> None:
    """Also when nothing happened, for a share of nulls is none."""
    slo = {"lat": [0.25, 0.1, 1]}
    assert buckets("lat", 0.05, 0.2, 7, buckets=[], slo=slo) == {
        "lat.le.0_1": 1,
        "lat.le.0_25": 2,
        "lat.le.1_0": 2,
        "lat.le.inf": 3,
    }
    assert buckets("lat", buckets=[], slo=slo, tags=TAGS) == {
        f"lat.le;host=a;worker=w1;le={bound}": 0 for bound in ("0.1", "0.25", "1.0", "+Inf")
    }


def test_buckets_are_for_those_that_were_named() -> None:
    """By name, or by a pattern; in whichever unit durations are told, bounds and numbers are of seconds."""
    registry = MetricsRegistry()
    for name in ("http.routes.GET-a", "http.routes.GET-b", "http.requests", "db"):
        registry.timer(name).add(1)
    registry.counter("http.routes.GET-a.errors").inc()
    options: dict[str, Any] = {"buckets": ["http.routes.*"], "slo": {"db": [1]}, "durations": "milliseconds"}
    told = lines(registry.snapshot(), deltas=True, **options)
    assert {name for name in told if ".b." in name or ".le." in name} == {
        *("http.routes.GET-a.b.512", "http.routes.GET-b.b.512", "db.le.1_0", "db.le.inf")
    }
    assert told["db.sum_delta"] == 1000


@given(st.lists(st.floats(1e-9, 1e15) | st.integers(0, 10**6).map(float), max_size=300))
def test_buckets_hold_each_value_once(values: list[float]) -> None:
    """Each within the bounds of its own, as far as a histogram with eight significant bits can tell."""
    told = {int(name.rpartition(".")[2]): count for name, count in buckets("lat", *values).items()}
    assert sum(told.values()) == len(values)
    found: Counter[int] = Counter()
    for value in sorted(values):
        number = next(number for number in sorted(told) if found[number] < told[number])
        found[number] += 1
        assert 2 ** ((number - 513) / 8) * (1 - 2**-8) <= value or number == 272
        assert value <= 2 ** ((number - 512) / 8) * (1 + 2**-7)


def test_an_odd_distribution_costs_only_itself() -> None:
    """Somebody else's may hold anything; the report goes on."""
    odd = Distribution(1, 1.0, 1.0, 1.0, 0.0, [1.0], [1])
    readings = [HistogramReading("lat", 1, 1.0, odd._replace(values=[1.0, "x"])), CounterReading("jobs", 1)]
    (chunk,), refused = encode(readings, Graphite(deltas=True, buckets=["lat"]))
    assert refused == {"value": 1}
    assert b"lat.p99 1 " in chunk.data
    assert b"jobs.delta 1 " in chunk.data


EACH = [2 ** (k / 8) for k in range(-240, 480)]
"""A value in each of the 720 buckets that are told one by one."""


def test_too_many_bytes_of_buckets_are_refused() -> None:
    """For carbon would hang up on a frame of a megabyte, again and again."""
    name = ".".join(["x" * 100] * 10)
    wire = Graphite(".".join(["p" * 100] * 10), deltas=True, buckets=[name])
    (chunk, *_), refused = encode([spread(name, *EACH)], wire)
    assert refused == {"buckets": 720}
    assert b".b." not in chunk.data


def test_carbon_takes_the_largest_frame() -> None:
    """All that are just not too many, as one pickle."""
    name = ".".join(["x" * 110] * 6)
    (*_, chunk), refused = encode([spread(name, *EACH)], Pickle(deltas=True, buckets=["*"]))
    assert refused == {}
    assert 480_000 < len(chunk.data) < 700_000
    assert chunk.points == 720 + 12


# What is wrong with the arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buckets": ["lat"]}, "give the temporality 'delta'"),
        ({"slo": {"lat": [1]}}, "give the temporality 'delta'"),
        ({"deltas": True, "buckets": "lat"}, "are no list of names"),
        ({"deltas": True, "buckets": [""]}, "are no list of names"),
        ({"deltas": True, "slo": {"lat": []}}, "are no bounds"),
        ({"deltas": True, "slo": {"lat": 1}}, "are no bounds"),
        ({"deltas": True, "slo": {"lat": "0.1"}}, "are no bounds"),
        ({"deltas": True, "slo": {"lat": [math.nan]}}, "are no bounds"),
        ({"deltas": True, "buckets": ["lat"], "tags": {"b": "x"}}, "tag 'b' is that of the buckets"),
    ],
)
def test_a_wrong_argument_is_refused(options: dict[str, Any], message: str) -> None:
    """With one sentence that says what to give."""
    with pytest.raises(ValueError, match=message):
        Graphite(**options)
