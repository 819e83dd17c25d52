"""The layer and pyformance 0.4 itself, side by side: the same calls at the same times tell the same, bit for bit."""

from __future__ import annotations

import random
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.compat.clocks import Clock

LAYER = "txmetrics.compat.pyformance"
NOW = 1_500_000_000
"""A time from which there is no next one in a millionth of a second, as with a real clock."""

# Where pyformance is right: no value between -2 and 0 (a mean of -1 begins its variance anew), none that its first
# minimum and maximum hide, and nothing is asked of a meter in the moment of its making.
up = st.one_of(st.integers(0, 10**9), st.floats(0, 1e9))
down = st.one_of(st.integers(-(10**9), -2), st.floats(-1e9, -2))
seconds = st.one_of(st.floats(0, 12), st.integers(0, 4000), st.floats(0, 20_000))
amounts = st.one_of(st.integers(0, 1000), st.floats(0, 1000))

actions = st.one_of(
    st.tuples(st.just("wait"), seconds),
    st.tuples(st.just("inc"), st.one_of(amounts, st.integers(-9, -1))),
    st.tuples(st.just("dec"), amounts),
    st.tuples(st.sampled_from(["up", "few up", "window up"]), up),
    st.tuples(st.sampled_from(["down", "few down"]), down),
    st.tuples(st.sampled_from(["mark", "mark and tick"]), amounts),
    st.tuples(st.sampled_from(["time", "few times", "nested times"]), seconds),
    st.tuples(st.just("set"), st.one_of(up, st.text())),
    st.tuples(st.just("clear"), st.sampled_from(["few up", "few times", "marks"])),
    st.tuples(st.just("dump"), st.floats(0.001, 10)),
)


@pytest.fixture(scope="module")
def both(original: ModuleType) -> list[ModuleType]:
    """pyformance and the layer."""
    layer = import_module(LAYER)
    import_module(f"{LAYER}.stats.samples")
    return [original, layer]


class Life:
    """One library's registry, in which things happen."""

    def __init__(self, library: ModuleType) -> None:
        random.seed(0)
        self.clock = clock = Clock(NOW)
        meters, samples = library.meters, library.stats.samples
        self.registry = registry = library.MetricsRegistry(clock)
        registry.counter("count")
        registry.add("few up", meters.Histogram(5, 0.02, clock))
        registry.add("few down", meters.Histogram(size=5, clock=clock))
        registry.add("window up", meters.Histogram(sample=samples.SlidingTimeWindowSample(600, clock)))
        registry.add("few times", meters.Timer(size=5, clock=clock))
        registry.add("callback", meters.CallbackGauge(lambda: clock.now))
        registry.add("marks", meters.Meter(clock))
        for name in ("few up", "window up"):
            registry.histogram(name).add(3)
        registry.histogram("few down").add(-3)
        registry.timer("few times").time().stop()
        self.told: list[Any] = []

    def dump(self, wait: float) -> None:
        self.clock.now += wait
        self.told.append(self.registry.dump_metrics())

    def do(self, action: str, value: Any) -> None:
        registry, clock = self.registry, self.clock
        if action == "wait":
            clock.now += value
        elif action in ("inc", "dec"):
            getattr(registry.counter("count"), action)(value)
        elif action.endswith(("up", "down")):
            registry.histogram(action).add(value)
        elif action.startswith("mark"):
            registry.meter("marks").mark(value)
            if "tick" in action:
                registry.meter("marks").tick()
        elif action.endswith("times") or action == "time":
            self.time(action, value)
        elif action == "set":
            registry.gauge("set", default=5).set_value(value)
        elif action == "clear":
            self.clear(value)
        else:
            self.dump(value)

    def time(self, name: str, value: float) -> None:
        with self.registry.timer(name).time():
            self.clock.now += value
            if name.startswith("nested"):
                context = self.registry.timer(name).time()
                self.clock.now += value
                self.told.append(context.stop())

    def clear(self, name: str) -> None:
        if name == "marks":
            self.registry.meter(name).clear()
        elif name == "few times":
            self.registry.timer(name).clear()
            self.registry.timer(name).time().stop()
        else:
            self.registry.histogram(name).clear()
            self.registry.histogram(name).add(4)


@settings(deadline=None, max_examples=300)
@given(st.lists(actions, max_size=40))
def test_the_same_life_tells_the_same(both: list[ModuleType], happens: list[tuple[str, Any]]) -> None:
    """Every name, field, number and its type, in the same order, whatever happens and however often it is asked."""
    told = []
    for library in both:
        life = Life(library)
        for action, value in happens:
            life.do(action, value)
        life.dump(1)
        told.append(repr(life.told))
    assert told[0] == told[1]


