"""Bodies of remote write, read by Google's decoder and by a snappy that is not ours."""

from __future__ import annotations

from math import isnan
from struct import unpack

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from tests.prometheus import expose, native_buckets, read_text, samples
from tests.remote_write import Sent
from tests.wire import hostile
from tests.wire.bodies import ME, STAMP, a_registry, named, now, read, report
from txmetrics import MetricsRegistry
from txmetrics.interfaces import IEncoder, IWire
from txmetrics.snapshot import CounterReading, GaugeReading, HistogramReading, MeterReading, Reading, Unreadable
from txmetrics.wire import PrometheusText, RemoteWrite
from txmetrics.wire._native import native_counts
from txmetrics.wire._remote_write import FULL
from txmetrics.wire._remote_write_bytes import snappy


def test_it_is_a_wire() -> None:
    """With all that the interfaces promise."""
    wire = RemoteWrite(ME)
    assert verifyObject(IWire, wire)
    assert verifyObject(IEncoder, wire.encoder(STAMP))


def test_it_says_the_same_as_a_scrape() -> None:
    """All samples of the text format, with everybody's labels, and nothing else."""
    registry = a_registry()
    text = samples(read_text(expose(registry.collect(), PrometheusText())))
    expected = {named(name, **dict(labels)): value for (name, labels), value in text.items()}
    sent = report(RemoteWrite(ME), registry.collect())
    assert now(sent) == expected
    assert len(sent) == len(expected)


def test_native_histograms() -> None:
    """One series each, with the buckets, sum and count that a scrape in protobuf has; also one without values."""
    registry = a_registry()
    told = now(report(RemoteWrite(ME, "native"), registry.collect()))
    names = {
        named("http_routes_requests_seconds", route="GET-a"): registry.timer("http.routes.GET-a.requests"),
        named("job_seconds", queue="mail"): registry.timer("job", queue="mail"),
        named("mail_bytes"): registry.histogram("mail.bytes"),
        named("degrees"): registry.histogram("degrees"),
    }
    assert {name for name, value in told.items() if not isinstance(value, float)} == names.keys()
    for name, histogram in names.items():
        message = told[name]
        negative, zero, positive = native_counts(histogram.distribution)
        assert native_buckets(message.negative_spans, message.negative_deltas) == negative
        assert native_buckets(message.positive_spans, message.positive_deltas) == positive
        assert (message.schema, message.zero_threshold, message.zero_count) == (3, 2.0**-128, zero)
        assert (message.count, message.sum) == (histogram.count, histogram.sum)


def test_ranges() -> None:
    """The same buckets by their ends, in six digits, only where there is something; they meet at the same text."""
    registry = MetricsRegistry()
    timer = registry.histogram("a")
    timer.take_in([1.0, 1.05, 1.1, 0.0, 1e-12, 1e30, 1e40, -1.0, -1e-15, -1e25])
    told = now(report(RemoteWrite(ME, "vmrange"), registry.collect()))
    assert told == {
        named("a_bucket", vmrange="0.917004...1"): 1,
        named("a_bucket", vmrange="1...1.09051"): 1,
        named("a_bucket", vmrange="1.09051...1.18921"): 1,
        named("a_bucket", vmrange="0...9.31323e-10"): 2,
        named("a_bucket", vmrange="1.15292e+18...+Inf"): 2,
        named("a_bucket", vmrange="-1...-0.917004"): 1,
        named("a_bucket", vmrange="-9.31323e-10...0"): 1,
        named("a_bucket", vmrange="-Inf...-1.15292e+18"): 1,
        named("a_count"): 10,
        named("a_sum"): timer.sum,
    }


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.floats(1e-4, 20.0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(numbers, max_size=60), min_size=1, max_size=5), st.sampled_from(["classic", "vmrange"]))
def test_no_count_falls_and_all_values_are_somewhere(stream: list[list[float]], style: str) -> None:
    """Whatever is added between reports, for each series the samples are in order and only grow."""
    registry, wire = MetricsRegistry(), RemoteWrite(ME, style)
    sent = []
    for number, values in enumerate(stream):
        registry.histogram("a").take_in(values)
        sent += report(wire, registry.collect(), STAMP + 10 * number)
        told = now(sent, STAMP + 10 * number)
        count = sum(map(len, stream[: number + 1]))
        assert told[named("a_count")] == count
        if style == "vmrange":
            assert sum(value for name, value in told.items() if "vmrange" in name) == count
        else:
            assert told[named("a_bucket", le="+Inf")] == count
    for name in {one.series for one in sent if "_sum" not in one.series}:
        mine = [one for one in sent if one.series == name]
        times = [one.milliseconds for one in mine]
        assert times == sorted(set(times))
        assert [one.value for one in mine] == sorted(one.value for one in mine)


