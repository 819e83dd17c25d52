"""Requests of OTLP, read by opentelemetry-proto's own parser."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from tests.otlp import Told, parse, read_request
from tests.wire import hostile
from tests.wire.bodies import a_registry
from tests.wire.report import STAMP, encode
from txmetrics import MetricsRegistry
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import (
    CounterReading,
    Distribution,
    GaugeReading,
    HistogramReading,
    MeterReading,
    Reading,
    Unreadable,
)
from txmetrics.wire import OTLP
from txmetrics.wire._otlp import FULL
from txmetrics.wire._otlp_points import WIDEST

ME = {"service.name": "web", "service.instance.id": "a:1"}
SINCE = STAMP - 100.5
SPREAD = "exponential_histogram"
FACTOR = 2 ** (1 / 8)


def wire() -> OTLP:
    return OTLP(ME, since=SINCE, version="1.0")


def read(chunks: Iterable[Chunk]) -> list[Told]:
    """All points of the chunks, of which each is right by itself."""
    found = []
    for chunk in chunks:
        resource, told = read_request(chunk.data)
        assert resource == ME
        assert chunk.points == len(told) > 0
        assert chunk.timestamp == STAMP
        found += told
    for one in found:
        assert one.point.time_unix_nano == STAMP * 10**9
        assert one.point.start_time_unix_nano == (0 if one.kind == "gauge" else int(SINCE * 10**9))
    return found


def report(readings: Iterable[Reading]) -> list[Told]:
    """The points of one report, of which none is refused."""
    chunks, refused = encode(readings, wire())
    assert refused == {}
    return read(chunks)


def of(values: list[float]) -> Any:
    """The one point of a histogram of these values."""
    registry = MetricsRegistry()
    registry.histogram("a").take_in(values)
    [told] = report(registry.collect())
    return told.point


def buckets(point: Any) -> list[tuple[float, float, int]]:
    """The lower bound, the upper one and the count of each bucket that has one, in ascending order."""
    base = 2.0 ** (2.0**-point.scale)
    sides = ((-1, point.negative), (1, point.positive))
    found = [
        (*sorted((sign * _power(base, side.offset + n), sign * _power(base, side.offset + n + 1))), count)
        for sign, side in sides
        for n, count in enumerate(side.bucket_counts)
        if count
    ]
    if point.zero_count:
        found.append((-point.zero_threshold, point.zero_threshold, point.zero_count))
    return sorted(found)


def _power(base: float, exponent: int) -> float:
    try:
        return base**exponent
    except OverflowError:
        return inf


def quantile(point: Any, q: float) -> float:
    """As a backend estimates it: the upper bound of the bucket in which it is."""
    rank = 0
    for _, high, count in buckets(point):
        rank += count
        if rank >= q * point.count:
            return high
    raise AssertionError("there are fewer values in the buckets than there should be")


def test_it_is_a_wire() -> None:
    """With all that the interfaces promise."""
    assert verifyObject(IWire, wire())
    assert verifyObject(IEncoder, wire().encoder(STAMP))


def test_every_kind_of_metric() -> None:
    """Its name, unit, attributes and value: tags, and the parts of names that are labels elsewhere, are attributes."""
    registry = a_registry()
    told = report(registry.collect())
    spread = {(one.name, one.unit, *one.attributes.items()): one.point for one in told if one.kind == SPREAD}
    plain = {(one.name, one.kind, *one.attributes.items()): one for one in told if one.kind != SPREAD}
    assert {one.unit for one in plain.values()} == {""}
    assert {who: one.value for who, one in plain.items()} == {
        ("http.status", "sum", ("status", "2xx")): 3,
        ("http.status", "sum", ("status", "5xx")): 2**60,
        ("queue.length", "gauge"): -2.5,
        ("jobs", "sum", ("queue", "mail")): 1,
        ("jobs", "sum", ("queue", "a.b_c")): 1,
        ("endless", "gauge"): inf,
        ("mails", "sum"): 70_000,
    }
    assert spread.keys() == {
        ("job", "s", ("queue", "mail")),
        ("http.routes.requests", "s", ("route", "GET-a")),
        ("mail.bytes", "By"),
        ("degrees", ""),
    }
    point = spread["http.routes.requests", "s", ("route", "GET-a")]
    timer = registry.timer("http.routes.GET-a.requests")
    assert (point.count, point.sum, point.min, point.max) == (6, timer.sum, 0.0, 17.0)
    assert (point.scale, point.zero_count, point.zero_threshold) == (3, 1, 2.0**-128)


def test_the_scope_says_which_txmetrics_it_is() -> None:
    """Its version, if that is known."""
    for version in ("1.0", ""):
        [chunk], _ = encode([CounterReading("a", 1)], OTLP({}, since=SINCE, version=version))
        [of_resource] = parse(chunk.data).resource_metrics
        assert of_resource.scope_metrics[0].scope.version == version


def test_counts_of_all_sizes() -> None:
    """Integers as such where 64 bits suffice, all else as doubles; a gauge never changes between the two."""
    large = [0, 2**63 - 1, 2**63, 2**900, 0.5, inf]
    told = report(CounterReading(f"a{n}", count) for n, count in enumerate(large))
    assert [one.value for one in told] == large
    assert [one.point.WhichOneof("value") for one in told] == ["as_int"] * 2 + ["as_double"] * 4
    [gauge] = report([GaugeReading("b", 1)])
    assert gauge.point.WhichOneof("value") == "as_double"


def test_a_value_is_since_a_moment_before_its_own() -> None:
    """Also when the clock was set back behind the beginning."""
    encoder = OTLP(ME, since=STAMP + 5.5).encoder(STAMP)
    encoder.add(CounterReading("a", 1))
    [told] = read_request(encoder.finish().data)[1]
    assert told.point.start_time_unix_nano == STAMP * 10**9 - 5 * 10**8


# Histograms


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bound_is_in_the_bucket_that_it_ends(sign: int) -> None:
    """2**(k/8) is the last value of its bucket, and bucket 0 begins after 1; that is so with either sign."""
    for k in range(-200, 481, 7):
        point = of([sign * 2.0 ** (k / 8)])
        side, other = (point.positive, point.negative) if sign > 0 else (point.negative, point.positive)
        assert (point.scale, side.offset, list(side.bucket_counts)) == (3, k - 1, [1])
        assert list(other.bucket_counts) == []
    above = of([2.0 ** (9 / 8) * 1.01])
    assert above.positive.offset == 9


def test_a_histogram_without_values() -> None:
    """Is there, with nothing in it, so that what comes next is seen to be new."""
    point = of([])
    assert (point.count, point.sum, point.zero_count, buckets(point)) == (0, 0.0, 0, [])
    assert not point.HasField("min")
    assert not point.HasField("max")


def test_negative_values_have_no_sum() -> None:
    """Which might fall; everything else is there."""
    point = of([-5.0, -1.0, 0.0, 0.5])
    assert not point.HasField("sum")
    assert (point.count, point.min, point.max, point.zero_count) == (4, -5.0, 0.5, 1)
    assert sum(point.negative.bucket_counts) == 2


def test_what_is_very_wide_is_told_coarser() -> None:
    """From the first bucket to the last there are never more than so many, and none of the values is lost."""
    narrow, wide = of([1.0, 2.0**39]), of([1e-30, 1.0, 1e300, -1e300])
    assert (narrow.scale, len(narrow.positive.bucket_counts)) == (3, 39 * 8 + 1)
    assert wide.scale < 3
    assert WIDEST / 2 - 1 <= len(wide.positive.bucket_counts) <= WIDEST
    assert [count for _, _, count in buckets(wide)] == [1, 1, 1, 1]
    for (low, high, _), value in zip(buckets(wide), [-1e300, 1e-30, 1.0, 1e300], strict=True):
        assert low <= value * (1 + 1e-9)
        assert value <= high * (1 + 1e-9)


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=100)
@given(st.lists(finite | st.floats(1e-4, 20.0) | st.sampled_from([0.0, 1.0, -1.0, 5e-324]), min_size=1, max_size=80))
def test_all_values_are_in_the_buckets(values: list[float]) -> None:
    """Whatever they are: their count, their ends, and their sum where it is told."""
    point = of(values)
    assert point.count == sum(count for _, _, count in buckets(point)) == len(values)
    assert (point.min, point.max) == (min(values), max(values))
    assert point.HasField("sum") == (min(values) >= 0)
    for side in (point.negative, point.positive):
        assert len(side.bucket_counts) <= WIDEST


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(1e-5, 100.0), min_size=1, max_size=300), st.sampled_from([0.5, 0.75, 0.9, 0.95, 0.99]))
def test_quantiles_of_the_buckets_agree_with_ours(values: list[float], q: float) -> None:
    """Within a bucket's width, and the 0.8 % by which a value may count as at a bound."""
    registry = MetricsRegistry()
    registry.histogram("a").take_in(values)
    ours = registry.histogram("a").quantile(q)
    [told] = report(registry.collect())
    assert ours is not None
    assert 1 / 1.008 <= quantile(told.point, q) / ours <= FACTOR * 1.008


