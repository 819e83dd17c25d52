"""The house stands without its compat room."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT, run

CORE = [
    "tests/metrics",
    "tests/wire/test_dialects.py",
    "tests/delivery/stream",
    "tests/instrument/test_timed.py",
    "tests/reporter",
    "tests/test_backends.py",
    "tests/test_floors.py",
    "tests/test_front_door.py",
    "tests/test_registry.py",
    "tests/test_snapshot.py",
]
"""Some of the core's tests, of every floor."""

SHOWS_COMPAT = "tests/test_floors.py::test_the_drawing_shows_every_room"
"""The one test that asks for the room."""

IMPORT_ALL = """
import importlib, pkgutil, sys, txmetrics
for module in pkgutil.walk_packages(txmetrics.__path__, "txmetrics."):
    if module.name != "txmetrics.__main__":
        importlib.import_module(module.name)
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("txmetrics.")}
print(txmetrics.__file__, "compat" in rooms, {"metrics", "reporter", "tap", "ext"} <= rooms)
"""


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree without ``compat``."""
    copy = tmp_path_factory.mktemp("without") / "tree"
    ignore = shutil.ignore_patterns("compat", "__pycache__")
    for directory in ("txmetrics", "tests", "twisted"):
        shutil.copytree(ROOT / directory, copy / directory, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def test_every_module_imports(without: Path) -> None:
    """Of the copy, and of it alone."""
    done = run(sys.executable, "-c", IMPORT_ALL, cwd=without, PYTHONPATH=str(without))
    assert done.stdout.splitlines()[-1] == f"{without / 'txmetrics' / '__init__.py'} False True"


def test_the_core_s_tests_pass(without: Path) -> None:
    """As they do with it."""
    options = "-q", "-x", "-p", "no:cacheprovider", "--deselect", SHOWS_COMPAT
    done = run(sys.executable, "-m", "pytest", *options, *CORE, cwd=without, seconds=180, PYTHONPATH=str(without))
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout.splitlines()[-1]
