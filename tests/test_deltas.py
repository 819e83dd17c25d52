"""Readers who are told what has changed since their last visit."""

from __future__ import annotations

from itertools import chain
from math import fsum, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txmetrics import MetricsRegistry
from txmetrics.snapshot import CounterReading, GaugeReading, HistogramReading, MeterReading, TimerReading
from txmetrics.testing import FakeReactor


def registry_of_all() -> MetricsRegistry:
    """One metric of each kind, in which something has happened."""
    registry = MetricsRegistry(FakeReactor().clock)
    registry.counter("counter").inc(3)
    registry.gauge("gauge").set(7)
    registry.meter("meter").mark(2)
    registry.histogram("histogram").add(5)
    registry.timer("timer").add(0.25)
    registry.timer("timer").add(0.5)
    return registry


def test_the_first_visit_tells_everything() -> None:
    """What was counted before anybody looked is reported, too."""
    told = {reading.name: reading for reading in registry_of_all().reader(deltas=True).collect()}
    assert told["counter"].count == 3
    assert told["meter"].count == 2
    assert (told["histogram"].count, told["histogram"].sum) == (1, 5)
    assert (told["timer"].count, told["timer"].sum) == (2, 0.75)
    assert told["gauge"].value == 7


def test_each_further_visit_tells_what_happened_since() -> None:
    """Nothing, in a quiet time; a gauge is what it is."""
    registry = registry_of_all()
    reader = registry.reader(deltas=True)
    list(reader.collect())
    quiet = list(reader.collect())
    assert quiet == [
        CounterReading("counter", 0),
        GaugeReading("gauge", 7),
        MeterReading("meter", 0, 0, 0, 0, 0),
        HistogramReading("histogram", 0, 0, None),
        TimerReading("timer", 0, 0, None, 0, 0, 0, 0),
    ]
    registry.counter("counter").dec(1)
    registry.timer("timer").add(2)
    busy = {reading.name: reading for reading in reader.collect()}
    assert busy["counter"].count == -1
    assert (busy["timer"].count, busy["timer"].sum, busy["timer"].spread.max) == (1, 2, 2)


def test_visitors_do_not_rob_each_other() -> None:
    """Two reporters of deltas, and one that tells of whole lives, are each told everything."""
    registry = registry_of_all()
    one, other, whole = registry.reader(deltas=True), registry.reader(deltas=True), registry.reader()
    list(one.collect())
    registry.counter("counter").inc(4)
    assert [next(one.collect()).count, next(other.collect()).count, next(whole.collect()).count] == [4, 7, 7]


@pytest.mark.parametrize("again", [1, 3, 9])
def test_a_metric_that_was_made_anew_is_another(again: int) -> None:
    """All that it has counted is told, however that compares to what its predecessor had."""
    registry = registry_of_all()
    reader = registry.reader(deltas=True)
    list(reader.collect())
    registry.unregister("counter")
    registry.unregister("histogram")
    registry.counter("counter").inc(again)
    registry.histogram("histogram").take_in([1.0] * again)
    told = {reading.name: reading for reading in reader.collect()}
    assert told["counter"].count == told["histogram"].count == again


def test_what_was_refused_is_told_once() -> None:
    """It is a count, too, although it is there only where there was any."""
    registry = MetricsRegistry()
    reader = registry.reader(deltas=True)
    histogram = registry.histogram("histogram")
    seen = []
    for value in (nan, 1.0, inf):
        histogram.add(value)
        seen.append([reading.refused for reading in reader.collect()])
    assert seen == [[1], [0], [1]]


kinds = st.sampled_from(["counter", "meter", "histogram", "look"])


@given(st.lists(st.tuples(kinds, st.integers(1, 50)), max_size=60))
def test_deltas_add_up_to_what_was_counted(events: list[tuple[str, int]]) -> None:
    """Whenever the visitor comes."""
    registry = MetricsRegistry(FakeReactor().clock)
    counter, meter, histogram = registry.counter("counter"), registry.meter("meter"), registry.histogram("histogram")
    reader = registry.reader(deltas=True)
    visits = []
    for what, number in events:
        if what == "counter":
            counter.inc(number)
        elif what == "meter":
            meter.mark(number)
        elif what == "histogram":
            histogram.add(number)
        else:
            visits.append(list(reader.collect()))
    visits.append(list(reader.collect()))
    readings = list(chain(*visits))
    for name, truth in (("counter", counter.count), ("meter", meter.count), ("histogram", histogram.count)):
        assert sum(reading.count for reading in readings if reading.name == name) == truth
    assert fsum(reading.sum for reading in readings if reading.name == "histogram") == histogram.sum


# Lines that two metrics cannot share


@pytest.mark.parametrize("gauge", ["lat.delta", "lat.sum_delta", "lat.bucket", "lat.le", "lat.b.512", "lat.le.0_25"])
def test_a_gauge_on_the_line_of_a_delta_is_refused(gauge: str) -> None:
    """Whichever of the two comes first."""
    registry = MetricsRegistry()
    registry.timer("lat")
    with pytest.raises(ValueError, match="would both be written"):
        registry.gauge(gauge)
    other = MetricsRegistry()
    other.gauge(gauge)
    with pytest.raises(ValueError, match="would both be written"):
        other.histogram("lat")
    other.unregister(gauge)
    other.histogram("lat")


def test_gauges_that_come_and_go_leave_nothing() -> None:
    """Also where their names could be those of buckets; while one of two is there, it counts."""
    registry = MetricsRegistry()
    for number in range(100):
        registry.gauge(f"session{number}.b.1")
        registry.gauge(f"session{number}.b.2")
        registry.unregister(f"session{number}.b.1")
    with pytest.raises(ValueError, match=r"session7\.b\.2"):
        registry.timer("session7")
    for number in range(100):
        registry.unregister(f"session{number}.b.2")
    registry.timer("session7")
    assert not registry._lines._bucket_like


@pytest.mark.parametrize("gauge", ["lat.b", "b.512", "lat.c.512", "lat.b.x.y", "jobs.b.512"])
def test_other_names_are_as_free_as_before(gauge: str) -> None:
    """A counter has no buckets, and a bucket has one part behind ``b``."""
    registry = MetricsRegistry()
    registry.counter("jobs")
    registry.gauge(gauge)
    registry.timer("lat")
    assert gauge in registry
