"""What an operation costs stays what it was: instructions, which do not depend on what else the machine does.

The limits are about one and a half times what was counted when they were written, on CPython 3.11, 3.12 and 3.13: a
doubled cost fails, another interpreter does not. What things cost, in time and beside others: docs/performance.md.
"""

from __future__ import annotations

import shutil

import pytest

from benchmarks import valgrind
from tests.costs.work import BARE, INCLUDED, MEASURED, REPORT

LIMITS = {
    "counter.inc": 1.6,
    "counter by name": 3.0,
    "meter.mark": 1.6,
    "gauge.set": 1.2,
    "histogram.add": 2.5,
    "timer.add": 2.5,
    "with timer": 10.5,
    "with timer by name": 13.5,
    INCLUDED: 7.5,
    REPORT: 24.0,
}
"""Of what is done, how many times the instructions of REF it may take."""


@pytest.fixture(scope="module")
def counts() -> dict[str, float]:
    """The instructions of each piece of work."""
    assert shutil.which("valgrind"), "valgrind is not installed; .ci/receivers does that, from Debian's packages"
    return valgrind.count("tests.costs.work", seconds=300)


@pytest.mark.parametrize("what", LIMITS)
def test_an_operation_costs_what_it_did(counts: dict[str, float], what: str) -> None:
    """As a ratio to the least that a counter can be in Python."""
    loop = counts["nothing"]
    ratio = (counts[what] - loop) / (counts["REF"] - loop)
    assert 0.3 < ratio < LIMITS[what]


def test_to_measure_a_request_costs_what_it_did(counts: dict[str, float]) -> None:
    """As a ratio to what a hello world costs without."""
    assert 1.0 < counts[MEASURED] / counts[BARE] < 1.45
