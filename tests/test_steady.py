"""Steady time: delayed calls that come when they should, also after somebody has set the clock."""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests import steady_child
from tests.processes import SECONDS, environment
from tests.steady_child import INTERVAL, STEPS, timers
from tests.strict import Logged, the_reactor
from txmetrics.steady import steady
from txmetrics.testing import FakeReactor

CHILD = Path(steady_child.__file__)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere steady time is the reactor's own")


class BoomError(Exception):
    pass


class Calls:
    """Steady time of the tests' own reactor, and the names of the calls in the order in which they came."""

    def __init__(self) -> None:
        self.clock = steady(the_reactor())
        self.made: list[str] = []

    def later(self, delay: float, name: str) -> Any:
        return self.clock.callLater(delay, self.made.append, name)

    async def turn(self, calls: int, seconds: float = 0.02) -> None:
        """Let the reactor run until so many calls were made in all, and for so long, by its own clock."""
        await deferLater(the_reactor(), seconds)
        while len(self.made) < calls:
            await deferLater(the_reactor(), 0.005)
        await deferLater(the_reactor(), 0)

    def readers(self) -> list[Any]:
        return [one for one in the_reactor().getReaders() if one is self.clock]

    def ringing(self) -> bool:
        """Whether the timer would wake the reactor now."""
        return select.select(self.readers(), [], [], 0)[0] != []


@pytest.fixture
def calls() -> Iterator[Calls]:
    """Of whom nothing may be left when the test is over."""
    calls = Calls()
    yield calls
    pytest_twisted.blockon(deferLater(the_reactor(), 0))  # the test has ended in the middle of a call
    left = calls.clock.getDelayedCalls()
    for call in left:
        call.cancel()
    assert left == ()
    assert calls.readers() == []
    assert timers() == 0


# Whose time it is


@pytest.mark.parametrize("fake", [FakeReactor(), MemoryReactorClock(), Clock()])
def test_a_reactor_with_a_time_of_its_own_keeps_it(fake: Any) -> None:
    """A fake one, whose time passes by ``advance`` only, is the answer itself."""
    assert steady(fake) is fake


def test_steady_time_is_steady_already() -> None:
    """Who is given it and asks for it again gets the same."""
    clock = steady(the_reactor())
    assert steady(clock) is clock


def test_a_reactor_that_watches_no_descriptors_keeps_its_time() -> None:
    """There is nothing that the timer could be given to."""

    class Wall(Clock):
        seconds = staticmethod(time.time)

    wall = Wall()
    assert steady(wall) is wall


@on_linux
def test_it_is_what_a_reactor_asks_for(calls: Calls) -> None:
    """And it has a clock that nobody can set."""
    assert verifyObject(IReactorTime, calls.clock)
    assert verifyObject(IReadDescriptor, calls.clock)
    assert calls.clock.seconds() == pytest.approx(time.monotonic(), abs=1)


# As the reactor's


@pytest_twisted.ensureDeferred
async def test_a_call_comes_once_when_it_is_due_with_its_arguments(calls: Calls) -> None:
    """Not before, and neither within the caller nor again."""
    came: Deferred[tuple[Any, ...]] = Deferred()
    begin = time.monotonic()
    call = calls.clock.callLater(0.05, lambda *args, **kw: came.callback((args, kw)), 1, two=2)
    assert call.active()
    assert call.getTime() == pytest.approx(begin + 0.05, abs=1)
    assert calls.clock.getDelayedCalls() == (call,)
    assert await came == ((1,), {"two": 2})
    assert time.monotonic() >= begin + 0.05
    assert not call.active()
    with pytest.raises(AlreadyCalled):
        call.cancel()


@pytest_twisted.ensureDeferred
async def test_a_call_for_now_comes_in_a_later_turn(calls: Calls) -> None:
    """Never within the caller, also when that is a call itself."""

    def first() -> None:
        calls.later(0, "second")
        time.sleep(0.002)
        calls.made.append("first")
        the_reactor().callLater(0, calls.made.append, "reactor")

    calls.clock.callLater(0, first)
    assert calls.made == []
    await calls.turn(3)
    assert sorted(calls.made) == ["first", "reactor", "second"]
    assert calls.made[0] == "first"


