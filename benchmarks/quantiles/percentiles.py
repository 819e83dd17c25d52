"""What txmetrics and its peers tell of some values: each takes them in one by one, and then tells the percentiles.

Each with the defaults of its library, where there are any.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from benchmarks.costs.operations import peer
from benchmarks.quantiles.streams import PROMETHEUS_BOUNDS, Stream
from txmetrics import MetricsRegistry

__all__ = ["LIBRARIES", "LIFE", "PER_MILLE", "REPORT", "exponentially", "linearly"]

PER_MILLE = 500, 750, 950, 980, 990, 999
"""The quantiles, as integers so that their ranks are not off by a rounding."""

FIELDS = "p50", "p75", "p95", "p98", "p99", "p999"
PIECES = 10

REPORT, LIFE = "txmetrics", "txmetrics, since it was made"

Library = Callable[[Stream, "array[float]"], list[float]]


def of_a_report(stream: Stream, values: array[float]) -> list[float]:
    """The second report of a reader, which must not tell of the value in the first one."""
    registry = MetricsRegistry()
    histogram, reader = registry.histogram("values"), registry.reader()
    histogram.add(1e6)
    read(reader)
    for value in values:
        histogram.add(value)
    return read(reader)


def of_one_of_two_reports(stream: Stream, values: array[float]) -> list[float]:
    """The same while there is another reader, which reads ten times as often."""
    registry = MetricsRegistry()
    histogram, reader, other = registry.histogram("values"), registry.reader(), registry.reader()
    histogram.add(1e6)
    read(reader)
    for piece in range(PIECES):
        for _ in other.collect():
            pass
        for value in values[piece * len(values) // PIECES : (piece + 1) * len(values) // PIECES]:
            histogram.add(value)
    return read(reader)


def read(reader: Any) -> list[float]:
    [reading] = reader.collect()
    fields = reading.fields()
    return [fields[field] for field in FIELDS]


def of_a_life(stream: Stream, values: array[float]) -> list[float]:
    registry = MetricsRegistry()
    histogram = registry.histogram("values")
    for value in values:
        histogram.add(value)
    fields: dict[str, Any] = registry.read("values")
    return [fields[field] for field in FIELDS]


class Minute:
    """What pyformance asks for the time; and so a benchmark of seconds decays as the minute that it stands for."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now


def of_pyformance(stream: Stream, values: array[float]) -> list[float]:
    minute = Minute()
    histogram = peer("pyformance").MetricsRegistry(minute).histogram("values")
    for arrived in stream.by_second(values):
        minute.now += 1
        for value in arrived:
            histogram.add(value)
    snapshot = histogram.get_snapshot()
    return [snapshot.get_percentile(per_mille / 1000) for per_mille in PER_MILLE]


def of_ddsketch(stream: Stream, values: array[float]) -> list[float]:
    sketch = peer("ddsketch").DDSketch(0.01)
    for value in values:
        sketch.add(value)
    return [sketch.get_quantile_value(per_mille / 1000) for per_mille in PER_MILLE]


def of_hdrhistogram(stream: Stream, values: array[float]) -> list[float]:
    """In microseconds, up to the 1e4 s that a stream has."""
    histogram = peer("hdrh.histogram").HdrHistogram(1, 10_000_000_000, 2)
    for value in values:
        histogram.record_value(round(value / stream.unit))
    told = histogram.get_percentile_to_value_dict([per_mille / 10 for per_mille in PER_MILLE])
    return [told[per_mille / 10] * stream.unit for per_mille in PER_MILLE]


def of_prometheus(stream: Stream, values: array[float]) -> list[float]:
    client = peer("prometheus_client")
    histogram = client.Histogram("values", "values", registry=client.CollectorRegistry())
    for value in values:
        histogram.observe(value)
    [family] = histogram.collect()
    buckets = {float(s.labels["le"]): s.value for s in family.samples if s.name.endswith("_bucket")}
    *bounds, _ = buckets
    assert tuple(bounds) == PROMETHEUS_BOUNDS
    return [linearly(bounds, list(buckets.values()), per_mille / 1000) for per_mille in PER_MILLE]


def of_opentelemetry(stream: Stream, values: array[float]) -> list[float]:
    """Its histogram with exponential buckets; the other one is Prometheus' with other bounds."""
    metrics, export = peer("opentelemetry.sdk.metrics"), peer("opentelemetry.sdk.metrics.export")
    view = peer("opentelemetry.sdk.metrics.view")
    views = [view.View(instrument_name="*", aggregation=view.ExponentialBucketHistogramAggregation())]
    reader = export.InMemoryMetricReader()
    provider = metrics.MeterProvider([reader], views=views, shutdown_on_exit=False)
    histogram = provider.get_meter("benchmark").create_histogram("values")
    for value in values:
        histogram.record(value)
    point = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
    provider.shutdown()
    base, lowest = 2**2**-point.scale, point.positive.offset
    ranks = [*accumulate(point.positive.bucket_counts, initial=point.zero_count)]
    bounds = [base ** (lowest + number) for number in range(len(ranks))]
    return [exponentially(bounds, ranks, per_mille / 1000) for per_mille in PER_MILLE]


def linearly(bounds: Sequence[float], ranks: Sequence[float], q: float) -> float:
    """As Prometheus' ``histogram_quantile`` tells it: by a straight line between a bucket's bounds.

    ``ranks`` count the values up to and with each bound, and at last all of them; above the highest bound it tells
    that bound.
    """
    rank = q * ranks[-1]
    place = bisect_left(ranks, rank)
    if place == len(bounds):
        return bounds[-1]
    low, before = (bounds[place - 1], ranks[place - 1]) if place else (0.0, 0.0)
    return low + (bounds[place] - low) * (rank - before) / (ranks[place] - before)


def exponentially(bounds: Sequence[float], ranks: Sequence[float], q: float) -> float:
    """The same for buckets whose bounds are powers, by a straight line between the bounds' logarithms.

    ``ranks[0]`` counts the zeros only.
    """
    rank = q * ranks[-1]
    place = bisect_left(ranks, rank)
    if not place:
        return 0.0
    low, before = bounds[place - 1], ranks[place - 1]
    share = (rank - before) / (ranks[place] - before)
    return float(low * (bounds[place] / low) ** share)


LIBRARIES: tuple[tuple[str, Library], ...] = (
    (REPORT, of_a_report),
    (REPORT, of_one_of_two_reports),
    (LIFE, of_a_life),
    ("pyformance", of_pyformance),
    ("ddsketch", of_ddsketch),
    ("hdrhistogram", of_hdrhistogram),
    ("prometheus_client", of_prometheus),
    ("opentelemetry-sdk", of_opentelemetry),
)
"""Those of the same name are shown as one, by the worse of them."""
