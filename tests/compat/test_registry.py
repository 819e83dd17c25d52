"""The registry of pyformance's names: what it makes, keeps, refuses and tells."""

from __future__ import annotations

from typing import Any

import pytest

import txmetrics.compat.pyformance as pyformance
from tests.compat.clocks import Clock
from tests.strict import Logged
from txmetrics.compat.pyformance.meters import CallbackGauge, Counter, Gauge, Histogram, Meter, SimpleGauge, Timer
from txmetrics.compat.pyformance.registry import MetricsRegistry, RegexRegistry


@pytest.fixture
def registry() -> MetricsRegistry:
    return MetricsRegistry(Clock())


def test_the_article_s_numbers(registry: MetricsRegistry) -> None:
    """After 3, 3 and 15, as printed in 2013."""
    for size in (3, 3, 15):
        registry.histogram("world_size").add(size)
    assert repr(registry._get_histogram_metrics("world_size")) == (
        "{'avg': 7.0, 'count': 3.0, 'max': 15, 'min': 3, 'std_dev': 6.928203230275509, "
        "'75_percentile': 15, '95_percentile': 15, '99_percentile': 15, '999_percentile': 15}"
    )


@pytest.mark.parametrize(
    ("kind", "made"),
    [("counter", Counter), ("histogram", Histogram), ("meter", Meter), ("timer", Timer), ("gauge", SimpleGauge)],
)
def test_a_name_is_made_once(registry: MetricsRegistry, kind: str, made: type) -> None:
    """And found again; what was not made tells nothing."""
    metric = getattr(registry, kind)("a")
    assert type(metric) is made
    assert getattr(registry, kind)("a") is metric
    assert set(registry.dump_metrics()) == {"a"}
    assert getattr(registry, f"_get_{kind}_metrics")("b") == registry.get_metrics("b") == {}
    registry.clear()
    assert registry.dump_metrics() == {}
    assert getattr(registry, kind)("a") is not metric


class Depth(Gauge):
    """A gauge of somebody's own."""

    def get_value(self) -> int:
        return 4


def test_gauges(registry: MetricsRegistry, logged: Logged) -> None:
    """What is given is kept, called, or shown; and what is none of these is refused in a sentence."""
    depth = Depth()
    assert registry.gauge("own", depth) is depth
    assert type(registry.gauge("callback", lambda: 5)) is CallbackGauge
    assert registry.gauge("callback", lambda: 6).get_value() == 5
    registry.gauge("simple", default=7)
    registry.gauge("set").set_value(8)
    with pytest.raises(TypeError, match="the gauge 'wrong' is told its value by a Gauge or a callable, not by 9"):
        registry.gauge("wrong", 9)
    values = {name: fields["value"] for name, fields in registry.dump_metrics().items()}
    assert values == {"own": 4, "callback": 5, "simple": 7, "set": 8}
    assert SimpleGauge().get_value() != SimpleGauge().get_value()  # a NaN, before it is set
    registry.gauge("abstract", Gauge())
    assert "abstract" not in registry.dump_metrics()
    assert [str(failure.value) for failure in logged.flush(NotImplementedError)] == [
        "Gauge has no get_value; a gauge needs one"
    ]


@pytest.mark.parametrize("kind", [Counter, Histogram, Meter, Timer, Depth])
def test_a_metric_that_was_made_elsewhere(registry: MetricsRegistry, kind: Any) -> None:
    """Is found by its name; a second of its name is not taken."""
    metric = kind()
    registry.add("a", metric)
    name = "gauge" if kind is Depth else kind.__name__.lower()
    assert getattr(registry, name)("a") is metric
    with pytest.raises(LookupError, match=f"there is a {name} 'a' already; choose another name"):
        registry.add("a", kind())


def test_what_is_no_metric(registry: MetricsRegistry) -> None:
    """Is refused."""
    with pytest.raises(TypeError, match="'a' cannot be 5; a registry keeps counters"):
        registry.add("a", 5)
    assert registry.dump_metrics() == {}


class Broken(Histogram):
    """Somebody's own histogram, that cannot tell its mean."""

    def get_mean(self) -> float:
        raise LookupError("no mean")


def test_a_metric_that_cannot_be_told(registry: MetricsRegistry, logged: Logged) -> None:
    """Is left out, and all others are told."""
    registry.add("broken", Broken(clock=Clock()))
    registry.counter("good").inc()
    assert registry.dump_metrics() == registry.dump_metrics() == {"good": {"count": 1}}
    assert len(logged.flush(LookupError)) == 1


def test_metrics_may_come_and_go_during_a_report(registry: MetricsRegistry) -> None:
    """What is gone by its turn is not told; what comes is in the next report at the latest."""
    for name in ("a", "b", "c"):
        registry.counter(name)
    names = []
    for name, _ in registry._collect():
        names.append(name)
        if name == "a":
            registry.clear()
            registry.meter("d")
    assert names == ["a", "d"]


def test_a_sink_of_each_timer() -> None:
    """It is handed every duration."""

    class Sink(list[float]):
        add = list.append

    class WithSinks(MetricsRegistry):
        def create_sink(self) -> Sink:
            return Sink()

    clock = Clock()
    registry = WithSinks(clock)
    with registry.timer("a").time():
        clock.now += 2
    registry.timer("b")
    assert [registry.timer(name).sink for name in ("a", "b")] == [[2], []]


def test_a_pattern_s_gauge() -> None:
    """Has its value under the name that the pattern makes."""
    registry = RegexRegistry(r"^/api/(\w+)/\d+/?(\w+)?$", Clock())
    registry.gauge("/api/users/1/edit", default=3)
    registry.gauge("/api/users/2/edit", default=4)
    registry.gauge("/api/users/1", lambda: 5)
    assert registry.dump_metrics() == {"users/edit": {"value": 3}, "users": {"value": 5}}


def test_the_global_registry() -> None:
    """All functions use it, until there is another one."""
    before = pyformance.global_registry()
    registry = MetricsRegistry(Clock())
    pyformance.set_global_registry(registry)
    try:
        assert pyformance.global_registry() is registry
        for kind in ("counter", "histogram", "meter", "timer", "gauge"):
            assert getattr(pyformance, kind)(kind) is getattr(registry, kind)(kind)
        assert pyformance.gauge("callback", lambda: 5).get_value() == 5
        assert set(pyformance.dump_metrics()) == {"counter", "histogram", "meter", "timer", "gauge", "callback"}
        pyformance.clear()
        assert pyformance.dump_metrics() == {}
    finally:
        pyformance.set_global_registry(before)


def test_an_empty_registry_is_true(registry: MetricsRegistry) -> None:
    """``registry or global_registry()`` is the registry."""
    assert registry
