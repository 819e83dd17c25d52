"""Quantiles of a fleet, out of what Graphite answers: with answers made by hand."""

from __future__ import annotations

import random
from collections import Counter
from math import ceil, inf, nextafter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from txmetrics import Clock, MetricsRegistry
from txmetrics.fleet import buckets, quantile
from txmetrics.snapshot import Distribution
from txmetrics.wire._native import HIGHEST, LOWEST, bucket_end, native_counts

BUCKET = 2 ** (1 / 8) * (1 + 1e-12)
"""How wide a bucket is, and what arithmetic takes."""


def answer(counts: dict[int, int], form: str = "{}") -> list[dict[str, Any]]:
    """What Graphite answers: a series for each bucket, its count in a point between two without."""
    return [
        {"target": form.format(number), "tags": {}, "datapoints": [[None, 10], [count, 20], [None, 30]]}
        for number, count in counts.items()
    ]


def counted(values: list[float]) -> dict[int, int]:
    """As they are sent: by the number of the bucket, how many there are."""
    ordered = sorted(values)
    _, zero, positive = native_counts(Distribution(len(ordered), sum(ordered), ordered[0], ordered[-1], 0.0, ordered))
    counts = Counter({512 + LOWEST: zero} if zero else {})
    for key, count in positive.items():
        counts[512 + min(max(key, LOWEST), HIGHEST + 1)] += count
    return counts


@given(
    workers=st.lists(st.lists(st.floats(2.0**-29, 2.0**60), max_size=40), min_size=1, max_size=4).filter(any),
    q=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0])),
)
@example(workers=[[0.02] * 700 + [0.03] * 280, [0.9] * 20], q=0.99)
@example(workers=[[2 ** (k / 8) for k in range(-232, 481)]], q=0.999)
def test_it_is_within_a_bucket_of_the_true_order_statistic(workers: list[list[float]], q: float) -> None:
    """Whatever the values are and however they are spread over the workers, of which each sends its own buckets."""
    everything = sorted(value for values in workers for value in values)
    series = [entry for values in workers if values for entry in answer(counted(values))]
    true = everything[max(ceil(q * len(everything)), 1) - 1]
    found = quantile(series, q)
    assert found is not None
    # A value that is above a bound by less than 0.8 % may be counted as at it.
    assert true / BUCKET / 1.008 < found < true * BUCKET


@pytest.mark.parametrize("k", [LOWEST, -239, -88, -1, 0, 1, 7, 8, 100, HIGHEST])
def test_bounds_are_those_of_native_histograms(k: int) -> None:
    """A value at the bound is in the bucket that ends there, as it is counted; and that is where the bucket ends."""
    assert counted([bucket_end(k)]) == {512 + k: 1}
    assert quantile(answer({512 + k: 5}), 1) == bucket_end(k)
    low = quantile(answer({512 + k: 5}), 0)
    assert low == (0 if k == LOWEST else bucket_end(k - 1))


def test_between_the_bounds_it_is_as_prometheus_has_it() -> None:
    """By the logarithm: a quarter of the bucket's values are below the bound's quarter power."""
    series = answer({512: 4, 520: 4})
    assert quantile(series, 0.25) == pytest.approx(2 ** (-1 / 16))
    assert quantile(series, 0.5) == 1
    assert quantile(series, 0.625) == pytest.approx(2 ** (7 / 8 + 1 / 32))


def test_what_is_far_outside_is_told_as_far_as_it_is_known() -> None:
    """Zero and what is negative is in the lowest bucket, everything very large in the highest."""
    assert quantile(answer(counted([-3.0, 0.0, 1e-12])), 0.5) == pytest.approx(2.0**-31)
    for q in (0, 0.5, 1):
        assert quantile(answer(counted([2.0**61, inf])), q) == 2.0**60


def test_workers_with_different_buckets_are_one_fleet() -> None:
    """The p99 of all requests is not the average of the p99s, which is eight times as large here."""
    numbers = random.Random(7)
    fleet = [[numbers.lognormvariate(-3.8, 0.4) for _ in range(3000)] for _ in range(3)]
    fleet.append([numbers.lognormvariate(0, 0.5) for _ in range(60)])
    series = [entry for values in fleet for entry in answer(counted(values), "app.w.lat.b.{}")]
    everything = sorted(value for values in fleet for value in values)
    assert quantile(series, 0.99) == pytest.approx(everything[ceil(0.99 * len(everything)) - 1], rel=0.03)
    averaged = sum(sorted(values)[ceil(0.99 * len(values)) - 1] for values in fleet) / len(fleet)
    assert averaged > 8 * quantile(series, 0.99)


