"""Carbon's own parser takes every line that the wire writes, and reads in it what was meant."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.carbon import install
from tests.wire import hostile
from txmetrics.names import MAX_PATH, check
from txmetrics.snapshot import CounterReading, GaugeReading, Reading, TimerReading
from txmetrics.wire import Graphite
from txmetrics.wire._dialects import DIALECTS

STAMP = 1_700_000_000

Verdict: TypeAlias = Callable[[list[str]], dict[str, Any]]


@pytest.fixture(scope="module")
def verdict(_carbon_program: None) -> Iterator[Verdict]:
    """What carbon says of texts, each of which arrives in one piece: one process answers all questions."""
    python = install().with_name("python3")
    command = [str(python), "-I", str(Path(__file__).with_name("carbon_side.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        questions, answers = process.stdin, process.stdout
        assert questions is not None
        assert answers is not None

        def ask(pieces: list[str]) -> Any:
            print(json.dumps(pieces), file=questions, flush=True)
            assert select.select([answers], [], [], 30)[0], "carbon's parser does not answer"
            return json.loads(answers.readline())

        try:
            yield ask
        finally:
            questions.close()
            process.wait(10)


def _pieces(readings: Iterable[Reading], wire: Graphite) -> list[str]:
    encoder = wire.encoder(STAMP)
    chunks = [encoder.add(reading) for reading in readings]
    chunks.append(encoder.finish())
    return [chunk.data.decode("ascii") for chunk in chunks if chunk is not None]


def _taken(points: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """The verdict that all of these were taken, in this order, and nothing else came."""
    return {"points": [[name, STAMP, value] for name, value in points], "refused": [], "connected": True, "error": None}


def test_the_judge_judges(verdict: Verdict) -> None:
    """Carbon takes what is right, tells what is wrong, and hangs up on what it cannot bear."""
    told = verdict(["a.b 1.5 17\na b 1 17\nc 2", " 17\nnan nan 17\n"])
    assert told["points"] == [["a.b", 17.0, 1.5], ["c", 17.0, 2.0]]
    assert len(told["refused"]) == 1
    assert told["connected"]
    assert not verdict([f"{'x' * 16_400} 1 17\n"])["connected"]
    assert "OverflowError" in verdict(["a 1 inf\n"])["error"]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(hostile.readings, min_size=12, max_size=24),
    st.sampled_from(sorted(DIALECTS)),
    st.booleans(),
    st.sampled_from(["", "web.host1"]),
)
def test_carbon_takes_every_line(
    verdict: Verdict, readings: list[Reading], dialect: str, milliseconds: bool, prefix: str
) -> None:
    """Of readings that hold anything at all, it takes each line as the point that was meant, and drops none."""
    pieces = _pieces(readings, Graphite(prefix, dialect, "milliseconds" if milliseconds else "seconds"))
    points: list[tuple[str, float]] = []
    for reading in readings:
        lines, _ = hostile.expected(reading, dialect, milliseconds, f"{prefix}." if prefix else "")
        points += lines
    assert verdict(pieces) == _taken(points)


@settings(deadline=None, max_examples=100)
@given(st.lists(hostile.good_names, min_size=1, max_size=20))
def test_carbon_keeps_every_name_that_passes_the_check(verdict: Verdict, names: list[str]) -> None:
    """It files a point under the very name that the registry let in."""
    readings = [GaugeReading(check(name), float(n)) for n, name in enumerate(names)]
    assert verdict(_pieces(readings, Graphite())) == _taken((name, float(n)) for n, name in enumerate(names))


def test_carbon_keeps_every_character(verdict: Verdict) -> None:
    """Alone, at the beginning, in the middle and at the end of a name, and in names that look like something else."""
    characters = sorted(hostile.ALPHABET - {"."})
    names = [check(name) for each in characters for name in (each, f"{each}a.b", f"a{each}b", f"a.b{each}")]
    names += map(check, ("carbon.agents.x", "0", "-1", "1e5", "nan", "%s", "@", "a.0.b", "#comment"))
    readings = [GaugeReading(name, float(n)) for n, name in enumerate(names)]
    assert verdict(_pieces(readings, Graphite())) == _taken((name, float(n)) for n, name in enumerate(names))


def test_carbon_takes_the_longest_line(verdict: Verdict) -> None:
    """The longest prefix, name, field and number together stay below carbon's limit for a line."""
    prefix, name, value = ("p" * 120 + ".") * 8 + "p" * 56, ("n" * 120 + ".") * 8 + "n" * 56, -(10**307)
    assert len(check(prefix)) == len(check(name)) == MAX_PATH
    reading = TimerReading(name, value, 1.0, None, 0.0, 0.0, 0.0, value)
    pieces = _pieces([reading, CounterReading("next", 1)], Graphite(prefix, "pyformance"))
    points, _ = hostile.expected(reading, "pyformance", False, f"{prefix}.")
    assert max(len(line) for piece in pieces for line in piece.splitlines()) > 2300
    assert verdict(pieces) == _taken([*points, (f"{prefix}.next.count", 1.0)])