# Readings of all kinds


@settings(deadline=None, max_examples=100)
@given(st.lists(hostile.readings, max_size=30))
def test_any_readings(readings: list[Reading]) -> None:
    """Whatever a name or a value is: each reading is in a request or counted."""
    chunks, refused = encode(readings, wire())
    assert sum(chunk.points for chunk in chunks) + sum(refused.values()) == len(readings)
    told = [one for chunk in chunks for one in read_request(chunk.data)[1]]
    assert len(told) == sum(chunk.points for chunk in chunks)


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(
        hostile.full_names,
        st.tuples(st.sampled_from([CounterReading, GaugeReading]), hostile.values),
        min_size=1,
        max_size=20,
    )
)
def test_values_arrive_as_what_they_are(said: dict[str, tuple[Any, Any]]) -> None:
    """Those that a double can hold are told, and no others; no two metrics share their name and attributes."""
    readings = [kind(name, value) for name, (kind, value) in said.items()]
    chunks, refused = encode(readings, wire())
    expected = [
        number
        for kind, value in said.values()
        if (number := hostile.written(value)) is not None and (kind is GaugeReading or number >= 0)
    ]
    told = read(chunks)
    # As doubles, which is what ``written`` says; that integers are exact has a test of its own.
    assert sorted(float(one.value) for one in told if -inf < one.value < inf) == sorted(map(float, expected))
    assert set(refused) <= {"value"}
    assert len({(one.name, *sorted(one.attributes.items())) for one in told}) == len(told)