TARGETS = [
    "app.w0.lat.b.537",
    "537",
    "w0.537",
    'consolidateBy(537,"sum")',
    'summarize(537, "600min", "sum")',
    "sumSeries(app.*.lat.b.537)",
    "sumSeries(app.w0.lat.b.537,app.w1.lat.b.537)",
    "movingSum(537,600)",
    "app.300.lat.b.537",
    "app.lat.bucket;b=537;host=300",
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_bucket_is_told_by_what_ends_a_path(target: str) -> None:
    """Whatever stands around it; numbers that are parts of a path, or arguments of a function, are none."""
    assert buckets([{"target": target, "datapoints": [[2, 10], [None, 20], [3.0, 30]]}]) == {537: 5}


def test_a_tag_tells_it_before_all_else() -> None:
    """Tags of that name are ours alone."""
    one = {"target": "x.400", "tags": {"b": "537", "name": "app.lat.bucket"}, "datapoints": [[2, 10]]}
    other = {"target": "alias", "tags": {"b": "538"}, "datapoints": [[1, 10]]}
    assert buckets([one, other, one]) == {537: 4, 538: 1}


@pytest.mark.parametrize("series", [[], answer({}), answer({512: 0}), [{"target": "512", "datapoints": []}]])
def test_without_values_there_is_no_quantile(series: list[dict[str, Any]]) -> None:
    """Nothing was asked for, or nothing happened."""
    assert quantile(series, 0.5) is None


@pytest.mark.parametrize("q", [-0.01, 1.01, 99, nextafter(1, 2), float("nan")])
def test_a_q_is_a_share(q: float) -> None:
    """It is no percentage."""
    with pytest.raises(ValueError, match=r"q is a share, from 0 to 1, such as 0\.99"):
        quantile(answer({512: 1}), q)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"target": "sumSeries(app.*.lat.b.*)"}, r"'sumSeries\(app.\*.lat.b.\*\)' is no bucket: it has no tag b"),
        ({"target": "sumSeries(a.b.512,a.b.513)"}, "is no bucket"),
        ({"target": "app.lat.b.271"}, "is no bucket"),
        ({"target": "app.lat.b.994"}, "is no bucket"),
        ({"target": "http.requests.count"}, "is no bucket"),
        ({"target": "512", "tags": {"b": "mail"}}, "is no bucket"),
        ({"datapoints": [["1", 2]]}, "'512' has a point of '1', which is no count"),
        ({"datapoints": [[-1, 2]]}, "'512' has a point of -1, which is no count"),
        ({"datapoints": [[float("nan"), 2]]}, "has a point of nan, which is no count"),
        ({"datapoints": [1, 2]}, "is no answer of Graphite's /render"),
        ({"datapoints": None}, "is no answer of Graphite's /render"),
    ],
)
def test_a_series_that_is_no_bucket_is_refused(entry: dict[str, Any], sentence: str) -> None:
    """In a sentence that names it and says what to ask for."""
    with pytest.raises(ValueError, match=sentence):
        buckets([{"target": "512", "tags": {}, "datapoints": [[1, 2]], **entry}])


@pytest.mark.parametrize("thing", [None, {}, {"status": "success"}, "[]", 7, ["512"], [[]], [{"target": "512"}]])
def test_what_is_no_answer_is_refused(thing: Any) -> None:
    """That of Prometheus, an error, a text that was not parsed."""
    with pytest.raises(ValueError, match=r"is no answer of Graphite's /render\?format=json, parsed"):
        quantile(thing, 0.5)


def test_a_registry_counts_what_is_read_here() -> None:
    """A timer's own distribution comes to the same buckets, and to its own quantile."""
    registry = MetricsRegistry(Clock(wall=lambda: 1e9, tick=lambda: 0.0))
    numbers = random.Random(3)
    registry.timer("lat").take_in([numbers.lognormvariate(-3, 1) for _ in range(5000)])
    [reading] = registry.snapshot()
    _, _, positive = native_counts(reading.spread)
    series = answer({512 + key: count for key, count in positive.items()})
    assert sum(buckets(series).values()) == 5000
    for q in (0.5, 0.9, 0.99, 0.999):
        assert quantile(series, q) == pytest.approx(registry.timer("lat").quantile(q), rel=0.05)
