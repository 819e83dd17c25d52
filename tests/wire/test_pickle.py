"""Graphite's pickle: frames that say what the lines say, of plain values only, and nothing here ever reads one."""

from __future__ import annotations

import ast
import math
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

import txmetrics
from tests.wire import hostile
from tests.wire.everything import reports
from tests.wire.report import STAMP, encode
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import CounterReading, GaugeReading, Reading, TimerReading, Unreadable
from txmetrics.wire import Graphite, Pickle

LARGEST = 100_000
"""No frame has more bytes; carbon takes 1,048,576."""

PLAIN = {"PROTO", "EMPTY_LIST", "MARK", "BINUNICODE", "TUPLE2", "APPENDS", "APPEND", "STOP"}
PLAIN |= {"BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
"""The operations of a pickle that holds lists, pairs, str, int and float, and names no class."""


def _parse(chunk: Chunk) -> list[tuple[str, Any]]:
    """The frame's points, each held against everything that a frame promises."""
    (size,) = struct.unpack("!L", chunk.data[:4])
    body = chunk.data[4:]
    assert len(body) == size <= LARGEST
    assert {operation.name for operation, _, _ in pickletools.genops(body)} <= PLAIN
    assert body.startswith(b"\x80\x02")
    points = pickle.loads(body)
    assert type(points) is list
    assert len(points) == chunk.points
    assert {stamp for _, (stamp, _) in points} == {chunk.timestamp}
    assert {type(path) for path, _ in points} == {str}
    assert {type(value) for _, (_, value) in points} <= {int, float}
    return [(path, value) for path, (_, value) in points]


def test_a_frame_is_as_graphite_documents_it() -> None:
    """Four bytes of length, then a list of (path, (timestamp, value))."""
    (chunk,), refused = encode([CounterReading("a", 7), GaugeReading("b", 0.5)], Pickle("web"))
    assert struct.unpack("!L", chunk.data[:4]) == (len(chunk.data) - 4,)
    assert pickle.loads(chunk.data[4:]) == [("web.a.count", (STAMP, 7)), ("web.b", (STAMP, 0.5))]
    assert (chunk.points, chunk.timestamp, refused) == (2, STAMP, {})


@settings(deadline=None, max_examples=100)
@given(reports)
def test_it_says_what_the_lines_say(report: tuple[list[Reading], str, bool, str]) -> None:
    """The same points in the same chunks, number for number, and the same refusals, whatever comes."""
    readings, dialect, milliseconds, prefix = report
    arguments = (prefix, dialect, "milliseconds" if milliseconds else "seconds")
    lines, refused = encode(readings, Graphite(*arguments))
    frames, refused_too = encode(readings, Pickle(*arguments))
    assert refused_too == refused
    assert [(frame.points, frame.timestamp) for frame in frames] == [(chunk.points, chunk.timestamp) for chunk in lines]
    said = [line.split(b" ")[:2] for chunk in lines for line in chunk.data.splitlines()]
    points = [(path.encode(), value) for frame in frames for path, value in _parse(frame)]
    assert points == [(path, ast.literal_eval(value.decode())) for path, value in said]


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**308), 10**308))
@example(-0.0)
@example(5e-324)
@example(1e16)
@example(1.7976931348623157e308)
@example(int(1.7976931348623157e308))
def test_a_number_arrives_as_it_was(value: float) -> None:
    """To the last bit or digit, and of its own kind."""
    ((_, arrived),) = _parse(encode([GaugeReading("g", value)], Pickle())[0][0])
    assert (type(arrived), arrived) == (type(value), value)
    assert math.copysign(1, arrived) == math.copysign(1, value)


@pytest.mark.parametrize("value", [10**309, -(10**400), 2**1024, math.inf, math.nan, "1", None])
def test_what_carbon_hangs_up_on_is_refused(value: Any) -> None:
    """Above all an integer that no double holds: the rest of the report would be lost with it."""
    (chunk,), refused = encode([GaugeReading("g", value), GaugeReading("h", 1)], Pickle())
    assert _parse(chunk) == [("h", 1)]
    assert refused == {"value": 1}


@pytest.mark.parametrize("length", [1, 20, 90, 107, 120, 1024])
@pytest.mark.parametrize("value", [1, 1.5, -(10**300)], ids=["int", "float", "huge"])
@pytest.mark.parametrize("prefix", ["", hostile.LONGEST], ids=["bare", "prefixed"])
def test_frames_are_bounded(length: int, value: float, prefix: str) -> None:
    """In bytes, far under what carbon takes, for names and numbers of any length."""
    name = hostile.LONGEST[:length]
    readings = [
        GaugeReading(name, value) if n % 2 else TimerReading(name, 1, value, None, 0.0, 0.0, 0.0, value)
        for n in range(1500)
    ]
    chunks, refused = encode(readings, Pickle(prefix))
    assert sum(len(_parse(chunk)) for chunk in chunks) == 750 + 750 * 6
    assert max(len(chunk.data) for chunk in chunks) <= 100_000
    assert not refused


def test_nothing_in_is_nothing_out() -> None:
    """An empty report has no frame, nor has one of which nothing could be written."""
    assert encode([], Pickle()) == ([], {})
    assert encode([Unreadable("g", RuntimeError()), GaugeReading("a b", 1)], Pickle()) == (
        [],
        {"unreadable": 1, "name": 1},
    )


def test_the_wire_keeps_its_seam() -> None:
    """The wire and its encoder are what the reporter expects."""
    assert verifyObject(IWire, Pickle())
    assert verifyObject(IEncoder, Pickle().encoder(STAMP))


@pytest.mark.parametrize("wrong", [{"prefix": "a b"}, {"dialect": "statsd"}, {"durations": "ms"}])
def test_a_wrong_argument_is_refused(wrong: dict[str, str]) -> None:
    """As the plaintext wire does it."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Pickle(**wrong)


# Nothing reads a pickle

READERS = ("pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "joblib")


def _reading(source: str) -> list[str]:
    """What in ``source`` could turn bytes into objects: anything of such a module but ``from pickle import dumps``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in READERS]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in READERS and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call):  # import_module and the like
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            found += [word for word in words if word in READERS and "import" in called]
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            found += [name] if name in ("Unpickler", "_Unpickler", "find_class", "__import__") else []
    return [each for each in found if each != "pickle.dumps"]


@pytest.mark.parametrize("source", ["from pickle import dumps", "protocol = 'pickle'", "json.loads(text)", "load(x)"])
def test_the_walk_lets_pass_who_does_not(source: str) -> None:
    """Writing one, and the word."""
    assert not _reading(source)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import dumps, loads",
        "from pickle import *",
        "def f():\n    from _pickle import Unpickler as U",
        "import_module('pickle').loads(b'')",
        "importlib.import_module('_pickle')",
        "import marshal",
        "import shelve",
        "x.Unpickler(file).load()",
        "__import__(name)",
    ],
)
def test_the_walk_sees_who_would_read_one(source: str) -> None:
    """However it is written."""
    assert _reading(source)


WRITERS = {"wire/_pickle.py", "compat/pyformance/reporters/_lines.py"}


def test_nothing_reads_a_pickle() -> None:
    """To unpickle is to run what somebody sent; all in the package that has to do with pickle writes it."""
    package = Path(txmetrics.__file__).parent
    sources = {file.relative_to(package).as_posix(): file.read_text() for file in package.rglob("*.py")}
    assert {name: found for name, source in sources.items() if (found := _reading(source))} == {}
    assert {name for name, source in sources.items() if "import dumps" in source} == WRITERS
    assert not any(word in source for source in sources.values() for word in ("pickle.load", "Unpickler"))
