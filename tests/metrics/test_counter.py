"""A counter counts."""

from __future__ import annotations

from fractions import Fraction

from txmetrics.metrics import Counter
from txmetrics.snapshot import CounterReading


def test_a_new_counter_is_at_zero() -> None:
    """Nothing counted is the number 0, not the absence of one."""
    assert Counter().count == 0
    assert Counter().read("calls") == CounterReading("calls", 0)


def test_it_goes_up_and_down() -> None:
    """One at a time or several, and below zero if need be."""
    counter = Counter()
    counter.inc()
    counter.inc(41)
    counter.dec()
    counter.dec(50)
    assert counter.count == -9


def test_it_counts_whatever_can_be_added() -> None:
    """Integers stay exact however large they grow, and other numbers are not rounded on the way."""
    counter = Counter()
    counter.inc(10**30)
    counter.inc()
    assert counter.count == 10**30 + 1
    counter.inc(0.5)
    counter.dec(Fraction(1, 2))
    assert counter.count == 1e30


def test_reading_resets_nothing() -> None:
    """A second reader sees what the first one saw."""
    counter = Counter()
    counter.inc(3)
    assert [counter.read("calls").fields() for _ in range(2)] == [{"count": 3}, {"count": 3}]
