"""The field names of the libraries that users come from, in both dialects."""

from __future__ import annotations

from typing import Any

import pytest

from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer
from txmetrics.snapshot import Reading
from txmetrics.testing import FakeReactor
from txmetrics.wire import Graphite

DROPWIZARD = {
    "counter": "count",
    "gauge": "",
    "meter": "count m1_rate m5_rate m15_rate mean_rate",
    "histogram": "count sum max mean min stddev p50 p75 p95 p98 p99 p999",
    "timer": "count sum max mean min stddev p50 p75 p95 p98 p99 p999 m1_rate m5_rate m15_rate mean_rate",
}

PYFORMANCE = {
    "counter": "count",
    "gauge": "value",
    "meter": "count 15m_rate 5m_rate 1m_rate mean_rate",
    "histogram": "avg count max min std_dev 75_percentile 95_percentile 99_percentile 999_percentile",
    "timer": "avg sum count max min std_dev 15m_rate 5m_rate 1m_rate mean_rate "
    "50_percentile 75_percentile 95_percentile 99_percentile 999_percentile",
}

FIELDS = {"dropwizard": DROPWIZARD, "pyformance": PYFORMANCE}

OF_AN_INTERVAL = {"max", "mean", "min", "stddev", "avg", "std_dev"} | {
    name for n in (50, 75, 95, 98, 99, 999) for name in (f"p{n}", f"{n}_percentile")
}


def _reading(kind: str) -> Reading:
    """What each kind says about 3, 3 and 15, sixteen seconds after its making."""
    reactor = FakeReactor()
    counter, gauge, histogram = Counter(), Gauge(), Histogram()
    meter, timer = Meter(reactor.clock), Timer(reactor.clock)
    counter.inc(3)
    gauge.set(21.5)
    meter.mark(3)
    for value in (3, 3, 15):
        histogram.add(value)
        timer.add(value)
    reactor.advance(16)
    metrics: dict[str, Any] = {
        "counter": counter,
        "gauge": gauge,
        "histogram": histogram,
        "meter": meter,
        "timer": timer,
    }
    reading: Reading = metrics[kind].read("some.name")
    return reading


def _written(reading: Reading, wire: Graphite) -> dict[str, str]:
    """Full name -> value, as they stand on the wire."""
    encoder = wire.encoder(1_000_000_000)
    assert encoder.add(reading) is None
    chunk = encoder.finish()
    assert chunk is not None
    assert not encoder.refused
    lines = [line.split(" ") for line in chunk.data.decode("ascii").splitlines()]
    assert {stamp for _, _, stamp in lines} == {"1000000000"}
    assert len({name for name, _, _ in lines}) == len(lines) == chunk.points
    return {name: value for name, value, _ in lines}


@pytest.mark.parametrize("dialect", FIELDS)
@pytest.mark.parametrize("kind", DROPWIZARD)
def test_each_kind_has_the_fields_of_its_dialect(kind: str, dialect: str) -> None:
    """All of them, in their order, and no other; a field without a name is the metric's bare name."""
    written = _written(_reading(kind), Graphite(dialect=dialect))
    fields = FIELDS[dialect][kind].split() or [""]
    assert list(written) == [f"some.name.{field}" if field else "some.name" for field in fields]


def test_dropwizard_is_the_default() -> None:
    """And seconds are."""
    assert _written(_reading("timer"), Graphite()) == _written(_reading("timer"), Graphite("", "dropwizard", "seconds"))


@pytest.mark.parametrize("kind", ["histogram", "timer"])
def test_both_dialects_tell_the_same_numbers(kind: str) -> None:
    """Under their own names: the article's in full, and Dropwizard's statistics in 14 digits."""
    dropwizard = _written(_reading(kind), Graphite())
    pyformance = _written(_reading(kind), Graphite(dialect="pyformance"))
    same = {"count": "count", "avg": "mean", "std_dev": "stddev", "max": "max", "min": "min"}
    same |= {f"{n}_percentile": f"p{n}" for n in (75, 95, 99, 999)}
    if kind == "timer":
        same |= {"sum": "sum", "50_percentile": "p50", "mean_rate": "mean_rate"}
        same |= {f"{n}m_rate": f"m{n}_rate" for n in (1, 5, 15)}
    assert set(pyformance) == {f"some.name.{name}" for name in same}
    for name, ours in same.items():
        assert float(pyformance[f"some.name.{name}"]) == pytest.approx(
            float(dropwizard[f"some.name.{ours}"]), rel=5e-14
        )
    assert [pyformance[f"some.name.{name}"] for name in ("count", "avg", "999_percentile")] == ["3", "7.0", "15.0"]
    assert pyformance["some.name.std_dev"] == "6.928203230275509"
    assert dropwizard["some.name.stddev"] == "6.9282032302755"
    assert dropwizard["some.name.sum"] == "21.0"


