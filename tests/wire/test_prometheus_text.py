"""Expositions as text, each of them read by prometheus_client's own parsers."""

from __future__ import annotations

from math import inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.utils import floatToGoString

from tests.prometheus import KINDS, expose, read_openmetrics, read_text, samples
from tests.wire import hostile
from txmetrics import MetricsRegistry
from txmetrics.snapshot import CounterReading, GaugeReading, Reading, Unreadable
from txmetrics.wire import OpenMetrics, PrometheusPlan, PrometheusText
from txmetrics.wire._prometheus_samples import bound_text

FORMATS = [(PrometheusText(), read_text), (OpenMetrics(), read_openmetrics)]

both = pytest.mark.parametrize(("format", "read"), FORMATS, ids=["text", "openmetrics"])


def test_an_exposition_in_text() -> None:
    """Each family with its head, its samples together."""
    registry = MetricsRegistry()
    registry.counter("http.status.2xx").inc(3)
    registry.gauge("queue.length").set(2.5)
    registry.counter("http.status.5xx")
    registry.timer("db").add(0.3)
    assert expose(registry.collect(), PrometheusText(), PrometheusPlan([0.25, 1])).decode() == (
        "# HELP http_status_total A counter, http.status.* in Graphite.\n"
        "# TYPE http_status_total counter\n"
        'http_status_total{status="2xx"} 3\n'
        'http_status_total{status="5xx"} 0\n'
        "# HELP queue_length A gauge, queue.length in Graphite.\n"
        "# TYPE queue_length gauge\n"
        "queue_length 2.5\n"
        "# HELP db_seconds A timer of seconds, db in Graphite.\n"
        "# TYPE db_seconds histogram\n"
        'db_seconds_bucket{le="0.25"} 0\n'
        'db_seconds_bucket{le="1.0"} 1\n'
        'db_seconds_bucket{le="+Inf"} 1\n'
        "db_seconds_count 1\n"
        "db_seconds_sum 0.3\n"
    )


def test_an_exposition_in_openmetrics() -> None:
    """A counter's head is without its suffix, units are told, and the end is marked."""
    registry = MetricsRegistry()
    registry.meter("mails").mark(3)
    registry.gauge("cpu_seconds").set(1)
    assert expose(registry.collect(), OpenMetrics()).decode() == (
        "# TYPE mails counter\n"
        "# HELP mails A meter, mails in Graphite.\n"
        "mails_total 3\n"
        "# TYPE cpu_seconds gauge\n"
        "# UNIT cpu_seconds seconds\n"
        "# HELP cpu_seconds A gauge of seconds, cpu_seconds in Graphite.\n"
        "cpu_seconds 1\n"
        "# EOF\n"
    )


@both
def test_nothing_is_an_exposition_too(format: Any, read: Any) -> None:
    """Of a registry without metrics, and of one without a value that can be told."""
    assert read(expose([], format)) == []
    assert read(expose([Unreadable("a", ValueError()), GaugeReading("b", "text")], format)) == []


@both
@pytest.mark.parametrize("value", [0, -3, 2**63, 10**30, 0.1, -1e-300, 1e22, 5e-324, inf, -inf, True])
def test_gauges_are_told_as_they_are(format: Any, read: Any, value: float) -> None:
    """Integers and doubles exactly, and infinities."""
    assert samples(read(expose([GaugeReading("a", value)], format))) == {("a", frozenset()): value}


@both
def test_a_gauge_that_is_nan(format: Any, read: Any) -> None:
    """It is told as that: something is there, but no number."""
    [value] = samples(read(expose([GaugeReading("a", nan)], format))).values()
    assert isnan(value)


@both
@pytest.mark.parametrize("count", [-1, nan, "3", None, 10**400, -inf])
def test_a_counter_that_cannot_be_one(format: Any, read: Any, count: Any) -> None:
    """It is left out, and the others are there."""
    exposition = expose([CounterReading("a", count), CounterReading("b", 2)], format)
    assert samples(read(exposition)) == {("b_total", frozenset()): 2}


