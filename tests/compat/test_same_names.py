"""Whoever replaces the import finds each module, class, function and method, with its parameters in their old order."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import txmetrics.compat.pyformance as layer
from tests.processes import ROOT, run

MODULES = [
    "",
    ".meters",
    ".meters.counter",
    ".meters.gauge",
    ".meters.histogram",
    ".meters.meter",
    ".meters.timer",
    ".registry",
    ".stats",
    ".stats.moving_average",
    ".stats.samples",
    ".stats.snapshot",
]


def within(package: ModuleType, module: str) -> Any:
    """The module ``.meters.counter`` of a package."""
    found: Any = package
    for part in filter(None, module.split(".")):
        found = getattr(found, part)
    return found


def names(module: ModuleType) -> Iterator[str]:
    """What may be imported from it that is its library's own."""
    for name, value in vars(module).items():
        origin = getattr(value, "__module__", None) or ""
        if not name.startswith("_") and (origin.startswith("pyformance") or name.isupper()):
            yield name


def parameters(function: Callable[..., object]) -> list[tuple[str, object, str]]:
    """Their names, kinds and defaults."""
    return [
        (parameter.name, parameter.kind, repr(parameter.default))
        for parameter in inspect.signature(function).parameters.values()
    ]


def methods(kind: type) -> dict[str, Any]:
    """Those that the article or any code calls."""
    return {
        name: method
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") or name == "__init__" or name.startswith("_get_")
    }


@pytest.mark.parametrize("module", MODULES)
def test_all_names_are_there(original: ModuleType, module: str) -> None:
    """And stand for what can be called in the same ways."""
    import_module(layer.__name__ + module)
    theirs, ours = within(original, module), within(layer, module)
    assert [*names(theirs)]
    for name in names(theirs):
        their, our = getattr(theirs, name), getattr(ours, name)
        if inspect.isclass(their):
            for method, function in methods(their).items():
                if inspect.signature(function) != inspect.signature(object.__init__):  # none of its own
                    assert (name, method, parameters(getattr(our, method))) == (name, method, parameters(function))
        elif inspect.isfunction(their):
            assert (name, parameters(our)) == (name, parameters(their))
        else:
            assert our == their


def test_subclasses_are_subclasses(original: ModuleType) -> None:
    """What ``isinstance`` was asked for has the same answer."""
    for name in dir(original.meters):
        kind = getattr(original.meters, name)
        if inspect.isclass(kind):
            bases = [base.__name__ for base in kind.__mro__]
            assert [base.__name__ for base in getattr(layer.meters, name).__mro__] == bases


SIGNALLED = """
import time
from txmetrics.compat.pyformance.meters import timer
from txmetrics.compat.pyformance import call_too_long, time_calls, global_registry

@call_too_long.connect
def on_slow(timer, elapsed, fn):
    print(timer is slow, elapsed > 0, fn)

@time_calls
def work():
    pass

slow = global_registry().timer("work_calls")
slow.threshold = 1e-9
work()
"""

BLINKER = """
class Namespace(dict):
    def signal(self, name):
        return self.setdefault(name, Signal())

class Signal:
    def connect(self, receiver):
        self.receiver = receiver
        return receiver

    def send(self, *sender, **what):
        self.receiver(*sender, **what)
"""


def test_a_call_that_took_too_long(tmp_path: Path) -> None:
    """Where blinker is installed (here a stand-in), its signal tells the timer, the seconds and the function."""
    (tmp_path / "blinker.py").write_text(BLINKER)
    done = run(sys.executable, "-c", SIGNALLED, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.stdout == "True True work\n"


def test_no_reactor_and_no_reporter_is_imported(tmp_path: Path) -> None:
    """Counting needs neither; and reporters are imported when somebody asks for one, as in pyformance."""
    program = f"""
import sys
import {layer.__name__}
print([name for name in sys.modules if "reporter" in name or name == "twisted.internet.reactor"])
"""
    assert run(sys.executable, "-c", program, cwd=tmp_path, PYTHONPATH=str(ROOT)).stdout == "[]\n"


def test_every_public_name_is_listed(original: ModuleType) -> None:
    """What the package says it offers is what pyformance's offered, and there."""
    theirs = {name for name in vars(original) if not name.startswith("_")}
    modules = {name for name in theirs if inspect.ismodule(getattr(original, name))}
    assert {*layer.__all__} == theirs - modules
    assert all(hasattr(layer, name) for name in modules)