def test_what_is_no_statistic_keeps_its_full_precision() -> None:
    """Of what was counted, set and added up not one bit is lost."""
    third, reactor = 0.1 + 0.2, FakeReactor()
    counter, gauge, timer = Counter(), Gauge(), Timer(reactor.clock)
    counter.inc(third)
    gauge.set(third)
    timer.add(third)
    for metric, field in ((counter, "x.count"), (gauge, "x"), (timer, "x.sum")):
        assert _written(metric.read("x"), Graphite())[field] == "0.30000000000000004"


@pytest.mark.parametrize("dialect", FIELDS)
@pytest.mark.parametrize("kind", DROPWIZARD)
def test_milliseconds_are_for_a_timers_durations_only(kind: str, dialect: str) -> None:
    """Its counts and rates, and every number of the other kinds, are the same in both units."""
    seconds = _written(_reading(kind), Graphite(dialect=dialect))
    milliseconds = _written(_reading(kind), Graphite(dialect=dialect, durations="milliseconds"))
    assert list(seconds) == list(milliseconds)
    for name, value in seconds.items():
        is_duration = kind == "timer" and name.split(".")[-1] in OF_AN_INTERVAL | {"sum"}
        assert float(milliseconds[name]) == pytest.approx(float(value) * (1000 if is_duration else 1), rel=1e-13)


@pytest.mark.parametrize("dialect", FIELDS)
@pytest.mark.parametrize("kind", ["histogram", "timer"])
def test_an_idle_interval_leaves_its_fields_out(kind: str, dialect: str) -> None:
    """No percentile, no mean, no extreme is sent that is not about the interval; counts and rates are."""
    reactor = FakeReactor()
    metric = Timer(reactor.clock) if kind == "timer" else Histogram()
    window = metric.window()
    metric.add(3)
    busy = set(_written(metric.read("x", window), Graphite(dialect=dialect)))
    idle = set(_written(metric.read("x", window), Graphite(dialect=dialect)))
    assert busy - idle == {name for name in busy if name.removeprefix("x.") in OF_AN_INTERVAL}
    assert "x.count" in idle


def test_refused_values_are_told_where_there_were_any() -> None:
    """Our own field says how many NaNs a histogram was given; it is not there as long as there are none."""
    histogram = Histogram()
    assert "x.refused" not in _written(histogram.read("x"), Graphite())
    histogram.add(float("nan"))
    assert _written(histogram.read("x"), Graphite())["x.refused"] == "1"


@pytest.mark.parametrize("dialect", FIELDS)
def test_a_prefix_stands_before_every_name(dialect: str) -> None:
    """With one dot between, also before a bare name."""
    wire, bare = Graphite("web.host1", dialect), Graphite("", dialect)
    for kind in DROPWIZARD:
        names = list(_written(_reading(kind), wire))
        assert names == [f"web.host1.{name}" for name in _written(_reading(kind), bare)]


@pytest.mark.parametrize("prefix", ["web host", "web.", ".web", "a..b", "web\n", "web;x=y", "é", "x" * 2000])
def test_a_bad_prefix_is_refused(prefix: str) -> None:
    """At once, by the rules for names."""
    with pytest.raises(ValueError, match="prefix"):
        Graphite(prefix)


def test_an_unknown_choice_names_the_known_ones() -> None:
    """The message says what was given and what there is."""
    with pytest.raises(ValueError, match="dialect 'statsd' is unknown; choose one of dropwizard, pyformance"):
        Graphite(dialect="statsd")
    with pytest.raises(ValueError, match="durations 'ms' is unknown; choose one of seconds, milliseconds"):
        Graphite(durations="ms")
