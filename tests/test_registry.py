"""The registry: one name has one kind, and readings come one by one."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from txmetrics.clock import SYSTEM
from txmetrics.interfaces import ISource
from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer, Window
from txmetrics.registry import MetricsRegistry, Reader, Scope
from txmetrics.snapshot import CounterReading, Distribution, GaugeReading, Reading, Unreadable
from txmetrics.testing import FakeReactor

KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram, "meter": Meter, "timer": Timer}

MANY = 100_000


@pytest.fixture
def registry() -> MetricsRegistry:
    """An empty registry on a fake clock."""
    return MetricsRegistry(FakeReactor().clock)


def _names(readings: Iterator[Reading]) -> list[str]:
    return [reading.name for reading in readings]


def _spread(reader: Reader, name: str) -> Distribution | None:
    """What ``reader`` tells of a histogram or timer on one visit."""
    (reading,) = [reading for reading in reader.collect() if reading.name == name]
    return reading.spread


# Names and kinds


@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_is_made_once(registry: MetricsRegistry, kind: str) -> None:
    """Asking again for a name gives the same metric, of the kind that was asked for."""
    make = getattr(registry, kind)
    metric = make("some.name")
    assert type(metric) is KINDS[kind]
    assert make("some.name") is metric
    assert make("other.name") is not metric
    assert len(registry) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_one_name_has_one_kind(registry: MetricsRegistry, kind: str, other: str) -> None:
    """Asking for a name as another kind is an error that names both kinds, and changes nothing."""
    metric = getattr(registry, kind)("some.name")
    if kind != other:
        with pytest.raises(ValueError, match=r"some\.name") as caught:
            getattr(registry, other)("some.name")
        assert f"is a {kind} already" in str(caught.value)
        assert f"cannot be a {other}" in str(caught.value)
    assert getattr(registry, kind)("some.name") is metric
    assert len(registry) == 1


def test_a_callable_does_not_hide_the_wrong_kind(registry: MetricsRegistry) -> None:
    """Also a gauge with a callable says which other kind has its name."""
    registry.counter("depth")
    with pytest.raises(ValueError, match="'depth' is a counter already, it cannot be a gauge"):
        registry.gauge("depth", lambda: 1)


def test_a_second_callable_is_an_error(registry: MetricsRegistry) -> None:
    """It would replace the first one unseen; whoever means that unregisters the gauge first."""
    gauge = registry.gauge("depth", lambda: 1)
    with pytest.raises(ValueError, match="'depth' exists already; unregister it"):
        registry.gauge("depth", lambda: 2)
    assert registry.gauge("depth") is gauge
    assert registry.read("depth") == {"value": 1}
    registry.unregister("depth")
    registry.gauge("depth", lambda: 2)
    assert registry.read("depth") == {"value": 2}


def test_a_callable_that_cannot_be_called_registers_nothing(registry: MetricsRegistry) -> None:
    """The name stays free."""
    with pytest.raises(TypeError, match="set"):
        registry.gauge("depth", 3)
    assert len(registry) == 0
    registry.counter("depth")


BAD_NAMES = {
    "a b": "' '",
    "a\nb 1 2": r"'\n'",
    "a;tag=~": "'a;tag=_'",
    "a;tag": "'a;tag=_'",
    "a b;tag=1": "' '",
    "grün": "'ü'",
    "a.*.b": "'*'",
    "a/b": "'/'",
    "nul\0": r"'\x00'",
    "\ud800": r"'\ud800'",
    "": "is empty",
    "a..b": "empty part (part 2",
    ".a": "empty part (part 1",
    "a.": "empty part (part 2",
    "." + "x" * 2000: "2001 characters",
    "a." + "x" * 121: "121 characters",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name)[:12])
def test_a_name_that_no_path_can_carry_is_refused(registry: MetricsRegistry, kind: str, name: str) -> None:
    """The message shows the offending part, and nothing is registered."""
    with pytest.raises(ValueError, match="metric name") as caught:
        getattr(registry, kind)(name)
    assert BAD_NAMES[name] in str(caught.value)
    assert len(registry) == 0
    assert registry.snapshot() == ()


@pytest.mark.parametrize("name", [5, None, b"bytes", 1.5], ids=repr)
def test_a_name_is_a_string(registry: MetricsRegistry, name: Any) -> None:
    """Anything else is a TypeError that shows it, also in a scope, where it could be formatted."""
    for place in (registry, registry.scope("db")):
        with pytest.raises(TypeError, match="not a string") as caught:
            place.counter(name)
        assert repr(name) in str(caught.value)
    assert len(registry) == 0


def test_an_enumeration_may_hold_the_names(registry: MetricsRegistry) -> None:
    """A member of a StrEnum is the name that it stands for, and readings carry plain strings."""

    class Name(StrEnum):
        HITS = "cache.hits"

    registry.counter(Name.HITS).inc()
    registry.scope("db").counter(Name.HITS).inc()
    assert registry.counter("cache.hits").count == 1
    assert _names(registry.collect()) == ["cache.hits", "db.cache.hits"]
    assert {type(reading.name) for reading in registry.collect()} == {str}


# Lines


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"gauge"}))
@pytest.mark.parametrize("first", ["gauge", "other"])
def test_a_gauge_cannot_have_the_line_of_a_field(registry: MetricsRegistry, kind: str, first: str) -> None:
    """Whichever comes first stays, the other is refused with a sentence that names both; anew once there is room."""
    makes = [partial(registry.gauge, "a.b.count"), partial(getattr(registry, kind), "a.b")]
    if first == "other":
        makes.reverse()
    one = makes[0]()
    for _ in range(2):
        with pytest.raises(ValueError, match="written") as caught:
            makes[1]()
        assert str(caught.value) == (
            f"the gauge 'a.b.count' and the {kind} 'a.b' would both be written as 'a.b.count'; "
            f"choose another name for one of them"
        )
    assert makes[0]() is one
    assert len(registry) == len(registry.snapshot()) == 1
    registry.unregister(registry.snapshot()[0].name)
    makes[1]()


def test_every_field_of_a_kind_is_taken_and_no_other(registry: MetricsRegistry) -> None:
    """A counter has no maximum, so a gauge may have that name; a timer has one."""
    registry.counter("counter")
    registry.gauge("counter.max").set(1)
    registry.timer("timer")
    for field in ("count", "sum", "max", "p999", "m1_rate", "mean_rate", "refused"):
        with pytest.raises(ValueError, match=rf"'timer\.{field}'"):
            registry.gauge(f"timer.{field}", lambda: 1)
    for name in ("timer.value", "timer.avg", "timer.p90", "timer.count.now", "count", "x.timer.count"):
        registry.gauge(name)


def test_only_gauges_are_bare_names(registry: MetricsRegistry) -> None:
    """All others write a field more and so may be called like a field, and two gauges are two lines."""
    for kind in KINDS.keys() - {"gauge"}:
        getattr(registry, kind)(kind)
        registry.counter(f"{kind}.count")
        registry.timer(f"{kind}.count.count")
    for name in ("gauge", "gauge.value", "gauge.count"):
        registry.gauge(name)
    assert len(registry) == 4 * 3 + 3


def test_a_scope_hides_no_line(registry: MetricsRegistry) -> None:
    """The whole path counts."""
    registry.scope("db").histogram("reads")
    with pytest.raises(ValueError, match=r"both be written as 'db\.reads\.p50'"):
        registry.scope("db.reads").gauge("p50")


@pytest.mark.parametrize("kind", KINDS)
def test_the_reporters_own_names_are_refused(registry: MetricsRegistry, kind: str) -> None:
    """Under any of them one of its lines would be two; a name that only looks alike is free."""
    make = getattr(registry, kind)
    for name in ("txmetrics", "txmetrics.reports", "txmetrics.a.b"):
        with pytest.raises(ValueError, match=f"metric name '{name}' belongs to the reporter.*choose another name"):
            make(name)
    assert len(registry) == 0
    for name in ("txmetrics2", "txmetric", "a.txmetrics", "a.txmetrics.b", "TXMETRICS"):
        make(name)


def test_a_scope_cannot_be_the_reporters_own(registry: MetricsRegistry) -> None:
    """That shows with the scope, and not with its first metric."""
    for prefix in ("txmetrics", "txmetrics.a"):
        with pytest.raises(ValueError, match=f"scope '{prefix}' belongs to the reporter"):
            registry.scope(prefix)
    registry.scope("a").scope("txmetrics").counter("b")


def test_what_is_refused_leaves_the_name_free(registry: MetricsRegistry) -> None:
    """For the kind that has room for its lines."""
    registry.gauge("a.max")
    with pytest.raises(ValueError, match="both be written"):
        registry.timer("a")
    registry.counter("a").inc()
    assert _names(registry.collect()) == ["a.max", "a"]


# Scopes


def test_a_scope_prefixes_names(registry: MetricsRegistry) -> None:
    """What is asked of a scope is the registry's metric with the longer name, for each kind."""
    scope = registry.scope("db")
    for kind in KINDS:
        assert getattr(scope, kind)(kind) is getattr(registry, kind)(f"db.{kind}")
    assert len(registry) == len(KINDS)


