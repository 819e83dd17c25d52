"""Where pyformance's registries were wrong: the list in the layer's docstring, item by item, beside the original."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import txmetrics.compat.pyformance as layer
from tests.compat.clocks import Clock
from tests.strict import Logged
from txmetrics.compat.pyformance.meters import Timer


def with_a_broken_gauge(library: Any) -> Any:
    """A registry with a counter, a gauge that raises, and one that does not."""
    registry = library.MetricsRegistry(Clock())
    registry.counter("good").inc()
    registry.gauge("broken", lambda: 1 / 0)
    registry.gauge("fine", lambda: 7)
    return registry


def test_a_gauge_that_raises(original: ModuleType, logged: Logged) -> None:
    """Every other metric was lost with it; here it alone is left out, and the log says so once until it is well."""
    with pytest.raises(ZeroDivisionError):
        with_a_broken_gauge(original).dump_metrics()
    registry = with_a_broken_gauge(layer)
    good = {"good": {"count": 1}, "fine": {"value": 7}}
    assert registry.dump_metrics() == registry.dump_metrics() == good
    assert registry.get_metrics("broken") == {}
    assert len(logged.flush(ZeroDivisionError)) == 1
    assert [text for text in logged.texts() if "the gauge broken" in text]
    gauge = registry.gauge("broken")
    gauge.callback = lambda: 8
    assert registry.dump_metrics() == {**good, "broken": {"value": 8}}
    gauge.callback = lambda: 1 / 0
    assert registry.dump_metrics() == good
    assert len(logged.flush(ZeroDivisionError)) == 1


def test_a_gauge_that_raises_leaves_its_name_s_other_meter(logged: Logged) -> None:
    """A counter of the gauge's name is told all the same."""
    registry = with_a_broken_gauge(layer)
    registry.counter("broken").inc(3)
    assert registry.dump_metrics()["broken"] == {"count": 3}
    assert logged.flush(ZeroDivisionError)


def test_a_gauge_that_makes_another_meter(original: ModuleType) -> None:
    """It ended the report half-way; here the report goes on, and so it does when another thread makes one."""

    def told(library: Any) -> Any:
        registry = library.MetricsRegistry(Clock())
        registry.gauge("first", lambda: registry.gauge("second", default=2) and 1)
        return registry.dump_metrics()

    with pytest.raises(RuntimeError, match="changed size"):
        told(original)
    assert told(layer)["first"] == {"value": 1}


def test_a_name_of_two_kinds(original: ModuleType) -> None:
    """One hid the other's fields, and nobody knew; here the second is refused, in a sentence."""

    def name_twice(library: Any) -> Any:
        registry = library.MetricsRegistry(Clock())
        registry.counter("jobs").inc(7)
        registry.histogram("jobs").add(1)
        return registry.get_metrics("jobs")["count"]

    assert name_twice(original) == 1.0
    with pytest.raises(ValueError, match="'jobs' is a counter already, and a histogram of that name would hide"):
        name_twice(layer)


def test_a_name_of_two_kinds_by_add() -> None:
    """The same for a metric that was made elsewhere; and nothing is registered then."""
    registry = layer.MetricsRegistry(Clock())
    registry.counter("jobs")
    with pytest.raises(ValueError, match="'jobs' is a counter already"):
        registry.add("jobs", Timer(clock=Clock()))
    assert registry.dump_metrics() == {"jobs": {"count": 0}}


def test_kinds_that_hide_nothing_may_share_a_name(original: ModuleType) -> None:
    """A gauge with any other; and the counter, the meter and the timer of one function's calls."""
    told = []
    for library in (original, layer):
        clock = Clock()
        registry = library.MetricsRegistry(clock)
        registry.counter("queue").inc(2)
        registry.gauge("queue", default=5)
        registry.counter("f_calls").inc()
        registry.meter("f_calls").mark()
        registry.timer("f_calls").time().stop()
        clock.now += 1
        told.append(repr(registry.dump_metrics()))
    assert told[0] == told[1]
    assert [name for name, _ in registry._collect()] == ["queue", "f_calls"]
    with pytest.raises(ValueError, match="'f_calls' is a counter already, and a histogram"):
        registry.histogram("f_calls")


def test_two_threads_make_a_meter(original: ModuleType) -> None:
    """Both get the same one, whoever was first; in pyformance one of them counted where nobody looked."""

    class Meanwhile(Clock):
        """When the time is asked for the first meter, another thread comes in between."""

        def time(self) -> float:
            if not made:
                made.append(None)
                made[0] = registry.meter("new")
            return 0.0

    for library in (original, layer):
        made: list[Any] = []
        registry = library.MetricsRegistry(Meanwhile())
        assert (registry.meter("new") is made[0]) == (library is layer)
