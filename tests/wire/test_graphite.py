"""Graphite's lines: nothing that a name or a value holds can break one, add one, or get lost uncounted."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from tests.wire import hostile
from tests.wire.report import STAMP, encode
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.metrics import Histogram, Timer
from txmetrics.names import check
from txmetrics.registry import MetricsRegistry
from txmetrics.snapshot import CounterReading, GaugeReading, HistogramReading, Reading, TimerReading, Unreadable
from txmetrics.testing import FakeReactor
from txmetrics.wire import Graphite
from txmetrics.wire._dialects import DIALECTS

FULL = 20_000
SIZE = 65_536
"""A chunk of FULL bytes is full; the reading that filled it may be long, but none makes a chunk of more than SIZE."""

properties = settings(deadline=None, max_examples=100)


def _parse(chunk: Chunk) -> list[tuple[str, float]]:
    """The chunk's lines, each held against everything that a line promises."""
    assert chunk.data.isascii()
    assert chunk.data.endswith(b"\n")
    assert chunk.timestamp == STAMP
    assert 0 < len(chunk.data) <= SIZE
    lines = chunk.data.removesuffix(b"\n").split(b"\n")
    assert len(lines) == chunk.points
    points = []
    for line in lines:
        name, value, stamp = line.split()
        assert line == b" ".join((name, value, stamp))
        assert stamp == str(STAMP).encode()
        assert math.isfinite(float(value))
        points.append((name.decode("ascii"), float(value)))
    return points


# Conservation


@properties
@given(
    st.lists(hostile.readings, max_size=20),
    st.sampled_from(sorted(DIALECTS)),
    st.booleans(),
    st.sampled_from(["", "web.host1"]),
)
def test_every_field_is_a_line_or_refused(
    readings: list[Reading], dialect: str, milliseconds: bool, prefix: str
) -> None:
    """Fields in are lines out and values refused, line by line what they should be; and nothing is raised."""
    chunks, refused = encode(readings, Graphite(prefix, dialect, "milliseconds" if milliseconds else "seconds"))
    lines, missing = [], 0
    for reading in readings:
        points, lost = hostile.expected(reading, dialect, milliseconds, f"{prefix}." if prefix else "")
        lines += points
        missing += lost
    assert [point for chunk in chunks for point in _parse(chunk)] == lines
    assert sum(refused.values()) == missing
    assert set(refused) <= {"name", "value", "unreadable"}


def test_reasons_are_told_apart() -> None:
    """A bad name, a bad value and a gauge that could not be read are three numbers."""
    readings = [
        CounterReading("bad name", 1),
        GaugeReading("good", math.nan),
        GaugeReading("good", "text"),
        Unreadable("broken", RuntimeError()),
        CounterReading("good", 7),
    ]
    chunks, refused = encode(readings, Graphite())
    assert refused == {"name": 1, "value": 2, "unreadable": 1}
    assert [chunk.data for chunk in chunks] == [b"good.count 7 %d\n" % STAMP]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["bad name", "x" * 1025, "", None, "grün", "a\nb"], ids=lambda name: repr(name)[:12])
def test_a_bad_name_counts_the_lines_that_it_costs(name: Any, dialect: str) -> None:
    """As many as a good name would have given, whatever is wrong with it, in each dialect."""
    reading = Timer(FakeReactor().clock)
    reading.add(1)
    (good,), _ = encode([reading.read("good")], Graphite(dialect=dialect))
    chunks, refused = encode([reading.read(name)], Graphite(dialect=dialect))
    assert chunks == []
    assert refused == {"name": good.points}


@properties
@given(st.lists(hostile.readings, max_size=20), st.lists(hostile.good_names, min_size=1, max_size=10))
def test_good_readings_survive_among_hostile_ones(bad: list[Reading], names: list[str]) -> None:
    """Whatever else is in their chunk, their lines are in it."""
    good = [CounterReading(name, n) for n, name in enumerate(names)]
    mixed: list[Reading] = []
    for n, reading in enumerate(good):
        mixed += [*bad[n::10], reading]
    chunks, _ = encode([*mixed, *bad[len(good) :]], Graphite())
    lines = {line for chunk in chunks for line in chunk.data.splitlines()}
    assert {b"%s.count %d %d" % (name.encode(), n, STAMP) for n, name in enumerate(names)} <= lines


