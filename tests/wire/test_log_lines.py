"""Log lines: whoever reads them gets the numbers back, and nothing that a name or a value holds can break one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from tests.wire import hostile
from tests.wire.report import STAMP, encode
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.metrics import Histogram, Timer
from txmetrics.snapshot import CounterReading, GaugeReading, MeterReading, Reading, Unreadable
from txmetrics.testing import FakeReactor
from txmetrics.wire import LogLines
from txmetrics.wire._dialects import DIALECTS

FORMS = ["json", "logfmt"]
FULL = 20_000
LONGEST = 16_384
"""No line is longer, whatever is in it."""

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]\d+)?")


def no_number(text: str) -> Any:
    raise AssertionError(f"{text} is not JSON")


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def read_json(line: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(line, parse_constant=no_number, object_pairs_hook=unique)
    assert list(read)[2:3] == ["tags"] or "tags" not in read
    return {"time": read.pop("time"), "name": read.pop("name"), "tags": read.pop("tags", {}), **read}


def read_logfmt(line: str) -> dict[str, Any]:
    pairs = [tuple(word.split("=")) for word in line.split(" ")]
    tags = [(key.removeprefix("tags."), value) for key, value in pairs if key.startswith("tags.")]
    assert pairs[2 : 2 + len(tags)] == [(f"tags.{key}", value) for key, value in tags]
    (at, time), (name, path), *fields = unique([pair for pair in pairs if not pair[0].startswith("tags.")]).items()
    read: dict[str, Any] = {at: time, name: path, "tags": unique(tags), **dict(fields)}
    for key in read.keys() - {"name", "tags"}:
        assert NUMBER.fullmatch(read[key])
        read[key] = float(read[key]) if re.search(r"[.e]", read[key]) else int(read[key])
    return read


READERS = {"json": read_json, "logfmt": read_logfmt}


def read(chunk: Chunk, form: str) -> list[dict[str, Any]]:
    """The chunk's lines, each held against everything that a line promises."""
    assert chunk.data.isascii()
    assert chunk.data.endswith(b"\n")
    assert chunk.timestamp == STAMP
    assert 0 < len(chunk.data) <= FULL + LONGEST
    lines = [READERS[form](line) for line in chunk.data.decode("ascii").removesuffix("\n").split("\n")]
    for line in lines:
        assert list(line)[:3] == ["time", "name", "tags"]
        assert line["time"] == STAMP
    assert sum(len(line) - 3 for line in lines) == chunk.points
    return lines


def values(line: dict[str, Any], dialect: str) -> list[tuple[str, float]]:
    """The line's fields under the paths that Graphite would have them, as doubles."""
    bare = {"dropwizard": "value"}.get(dialect)
    tags = "".join(f";{key}={value}" for key, value in line["tags"].items())
    return [
        (f"{line['name']}{'' if field == bare else f'.{field}'}{tags}", float(value))
        for field, value in line.items()
        if field not in ("time", "name", "tags")
    ]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(hostile.readings, max_size=20),
    st.sampled_from(FORMS),
    st.sampled_from(sorted(DIALECTS)),
    st.booleans(),
    st.sampled_from(["", "web.host1"]),
)
def test_every_field_is_in_its_line_or_refused(
    readings: list[Reading], form: str, dialect: str, milliseconds: bool, prefix: str
) -> None:
    """Fields in are fields out and values refused; each line parses, and gives the same numbers as Graphite's."""
    unit = "milliseconds" if milliseconds else "seconds"
    chunks, refused = encode(readings, LogLines(prefix, dialect, unit, form=form))
    expected: list[tuple[str, float]] = []
    missing = 0
    for reading in readings:
        points, lost = hostile.expected(reading, dialect, milliseconds, f"{prefix}." if prefix else "")
        expected += points
        missing += lost
    assert [each for chunk in chunks for line in read(chunk, form) for each in values(line, dialect)] == expected
    assert sum(refused.values()) == missing
    assert set(refused) <= {"name", "value", "unreadable"}


@pytest.mark.parametrize("form", FORMS)
def test_a_reading_is_one_line_with_all_its_fields(form: str) -> None:
    """Of a timer the fields that Graphite gets, in that order; of an idle one those that it has."""
    reactor = FakeReactor()
    timer = Timer(reactor.clock)
    spread = ["max", "mean", "min", "stddev", "p50", "p75", "p95", "p98", "p99", "p999"]
    rates = ["m1_rate", "m5_rate", "m15_rate", "mean_rate"]
    for fields in (["count", "sum", *rates], ["count", "sum", *spread, *rates]):
        (chunk,), refused = encode([timer.read("db")], LogLines(form=form))
        (line,) = read(chunk, form)
        assert list(line) == ["time", "name", "tags", *fields]
        assert not refused
        timer.add(0.25)
    assert (line["count"], line["p99"]) == (1, 0.25)


