"""What is held stays what it was, as tracemalloc counts it; the limits are about a third above what was counted.

How that is beside others: docs/performance.md.
"""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks.reports import cost
from benchmarks.reports.registries import LIBRARIES, OURS
from benchmarks.sizes.memory_subjects import subject
from benchmarks.sizes.memory_traced import idle, lognormal, states

IDLE = {
    ("counter", 0): 150,
    ("gauge", 0): 160,
    ("meter", 0): 340,
    ("histogram", 0): 290,
    ("timer", 0): 390,
    ("timer", 1): 680,
    ("timer", 2): 920,
}
"""Bytes of a metric to which nothing has happened, by its kind, and by how many readers have seen it."""

PENDING = {1_000: 65_000, 50_000: 200_000}
"""Bytes of a timer that has so many values in its second interval, before they are reported."""


@pytest.mark.parametrize(("kind", "readers"), IDLE)
def test_an_idle_metric_is_as_small_as_it_was(kind: str, readers: int) -> None:
    """With its part of what the registry keeps, and of what its readers remember."""
    held = idle(partial(subject, OURS, kind, readers), 2000)
    assert held is not None
    assert 50 < held < IDLE[kind, readers]


@pytest.mark.parametrize("values", PENDING)
def test_values_that_wait_are_as_small_as_they_were(values: int) -> None:
    """However many there are, they are bounded."""
    held = states(partial(subject, OURS, "timer", 1), 1, lognormal(2 * values))
    assert held.end < PENDING[values]


def test_a_report_takes_as_little_memory_as_it_did() -> None:
    """Whatever it is about: its chunks are handed over one by one."""
    report = LIBRARIES[OURS](10_000)
    assert cost.memory(report).most < 400_000
