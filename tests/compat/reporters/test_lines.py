"""What a line can carry, and what is left out."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strict import Logged
from txmetrics.compat.pyformance.registry import Told
from txmetrics.compat.pyformance.reporters._lines import FULL, Frames, HostedLines, Lines
from txmetrics.interfaces import Chunk
from txmetrics.snapshot import CounterReading, GaugeReading

STAMP = 1_500_000_007


def written(wire: Lines, *readings: Any) -> tuple[list[Chunk], dict[str, int]]:
    """The chunks of one report, and what was refused."""
    encoder = wire.encoder(STAMP)
    chunks = [encoder.add(reading) for reading in readings]
    chunks.append(encoder.finish())
    return [chunk for chunk in chunks if chunk is not None], dict(encoder.refused)


def lines(wire: Lines, *readings: Any) -> list[str]:
    chunks, _ = written(wire, *readings)
    return b"".join(chunk.data for chunk in chunks).decode().splitlines()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (3.0, "3.0"),
        (-0.0, "-0.0"),
        (6.928203230275509, "6.928203230275509"),
        (True, "1"),
        (Decimal("1.50"), "1.50"),
        ("17", "17"),
        (float("nan"), "nan"),
        (10**20, "100000000000000000000"),
    ],
)
def test_a_number_is_written_as_python_writes_it(value: object, text: str) -> None:
    """Which is what pyformance sent; but for True, which carbon cannot read."""
    assert lines(Lines("web."), Told("depth", {"value": value})) == [f"web.depth.value {text} {STAMP}"]


NO_NUMBERS = [None, "", "deep", "1 2", "1\n", b"1", [1], 10**400, 10**5000, object()]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=range(len(NO_NUMBERS)))
def test_what_is_no_number_is_left_out_and_told_once(value: object, logged: Logged) -> None:
    """Carbon could not read such a line; the others are written."""
    wire, readings = Lines(), [Told("depth", {"value": value}), Told("deeper", {"value": value}), Told("c", {"n": 1})]
    for _ in range(2):
        chunks, refused = written(wire, *readings)
        assert [chunk.data for chunk in chunks] == [f"c.n 1 {STAMP}\n".encode()]
        assert refused == {"value": 2}
    told = "'depth.value' is not sent, for its value cannot be; further ones are only left out"
    assert logged.texts() == [told]


def test_a_number_that_raises_is_left_out() -> None:
    """Whatever it is."""

    class Strange:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert lines(Lines(), Told("depth", {"value": Strange()})) == []


@pytest.mark.parametrize("name", ["two words", "tab\t", "line\nbreak", "a\0", "\udc80", "\u2028", "x" * 3000])
def test_a_name_that_would_break_a_line_is_left_out(name: str) -> None:
    """A stranger's text cannot become a line of its own, nor close the connection."""
    assert written(Lines("web."), Told(name, {"count": 1, "max": 2})) == ([], {"name": 2})


@pytest.mark.parametrize("name", ["users/edit", "", "f.<locals>.g_calls", "é", "a..b", 17])
def test_other_names_are_written_as_they_are(name: Any) -> None:
    """Dashboards know them so."""
    assert lines(Lines("web."), Told(name, {"count": 1})) == [f"web.{name}.count 1 {STAMP}"]


def test_what_the_reporter_says_of_itself_is_left_out() -> None:
    """Pyformance sent nothing of the kind."""
    assert written(Lines(), CounterReading("txmetrics.reports", 3), GaugeReading("txmetrics.longest_turn", 1)) == (
        [],
        {},
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("depth", float("nan")), ("depth", float("inf")), ("depth", "-inf"), ("users/edit", 1), ("é", 1), ("<a>", 1)],
)
def test_hosted_graphite_is_not_sent_what_it_refuses(name: str, value: object) -> None:
    """For it would refuse the rest of the request, too."""
    readings = Told(name, {"value": value}), Told("good.name-1_$%#=:", {"value": 2.5})
    assert lines(HostedLines(), *readings) == [f"good.name-1_$%#=:.value 2.5 {STAMP}"]


texts = st.text(max_size=12) | st.sampled_from(["a", "b.c", " ", "\n"])
values = st.integers() | st.floats() | st.text(max_size=5) | st.booleans() | st.none() | st.decimals()
told = st.builds(Told, texts, st.dictionaries(st.sampled_from(["count", "avg", "max"]), values))


@given(st.lists(told, max_size=20), st.sampled_from([Lines("p."), HostedLines(), Frames("p.")]))
def test_every_value_is_in_a_point_or_counted(readings: list[Told], wire: Lines) -> None:
    """And a point is a name, a number and the report's timestamp, whatever the names and values hold."""
    chunks, refused = written(wire, *readings)
    fields = sum(len(reading.fields) for reading in readings)
    assert sum(chunk.points for chunk in chunks) + sum(refused.values()) == fields
    for chunk in chunks:
        points = list(parsed(chunk, isinstance(wire, Frames)))
        assert len(points) == chunk.points
        assert chunk.timestamp == STAMP
        assert {stamp for _, _, stamp in points} == {STAMP}


def parsed(chunk: Chunk, framed: bool) -> list[tuple[str, float, int]]:
    """As carbon reads it."""
    if framed:
        assert int.from_bytes(chunk.data[:4], "big") == len(chunk.data) - 4
        return [(name, float(value), stamp) for name, (stamp, value) in pickle.loads(chunk.data[4:])]
    assert chunk.data.endswith(b"\n")
    rows = [line.split() for line in chunk.data.decode().split("\n")[:-1]]
    return [(name, float(value), int(stamp)) for name, value, stamp in rows]


@pytest.mark.parametrize("wire", [Lines(), Frames()])
def test_chunks_are_of_a_size_that_can_be_sent(wire: Lines) -> None:
    """However many metrics there are."""
    chunks, _ = written(wire, *[Told(f"metric.{number}", {"count": number, "avg": 0.5}) for number in range(3000)])
    assert sum(chunk.points for chunk in chunks) == 6000
    assert len(chunks) > 3
    assert all(len(chunk.data) < 2 * FULL for chunk in chunks)
