"""Family: as many series as there is room for, and one for the rest."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter as Tally

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txmetrics import Counter, MetricsRegistry
from txmetrics.family import OVERFLOW, Family


def test_each_key_has_a_series_of_its_own() -> None:
    """The same one whenever it is asked for, in the registry under the key's name."""
    registry = MetricsRegistry()
    family = Family(registry.scope("mail").counter, limit=2)
    family["sent"].inc()
    family["sent"].inc()
    family["lost"].inc()
    assert family["sent"] is registry.counter("mail.sent")
    assert [reading.fields()["count"] for reading in registry.snapshot()] == [2, 1]


def test_keys_beyond_the_limit_share_one_series() -> None:
    """Those that have a series keep it."""
    registry = MetricsRegistry()
    family = Family(registry.scope("mail").counter, limit=2)
    for key in ("a", "b", "c", "d", "a"):
        family[key].inc()
    assert {name: registry.read(f"mail.{name}")["count"] for name in family} == {"a": 2, "b": 1, OVERFLOW: 2}
    assert len(family) == 3


def test_a_key_of_the_overflow_s_name_takes_no_room() -> None:
    """It shares the series with the rest, and the limit holds for the others."""
    family = Family(lambda part: Counter(), limit=2)
    shared = family[OVERFLOW]
    assert family["a"] is not shared
    assert family["b"] is not shared
    assert family["c"] is shared
    assert list(family) == [OVERFLOW, "a", "b"]


def test_a_key_becomes_one_part_of_a_path() -> None:
    """Dots and whatever else a part cannot carry are replaced, and keys that come to the same share a series."""
    registry = MetricsRegistry()
    family = Family(registry.scope("host").counter, limit=9)
    assert family["example.org"] is family["example org"] is registry.counter("host.example_org")
    assert list(family) == ["example_org"]


def test_a_series_that_cannot_be_made_is_not_remembered() -> None:
    """The name may be free the next time."""
    registry = MetricsRegistry()
    registry.gauge("mail.sent")
    family = Family(registry.scope("mail").counter, limit=2)
    with pytest.raises(ValueError, match=r"mail\.sent"):
        family["sent"]
    registry.unregister("mail.sent")
    assert family["sent"] is registry.counter("mail.sent")


@given(st.lists(st.text(max_size=3)), st.integers(0, 5))
def test_totals_are_right_whatever_comes(keys: list[str], limit: int) -> None:
    """The series add up to what was counted, and there are at most one more than the limit."""
    family = Family(lambda part: Counter(), limit)
    for key in keys:
        family[key].inc()
    counts = Tally({part: family[part].count for part in family})
    assert counts.total() == len(keys)
    assert len(family) <= limit + 1


def test_a_hundred_thousand_keys_leave_memory_flat() -> None:
    """Neither the keys that got a series nor those that did not are kept beyond the limit."""
    family = Family(MetricsRegistry().scope("path").counter, limit=100)
    for n in range(200):
        family[f"/{n}"].inc()
    gc.collect()
    tracemalloc.start()
    try:
        for n in range(100_000):
            family[f"/{n}"].inc()
            family[f"/{n % 100}/" + "?" * (n % 1000)].inc()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 20_000
    finally:
        tracemalloc.stop()
    assert sum(family[part].count for part in family) == 200_200
