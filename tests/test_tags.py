"""Tags: metrics of one name that differ by what comes from outside, in bounded number, with totals that are right."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from txmetrics import IdleExpiry, MetricsRegistry
from txmetrics.metrics import Counter, Gauge
from txmetrics.names import full
from txmetrics.registry import Scope
from txmetrics.snapshot import CounterReading, GaugeReading
from txmetrics.testing import FakeReactor

KINDS = ["counter", "gauge", "histogram", "meter", "timer"]

CAP = 2000


@pytest.fixture
def registry() -> MetricsRegistry:
    """An empty registry on a fake clock."""
    return MetricsRegistry(FakeReactor().clock)


@pytest.fixture
def crowded(registry: MetricsRegistry) -> MetricsRegistry:
    """A registry whose counters ``jobs`` have as many tags as there may be."""
    for number in range(CAP):
        registry.counter("jobs", queue=number).inc()
    return registry


# Names


@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_is_found_by_its_tags(registry: MetricsRegistry, kind: str) -> None:
    """In any order, by its full name, and by values that come to the same; another value is another metric."""
    make = getattr(registry, kind)
    metric = make("jobs", queue="a b", zone=1)
    assert make("jobs", zone=1, queue="a b") is metric
    assert make("jobs", zone="1", queue="a_b") is metric
    assert make("jobs;queue=a_b;zone=1") is metric
    assert make("jobs", queue="a.b", zone=1) is not metric
    assert make("jobs", queue="a b") is not metric
    assert make("jobs") is not metric
    assert [*registry] == ["jobs;queue=a_b;zone=1", "jobs;queue=a.b;zone=1", "jobs;queue=a_b", "jobs"]


def test_a_metric_is_made_by_its_full_name(registry: MetricsRegistry) -> None:
    """It is the same as with tags."""
    assert registry.counter("jobs;queue=mail") is registry.counter("jobs", queue="mail")
    assert len(registry) == 1


def test_everybody_reads_the_full_name(registry: MetricsRegistry) -> None:
    """Snapshots, readers and whoever asks for one metric."""
    registry.counter("jobs", queue="mail").inc(3)
    registry.gauge("depth", queue="mail").set(7)
    told = (CounterReading("jobs;queue=mail", 3), GaugeReading("depth;queue=mail", 7))
    assert registry.snapshot() == tuple(registry.reader().collect()) == told
    assert registry.read("jobs", queue="mail") == registry.read("jobs;queue=mail") == {"count": 3}
    assert registry["jobs;queue=mail"] is registry.counter("jobs", queue="mail")
    assert "jobs;queue=mail" in registry
    assert "jobs" not in registry


def test_what_is_not_there_is_told_by_its_full_name(registry: MetricsRegistry) -> None:
    """And nothing is made."""
    registry.counter("jobs")
    for ask in (registry.read, registry.unregister):
        with pytest.raises(KeyError, match="no metric is named 'jobs;queue=mail'"):
            ask("jobs", queue="mail")
    assert [*registry] == ["jobs"]


def test_a_tag_may_be_called_like_an_argument(registry: MetricsRegistry) -> None:
    """``self`` is as good as any other, ``name`` is Graphite's, and ``tell`` is the gauge's own."""
    registry.counter("jobs", self="x", tell="y", make="z")
    with pytest.raises(ValueError, match="tag 'name' of 'jobs' means something else to Graphite"):
        registry.counter("jobs", name="x")
    wrong: Any = "y"
    with pytest.raises(TypeError, match="a gauge is told its value by a callable, not by 'y'"):
        registry.gauge("depth", tell=wrong)
    registry.gauge("depth;tell=y")
    assert [*registry] == ["jobs;make=z;self=x;tell=y", "depth;tell=y"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "tags", [{"a-b": "x"}, {"le": "x"}, {"queue": 1.5}, {"queue": None}, {"queue": b"x"}], ids=repr
)
def test_tags_that_are_wrong_register_nothing(registry: MetricsRegistry, kind: str, tags: dict[str, Any]) -> None:
    """Whether the metric is there with other tags or not."""
    for size in (0, 1):
        with pytest.raises((ValueError, TypeError), match="tag '"):
            getattr(registry, kind)("jobs", **tags)
        assert len(registry) == size
        getattr(registry, kind)("jobs", queue="x")


# Kinds and lines


def test_all_of_a_name_are_of_one_kind(registry: MetricsRegistry) -> None:
    """Whatever their tags are, but the one without tags is another metric; anew when the last of them is gone."""
    registry.counter("jobs", queue="mail")
    for tags in ({"queue": "mail"}, {"queue": "print"}, {"zone": "x"}):
        with pytest.raises(ValueError, match="'jobs' is a counter already, it cannot be a timer too"):
            registry.timer("jobs", **tags)
    registry.timer("jobs")
    registry.unregister("jobs", queue="mail")
    registry.meter("jobs", queue="mail")
    assert [*registry] == ["jobs", "jobs;queue=mail"]


@pytest.mark.parametrize("kind", ["counter", "histogram", "meter", "timer"])
@pytest.mark.parametrize("first", ["gauge", "other"])
def test_a_gauge_cannot_have_the_line_of_a_field(registry: MetricsRegistry, kind: str, first: str) -> None:
    """Whichever comes first stays, whatever the values are; without tags there is no line in common."""
    makes: list[Callable[[], Any]] = [
        lambda: registry.gauge("a.count", x=1),
        lambda: getattr(registry, kind)("a", x=2),
    ]
    if first == "other":
        makes.reverse()
    one = makes[0]()
    with pytest.raises(
        ValueError, match=rf"^the gauge 'a.count' and the {kind} 'a' would both be written as 'a.count'"
    ):
        makes[1]()
    assert makes[0]() is one
    getattr(registry, kind)("b")
    registry.gauge("b.count", x=1)
    registry.unregister(next(iter(registry)))
    makes[1]()


@pytest.mark.parametrize("name", ["txmetrics", "txmetrics.overflow", "txmetrics.a"])
def test_the_reporters_own_names_are_refused(registry: MetricsRegistry, name: str) -> None:
    """Also with tags, and by their full names."""
    for ask in (lambda: registry.counter(name, queue="x"), lambda: registry.counter(f"{name};queue=x")):
        with pytest.raises(ValueError, match="belongs to the reporter"):
            ask()
    registry.counter("a", of="txmetrics")


# Scopes


def test_a_scope_has_tags(registry: MetricsRegistry) -> None:
    """They are those of all that is made in it, and in the scopes below."""
    db = registry.scope("db", pool="main")
    for kind in KINDS:
        assert getattr(db, kind)(kind, table="users") is getattr(registry, kind)(
            f"db.{kind}", pool="main", table="users"
        )
    assert db.scope("x", y="z").counter("c") is registry.counter("db.x.c", pool="main", y="z")
    assert registry.scope("db").counter("c", pool="main") is db.counter("c")
    db.counter("c").inc(2)
    assert db.read("c") == {"count": 2}
    db.unregister("c")
    assert "db.c;pool=main" not in registry


def test_a_scopes_tags_are_checked_with_the_scope(registry: MetricsRegistry) -> None:
    """And not with the first metric in it."""
    for place in (registry, registry.scope("db")):
        with pytest.raises(ValueError, match="tag 'le' of"):
            place.scope("x", le="1")


def test_a_tag_of_the_scope_cannot_be_given_again(registry: MetricsRegistry) -> None:
    """Which of the two were meant?"""
    with pytest.raises(TypeError, match="multiple values for keyword argument 'pool'"):
        registry.scope("db", pool="main").counter("c", pool="other")


# Room


def test_beyond_the_cap_all_are_one(crowded: MetricsRegistry) -> None:
    """Those that have a metric keep it, the total is right, and it is told how often there was no room."""
    crowded.counter("jobs", queue=5).inc()
    for value in ("new", "newer", "new", "_other"):
        crowded.counter("jobs", queue=value).inc()
    assert crowded.read("jobs", queue="_other") == {"count": 4}
    assert crowded.read("jobs", queue=5) == {"count": 2}
    assert sum(reading.count for reading in crowded.snapshot() if reading.name.startswith("jobs")) == CAP + 5
    assert crowded.read("txmetrics.overflow") == {"count": 3}
    assert len(crowded) == CAP + 2
    with pytest.raises(KeyError, match="new"):
        crowded.read("jobs", queue="new")


def test_the_log_tells_once(crowded: MetricsRegistry, caplog: pytest.LogCaptureFixture) -> None:
    """Of each name, when there is first no room."""
    for number in range(3):
        crowded.counter("jobs", queue="_other")
        crowded.counter("jobs", queue=f"new{number}")
    for number in range(CAP + 2):
        crowded.meter("hits.a", of=number)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "txmetrics",
            "WARNING",
            f"{name!r} has more than 2000 sets of tags; all others are reported as one, whose tags are _other",
        )
        for name in ("jobs", "hits.a")
    ]


def test_other_names_have_room(crowded: MetricsRegistry) -> None:
    """Each name has its own, and so has one without tags."""
    assert crowded.counter("mails", queue="new") is not crowded.counter("jobs", queue="new")
    crowded.counter("jobs")
    assert {"mails;queue=new", "jobs", "jobs;queue=_other"} <= {*crowded}


def test_all_tags_of_the_overflow_are_other(crowded: MetricsRegistry) -> None:
    """As those have that came first; what has others shares it, so that there is but one."""
    shared = crowded.counter("jobs", zone="b", queue="x")
    assert crowded["jobs;queue=_other;zone=_other"] is shared
    assert crowded.counter("jobs", queue="y") is crowded.counter("jobs", host="z") is shared
    assert crowded.counter("jobs;queue=_other") is shared
    assert len(crowded) == CAP + 2


def test_a_value_of_the_overflows_name_takes_no_room(registry: MetricsRegistry) -> None:
    """It shares it with the rest, and nobody lacked room."""
    shared = registry.counter("jobs", queue="_other")
    for number in range(CAP):
        assert registry.counter("jobs", queue=number) is not shared
    assert len(registry) == CAP + 1
    assert "txmetrics.overflow" not in registry
    assert registry.counter("jobs", queue="new") is shared


def test_who_goes_leaves_room(crowded: MetricsRegistry) -> None:
    """Also to one that shared the overflow until then."""
    shared = crowded.counter("jobs", queue="new")
    crowded.unregister("jobs", queue=7)
    own = crowded.counter("jobs", queue="new")
    assert own is not shared
    assert crowded.counter("jobs", queue="newer") is shared
    crowded.unregister("jobs", queue="_other")
    assert crowded.counter("jobs", queue="newer") is not shared


def test_who_is_idle_leaves_room() -> None:
    """An expiry knows metrics with tags like all others."""
    reactor = FakeReactor()
    registry = MetricsRegistry(reactor.clock)
    for number in range(CAP):
        registry.counter("jobs.done", queue=number)
    expiry = IdleExpiry(registry, "jobs", 60)
    for _ in range(3):
        expiry.sweep(3 * CAP)
        reactor.advance(61)
    expiry.sweep(3 * CAP)
    assert (expiry.expired, len(registry)) == (CAP, 0)
    registry.gauge("jobs.done", queue="new")


def test_a_gauge_that_is_told_does_not_speak_for_others(registry: MetricsRegistry) -> None:
    """One for which there is no room works, but is not reported; one that is set shares the overflow."""
    for number in range(CAP):
        registry.gauge("depth", lambda: 1, queue=number)
    alone = registry.gauge("depth", lambda: 5, queue="new")
    assert alone.value == 5
    assert len(registry) == CAP + 1
    assert registry.read("txmetrics.overflow") == {"count": 1}
    registry.gauge("depth", queue="new").inc(2)
    registry.gauge("depth", queue="newer").inc(3)
    assert registry.read("depth", queue="_other") == {"value": 5}
    with pytest.raises(ValueError, match="'depth;queue=7' exists already; unregister it"):
        registry.gauge("depth", lambda: 2, queue=7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_house_raises_nothing(registry: MetricsRegistry, kind: str) -> None:
    """Whatever comes: where the values come from outside, nobody expects an error."""
    for number in range(CAP + 50):
        metric = getattr(registry, kind)("jobs", queue=f"{number} ;=~\n")
    assert metric is getattr(registry, kind)("jobs", queue="_other")
    assert len(registry) == CAP + 2
    assert registry.read("txmetrics.overflow") == {"count": 50}


def test_a_hundred_thousand_values_leave_memory_flat(crowded: MetricsRegistry) -> None:
    """Nothing is kept of those for which there is no room, nor of how a value was spelled that was cleaned."""
    crowded.counter("jobs", queue="new")
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(20_000):
            crowded.counter("jobs", queue=f"new {number}").inc()
            crowded.counter("jobs", queue=number % CAP, zone=f"{number}").inc()
            crowded.counter("jobs", queue=f"{number % CAP}").inc()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 20_000
    finally:
        tracemalloc.stop()


values = st.text(max_size=3) | st.integers(0, 5) | st.booleans()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.dictionaries(st.sampled_from("xyz"), values), st.booleans())))
def test_the_registry_is_as_a_dict_of_full_names_would_be(history: list[tuple[str, dict[str, Any], bool]]) -> None:
    """Whatever comes and goes, each counter has what was counted under its name and tags."""
    registry, model = MetricsRegistry(), dict[str, int]()
    for name, tags, stays in history:
        registry.counter(name, **tags).inc()
        model[full(name, tags)] = model.get(full(name, tags), 0) + 1
        if not stays:
            registry.unregister(name, **tags)
            del model[full(name, tags)]
    assert {reading.name: reading.count for reading in registry.snapshot()} == model


def test_scopes_and_registries_take_the_same() -> None:
    """Whoever works with one works with the other."""
    scope: Scope | MetricsRegistry
    for scope in (MetricsRegistry(), MetricsRegistry().scope("a")):
        metric: Counter | Gauge = scope.counter("jobs", queue="mail")
        assert isinstance(metric, Counter)
        metric = scope.gauge("depth", lambda: 3, queue="mail")
        assert isinstance(metric, Gauge)
        assert scope.read("depth", queue="mail") == {"value": 3}
