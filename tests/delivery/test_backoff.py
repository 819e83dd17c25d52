"""The back-off: how long to wait after which failure."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txmetrics.delivery._backoff import JITTER, Backoff

SCHEDULE = [min(60.0, 0.5 * 1.7**failures) for failures in range(20)]


def test_each_failure_in_a_row_waits_longer_up_to_a_minute() -> None:
    """Without jitter the waits are 0.5, 0.85, 1.445 ... and never over 60 seconds."""
    backoff = Backoff(lambda: 0.0)
    assert [backoff.failed() for _ in SCHEDULE] == pytest.approx(SCHEDULE)
    assert SCHEDULE[-1] == 60.0


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=20, max_size=20))
def test_jitter_shortens_a_wait_by_a_quarter_at_most(randoms: list[float]) -> None:
    """Whatever the random numbers, a wait lies between three quarters of the schedule and all of it."""
    backoff = Backoff(iter(randoms).__next__)
    for longest in SCHEDULE:
        assert longest * (1 - JITTER) <= backoff.failed() <= longest


def test_different_clients_wait_differently() -> None:
    """The random number decides, so that a fleet does not come back as one."""
    assert Backoff(lambda: 0.1).failed() != Backoff(lambda: 0.9).failed()


def test_a_fleet_that_lost_its_backend_at_once_comes_back_bit_by_bit() -> None:
    """Of 500 clients and a backend that is away for two minutes, a tenth at most knocks in any one second after."""
    random, comers = Random(1), Counter[int]()
    for _ in range(500):
        backoff, now = Backoff(random.random), 0.0
        while now < 120:
            now += backoff.failed()
        comers[int(now)] += 1
    assert comers.total() == 500
    assert max(comers.values()) <= 50


def test_years_of_failures_overflow_nothing() -> None:
    """The exponent is bounded: the ten thousandth failure waits a minute as the twentieth does."""
    backoff = Backoff(lambda: 0.0)
    assert [backoff.failed() for _ in range(10_000)][-1] == 60.0


def test_a_good_connection_begins_the_schedule_anew() -> None:
    """After `reset` the next failure is the first again."""
    backoff = Backoff(lambda: 0.0)
    for _ in range(10):
        backoff.failed()
    backoff.reset()
    assert backoff.failed() == 0.5