def test_scopes_nest(registry: MetricsRegistry) -> None:
    """A scope of a scope has both prefixes, and one prefix may have several parts."""
    inner = registry.scope("db").scope("pool.main")
    assert isinstance(inner, Scope)
    inner.gauge("size", lambda: 4)
    assert registry.read("db.pool.main.size") == inner.read("size") == {"value": 4}
    inner.unregister("size")
    assert len(registry) == 0


def test_a_scope_has_the_registrys_clock() -> None:
    """What is made in a scope lives on the same time."""
    reactor = FakeReactor()
    registry = MetricsRegistry(reactor.clock)
    assert registry.scope("db").clock is registry.clock is reactor.clock
    timer = registry.scope("db").timer("query")
    with timer.time():
        reactor.advance(2)
    assert timer.sum == 2.0


@pytest.mark.parametrize("prefix", ["", "a b", ".", "a.", "x;y=z"])
def test_a_bad_prefix_is_refused(registry: MetricsRegistry, prefix: str) -> None:
    """At once, and not with the first metric."""
    for place in (registry, registry.scope("db")):
        with pytest.raises(ValueError, match="scope"):
            place.scope(prefix)


def test_a_bad_name_in_a_scope_is_shown_in_full(registry: MetricsRegistry) -> None:
    """The prefix counts: the message has the whole path, whose length is limited as a whole."""
    with pytest.raises(ValueError, match=r"'db\.a b' contains ' '"):
        registry.scope("db").counter("a b")
    with pytest.raises(ValueError, match="1025 characters"):
        registry.scope(".".join(["x" * 100] * 10)).counter("y" * 15)