INJECTIONS = [
    "a 1 1\nevil.name",
    "a\nevil.name 1 1\nb",
    "a\r\nevil",
    "a b",
    "a\tb",
    "a\x0bb",
    "a\x1cb",
    "a\x85b",
    "a\xa0b",
    "a\u2028b",
    "a\0b",
    "a;tag=value 1 1\nevil.name",
    "a;tag=b c",
    "a;tag\n=b",
    "a;b=c\n",
    "a\ud800b",
    "\n",
    " ",
    "a\n\nb",
    "  \n",
    "a 1 1\n\nb",
]

NO_PATHS = [".", "..", ".a", "a.", "a..b", "a...b", "x" * 121, f"a.{'x' * 121}.b", hostile.LONGEST + "n", "x." * 600]
NO_PATHS += [
    "a;",
    "a;b",
    "a;b=",
    "a;b=c;a=d",
    "a;b=c;b=d",
    "a;b=~c",
    "a;b=c;",
    ";a=b",
    "a.;b=c",
    hostile.LONGEST + ";a=b",
]


@pytest.mark.parametrize("name", INJECTIONS, ids=repr)
@pytest.mark.parametrize("others", [0, 1, 300])
def test_no_name_adds_a_line(name: str, others: int) -> None:
    """A name with a line in it is left out as a whole, and its neighbours are sent."""
    good = [CounterReading(f"good.c{n}", n) for n in range(others)]
    readings = [*good[: others // 2], CounterReading(name, 1), *good[others // 2 :]]
    chunks, refused = encode(readings, Graphite())
    points = [point for chunk in chunks for point in _parse(chunk)]
    assert points == [(f"good.c{n}.count", n) for n in range(others)]
    assert refused == {"name": 1}


@pytest.mark.parametrize("prefix", ["", "web"])
@pytest.mark.parametrize("name", NO_PATHS, ids=lambda name: f"{name[:6]} {len(name)}")
def test_a_name_that_is_no_path_is_left_out(name: str, prefix: str) -> None:
    """Carbon would file it under another name or not at all; a gauge is its bare name, a counter has a field more."""
    readings = [CounterReading("good", 1), CounterReading(name, 1), GaugeReading(name, 1), CounterReading("fine", 1)]
    (chunk,), refused = encode(readings, Graphite(prefix))
    assert len(_parse(chunk)) == 2
    assert refused == {"name": 2}


@pytest.mark.parametrize("name", ["x" * 120, hostile.LONGEST, "x." * 511 + "xx", "a.b.c", f"{'x' * 120}.b"])
def test_a_name_may_be_as_long_as_the_door_lets_in(name: str) -> None:
    """With a prefix of the same length before it, too."""
    for prefix in ("", hostile.LONGEST):
        (chunk,), refused = encode([GaugeReading(check(name), 1)], Graphite(prefix))
        assert _parse(chunk) == [(f"{prefix}.{name}".removeprefix("."), 1)]
        assert not refused


@pytest.mark.parametrize(
    ("reading", "lines"),
    [
        (CounterReading("jobs;queue=mail", 3), ["jobs.count;queue=mail 3"]),
        (GaugeReading("depth;host=a.b;queue=mail", 0.5), ["depth;host=a.b;queue=mail 0.5"]),
        (GaugeReading("depth;queue=mail", True), ["depth;queue=mail 1.0"]),
        (CounterReading("a%s;b=%d", 1), ["a%s.count;b=%d 1"]),
        (HistogramReading("sizes;kind=%s", 2, 0.5, None), ["sizes.count;kind=%s 2", "sizes.sum;kind=%s 0.5"]),
        (HistogramReading("sizes;kind=x", 2, math.inf, None), ["sizes.count;kind=x 2"]),
    ],
)
def test_tags_stand_behind_the_field(reading: Reading, lines: list[str]) -> None:
    """The prefix is before the name alone; in the first report as in the next, when the name is known."""
    for wire in (Graphite(), Graphite("web.host1")):
        before = wire._names.prefix
        for _ in range(2):
            (chunk,), _ = encode([reading], wire)
            assert chunk.data.decode().splitlines() == [f"{before}{line} {STAMP}" for line in lines]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_line_of_a_timer_has_the_tags(dialect: str) -> None:
    """And is otherwise what it is without them."""
    timer = Timer(FakeReactor().clock)
    timer.add(0.25)
    (bare,), _ = encode([timer.read("db")], Graphite("web", dialect, "milliseconds"))
    (tagged,), _ = encode([timer.read("db;pool=main;table=users")], Graphite("web", dialect, "milliseconds"))
    assert tagged.points == bare.points
    assert _parse(tagged) == [(f"{name};pool=main;table=users", value) for name, value in _parse(bare)]


def test_two_bad_names_do_not_cancel_out() -> None:
    """A line too many in one reading cannot hide a line that is missing in another."""
    for names in (("a\nb", ""), ("a\nb", "c d e"), ("a b", "a\nb"), ("x y z\n", "\n\n")):
        chunks, refused = encode([CounterReading(name, 1) for name in names], Graphite())
        assert chunks == []
        assert refused == {"name": 2}


# Values


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.1)
@example(-0.0)
@example(5e-324)
@example(1.7976931348623157e308)
def test_a_float_arrives_to_the_last_bit(value: float) -> None:
    """Full precision: what the receiver reads is the double that was there."""
    ((_, arrived),) = _parse(encode([GaugeReading("g", value)], Graphite())[0][0])
    assert arrived == value
    assert math.copysign(1, arrived) == math.copysign(1, value)


@given(st.integers(-(10**308), 10**308))
def test_an_integer_arrives_digit_by_digit(value: int) -> None:
    """Also one that no double holds exactly, as long as it is not too large for any."""
    (chunk,), refused = encode([CounterReading("c", value)], Graphite())
    assert chunk.data == b"c.count %d %d\n" % (value, STAMP)
    assert not refused


@properties
@given(st.lists(hostile.values, min_size=1, max_size=30))
def test_a_value_is_sent_as_the_double_that_it_is_or_refused(values: list[Any]) -> None:
    """Text is never read as a number, whatever it says, and an object's own way of writing itself never asked."""
    chunks, refused = encode([GaugeReading("g", value) for value in values], Graphite())
    doubles = [number for value in values if (number := hostile.written(value)) is not None]
    assert [point for chunk in chunks for point in _parse(chunk)] == [("g", number) for number in doubles]
    assert sum(refused.values()) == len(values) - len(doubles)


def test_what_raises_when_touched_is_refused() -> None:
    """Whether it stands in the place of a name or of a value."""
    untouchable: Any = hostile.Untouchable()
    readings = [GaugeReading("g", untouchable), CounterReading("c", untouchable), CounterReading(untouchable, 1)]
    assert encode(readings, Graphite()) == ([], {"value": 2, "name": 1})


@pytest.mark.parametrize("value", [0.0003, 1e306, math.inf, 10**306, 5])
def test_milliseconds_are_refused_only_where_they_overflow(value: Any) -> None:
    """A thousand times a huge duration may leave the doubles; it is counted then, not sent as an infinity."""
    reading = TimerReading("t", 1, value, None, 0.0, 0.0, 0.0, 0.0)
    chunks, refused = encode([reading], Graphite(durations="milliseconds"))
    sums = [number for chunk in chunks for name, number in _parse(chunk) if name == "t.sum"]
    assert sums == ([value * 1000] if abs(value) < 1e305 else [])
    assert refused == ({} if sums else {"value": 1})


# Chunks


def _timer(name: str) -> Reading:
    timer = Timer(FakeReactor().clock)
    timer.add(0.1)
    return timer.read(name)


@pytest.mark.parametrize("length", [1, 20, 120, 1024])
@pytest.mark.parametrize("prefix", ["", ".".join(["p" * 99] * 10)], ids=["bare", "prefixed"])
def test_chunks_are_bounded(length: int, prefix: str) -> None:
    """In bytes, for names of any length, with whole readings in the order in which they came."""
    name = hostile.LONGEST[: length - 1]
    readings = [_timer(f"{name}{n % 10}") for n in range(200)]
    chunks, refused = encode(readings, Graphite(prefix))
    points = [point for chunk in chunks for point in _parse(chunk)]
    assert not refused
    assert len(points) == 200 * 16
    assert all(chunk.points % 16 == 0 for chunk in chunks)
    whole = [point for reading in readings for point in _parse(encode([reading], Graphite(prefix))[0][0])]
    assert points == whole


def test_a_chunk_is_filled_before_the_next_begins() -> None:
    """So that a large report is few writes, and none is more than one reading larger than it has to be."""
    chunks, _ = encode([CounterReading(f"c{n}", n) for n in range(1800)], Graphite())
    assert len(chunks) > 2
    for chunk in chunks[:-1]:
        without_the_last_line = chunk.data.removesuffix(b"\n").rpartition(b"\n")[0] + b"\n"
        assert len(without_the_last_line) < FULL <= len(chunk.data)


def test_a_chunk_with_hostile_readings_is_bounded_too() -> None:
    """What is left out makes a chunk smaller, never larger, and one that is all bad is no chunk."""
    readings = [CounterReading("bad name" if n % 3 else f"c{n}", n) for n in range(3000)]
    chunks, refused = encode(readings, Graphite())
    assert sum(chunk.points for chunk in chunks) == 1000
    assert refused == {"name": 2000}
    assert all(_parse(chunk) for chunk in chunks)
    assert encode([CounterReading("bad name", n) for n in range(3000)], Graphite()) == ([], {"name": 3000})


def test_nothing_in_is_nothing_out() -> None:
    """An empty report, and one of readings without fields, has no chunk."""
    assert encode([], Graphite()) == ([], {})
    assert encode([Unreadable("g", RuntimeError())], Graphite()) == ([], {"unreadable": 1})


def test_a_kind_that_is_unknown_is_refused() -> None:
    """What is none of the readings has no fields to write, and is counted as one."""

    class Gauge2(GaugeReading):
        pass

    assert encode([Gauge2("g", 1), None, "a 1 2\n"], Graphite()) == ([], {"unreadable": 3})


# Seams


def test_the_wire_keeps_its_seam() -> None:
    """The wire and its encoder are what the reporter expects."""
    wire = Graphite()
    assert verifyObject(IWire, wire)
    assert verifyObject(IEncoder, wire.encoder(STAMP))


def test_encoders_of_one_wire_are_apart() -> None:
    """Two reports that are being written at a time share neither lines nor counts nor stamps."""
    wire = Graphite()
    one, other = wire.encoder(1), wire.encoder(2)
    one.add(CounterReading("a", 1))
    other.add(CounterReading("bad name", 1))
    other.add(CounterReading("b", 2))
    assert one.finish() == Chunk(b"a.count 1 1\n", 1, 1)
    assert other.finish() == Chunk(b"b.count 2 2\n", 1, 2)
    assert (dict(one.refused), dict(other.refused)) == ({}, {"name": 1})


def test_a_stamp_is_a_whole_second() -> None:
    """Carbon keeps whole seconds, so a fraction never reaches a line."""
    encoder = Graphite().encoder(17.9)
    encoder.add(CounterReading("a", 1))
    assert encoder.finish() == Chunk(b"a.count 1 17\n", 1, 17)


def test_a_registry_is_written_as_it_is() -> None:
    """Every name that a registry takes is written, and every number that a metric can hold."""
    registry = MetricsRegistry(FakeReactor().clock)
    registry.counter("calls").inc()
    registry.gauge("depth", lambda: 3)
    registry.timer("db.query").add(0.25)
    registry.histogram("a:b%c@d#e+f-g").add(-1e300)
    registry.meter("9").mark()
    chunks, refused = encode(registry.collect(), Graphite("web1"))
    assert not refused
    names = {name for chunk in chunks for name, _ in _parse(chunk)}
    assert {"web1.calls.count", "web1.depth", "web1.db.query.p99", "web1.a:b%c@d#e+f-g.max", "web1.9.m1_rate"} <= names
    assert len(names) == 1 + 1 + 16 + 12 + 5


def test_a_histogram_beyond_the_doubles_costs_only_its_sum() -> None:
    """An infinite sum is refused, the percentiles beside it are sent."""
    histogram = Histogram()
    for _ in range(3):
        histogram.add(1.7e308)
    chunks, refused = encode([histogram.read("h")], Graphite())
    points = dict(point for chunk in chunks for point in _parse(chunk))
    assert (points["h.count"], points["h.p99"]) == (3, 1.7e308)
    assert "h.sum" not in points
    assert refused["value"] >= 1
