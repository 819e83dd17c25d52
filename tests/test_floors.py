"""The floors of the house: the table is the drawing, a walk over all imports holds it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import txmetrics

PACKAGE = Path(txmetrics.__file__).parent
PLUGIN = PACKAGE.parent / "twisted" / "plugins" / "txmetrics_plugin.py"

STANDARD = frozenset(sys.stdlib_module_names)
ZOPE = STANDARD | {"zope"}
TWISTED = ZOPE | {"twisted"}

FLOOR_0 = {
    *("clock", "snapshot", "names", "forks", "stamps", "identity"),
    *("metrics", "interfaces", "registry", "family", "expiry"),
}
FLOOR_1 = {"wire", "fleet"}
EAST, WEST = {"delivery"}, {"instrument"}
FLOOR_3 = {"reporter", "backends"}
MIDDLE = {"steady"}
BELOW_3 = FLOOR_0 | FLOOR_1 | EAST | WEST | MIDDLE
BELOW_4 = BELOW_3 | FLOOR_3

# room: the rooms that it may import, and what from outside
DRAWING: dict[str, tuple[set[str], frozenset[str]]] = {
    # 0: numbers and names, pure
    "clock": (set(), STANDARD),
    "snapshot": (set(), STANDARD),
    "names": (set(), STANDARD),
    "forks": (set(), STANDARD),
    "stamps": (set(), STANDARD),
    "identity": ({"names", "forks"}, STANDARD),
    "metrics": ({"clock", "snapshot"}, STANDARD),
    "interfaces": ({"snapshot"}, ZOPE),
    "registry": ({"clock", "snapshot", "names", "metrics", "interfaces"}, ZOPE),
    "family": ({"names"}, STANDARD),
    "expiry": ({"names", "metrics", "registry"}, STANDARD),
    # 1: formats, pure
    "wire": ({"snapshot", "names", "interfaces"}, ZOPE),
    "fleet": ({"wire"}, STANDARD),
    # 2: bytes out in the east, events in in the west; they never meet; time, which both may be told
    "delivery": ({"interfaces", "forks"}, TWISTED),
    # which asks for psutil only where there is no /proc, and for klein where it is in use
    "instrument": ({"clock", "metrics", "names", "family", "registry"}, TWISTED | {"psutil", "klein"}),
    "steady": (set(), TWISTED),
    # 3: the crank, and each backend in a sentence
    "reporter": (BELOW_3, TWISTED),
    "backends": (BELOW_3 | {"reporter"}, TWISTED),
    # 4: the ways in and the ways to look, which do not know each other; but for the plugin's options, of which one
    # asks for a page of ``ext``, late
    "ext": (BELOW_4, TWISTED | {"prometheus_client"}),
    "compat": (BELOW_4, TWISTED),
    "console": (BELOW_4, TWISTED),
    "tap": (BELOW_4 | {"ext"}, TWISTED),
    "testing": (BELOW_4, TWISTED),
    "__main__": ({"console"}, STANDARD),
    # the front door knows what it names, the plugin a name only
    "txmetrics": ({"clock", "expiry", "metrics", "registry", "instrument", "reporter", "backends"}, STANDARD),
    "txmetrics_plugin": (set(), TWISTED),
}

PURE = FLOOR_0 | FLOOR_1


def _files() -> list[Path]:
    return [*sorted(PACKAGE.rglob("*.py")), PLUGIN]


def _module(file: Path) -> str:
    """The dotted name of a file of the package; the plugin's is its own."""
    if file == PLUGIN:
        return file.stem
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _room(module: str) -> str:
    """The room that a module of the package belongs to; the package's own is the front door."""
    return module.split(".")[1] if module.startswith("txmetrics.") else module


