"""Whatever clients make up: the memory stays flat, the series are few, and the counts are exact."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.instrument.web.bounded_child import CODES, METHODS, PATHS, TYPES, WARM_UP
from tests.processes import ROOT, run

GROWTH = 5_000_000
"""Bytes that the process may grow by, whose clients have sent twenty million in names."""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What a process of its own has counted."""
    child = run(sys.executable, "-m", "tests.instrument.web.bounded_child", cwd=ROOT, seconds=120)
    assert child.returncode == 0, child.stdout
    found: dict[str, Any] = json.loads(child.stdout)
    return found


@pytest.mark.parametrize(
    ("flood", "requests"),
    [("paths", WARM_UP + PATHS), ("methods", WARM_UP + METHODS), ("types", TYPES), ("codes", len(CODES))],
)
def test_the_counts_are_exact(told: dict[str, Any], flood: str, requests: int) -> None:
    """Every request is counted once for the Site and once for a route, and nothing went wrong."""
    found = told[flood]
    assert found["requests"] == found["sums"]["requests"] == found["sent"] == requests
    assert found["measuring_errors"] == 0


@pytest.mark.parametrize("flood", ["paths", "methods"])
def test_the_memory_stays_flat(told: dict[str, Any], flood: str) -> None:
    """100,000 paths, of which a careless ``route`` makes as many routes, or 10,000 methods, leave nothing behind."""
    assert told[flood]["grown"] < GROWTH


def test_the_series_are_few(told: dict[str, Any]) -> None:
    """200 routes, 16 types of errors, 32 codes, and one more of each for all others, which has their sum."""
    assert told["paths"]["series"] == {"requests": 201}
    assert told["methods"]["series"] == {"requests": 1}
    assert told["types"]["series"] == {"requests": 1, "errors": 17}
    assert told["codes"]["series"] == {"requests": 1, "codes": 33}
    assert told["types"]["sums"]["errors"] == TYPES
    assert told["codes"]["sums"]["codes"] == len(CODES)