@both
def test_histograms_with_negative_values(format: Any, read: Any) -> None:
    """A sum that may fall is no counter: OpenMetrics has neither it nor the count then, nor with negative bounds."""
    registry = MetricsRegistry()
    registry.histogram("below").add(-3)
    registry.histogram("above").add(3)
    told = samples(read(expose(registry.collect(), format)))
    assert told["above_sum", frozenset()] == 3
    assert told["below_bucket", frozenset({("le", "1.0")})] == 1
    assert told.get(("below_sum", frozenset())) == (None if isinstance(format, OpenMetrics) else -3)
    negative = samples(read(expose([registry.timer("t").read("t")], format, PrometheusPlan([-1, 1]))))
    assert (("t_seconds_count", frozenset()) in negative) == (not isinstance(format, OpenMetrics))
    assert negative["t_seconds_bucket", frozenset({("le", "-1.0")})] == 0


@both
def test_a_histogram_without_values(format: Any, read: Any) -> None:
    """Its buckets are there from the beginning, so that a rate sees the first value."""
    told = samples(read(expose([MetricsRegistry().histogram("a").read("a")], format)))
    assert len(told) == 22
    assert set(told.values()) == {0}


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=".;"), min_size=1, max_size=8)


@settings(deadline=None)
@given(text, text)
def test_whatever_a_label_or_a_help_holds(value: str, help: str) -> None:
    """No registry has such names; but if one had, they would break nothing."""
    name = f"a.status.{value}"
    plan = PrometheusPlan(help={name: help.replace("\r", "")})
    [family] = read_openmetrics_lines(expose([CounterReading(name, 1)], OpenMetrics(), plan))
    assert family.samples[0].labels == {"status": value}


def read_openmetrics_lines(exposition: bytes) -> Any:
    """The parser reads lines as Python does, which ends them at more characters than the format."""
    from prometheus_client.openmetrics.parser import text_fd_to_metric_families

    lines = [f"{line}\n" for line in exposition.decode().split("\n")[:-1]]
    return [*text_fd_to_metric_families(iter(lines))]


@pytest.mark.parametrize(("format", "escaped"), [(PrometheusText(), r'a \\ " \n'), (OpenMetrics(), r"a \\ \" \n")])
def test_what_is_escaped(format: Any, escaped: str) -> None:
    """In a help the quotes only where OpenMetrics wants it; in a label always."""
    hard = 'a \\ " \n'
    exposition = expose(
        [CounterReading(f"x.status.{hard}", 1)], format, PrometheusPlan(help={f"x.status.{hard}": hard})
    )
    assert f" {escaped}\n".encode() in exposition
    assert rb'{status="a \\ \" \n"} 1' in exposition


good_readings = hostile.readings.filter(lambda each: type(each.name) is str and hostile.is_full(each.name))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(FORMATS), st.lists(good_readings, max_size=8, unique_by=lambda each: each.name))
def test_any_reading(how: tuple[Any, Any], readings: list[Reading]) -> None:
    """Whatever values readings hold, the parser reads what was let through, and that is what should be."""
    format, read = how
    numbers = [each for each in readings if KINDS[type(each)] not in ("histogram", "timer")]
    assert len(samples(read(expose(numbers, format)))) == sum(map(_is_told, numbers))


def _is_told(reading: Reading) -> bool:
    """The rule once more."""
    [value] = [*reading.numbers()][:1] or [None]
    if issubclass(type(value), str | bytes | bytearray):
        return False
    try:
        number = float(value)
    except Exception:
        return False
    return KINDS[type(reading)] == "gauge" or number >= 0


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.integers(0, 10**7), max_size=600), st.booleans())
def test_histograms(values: list[float], timer: bool) -> None:
    """Buckets ascend to the count, in both formats alike but for what OpenMetrics forbids."""
    registry = MetricsRegistry()
    metric = registry.timer("a") if timer else registry.histogram("a")
    metric.take_in(map(float, values))
    told, strict = (samples(read(expose(registry.collect(), format))) for format, read in FORMATS)
    assert strict.items() <= told.items()
    buckets = [value for (name, _), value in told.items() if name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == len(values)
    assert {name[1:].removeprefix("_seconds") for name, _ in told} == {"_bucket", "_count", "_sum"}


@settings(deadline=None)
@given(st.floats(1e-9, 1e20) | st.sampled_from([1e5, 1e6, 1e15, 1e16, 123456.0, 1234567.0]))
def test_bounds_are_written_as_prometheus_does(bound: float) -> None:
    """So that a series is the same whichever format it came in."""
    assert bound_text(bound) == floatToGoString(bound)
    assert bound_text(-bound) == f"-{bound_text(bound)}"
