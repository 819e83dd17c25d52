"""Carbon's own receivers take every line and every frame that the wires write, and read in it what was meant."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire import hostile
from tests.wire.everything import PLACES, check_code_points, check_report, reports
from tests.wire.judge import RECEIVERS, Judge
from tests.wire.report import encode
from txmetrics.names import MAX_PATH, check, full
from txmetrics.snapshot import CounterReading, GaugeReading, Reading, TimerReading
from txmetrics.wire import Graphite


@pytest.fixture(scope="module")
def judge(_carbon_program: None) -> Iterator[Judge]:
    """Carbon's receivers; one process for all tests."""
    with Judge() as judge:
        yield judge


wires = pytest.mark.parametrize("wire", RECEIVERS, ids=RECEIVERS.values())


def _check(judge: Judge, wire: type, names: list[str]) -> None:
    """Assert that carbon files a point under each of ``names``."""
    numbers = [float(n) for n in range(len(names))]
    chunks, refused = encode(map(GaugeReading, names, numbers), wire())
    judge.check(wire, chunks, zip(names, numbers, strict=True))
    assert not refused


def test_the_judge_of_lines_judges(judge: Judge) -> None:
    """Carbon takes what is right, tells what is wrong, and hangs up on what it cannot bear."""
    told = judge.ask("line", [b"a.b 1.5 17\na b 1 17\nc 2", b" 17\nnan nan 17\n"])
    assert told["points"] == [["a.b", 17.0, 1.5], ["c", 17.0, 2.0]]
    assert len(told["refused"]) == 1
    assert told["connected"]
    assert not judge.ask("line", [b"%s 1 17\n" % (b"x" * 16_400)])["connected"]
    assert "OverflowError" in judge.ask("line", [b"a 1 inf\n"])["error"]
    assert "UnicodeDecodeError" in judge.ask("line", [b"\xff 1 17\n"])["error"]


def test_the_judge_of_frames_judges(judge: Judge) -> None:
    """Carbon takes frames in any pieces, drops what is no number, and hangs up on an integer that is too large."""

    def frame(points: Any) -> bytes:
        data = pickle.dumps(points, 2)
        return struct.pack("!L", len(data)) + data

    data = frame([("a.b", (17, 1.5)), ("nan", (17, float("nan"))), ("text", (17, "text"))]) + frame([("c", (17, 2))])
    told = judge.ask("pickle", [data[n : n + 3] for n in range(0, len(data), 3)])
    assert told["points"] == [["a.b", 17.0, 1.5], ["c", 17.0, 2.0]]
    assert told["connected"]
    assert len(judge.ask("pickle", [frame([("a", (17, Decimal(1)))])])["refused"]) == 1
    assert "OverflowError" in judge.ask("pickle", [frame([("a", (17, 10**309))])])["error"]
    assert not judge.ask("pickle", [struct.pack("!L", 2**20 + 1)])["connected"]


@settings(deadline=None, max_examples=150)
@given(reports)
def test_carbon_takes_all_that_is_let_through(judge: Judge, report: tuple[list[Reading], str, bool, str]) -> None:
    """Of readings that hold anything at all, both receivers take each field as the point that was meant."""
    check_report(judge, *report)


@pytest.mark.seconds(60)
def test_every_code_point_has_its_outcome(judge: Judge) -> None:
    """In the middle of a name, of all there are carbon takes those that are let through, and all others are counted."""
    check_code_points(judge, [Graphite], ["a{}b"])


@settings(deadline=None, max_examples=60)
@given(st.lists(hostile.good_names | hostile.full_names, min_size=1, max_size=20))
def test_carbon_keeps_every_name_that_passes_the_check(judge: Judge, names: list[str]) -> None:
    """It files a point under the very name that the registry let in, with its tags in the same order."""
    for wire in RECEIVERS:
        _check(judge, wire, [full(name) for name in names])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(hostile.good_names, hostile.any_tags), min_size=1, max_size=10))
def test_carbon_takes_what_is_made_of_any_tags(judge: Judge, metrics: list[tuple[str, dict[str, str]]]) -> None:
    """Whatever their values hold, and however they are ordered."""
    names = [*{full(name, tags) for name, tags in metrics}]
    for wire in RECEIVERS:
        _check(judge, wire, names)


@wires
def test_carbon_keeps_every_character(judge: Judge, wire: type) -> None:
    """Alone, at the beginning, in the middle and at the end of a name, and in names that look like something else."""
    characters = sorted(hostile.ALPHABET - {"."})
    names = [check(place.format(each)) for each in characters for place in PLACES]
    names += map(check, ("carbon.agents.x", "0", "-1", "1e5", "nan", "%s", "@", "a.0.b", "#comment"))
    _check(judge, wire, names)


@wires
def test_carbon_takes_the_longest_line(judge: Judge, wire: type) -> None:
    """The longest prefix, name, field and number together stay below carbon's limits."""
    prefix, name, value = hostile.LONGEST.replace("n", "p"), hostile.LONGEST, -(10**307)
    assert len(check(prefix)) == len(check(name)) == MAX_PATH
    reading = TimerReading(name, value, 1.0, None, 0.0, 0.0, 0.0, value)
    points, _ = hostile.expected(reading, "pyformance", False, f"{prefix}.")
    chunks, _ = encode([reading, CounterReading("next", 1)], wire(prefix, "pyformance"))
    assert max(len(path) for path, _ in points) > 2050
    judge.check(wire, chunks, [*points, (f"{prefix}.next.count", 1.0)])


@wires
def test_carbon_takes_the_longest_tags(judge: Judge, wire: type) -> None:
    """They are part of the longest name."""
    assert len(full(hostile.LONGEST_TAGGED)) == MAX_PATH
    _check(judge, wire, [hostile.LONGEST_TAGGED])
