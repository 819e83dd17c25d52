"""Expositions as protobuf, read by Google's own decoder with a table of the messages."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.prometheus import expose, native_buckets, read_protobuf, read_text, samples
from tests.wire import hostile
from txmetrics import MetricsRegistry
from txmetrics.snapshot import CounterReading, GaugeReading
from txmetrics.wire import PrometheusPlan, PrometheusProtobuf, PrometheusText
from txmetrics.wire._native import native_counts
from txmetrics.wire._prometheus_samples import bound_text


def told(families: list[Any]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The classic samples of a protobuf exposition, as text would have them."""
    found = {}
    for family in families:
        for metric in family.metric:
            labels = frozenset((pair.name, pair.value) for pair in metric.label)
            found.update({(family.name + suffix, labels | extra): value for suffix, extra, value in _values(metric)})
    return found


def _values(metric: Any) -> list[tuple[str, frozenset[tuple[str, str]], float]]:
    if metric.HasField("counter"):
        return [("", frozenset(), metric.counter.value)]
    if metric.HasField("gauge"):
        return [("", frozenset(), metric.gauge.value)]
    histogram = metric.histogram
    buckets = [
        ("_bucket", frozenset({("le", bound_text(bucket.upper_bound))}), bucket.cumulative_count)
        for bucket in histogram.bucket
    ]
    return [
        *buckets,
        ("_count", frozenset(), histogram.sample_count),
        ("_sum", frozenset(), histogram.sample_sum),
    ]


def a_registry() -> MetricsRegistry:
    registry = MetricsRegistry()
    registry.counter("http.status.2xx").inc(3)
    registry.counter("http.status.5xx").inc(200)
    registry.gauge("queue.length").set(-2.5)
    registry.gauge("broken").set("text")
    registry.meter("mails").mark(70_000)
    for seconds in (0.0, 0.003, 0.0031, 0.2, 1.0, 17.0):
        registry.timer("http.routes.GET-a.requests").add(seconds)
    registry.histogram("mail.bytes")
    registry.histogram("degrees").take_in([-5.0, -1.0, -1.0, 0.5])
    for queue in ("mail", "print"):
        registry.counter("jobs", queue=queue, zone=1).inc(2)
        registry.histogram("job.bytes", queue=queue).add(100)
    return registry


def test_it_says_the_same_as_text() -> None:
    """All classic samples, their families' types, units and sentences."""
    registry = a_registry()
    families = read_protobuf(expose(registry.collect(), PrometheusProtobuf()))
    text = read_text(expose(registry.collect(), PrometheusText()))
    assert told(families) == samples(text)
    types = {0: "counter", 1: "gauge", 4: "histogram"}
    assert [(types[family.type], family.help) for family in families] == [
        (family.type, family.documentation) for family in text
    ]
    assert {family.name: family.unit for family in families if family.unit} == {
        "http_routes_requests_seconds": "seconds",
        "mail_bytes": "bytes",
        "job_bytes": "bytes",
    }


def test_native_buckets() -> None:
    """Bucket n ends at 2**(n/8); zero and negative values have theirs; and one without values says that it is one."""
    families = read_protobuf(expose(a_registry().collect(), PrometheusProtobuf()))
    requests, mails, degrees, _ = (family.metric[0].histogram for family in families if family.type == 4)
    assert (requests.schema, requests.zero_threshold, requests.zero_count) == (3, 2.0**-128, 1)
    # 0.003 = 2**(-67.04/8), 0.0031 = 2**(-66.66/8), 0.2 = 2**(-18.6/8), 1.0 = 2**(0/8), 17.0 = 2**(32.7/8)
    assert native_buckets(requests.positive_span, requests.positive_delta) == {-67: 1, -66: 1, -18: 1, 0: 1, 33: 1}
    assert [(span.offset, span.length) for span in requests.positive_span] == [(-67, 2), (47, 1), (17, 1), (32, 1)]
    assert not requests.negative_span
    assert [(span.offset, span.length) for span in mails.positive_span] == [(0, 0)]
    assert (mails.sample_count, mails.zero_count, [*mails.positive_delta]) == (0, 0, [])
    assert native_buckets(degrees.negative_span, degrees.negative_delta) == {0: 2, 19: 1}
    assert native_buckets(degrees.positive_span, degrees.positive_delta) == {-8: 1}


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=400))
def test_any_values(values: list[float]) -> None:
    """The decoder finds the counts that went in, of numbers of whatever size and sign."""
    registry = MetricsRegistry()
    registry.histogram("a").take_in(values)
    [family] = read_protobuf(expose(registry.collect(), PrometheusProtobuf()))
    histogram = family.metric[0].histogram
    negative, zero, positive = native_counts(registry.histogram("a").distribution)
    assert native_buckets(histogram.negative_span, histogram.negative_delta) == negative
    assert native_buckets(histogram.positive_span, histogram.positive_delta) == positive
    assert histogram.zero_count == zero
    assert histogram.sample_count == len(values) == zero + sum(negative.values()) + sum(positive.values())
    assert histogram.sample_sum == registry.histogram("a").sum


@pytest.mark.parametrize("value", [0, -3, 0.1, 2**53, 1e300, inf, -inf])
def test_values_of_gauges(value: float) -> None:
    """Whatever a double can be."""
    [family] = read_protobuf(expose([GaugeReading("a", value)], PrometheusProtobuf()))
    assert family.metric[0].gauge.value == value


def test_what_cannot_be_told_is_left_out() -> None:
    """And the family with it, if nothing else is in it."""
    readings = [CounterReading("a", -1), CounterReading("b", 10**400), GaugeReading("c", None), GaugeReading("d", 1)]
    assert told(read_protobuf(expose(readings, PrometheusProtobuf()))) == {("d", frozenset()): 1}


@settings(deadline=None, max_examples=40)
@given(st.lists(hostile.good_names, max_size=200, unique=True), st.text(max_size=300))
def test_families_of_any_length(names: list[str], help: str) -> None:
    """Lengths of one byte and of more; texts of all characters."""
    plan = PrometheusPlan(help=dict.fromkeys(names, help.encode(errors="ignore").decode()))
    families = read_protobuf(expose([CounterReading(name, 1) for name in names], PrometheusProtobuf(), plan))
    assert sum(len(family.metric) for family in families) == len(names)