@pytest_twisted.ensureDeferred
async def test_calls_come_in_the_order_of_their_times(calls: Calls) -> None:
    """Also those that have become due in one turn."""
    pending = [calls.later(delay / 1000, str(delay)) for delay in (5, 1, 4, 2, 3, 0)]
    order = [call.args[0] for call in sorted(pending, key=lambda call: call.getTime())]
    last = calls.later(60, "last")
    time.sleep(0.01)
    await calls.turn(6)
    assert calls.made == order
    last.cancel()


@pytest_twisted.ensureDeferred
async def test_calls_that_go_on_for_ever_leave_the_others_their_turns(calls: Calls) -> None:
    """One that schedules itself for now has one turn of the reactor each time."""

    def again() -> None:
        calls.later(0, "steady")
        if len(calls.made) < 100:
            calls.clock.callLater(0, again)
            the_reactor().callLater(0, calls.made.append, "reactor")

    again()
    await calls.turn(100)
    assert calls.made[:50].count("reactor") >= 10


@pytest_twisted.ensureDeferred
async def test_a_cancelled_call_does_not_come(calls: Calls) -> None:
    """Nor does it hold up the next one, or leave anything in the reactor when it was the last."""
    first, second = calls.later(0.001, "first"), calls.later(0.002, "second")
    first.cancel()
    with pytest.raises(AlreadyCancelled):
        first.cancel()
    assert calls.clock.getDelayedCalls() == (second,)
    await calls.turn(1)
    assert calls.made == ["second"]
    last = calls.later(60, "last")
    if sys.platform == "linux":
        assert calls.readers() == [calls.clock]
        assert timers() == 1
    last.cancel()
    assert calls.readers() == []
    assert timers() == 0


@pytest_twisted.ensureDeferred
async def test_a_call_can_be_moved_either_way(calls: Calls) -> None:
    """By reset and by delay, with what came of both before."""
    sooner, later, both, least = (calls.later(delay, name) for delay, name in zip((60, 0, 0, 60), "abcd", strict=True))
    sooner.reset(0.01)
    later.reset(60)
    both.delay(60)
    both.reset(0.02)  # later than it was at first, sooner than it is now
    least.delay(10)
    least.delay(-70 + 0.03)
    await calls.turn(3)
    assert sorted(calls.made) == ["a", "c", "d"]
    assert later.getTime() == pytest.approx(calls.clock.seconds() + 60, abs=5)
    assert not calls.ringing()
    later.delay(-60)
    await calls.turn(4)
    assert calls.made[3:] == ["b"]


@pytest_twisted.ensureDeferred
async def test_a_call_may_cancel_or_move_one_that_is_due_with_it(calls: Calls) -> None:
    """The other one does not come, or not yet."""
    calls.clock.callLater(0, lambda: cancelled.cancel())
    calls.clock.callLater(0, lambda: moved.reset(60))
    calls.clock.callLater(0, lambda: delayed.delay(60))
    cancelled, moved, delayed, last = (calls.later(0.001, name) for name in "abcd")
    time.sleep(0.003)
    await calls.turn(1)
    assert calls.made == ["d"]
    assert not last.active()
    assert calls.clock.getDelayedCalls() == (moved, delayed)
    assert not calls.ringing()
    moved.cancel()
    delayed.cancel()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("error", [BoomError, SystemExit])
async def test_a_call_that_raises_is_logged(calls: Calls, logged: Logged, error: type[BaseException]) -> None:
    """And hurts neither those that are due with it nor those that come later."""

    def fail() -> None:
        raise error

    calls.clock.callLater(0, fail)
    calls.later(0, "same turn")
    calls.later(0.01, "later")
    await calls.turn(2)
    assert calls.made == ["same turn", "later"]
    assert len(logged.flush(error)) == 1
    calls.later(0, "with a timer still")
    assert timers() == (sys.platform == "linux")
    await calls.turn(3)


@pytest_twisted.ensureDeferred
async def test_a_call_far_in_the_future_waits(calls: Calls) -> None:
    """However far that is; it does not wake the reactor again and again."""
    far = [calls.later(delay, "far") for delay in (float("inf"), 1e300, 1e12, 1e7)]
    calls.later(0, "now")
    await calls.turn(1)
    assert calls.made == ["now"]
    assert all(call.active() for call in far)
    assert not calls.ringing()
    while far:
        far.pop().cancel()
        assert not calls.ringing()