READINGS: list[Reading] = [
    CounterReading("jobs.done", 3),
    GaugeReading("queue", 0.1 + 0.2),
    CounterReading("jobs;host=a.b;queue=mail", 3),
    MeterReading("mails", 2**60 + 1, 0.5, 1e-7, 1e22, 0.0),
]

WRITTEN = {
    "json": [
        '{"time": 1700000000, "name": "jobs.done", "count": 3}',
        '{"time": 1700000000, "name": "queue", "value": 0.30000000000000004}',
        '{"time": 1700000000, "name": "jobs", "tags": {"host": "a.b", "queue": "mail"}, "count": 3}',
        '{"time": 1700000000, "name": "mails", "count": 1152921504606846977, '
        '"m1_rate": 0.5, "m5_rate": 1e-07, "m15_rate": 1e+22, "mean_rate": 0}',
    ],
    "logfmt": [
        "time=1700000000 name=jobs.done count=3",
        "time=1700000000 name=queue value=0.30000000000000004",
        "time=1700000000 name=jobs tags.host=a.b tags.queue=mail count=3",
        "time=1700000000 name=mails count=1152921504606846977 m1_rate=0.5 m5_rate=1e-07 m15_rate=1e+22 mean_rate=0",
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_the_lines_are_these(form: str) -> None:
    """Letter by letter, with the full precision of what was counted or set."""
    (chunk,), _ = encode(READINGS, LogLines(form=form))
    assert chunk.data.decode().splitlines() == WRITTEN[form]


def test_an_idle_histogram_that_refused_something_says_so() -> None:
    """The field that is there only where there was a NaN has its place at the end."""
    histogram = Histogram()
    histogram.add(float("nan"))
    (chunk,), _ = encode([histogram.read("sizes")], LogLines("web1"))
    assert chunk.data == b'{"time": %d, "name": "web1.sizes", "count": 0, "sum": 0.0, "refused": 1}\n' % STAMP


def test_reasons_are_told_apart() -> None:
    """A bad name, a bad value and a gauge that could not be read are three numbers, and none of them has a line."""
    readings = [
        CounterReading('bad", "name": "evil', 1),
        GaugeReading("good", float("nan")),
        GaugeReading("good", float("inf")),
        GaugeReading("good", "text"),
        Unreadable("broken", RuntimeError()),
    ]
    assert encode(readings, LogLines()) == ([], {"name": 1, "value": 3, "unreadable": 1})


@pytest.mark.parametrize("form", FORMS)
def test_a_long_report_is_several_chunks_of_whole_lines(form: str) -> None:
    """None much longer than FULL, and nothing is lost or doubled between two of them."""
    readings = [CounterReading(f"jobs.{n}", n) for n in range(3000)]
    chunks, _ = encode(readings, LogLines(form=form))
    assert len(chunks) > 3
    assert all(FULL <= len(chunk.data) < FULL + 100 for chunk in chunks[:-1])
    lines = [line for chunk in chunks for line in read(chunk, form)]
    assert [(line["name"], line["count"]) for line in lines] == [(f"jobs.{n}", n) for n in range(3000)]


def test_a_report_without_anything_is_no_chunk() -> None:
    """Nor does an encoder leave anything to the next."""
    wire = LogLines()
    assert encode([], wire) == ([], {})
    encode([CounterReading("a b", 1)], wire)
    assert encode([], wire) == ([], {})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"form": "xml"}, "form 'xml' is unknown; choose one of json, logfmt"),
        ({"dialect": "statsd"}, "dialect 'statsd' is unknown; choose one of dropwizard, pyformance"),
        ({"durations": "hours"}, "durations 'hours' is unknown; choose one of seconds, milliseconds"),
        ({"prefix": 'a"b'}, "contains '\"'"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, str], told: str) -> None:
    """With the part that is wrong."""
    with pytest.raises(ValueError, match=re.escape(told)):
        LogLines(**arguments)


def test_it_is_a_wire() -> None:
    """Both seams are there."""
    wire = LogLines()
    assert verifyObject(IWire, wire)
    assert verifyObject(IEncoder, wire.encoder(STAMP))