@settings(deadline=None, max_examples=60)
@given(st.lists(hostile.readings, max_size=30), st.sampled_from(["classic", "native", "vmrange"]))
def test_any_readings(readings: list[Reading], style: str) -> None:
    """Whatever a name or a value is: each reading is in a body or counted, and no series comes twice."""
    wire = RemoteWrite(ME, style)
    encoder = wire.encoder(STAMP)
    sent: list[Sent] = []
    told = 0
    for reading in readings:
        before = sum(encoder.refused.values())
        chunk = encoder.add(reading)
        told += sum(encoder.refused.values()) == before
        sent += read([chunk]) if chunk is not None else []
    chunk = encoder.finish()
    sent += read([chunk]) if chunk is not None else []
    assert told + sum(encoder.refused.values()) == len(readings)
    assert bool(sent) == bool(told)
    assert read(wire.farewell()) or not told


def test_what_is_refused_is_counted() -> None:
    """By its reason; a counter that is negative is none."""
    encoder = RemoteWrite(ME).encoder(STAMP)
    for reading in (
        Unreadable("a", ValueError()),
        GaugeReading("b", "text"),
        CounterReading("c", -1),
        GaugeReading("d", 10**400),
        GaugeReading("e e", 1),
        HistogramReading("f..f", 0, 0.0, None),
        CounterReading("g", 1),
    ):
        assert encoder.add(reading) is None
    assert encoder.refused == {"unreadable": 1, "value": 3, "name": 2}
    assert now(read([encoder.finish()])) == {named("g_total"): 1}


def test_nothing_is_no_body() -> None:
    """A report without a reading, and a farewell without a report."""
    wire = RemoteWrite(ME)
    assert [*wire.farewell()] == []
    assert wire.encoder(STAMP).finish() is None
    assert [*wire.farewell()] == []


def test_a_gauge_of_nan_is_not_the_end_of_its_series() -> None:
    """Every NaN is told as the same one; the one of the stale markers as well."""
    [ending] = unpack(">d", bytes.fromhex("7ff0000000000002"))
    told = now(report(RemoteWrite(ME), [GaugeReading("a", float("nan")), GaugeReading("b", ending)]))
    assert [isnan(value) for value in told.values()] == [True, True]


# Labels


def test_a_label_of_a_metrics_own_gives_way() -> None:
    """As Prometheus does it when it scrapes; one that histograms need, too."""
    wire = RemoteWrite({"host": "me", "exported_host": "x", "Zone": "z", "zzz": "last"})
    told = now(report(wire, [CounterReading("http_client.example.GET.requests", 1)]))
    [name] = told
    assert name.startswith("http_client_requests_total{Zone='z',exported_exported_host='example',exported_host='x',")
    assert "host='me',method='GET',zzz='last'" in name


def test_a_tag_of_a_metric_gives_way() -> None:
    """To everybody's label, as well."""
    registry = MetricsRegistry()
    registry.counter("a", job="mine", queue="mail").inc()
    assert now(report(RemoteWrite(ME), registry.collect())) == {named("a_total", exported_job="mine", queue="mail"): 1}


@settings(deadline=None, max_examples=60)
@given(st.lists(hostile.good_names, min_size=1, max_size=40, unique=True))
def test_no_two_metrics_share_a_series(names: list[str]) -> None:
    """Under labels of ours that are called as theirs."""
    wire = RemoteWrite({"route": "r", "host": "h", "name": "n"})
    assert len(now(report(wire, [CounterReading(name, 1) for name in names]))) == len(names)


# Bodies


def test_bodies_are_full_but_not_much_more() -> None:
    """Each is whole, and together they are the report."""
    readings = [MeterReading(f"some.meter.{number}", number, 0, 0, 0, 0) for number in range(3000)]
    encoder = RemoteWrite(ME).encoder(STAMP)
    chunks = [chunk for reading in readings if (chunk := encoder.add(reading)) is not None]
    assert all(FULL <= len(chunk.data) < FULL + 200 for chunk in chunks)
    last = encoder.finish()
    assert last is not None
    assert list(now(read([*chunks, last])).values()) == [float(number) for number in range(3000)]


@settings(deadline=None)
@given(st.binary(max_size=700), st.sampled_from([1, 120, 1000]))
def test_snappy(data: bytes, times: int) -> None:
    """Of any length: of several literals, and with a last one of any length."""
    assert bytes(cramjam.snappy.decompress_raw(snappy(data * times))) == data * times


@pytest.mark.parametrize("length", [0, 1, 60, 61, 256, 257, 65535, 65536, 65537, 2 * 65536 + 60])
def test_snappy_where_lengths_change(length: int) -> None:
    """Around each size that is written otherwise."""
    assert bytes(cramjam.snappy.decompress_raw(snappy(b"x" * length))) == b"x" * length


def test_wrong_arguments_are_refused() -> None:
    """With what can be chosen."""
    with pytest.raises(ValueError, match="histograms 'summary' are unknown; choose one of classic, native, vmrange"):
        RemoteWrite(ME, "summary")
    with pytest.raises(ValueError, match="are no bounds"):
        RemoteWrite(ME, buckets=[2, 1])
