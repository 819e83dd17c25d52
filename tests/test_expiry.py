"""Metrics that nobody uses any more go, and no others."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from txmetrics import MetricsRegistry
from txmetrics.expiry import IdleExpiry
from txmetrics.testing import FakeReactor

USES: dict[str, Callable[[MetricsRegistry], object]] = {
    "counter": lambda registry: registry.counter("session.a").inc(),
    "gauge": lambda registry: registry.gauge("session.a").set(registry.clock.tick()),
    "meter": lambda registry: registry.meter("session.a").mark(),
    "histogram": lambda registry: registry.histogram("session.a").add(1),
    "timer": lambda registry: registry.timer("session.a").add(1),
}


@pytest.fixture
def reactor() -> FakeReactor:
    return FakeReactor()


@pytest.fixture
def registry(reactor: FakeReactor) -> MetricsRegistry:
    return MetricsRegistry(reactor.clock)


def pass_by(reactor: FakeReactor, expiry: IdleExpiry, seconds: int) -> None:
    """So many seconds, with a sweep in each."""
    for _ in range(seconds):
        reactor.advance(1)
        expiry.sweep()


@pytest.mark.parametrize("kind", USES)
def test_what_is_used_stays_and_what_is_not_goes(kind: str, reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Of each kind: while something happens to it, it stays; then it goes when its time is over, not before."""
    use, expiry = USES[kind], IdleExpiry(registry, "session", 60)
    for _ in range(10):
        use(registry)
        pass_by(reactor, expiry, 50)
    assert "session.a" in registry
    use(registry)
    pass_by(reactor, expiry, 59)
    assert "session.a" in registry
    pass_by(reactor, expiry, 5)
    assert "session.a" not in registry
    assert expiry.expired == 1


def test_others_stay(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """What is not below the prefix, and a gauge that tells by itself, however little happens to them."""
    registry.counter("sessions.all")
    registry.counter("session")
    registry.gauge("session.length", lambda: 7)
    pass_by(reactor, IdleExpiry(registry, "session", 5), 100)
    assert [*registry] == ["sessions.all", "session", "session.length"]


def test_those_with_tags_go_as_well(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Whether the prefix is their name or the beginning of it."""
    registry.counter("session", user="a").inc()
    registry.counter("session.pages", user="a").inc()
    registry.counter("sessions", user="a").inc()
    pass_by(reactor, IdleExpiry(registry, "session", 5), 20)
    assert [*registry] == ["sessions;user=a"]


def test_one_that_is_made_anew_is_a_new_one(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Though it shows what its predecessor showed."""
    expiry = IdleExpiry(registry, "session", 60)
    registry.counter("session.a").inc()
    pass_by(reactor, expiry, 50)
    registry.unregister("session.a")
    registry.counter("session.a").inc()
    pass_by(reactor, expiry, 50)
    assert "session.a" in registry


def test_a_sweep_looks_at_so_many_and_nobody_is_forgotten(reactor: FakeReactor, registry: MetricsRegistry) -> None:
    """Of many metrics each is looked at in its turn, and what it remembers of them is gone with them."""
    expiry = IdleExpiry(registry, "session", 10)
    for number in range(1000):
        registry.counter(f"session.{number}").inc()
    expiry.sweep()  # which makes the first round
    sizes = []
    for _ in range(100):
        reactor.advance(1)
        expiry.sweep(100)
        sizes.append(len(registry))
    assert sizes[-1] == 0
    assert expiry.expired == 1000
    assert max(before - after for before, after in pairwise(sizes)) == 100
    expiry.sweep()
    expiry.sweep()
    assert not expiry._seen
    assert not expiry._before


@pytest.mark.parametrize("idle", [0, -1, float("nan")])
def test_an_impossible_time_is_refused(idle: float, registry: MetricsRegistry) -> None:
    """With a sentence that has it in it."""
    with pytest.raises(ValueError, match=f"{idle!r} seconds; give more than 0"):
        IdleExpiry(registry, "session", idle)
    with pytest.raises(ValueError, match="prefix"):
        IdleExpiry(registry, "a b", 1)