parts = st.sampled_from(["a", "b", "errors", "failures", "status", "http_client", "connections", "routes"])
tagged = st.builds(
    lambda path, tags: ".".join(path) + "".join(sorted(f";{key}={value}" for key, value in tags.items())),
    st.lists(parts, min_size=1, max_size=5),
    st.dictionaries(st.sampled_from(["error", "status", "port"]), parts, max_size=2),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(tagged, min_size=1, max_size=60, unique=True))
def test_no_two_metrics_are_one(names: list[str]) -> None:
    """A tag may say what a part of another name does; and who is who stays so in the next report."""
    ours = wire()
    both = []
    for _ in range(2):
        chunks, _ = encode([CounterReading(name, n) for n, name in enumerate(names)], ours)
        both.append({one.value: (one.name, *sorted(one.attributes.items())) for one in read(chunks)})
    assert len(set(both[0].values())) == len(names)
    assert both[0] == both[1]


def test_a_metric_may_become_another() -> None:
    """Of the same name, but of another kind."""
    ours = wire()
    kinds = []
    for reading in (CounterReading("a.seconds", 1), HistogramReading("a.seconds", 0, 0.0, None), GaugeReading("b", 1)):
        chunks, _ = encode([reading], ours)
        kinds += [(one.kind, one.unit) for one in read(chunks)]
    assert kinds == [("sum", "s"), (SPREAD, "s"), ("gauge", "")]


def test_what_is_gone_is_forgotten() -> None:
    """Also that it had the attributes of another one, which then has them for itself when it comes anew."""
    there = {f"jobs.{n}" for n in range(50)} | {"errors.bad"}
    ours = OTLP(ME, since=SINCE, exists=lambda name: name in there)
    everything = [CounterReading(name, 1) for name in [*sorted(there), "errors;error=bad"]]
    chunks, _ = encode(everything, ours)
    assert [one.attributes for one in read(chunks) if one.name == "errors"] == [
        {"error": "bad"},
        {"error": "bad", "name": "errors;error=bad"},
    ]
    there.clear()
    for _ in range(3):
        encode(everything[:30], ours)
    assert len(ours._streams._streams) <= 30
    chunks, _ = encode([everything[-1]], ours)
    assert [one.attributes for one in read(chunks)] == [{"error": "bad"}]


def test_all_points_of_a_name_are_in_one_metric() -> None:
    """Of one that takes both counters and meters as well; gauges are another."""
    registry = MetricsRegistry()
    registry.counter("jobs").inc(1)
    registry.gauge("queue", name_="a").set(2)
    registry.meter("jobs", queue="mail").mark(3)
    registry.meter("jobs", queue="print").mark(4)
    [chunk], _ = encode(registry.collect(), wire())
    [of_resource] = parse(chunk.data).resource_metrics
    jobs, queue = of_resource.scope_metrics[0].metrics
    assert [point.as_int for point in jobs.sum.data_points] == [1, 3, 4]
    assert [point.as_double for point in queue.gauge.data_points] == [2.0]


def test_what_is_refused_is_counted() -> None:
    """By its reason; a counter that is negative or no number is none."""
    broken = Distribution(-1, 1.0, 1.0, 1.0, 0.0, [1.0])
    readings = [
        Unreadable("a", ValueError()),
        GaugeReading("b", "text"),
        CounterReading("c", -1),
        CounterReading("c", nan),
        GaugeReading("d", 10**400),
        HistogramReading("h", 1, 1.0, broken),
        HistogramReading("h", 1, "much", None),
        GaugeReading("e e", 1),
        HistogramReading("f..f", 0, 0.0, None),
        CounterReading("g", 1),
    ]
    chunks, refused = encode(readings, wire())
    assert refused == {"unreadable": 1, "value": 6, "name": 2}
    assert [one.name for one in read(chunks)] == ["g"]


def test_nothing_is_no_request() -> None:
    """A report without a reading."""
    assert wire().encoder(STAMP).finish() is None


def test_requests_are_full_but_not_much_more() -> None:
    """Each is whole, and together they are the report; compressed they are a tenth, and the same each time."""
    readings = [MeterReading(f"some.meter;number={number}", number, 0, 0, 0, 0) for number in range(3000)]
    chunks, _ = encode(readings, wire())
    assert len(chunks) > 3
    for chunk in chunks[:-1]:
        size = parse(chunk.data).ByteSize()
        assert FULL - 1000 <= size <= FULL + 500
        assert len(chunk.data) < size / 5
    assert [one.value for one in read(chunks)] == [*range(3000)]
    assert encode(readings, wire())[0] == chunks