@on_linux
@pytest.mark.parametrize("delay", [1e7, 1e12, 1e300])
def test_the_timer_can_be_set_as_far_as_that(calls: Calls, delay: float) -> None:
    """It is not the reactor that stands in for it."""
    call = calls.later(delay, "far")
    assert calls.readers() == [calls.clock]
    call.cancel()


@pytest.mark.parametrize("delay", [-0.001, float("nan")])
def test_the_past_is_refused(calls: Calls, delay: float) -> None:
    """As the reactor does."""
    with pytest.raises(AssertionError):
        calls.later(delay, "never")


@pytest_twisted.ensureDeferred
async def test_what_is_made_of_delayed_calls_works(calls: Calls) -> None:
    """A LoopingCall, a pause, a time-out."""
    loop = LoopingCall(calls.made.append, "tick")
    loop.clock = calls.clock
    begin = time.monotonic()
    ended = loop.start(0.02)
    await calls.turn(5)
    loop.stop()
    assert 5 <= len(calls.made) <= 1 + (time.monotonic() - begin) / 0.02
    await ended
    begin = time.monotonic()
    await deferLater(calls.clock, 0.01)
    assert time.monotonic() >= begin + 0.01
    never: Deferred[None] = Deferred()
    with pytest.raises(DeferredTimeout):
        await never.addTimeout(0.01, calls.clock)


@pytest_twisted.ensureDeferred
async def test_a_call_may_run_the_reactor(calls: Calls) -> None:
    """Not that one should; but no call is lost for it."""
    if the_reactor().__class__.__name__ == "AsyncioSelectorReactor":
        pytest.skip("asyncio does not run within itself")
    calls.clock.callLater(0, the_reactor().iterate, 0)
    calls.later(0.001, "due with it")
    calls.later(0.03, "later")
    time.sleep(0.003)
    await calls.turn(2)
    assert calls.made == ["due with it", "later"]


@on_linux
@pytest_twisted.ensureDeferred
async def test_a_reactor_may_be_mistaken(calls: Calls) -> None:
    """As it is when the number of a descriptor was another one's a moment ago: the call comes at its time."""
    calls.clock.connectionLost(Failure(ConnectionLost()))
    due = calls.later(60, "due")
    calls.clock.doRead()
    assert calls.made == []
    assert timers() == 1
    due.reset(0)
    await calls.turn(1)
    assert calls.made == ["due"]


# Without a timer


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process can open nothing more."""
    free = os.dup(0)
    os.close(free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@on_linux
@pytest_twisted.ensureDeferred
async def test_calls_come_without_a_timer_as_well(calls: Calls) -> None:
    """When no file descriptor is left the reactor's own time is asked; the next time it is a timer again."""
    with no_descriptor_left():
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        calls.later(0.02, "second")
        calls.later(0.01, "first")
        calls.later(0.015, "cancelled").cancel()
        assert calls.readers() == []
        assert len([call for call in the_reactor().getDelayedCalls() if "_SteadyTime" in str(call)]) == 1
    calls.later(0.03, "third")
    await calls.turn(3)
    assert sorted(calls.made) == ["first", "second", "third"]
    calls.later(0, "fourth")
    assert timers() == 1
    await calls.turn(4)
    assert calls.made[3:] == ["fourth"]


@pytest_twisted.ensureDeferred
async def test_a_call_that_is_due_after_one_without_a_timer_comes(calls: Calls) -> None:
    """Whether that has made it, or took so long that it became due."""
    with no_descriptor_left():
        calls.clock.callLater(0, calls.later, 0, "made")
    await calls.turn(1)
    with no_descriptor_left():
        calls.clock.callLater(0, time.sleep, 0.02)
        calls.later(0.01, "became due")
    await calls.turn(2)
    assert calls.made == ["made", "became due"]


@implementer(IReactorFDSet)
class Full(Clock):
    """A reactor that can watch no more descriptors."""

    seconds = staticmethod(time.time)

    def addReader(self, reader: Any) -> None:
        raise OSError(errno.ENOSPC, "no more")

    removeReader = addReader


