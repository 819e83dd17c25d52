"""Where pyformance timed wrongly, or got in the way: the list in the layer's docstring, beside the original."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import txmetrics.compat.pyformance as layer
from tests.compat.clocks import Clock
from tests.strict import Logged
from txmetrics.compat.pyformance.meters import Timer
from txmetrics.compat.pyformance.meters import timer as timer_module


def test_a_clock_that_is_set(original: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of an instant took a year when the wall clock was set; here the machine's steady clock is asked."""
    wall, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: wall() + ahead[0])
    took = []
    for kind in (original.meters.Timer, Timer):
        context = kind().time()
        ahead[0] += 3e7
        took.append(context.stop())
    assert took[0] > 2.9e7
    assert 0 <= took[1] < 1e6


def test_the_block_s_context(original: ModuleType) -> None:
    """``as`` gave None; here it is the measurement, which may be stopped early and counts once."""
    with original.meters.Timer(clock=Clock()).time() as nothing:
        assert nothing is None
    clock = Clock()
    timer = Timer(clock=clock)
    with timer.time() as context:
        clock.now += 2
        assert context.stop() == 2
        clock.now += 5
    assert context.stop() == 2
    assert [timer.get_count(), timer.get_sum()] == [1, 2]


def test_a_context_s_second_block(original: ModuleType) -> None:
    """It took as long as both; here each block counts from its own begin."""
    sums = []
    for library in (original, layer):
        clock = Clock()
        timer = library.meters.Timer(clock=clock)
        context = timer.time()
        for _ in range(2):
            with context:
                clock.now += 1
        sums.append((timer.get_count(), timer.get_sum()))
    assert sums == [(2, 3), (2, 2)]


class Signal:
    """What a library sends, and to which somebody listens who raises."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, *sender: object, **what: object) -> None:
        self.sent.append((*sender, what))
        raise LookupError("a listener's")


def test_a_listener_that_raises(original: ModuleType, monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    """It raised in the block that was measured, as a sink did; here it is logged."""
    for library, module in ((original, original.meters.timer), (layer, timer_module)):
        clock, signal = Clock(), Signal()
        monkeypatch.setattr(module, "call_too_long", signal)
        timer = library.meters.Timer(2, clock=clock)

        def work(wait: float, timer: Any = timer, clock: Clock = clock) -> None:
            with timer.time(job="a"):
                clock.now += wait

        if library is original:
            with pytest.raises(LookupError):
                work(3)
        else:
            work(2)
            assert signal.sent == []
            work(3)
            assert len(logged.flush(LookupError)) == 1
        assert signal.sent == [(timer, {"elapsed": 3, "job": "a"})]


def test_a_sink_that_raises(original: ModuleType, logged: Logged) -> None:
    """What the registry's ``create_sink`` made could end a call; here it is logged."""
    sink = SimpleNamespace(add={}.__getitem__)
    with pytest.raises(KeyError):
        original.meters.Timer(clock=Clock(), sink=sink).time().stop()
    timer = Timer(clock=Clock(), sink=sink)
    timer.time().stop()
    assert len(logged.flush(KeyError)) == 1
    assert timer.get_count() == 1


class Slow(float):
    """A one that takes its time to be added."""

    def __radd__(self, other: float) -> float:
        time.sleep(0.05)
        return other + 1


def adder(name: str) -> tuple[Any, Callable[[float], None]]:
    """A meter, and what adds to it."""
    meter = getattr(layer.MetricsRegistry(), name)("objects")
    return meter, getattr(meter, {"counter": "inc", "histogram": "add", "meter": "mark"}[name])


ADDERS = "counter", "histogram", "meter"


@pytest.mark.parametrize("name", ADDERS)
def test_any_thread_may_count(name: str) -> None:
    """As in pyformance, and for the same reason: nothing that two threads count at a time is lost."""
    meter, add = adder(name)
    threads = [threading.Thread(target=add, args=(Slow(1),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (meter.get_sum() if name == "histogram" else meter.get_count()) == 3


class Reentrant(float):
    """A one in whose addition the garbage collector finds something that counts as it goes."""

    count: Callable[[float], None]

    def __radd__(self, other: float) -> float:
        self.count(1)
        return other + 1


@pytest.mark.parametrize("name", ADDERS)
def test_a_finalizer_may_count(name: str) -> None:
    """It waited for ever for the lock that its own thread held."""
    meter, add = adder(name)
    one = Reentrant(1)
    one.count = add
    thread = threading.Thread(target=add, args=(one,), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert meter.get_count() >= 1