def _imports(source: str, package: str) -> Iterator[str]:
    """Every module that ``source``, a module in ``package``, imports anywhere: in functions, too, and for types."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            if origin == "txmetrics":
                yield from (f"txmetrics.{alias.name}" for alias in node.names)
            else:
                yield origin


def _wrong(source: str, module: str, package: str) -> list[str]:
    """What ``module`` imports against the drawing."""
    room = _room(module)
    rooms, outside = DRAWING[room]
    wrong = []
    for name in _imports(source, package):
        if not name.startswith("txmetrics."):
            right = name.split(".")[0] in outside
        elif _room(name) == room:
            right = True
        else:
            right = _room(name) in rooms and not any(part.startswith("_") for part in name.split(".")[2:])
        if not right:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("file", _files(), ids=_module)
def test_every_import_is_in_the_drawing(file: Path) -> None:
    """A module imports its own room and what the drawing allows, and of another room its door only."""
    module = _module(file)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    assert _wrong(file.read_text(), module, package) == []


def test_the_drawing_shows_every_room() -> None:
    """And no room that is not there."""
    assert {_room(_module(file)) for file in _files()} == set(DRAWING)


def test_the_drawing_is_a_house() -> None:
    """No two rooms import each other, over however many others: one can be read after the other."""
    remaining = {room: set(rooms) for room, (rooms, _) in DRAWING.items()}
    while free := [room for room, rooms in remaining.items() if not rooms & remaining.keys()]:
        for room in free:
            del remaining[room]
    assert remaining == {}
    assert [room for room, (rooms, _) in DRAWING.items() if {"ext", "compat"} & rooms] == ["tap"]


@pytest.mark.parametrize(
    ("module", "line", "wrong"),
    [
        ("txmetrics.metrics._gauge", "import twisted.internet.defer", "twisted.internet.defer"),
        ("txmetrics.metrics._gauge", "from zope.interface import implementer", "zope.interface"),
        ("txmetrics.metrics._gauge", "from txmetrics import registry", "txmetrics.registry"),
        ("txmetrics.metrics._gauge", "def f():\n    import txmetrics.wire", "txmetrics.wire"),
        ("txmetrics.wire._graphite", "if 0:\n    from txmetrics.registry import Reader", "txmetrics.registry"),
        ("txmetrics.wire._graphite", "from ..metrics import Counter", "txmetrics.metrics"),
        ("txmetrics.wire._graphite", "from .. import metrics", "txmetrics.metrics"),
        ("txmetrics.delivery._stream", "from txmetrics.instrument import timed", "txmetrics.instrument"),
        ("txmetrics.instrument._timed", "from txmetrics.delivery import Stream", "txmetrics.delivery"),
        ("txmetrics.registry", "from txmetrics.metrics._meter import Meter", "txmetrics.metrics._meter"),
        ("txmetrics.tap", "from txmetrics.testing import FakeReactor", "txmetrics.testing"),
        ("txmetrics.backends", "import txmetrics.ext.kafka", "txmetrics.ext.kafka"),
        ("txmetrics.reporter", "import numpy as np", "numpy"),
        ("txmetrics.console", "from txmetrics.ext import dashboard", "txmetrics.ext"),
        ("txmetrics_plugin", "from txmetrics.tap import Options", "txmetrics.tap"),
    ],
)
def test_the_walk_sees_what_is_wrong(module: str, line: str, wrong: str) -> None:
    """Wherever an import stands and however it is written."""
    assert _wrong(line, module, module.rpartition(".")[0]) == [wrong]


def test_the_walk_lets_pass_what_is_right() -> None:
    """One's own room with its private modules, the rooms below, and the standard library."""
    lines = "import os.path\nfrom . import _meter\nfrom ._meter import Meter\nfrom txmetrics.clock import SYSTEM\n"
    assert _wrong(lines, "txmetrics.metrics._timer", "txmetrics.metrics") == []
    assert _wrong("from txmetrics import names, snapshot", "txmetrics.wire._graphite", "txmetrics.wire") == []


def _run(program: str) -> Any:
    """The JSON that ``program`` prints in a fresh interpreter, where the names of all modules are in ``argv``."""
    modules = [f"{_room(name)} {name}" for name in map(_module, _files())]
    done = subprocess.run(
        [sys.executable, "-c", program, *modules],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


WITHOUT_TWISTED = f"""
import importlib, json, sys
sys.modules["twisted"] = None
pure = [name for room, name in map(str.split, sys.argv[1:]) if room in {PURE!r}]
for name in pure:
    importlib.import_module(name)
import txmetrics
registry = txmetrics.MetricsRegistry()
registry.timer("calls").add(3)
registry.scope("db").gauge("depth", lambda: 4)
encoder = importlib.import_module("txmetrics.wire").Graphite().encoder(17)
for reading in registry.reader().collect():
    encoder.add(reading)
try:
    txmetrics.backends
except ImportError as error:
    refused = str(error)
json.dump([len(pure), encoder.finish().data.decode(), refused], sys.stdout)
"""


def test_the_pure_floors_work_without_twisted() -> None:
    """Floors 0 and 1, and the front door, import and measure where Twisted cannot be imported."""
    pure, lines, refused = _run(WITHOUT_TWISTED)
    assert pure == sum(_room(_module(file)) in PURE for file in _files()) > 12
    assert "calls.p99 3 17\n" in lines
    assert "db.depth 4 17\n" in lines
    assert "twisted" in refused


NO_REACTOR = """
import importlib, json, sys
installers = {}
for room, name in map(str.split, sys.argv[1:]):
    if name == "txmetrics_plugin":
        name = "twisted.plugins.txmetrics_plugin"
    importlib.import_module(name)
    if "twisted.internet.reactor" in sys.modules:
        installers[name] = True
        del sys.modules["twisted.internet.reactor"]
json.dump([len(sys.argv) - 1, sorted(installers), "twisted.web.server" in sys.modules], sys.stdout)
"""


def test_no_import_chooses_a_reactor() -> None:
    """Importing every module there is, the plugin among them, leaves the choice of a reactor to the program."""
    assert _run(NO_REACTOR) == [len(_files()), [], True]


def test_the_front_door_opens_without_twisted_being_loaded() -> None:
    """Who imports only the metrics does not pay for the import of Twisted."""
    program = "import json, sys, txmetrics; print(json.dumps([m for m in sys.modules if m.startswith('twisted')]))"
    assert _run(program) == []