@on_linux
def test_a_reactor_that_cannot_watch_the_timer_makes_the_calls_itself() -> None:
    """And the timer is closed again."""
    full, made = Full(), []
    clock = steady(full)
    clock.callLater(0.01, made.append, "call")
    assert timers() == 0
    assert made == []
    time.sleep(0.02)
    full.advance(0)
    assert made == ["call"]
    assert full.getDelayedCalls() == []


@on_linux
@pytest_twisted.ensureDeferred
async def test_calls_come_when_the_reactor_lets_go_of_the_timer(calls: Calls) -> None:
    """As select does with a descriptor whose number is too high, and every reactor when it ends."""
    calls.later(0.01, "first")
    the_reactor().removeReader(calls.clock)
    calls.clock.connectionLost(Failure(ConnectionLost()))
    assert timers() == 0
    calls.later(0.02, "second")
    assert timers() == 0
    await calls.turn(2)
    assert sorted(calls.made) == ["first", "second"]


@on_linux
@pytest_twisted.ensureDeferred
async def test_calls_come_when_that_happens_in_the_last_call(calls: Calls) -> None:
    """There is nothing to be rung for then, but there may be soon."""

    def lose() -> None:
        the_reactor().removeReader(calls.clock)
        calls.clock.connectionLost(Failure(ConnectionLost()))
        calls.later(0, "made by the last")

    calls.clock.callLater(0, lose)
    await calls.turn(1)
    calls.later(0, "later")
    await calls.turn(2)
    assert calls.made == ["made by the last", "later"]


# In processes of their own


def child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), *arguments],
        env=environment(PYTHONPATH=str(CHILD.parent.parent)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a child has printed when it has ended, which it does without a complaint."""
    try:
        answer, complaints = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, complaints) == (0, "")
    return json.loads(answer)


REACTORS = ["epoll", "poll", "select", "asyncio"]


@pytest.fixture(scope="module")
def set_clocks() -> dict[str, dict[str, Any]]:
    """What each reactor tells of an hour back, an hour forward and ten years forward; all at the same time."""
    processes = {name: child("steps", name) for name in REACTORS}
    return {name: told(process) for name, process in processes.items()}


BEHIND = STEPS[1][0]
"""For how many seconds the clock was behind."""


def longest_pause(answer: dict[str, Any], clock: str) -> float:
    """Between two ticks of ``clock``, or after its last."""
    return max(later - earlier for earlier, later in pairwise([*answer[clock], answer["lived"]]))


@on_linux
@pytest.mark.parametrize("name", REACTORS)
def test_a_clock_that_is_set_does_not_touch_steady_time(set_clocks: dict[str, dict[str, Any]], name: str) -> None:
    """The ticks go on, and never come in a burst."""
    answer = set_clocks[name]
    assert answer["wall"]
    assert not answer["same"]
    assert longest_pause(answer, "steady") < BEHIND
    in_a_second = [sum(begin <= tick < begin + 1 for tick in answer["steady"]) for begin in answer["steady"]]
    assert max(in_a_second) <= 1 / INTERVAL + 2


@on_linux
@pytest.mark.parametrize("name", REACTORS)
def test_a_clock_that_is_set_back_stops_the_reactors_own(set_clocks: dict[str, dict[str, Any]], name: str) -> None:
    """Or the test above would show nothing: in the same process, at the same time, a tick waits for the hour."""
    assert longest_pause(set_clocks[name], "reactor") >= BEHIND


@on_linux
@pytest.mark.parametrize("name", REACTORS)
def test_a_reactor_that_ends_takes_the_timer_with_it(set_clocks: dict[str, dict[str, Any]], name: str) -> None:
    """Although a call was pending, and without a word in the log."""
    assert set_clocks[name]["pending"] == 1
    assert set_clocks[name]["timers"] == 0


@on_linux
@pytest.mark.parametrize("name", ["epoll", "asyncio"])
def test_a_forked_child_has_no_timer_and_does_not_touch_its_parents(name: str) -> None:
    """Whatever it does to the calls, those of the parent go on."""
    answer = told(child("fork", name))
    assert answer["before"] == 1
    assert answer["child"] == [0, 0]
    assert answer["ticks"] >= 3
