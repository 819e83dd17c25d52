"""pyformance's own tests, from the directory that is given, played against the ``layer`` or pyformance ``itself``.

Nothing but the imports is redirected: ``pyformance`` is the layer, and ``mock`` the standard library's. Prints what
became of each test.
"""

from __future__ import annotations

import json
import sys
import unittest
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any
from unittest import mock

LAYER = "txmetrics.compat.pyformance"


class Record(unittest.TestResult):
    """Remembers what became of each test, and why."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}

    def addSuccess(self, test: Any) -> None:
        self.outcomes.setdefault(test.id(), "passed")

    def addError(self, test: Any, error: Any) -> None:
        self.outcomes[test.id()] = f"{error[0].__name__}: {error[1]}"

    addFailure = addError


def redirect() -> None:
    """Have every module of the layer found under pyformance's name for it."""
    layer = import_module(LAYER)
    names = [LAYER, *(module.name for module in walk_packages(layer.__path__, f"{LAYER}."))]
    for name in names:
        sys.modules[name.removeprefix("txmetrics.compat.")] = import_module(name)


def main(directory: str, against: str) -> None:
    sys.path[0] = directory
    sys.modules["mock"] = mock
    if against == "itself":
        sys.modules["pkg_resources"] = ModuleType("pkg_resources")
        vars(sys.modules["pkg_resources"])["declare_namespace"] = print
    else:
        redirect()
    record = Record()
    unittest.TestLoader().discover(f"{directory}/tests", "test__*.py", directory).run(record)
    print(json.dumps(record.outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