# Reading


def test_read_gives_one_metrics_fields(registry: MetricsRegistry) -> None:
    """As a dict of the metric's whole life, which is the caller's own."""
    registry.counter("calls").inc(3)
    fields = registry.read("calls")
    assert fields == {"count": 3}
    fields["count"] = 0
    assert registry.read("calls") == {"count": 3}


def test_read_of_an_unknown_name_is_an_error(registry: MetricsRegistry) -> None:
    """It names the name, and makes no metric."""
    with pytest.raises(KeyError, match=r"nothing\.here"):
        registry.read("nothing.here")
    with pytest.raises(KeyError, match=r"nothing\.here"):
        registry.unregister("nothing.here")
    assert len(registry) == 0


def test_the_article_can_be_read(registry: MetricsRegistry) -> None:
    """3, 3 and 15 are told as in the article."""
    for n in (3, 3, 15):
        registry.histogram("world_size").add(n)
    fields = registry.read("world_size")
    assert (fields["count"], fields["mean"], fields["min"], fields["max"]) == (3, 7.0, 3, 15)
    assert fields["stddev"] == 6.928203230275509
    assert {fields[name] for name in ("p75", "p95", "p99", "p999")} == {15}


def test_a_snapshot_has_everything_in_the_order_of_making(registry: MetricsRegistry) -> None:
    """Readings are frozen: what happens afterwards is not in them."""
    registry.timer("z.last")
    registry.counter("a.first").inc()
    registry.gauge("m.middle").set(2)
    snapshot = registry.snapshot()
    registry.counter("a.first").inc()
    assert [reading.name for reading in snapshot] == ["z.last", "a.first", "m.middle"]
    assert snapshot[1:] == (CounterReading("a.first", 1), GaugeReading("m.middle", 2))
    with pytest.raises(AttributeError):
        snapshot[1].name = "other"


def test_a_frozen_spread_stays_as_it_was(registry: MetricsRegistry) -> None:
    """Also the percentiles of a snapshot are those of its moment."""
    histogram = registry.histogram("sizes")
    for n in range(1000):
        histogram.add(n)
    (reading,) = registry.snapshot()
    before = reading.fields()
    for _ in range(1000):
        histogram.add(10**6)
    _ = histogram.max
    assert reading.fields() == before