@settings(deadline=None)
@given(st.lists(st.one_of(up, down), max_size=30), st.one_of(st.floats(0, 1), st.sampled_from([0, 0.25, 0.5, 1])))
@example(values=[3, 4, 5], q=0.25)  # which is just the first of them
def test_percentiles_are_the_same(both: list[ModuleType], values: list[float], q: float) -> None:
    """Of any values, at the usual places and everywhere between them."""
    told = []
    for library in both:
        snapshot = library.stats.Snapshot(values)
        tail = [getattr(snapshot, f"get_{name}_percentile")() for name in ("75th", "95th", "99th", "999th")]
        told.append(repr([snapshot.get_size(), snapshot.get_median(), *tail, snapshot.get_percentile(q)]))
    assert told[0] == told[1]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.lists(seconds, min_size=50, max_size=90))
def test_samples_keep_the_same_values(both: list[ModuleType], seed: int, waits: list[float]) -> None:
    """Drawn with the same random numbers, over hours, with a size that is long exceeded."""
    kept = []
    for library in both:
        random.seed(seed)
        clock = Clock(NOW)
        sample = library.stats.ExpDecayingSample(20, 0.015, clock)
        for number, wait in enumerate(waits):
            clock.now += wait
            sample.update(number)
        kept.append((sample.get_size(), sample.get_snapshot().values))
    assert kept[0] == kept[1]


@settings(deadline=None)
@given(
    st.lists(st.tuples(amounts, seconds, st.booleans()), max_size=30), st.sampled_from([1, 5, 15]), st.integers(1, 90)
)
def test_averages_are_the_same(
    both: list[ModuleType], happens: list[tuple[float, float, bool]], period: int, interval: int
) -> None:
    """Ticked by hand or of themselves, over any period and with any interval."""
    told = []
    for library in both:
        clock = Clock(NOW)
        average = library.stats.ExpWeightedMovingAvg(period, interval, clock=clock)
        rates = []
        for amount, wait, ticks in happens:
            average.add(amount)
            clock.now += wait
            if ticks:
                average.tick()
            rates.append(average.get_rate())
        told.append(repr(rates))
    assert told[0] == told[1]


@settings(deadline=None)
@given(st.lists(st.text("/ab12", max_size=8), max_size=8), st.sampled_from([None, r"/(\w)", r"^/(\w+)/\d+/?(\w+)?$"]))
def test_a_pattern_groups_the_same(both: list[ModuleType], keys: list[str], pattern: str | None) -> None:
    """Every kind of meter has the same names."""
    told = []
    for library in both:
        clock = Clock()
        for kind in ("counter", "histogram", "meter", "timer", "gauge"):
            registry = library.registry.RegexRegistry(pattern, clock)
            for key in keys:
                getattr(registry, kind)(key)
            told.append((library is both[0], [*registry.dump_metrics()]))
    assert [names for first, names in told if first] == [names for first, names in told if not first]


def test_a_clock_that_goes_back_tells_the_same(both: list[ModuleType]) -> None:
    """What has taken less than no time is no duration, and not counted."""
    told = []
    for library in both:
        clock = Clock(NOW)
        timer = library.meters.Timer(clock=clock)
        context = timer.time()
        clock.now -= 5
        told.append((context.stop(), timer.get_count(), timer.get_mean_rate(), timer.get_one_minute_rate()))
    assert told[0] == told[1] == (-5, 0, 0, 0)


def test_decorated_functions_tell_the_same(both: list[ModuleType]) -> None:
    """Those that return or raise, on the global registry of the moment."""
    told = []
    for library in both:
        clock = Clock()
        before = library.global_registry()
        library.set_global_registry(library.MetricsRegistry(clock))
        try:
            for kind in ("count_calls", "meter_calls", "time_calls"):
                told.append(call(getattr(library, kind), clock))
            told.append(repr(library.dump_metrics()))
            library.clear()
            assert library.dump_metrics() == {}
        finally:
            library.set_global_registry(before)
    assert told[: len(told) // 2] == told[len(told) // 2 :]


def call(decorator: Any, clock: Clock) -> list[object]:
    """What becomes of three calls of a decorated function."""

    class Of:
        @decorator
        def work(self, wait: float) -> float:
            clock.now += wait
            return 10 / wait

    Of.__qualname__ = "Of"
    results: list[object] = []
    for wait in (2.0, 0.0, 3.0):
        try:
            results.append(Of().work(wait))
        except ZeroDivisionError as error:
            results.append(str(error))
    return [*results, Of.work.__name__, Of.work.__qualname__]