def test_a_raising_gauge_costs_its_own_reading_only(registry: MetricsRegistry) -> None:
    """All others are there, the broken one says why, and has no fields."""
    registry.counter("before").inc()
    registry.gauge("broken", lambda: 1 // 0)
    registry.counter("after").inc()
    before, broken, after = registry.snapshot()
    assert (before, after) == (CounterReading("before", 1), CounterReading("after", 1))
    assert isinstance(broken, Unreadable)
    assert isinstance(broken.error, ZeroDivisionError)
    assert registry.read("broken") == {}


def test_collecting_is_lazy(registry: MetricsRegistry) -> None:
    """A gauge is asked when its turn comes, and a metric shows what it is at that moment."""
    asked: list[int] = []
    for n in range(3):
        registry.gauge(f"gauge{n}", partial(asked.append, n))
    counter = registry.counter("calls")
    for source in (registry, registry.reader()):
        asked.clear()
        readings = source.collect()
        assert asked == []
        assert next(readings).name == "gauge0"
        assert asked == [0]
        assert next(readings).name == "gauge1"
        assert asked == [0, 1]
        counter.inc()
        assert list(readings)[-1] == CounterReading("calls", counter.count)


def test_the_first_of_many_readings_costs_no_copy_of_all() -> None:
    """Beginning to collect a hundred thousand metrics takes the memory of one reading."""
    registry = MetricsRegistry()
    for n in range(MANY):
        registry.counter(f"many.c{n}")
    for collect in (registry.collect, registry.reader().collect):
        tracemalloc.start()
        try:
            readings = collect()
            first = next(readings)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert first.name == "many.c0"
        assert peak < 20_000  # a list of the names alone would be 800,000 bytes
        assert sum(1 for _ in readings) == MANY - 1


# Coming and going


def test_metrics_registered_while_collecting_join_in(registry: MetricsRegistry) -> None:
    """The collection that is under way goes on, with the new ones at its end."""
    registry.counter("one")
    registry.counter("two")
    readings = registry.collect()
    assert next(readings).name == "one"
    registry.counter("three")
    assert _names(readings) == ["two", "three"]


def test_a_gauge_may_register_metrics(registry: MetricsRegistry) -> None:
    """A callable that makes metrics while it is asked breaks no collection, and they come in it or in the next."""
    registry.gauge("busy", lambda: len([registry.counter(f"seen.{n}") for n in range(100)]))
    registry.counter("last")
    first = _names(registry.collect())
    assert first[:2] == ["busy", "last"]
    assert len(set(first)) == len(first)
    assert len(_names(registry.collect())) == len(registry) == 102


def test_metrics_unregistered_while_collecting_are_left_out(registry: MetricsRegistry) -> None:
    """Those whose turn had come were read, those whose turn is to come are gone, and no other suffers."""
    for n in range(6):
        registry.counter(f"c{n}")
    readings = registry.collect()
    assert [next(readings).name, next(readings).name] == ["c0", "c1"]
    for name in ("c0", "c3", "c5"):
        registry.unregister(name)
    assert _names(readings) == ["c2", "c4"]
    assert _names(registry.collect()) == ["c1", "c2", "c4"]


def test_no_name_comes_twice_in_one_collection(registry: MetricsRegistry) -> None:
    """A metric that is made anew meanwhile waits for the next one: two lines would be one point."""
    for n in range(4):
        registry.counter(f"c{n}").inc()
    readings = registry.collect()
    told = [next(readings), next(readings)]
    registry.unregister("c0")
    registry.counter("c0")
    other = _names(registry.collect())
    registry.unregister("c2")
    registry.gauge("c2").set(9)
    registry.counter("c4")
    told += readings
    names = [reading.name for reading in told]
    assert len(set(names)) == len(names)
    assert names == ["c0", "c1", "c3"]
    assert sorted(other) == ["c0", "c1", "c2", "c3"]
    assert sorted(_names(registry.collect())) == ["c0", "c1", "c2", "c3", "c4"]


def test_a_name_is_free_after_unregistering(registry: MetricsRegistry) -> None:
    """It can become another kind, begins from nothing, and the old metric still works for those who hold it."""
    old = registry.counter("name")
    old.inc(5)
    registry.unregister("name")
    assert registry.counter("name") is not old
    assert registry.read("name") == {"count": 0}
    old.inc()
    assert old.count == 6
    assert registry.read("name") == {"count": 0}
    registry.unregister("name")
    registry.timer("name")
    assert _names(registry.collect()) == ["name"]


# Readers


def test_a_reader_is_a_source(registry: MetricsRegistry) -> None:
    """It provides the seam that the reporter collects through, and so does the registry itself."""
    assert verifyObject(ISource, registry.reader())
    assert verifyObject(ISource, registry)


def test_the_first_visit_covers_the_life(registry: MetricsRegistry) -> None:
    """A reader that begins late still tells the percentiles of all that was before it."""
    registry.histogram("sizes").add(5)
    reader = registry.reader()
    registry.histogram("sizes").add(7)
    spread = _spread(reader, "sizes")
    assert spread is not None
    assert (spread.count, spread.min, spread.max) == (2, 5.0, 7.0)


@pytest.mark.parametrize("kind", ["histogram", "timer"])
def test_each_reader_tells_its_own_intervals(registry: MetricsRegistry, kind: str) -> None:
    """Percentiles since its own last visit, whatever the others do; count and sum are cumulative."""
    metric = getattr(registry, kind)("sizes")
    fast, slow = registry.reader(), registry.reader()
    told = []
    for value in (1, 2, 4):
        metric.add(value)
        (reading,) = fast.collect()
        told.append((reading.fields()["count"], reading.fields()["sum"], reading.fields()["max"]))
    assert told == [(1, 1.0, 1.0), (2, 3.0, 2.0), (3, 7.0, 4.0)]
    spread = _spread(slow, "sizes")
    assert spread is not None
    assert (spread.count, spread.min, spread.max) == (3, 1.0, 4.0)
    assert metric.distribution.count == 3


def test_an_idle_interval_has_no_spread(registry: MetricsRegistry) -> None:
    """No stale percentile: count and sum stay, everything about the interval is left out."""
    registry.histogram("sizes").add(5)
    reader = registry.reader()
    list(reader.collect())
    (reading,) = reader.collect()
    assert reading.fields() == {"count": 1, "sum": 5.0}
    registry.histogram("sizes").add(6)
    (reading,) = reader.collect()
    assert reading.fields()["min"] == reading.fields()["p50"] == 6.0


def test_counters_and_meters_are_cumulative_for_a_reader(registry: MetricsRegistry) -> None:
    """What is not spread has no interval."""
    registry.counter("calls").inc(2)
    registry.meter("hits").mark(3)
    registry.gauge("depth").set(4)
    reader = registry.reader()
    first = [reading.fields() for reading in reader.collect()]
    assert [reading.fields() for reading in reader.collect()] == first


def test_a_histogram_made_anew_begins_anew(registry: MetricsRegistry) -> None:
    """A reader that knew the old one of the name does not mix them up."""
    registry.histogram("sizes").add(100)
    reader = registry.reader()
    list(reader.collect())
    registry.unregister("sizes")
    registry.histogram("sizes").add(3)
    spread = _spread(reader, "sizes")
    assert spread is not None
    assert (spread.count, spread.max) == (1, 3.0)


@pytest.mark.parametrize("again", [None, "histogram", "counter", "timer"])
def test_a_reader_forgets_unregistered_histograms(registry: MetricsRegistry, again: str | None) -> None:
    """After its next visit nothing of them is held, whether their names were taken again or not."""
    others, windows = _alive(Histogram), _alive(Window)
    reader = registry.reader()
    for n in range(5):
        registry.histogram(f"h{n}")
    list(reader.collect())
    assert (_alive(Histogram) - others, _alive(Window) - windows) == (5, 5)
    for n in range(5):
        registry.unregister(f"h{n}")
        if again is not None:
            getattr(registry, again)(f"h{n}")
    list(reader.collect())
    assert _alive(Histogram) - others == (5 if again == "histogram" else 0)
    assert _alive(Window) - windows == (5 if again in ("histogram", "timer") else 0)


def _alive(kind: type) -> int:
    """How many objects of exactly that class there are."""
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


def test_a_collection_that_is_given_up_halfway_harms_nobody(registry: MetricsRegistry) -> None:
    """What was not read yet is in the reader's next visit."""
    for n in range(4):
        registry.histogram(f"h{n}").add(n)
    reader = registry.reader()
    assert len(list(islice(reader.collect(), 2))) == 2
    assert [reading.spread and reading.spread.count for reading in reader.collect()] == [None, None, 1, 1]


def test_a_dropped_reader_leaves_nothing(registry: MetricsRegistry) -> None:
    """A thousand readers that came and went cost the histogram nothing that stays."""
    histogram = registry.histogram("sizes")
    registry.reader()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(1000):
            list(registry.reader().collect())
            histogram.add(1)
        _ = histogram.sum
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000


def test_the_system_clock_is_the_default() -> None:
    """A registry for production needs no argument."""
    assert MetricsRegistry().clock is SYSTEM
