"""BlockingCalls, on reactors of our own and by a clock that stands still."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.instrument.reactor.private import Time, turn
from tests.strict import Logged
from txmetrics import MetricsRegistry
from txmetrics.instrument.reactor._blocked import Block, BlockingCalls
from txmetrics.testing import FakeReactor


@pytest.fixture
def registry(time: Time) -> MetricsRegistry:
    return MetricsRegistry(time.clock)


@pytest.fixture
def service(registry: MetricsRegistry, reactor: Any) -> Iterator[BlockingCalls]:
    """It runs."""
    service = BlockingCalls(registry, reactor)
    service.startService()
    yield service
    if service.running:
        service.stopService()


class Pipe:
    """A descriptor that can be read at once, and calls a function then."""

    def __init__(self, read: Callable[[], object]) -> None:
        self._ends = os.pipe()
        self._read = read
        self.disconnected = False
        self.write(b"x")

    def write(self, data: bytes) -> None:
        os.write(self._ends[1], data)

    def fileno(self) -> int:
        return self._ends[0]

    def doRead(self) -> object:
        os.read(self._ends[0], 100)
        return self._read()

    def connectionLost(self, reason: object) -> None:
        self.disconnected = True

    def logPrefix(self) -> str:
        return "pipe"

    def close(self) -> None:
        for end in self._ends:
            os.close(end)


@pytest.fixture
def pipes(reactor: Any) -> Iterator[Callable[[Callable[[], object]], Pipe]]:
    """Makes pipes that the reactor reads."""
    made = []

    def pipe(read: Callable[[], object]) -> Pipe:
        made.append(Pipe(read))
        reactor.addReader(made[-1])
        return made[-1]

    yield pipe
    for each in made:
        reactor.removeReader(each)
        each.close()


def names(service: BlockingCalls) -> list[str]:
    return [block.name for block in service.slowest()]


def test_the_longest_comes_first(service: BlockingCalls, reactor: Any, time: Time, registry: MetricsRegistry) -> None:
    """Each with its length and when it ended; what stays below the threshold is left out."""

    def long() -> None:
        time.pass_by(0.1)

    def longer() -> None:
        time.pass_by(0.3)

    def short() -> None:
        time.pass_by(0.04)

    for function in (long, longer, short):
        reactor.callLater(0, function)
    turn(reactor)
    test = "test_the_longest_comes_first"
    blocks = [(block.name, pytest.approx(block.seconds), block.stack) for block in service.slowest()]
    assert blocks == [(f"{test}.longer", 0.3, None), (f"{test}.long", 0.1, None)]
    assert service.slowest()[0].time <= time.clock.wall()
    assert registry.read(f"reactor.blocked.{test}_longer")["sum"] == pytest.approx(0.3)
    assert f"reactor.blocked.{test}_short" not in {reading.name for reading in registry.snapshot()}


def test_a_turn_is_the_work_between_two_waits(
    service: BlockingCalls, reactor: Any, time: Time, registry: MetricsRegistry, pipes: Any
) -> None:
    """All callbacks of a turn, data and delayed calls; every turn is counted."""
    turn(reactor)
    before = registry.read("reactor.ticks")
    pipes(lambda: time.pass_by(0.03))
    reactor.callLater(0, time.pass_by, 0.02)
    turn(reactor, 5)
    after = registry.read("reactor.ticks")
    assert after["sum"] - before["sum"] == pytest.approx(0.05)
    assert after["count"] >= before["count"] + 5


def test_waiting_is_not_work(registry: MetricsRegistry, time: Time) -> None:
    """Time that passes in the poll holds nobody up."""
    from twisted.internet.selectreactor import SelectReactor

    from tests.instrument.reactor.private import close

    class Slow(SelectReactor):
        def doIteration(self, timeout: float) -> None:
            time.pass_by(10)
            super().doIteration(timeout)

    reactor = Slow()
    service = BlockingCalls(registry, reactor)
    service.startService()
    turn(reactor)
    service.stopService()
    close(reactor)
    assert registry.read("reactor.ticks")["max"] == 0
    assert service.slowest() == []


def test_nothing_changes_for_who_is_called(service: BlockingCalls, reactor: Any) -> None:
    """Arguments, whatever their names, come as they were given, and the call's own function is back afterwards."""
    seen: list[Any] = []

    def callback(*args: Any, **kwargs: Any) -> None:
        seen.append((args, kwargs))

    arguments: dict[str, Any] = {"function": 1, "callers": 2, "args": 3}
    call = reactor.callLater(0, callback, 4, **arguments)
    reactor.callFromThread(callback, 5, **arguments)
    later = reactor.callLater(100, callback)
    assert call.func is callback
    turn(reactor)
    assert sorted(seen, key=repr) == [((4,), arguments), ((5,), arguments)]
    assert call.func is callback
    assert later.func is callback
    later.cancel()


def test_what_is_due_may_be_cancelled_or_put_off(service: BlockingCalls, reactor: Any) -> None:
    """By a call before it; it then is as it would be without us."""
    seen = []

    def first() -> None:
        cancelled.cancel()
        put_off.reset(100)

    reactor.callLater(0, first)
    cancelled = reactor.callLater(0, seen.append, "cancelled")
    put_off = reactor.callLater(0, seen.append, "put off")
    function = put_off.func
    turn(reactor)
    assert seen == []
    assert put_off.func is function
    assert reactor.getDelayedCalls() == [put_off]
    put_off.cancel()


def test_an_exception_is_the_reactors(
    service: BlockingCalls, reactor: Any, time: Time, pipes: Any, logged: Logged
) -> None:
    """It is logged as ever, a descriptor is disconnected for it, and it was timed."""

    def failing() -> None:
        time.pass_by(0.1)
        raise ZeroDivisionError

    reactor.callLater(0, failing)
    pipe = pipes(failing)
    turn(reactor)
    assert len(logged.flush(ZeroDivisionError)) == 2
    assert pipe.disconnected
    assert sorted(names(service)) == ["Pipe.doRead", "test_an_exception_is_the_reactors.failing"]


def test_what_cannot_be_called_is_refused_as_before(service: BlockingCalls, reactor: Any, logged: Logged) -> None:
    """The reactor complains, where it does, about what it was given."""
    stopped = type(reactor)
    with_us = without_us = None
    try:
        reactor.callFromThread(None)
    except AssertionError as error:
        with_us = str(error)
    try:
        stopped.callFromThread(reactor, None)
    except AssertionError as error:
        without_us = str(error)
    assert with_us == without_us
    turn(reactor)
    logged.flush()
    assert reactor.callFromThread.__name__ == "call_from_thread"


def test_calls_from_threads_are_counted(service: BlockingCalls, reactor: Any, registry: MetricsRegistry) -> None:
    """When they are made, each once."""
    seen: list[int] = []

    def calls() -> None:
        for number in range(100):
            reactor.callFromThread(seen.append, number)

    threads = [threading.Thread(target=calls) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.read("reactor.thread_calls")["count"] == 0
    turn(reactor)
    assert sorted(seen) == sorted([*range(100)] * 3)
    assert registry.read("reactor.thread_calls")["count"] == 300


def test_afterwards_all_is_as_before(registry: MetricsRegistry, reactor: Any, time: Time, pipes: Any) -> None:
    """Whether a descriptor was there before, came meanwhile or is there still; and it can begin again."""
    early = pipes(lambda: time.pass_by(0.1))
    before = dict(vars(reactor))
    handlers = registered(reactor)
    service = BlockingCalls(registry, reactor)
    for round_number in (1, 2):
        service.startService()
        assert set(vars(reactor)) > set(before)
        meanwhile = pipes(lambda: time.pass_by(0.1))
        turn(reactor)
        reactor.callLater(0, service.stopService)
        reactor.callLater(0, time.pass_by, 0.1)
        turn(reactor)
        assert vars(reactor) == before | {name: vars(reactor)[name] for name in VARYING if name in before}
        assert registered(reactor)[: len(handlers)] == handlers
        assert len(set(registered(reactor))) <= 1
        early.write(b"x")
        meanwhile.write(b"x")
        turn(reactor)
        assert names(service) == ["Pipe.doRead"] * (2 * round_number)
        early.write(b"x")


VARYING = {"_newTimedCalls", "_pendingTimedCalls", "_scheduledAt", "_timerHandle", "_cancellations"}
"""What a reactor changes by itself."""


def registered(reactor: Any) -> list[Any]:
    """What the event loop of an asyncio reactor calls for each descriptor."""
    loop = getattr(reactor, "_asyncioEventloop", None)
    if loop is None:
        return []
    assert "select" not in vars(loop._selector) or reactor.runUntilCurrent.__name__ == "run_until_current"
    handles = [handle for key in loop._selector.get_map().values() for handle in key.data if handle is not None]
    return [handle._args[1] for handle in handles if len(handle._args) == 4]


def test_what_was_handed_over_before_the_stop_still_comes(service: BlockingCalls, reactor: Any, time: Time) -> None:
    """A call from a thread that waits is made, and not measured."""
    seen = []

    def late() -> None:
        time.pass_by(0.1)
        seen.append(1)

    reactor.callFromThread(late)
    service.stopService()
    turn(reactor)
    assert seen == [1]
    assert service.slowest() == []


def test_who_stops_it_is_not_measured(service: BlockingCalls, reactor: Any, time: Time) -> None:
    """Nothing is told after the stop."""

    def stop() -> None:
        service.stopService()
        time.pass_by(0.1)

    reactor.callLater(0, stop)
    turn(reactor)
    assert service.slowest() == []


def test_between_two_callbacks_it_is_unknown(registry: MetricsRegistry, time: Time, reactor: Any) -> None:
    """Who does something in the reactor that is no callback of it has no name."""
    inside = type(reactor)._insertNewDelayedCalls

    def insert(self: Any) -> None:
        inside(self)
        time.pass_by(0.1)

    service = BlockingCalls(registry, reactor)
    try:
        type(reactor)._insertNewDelayedCalls = insert
        service.startService()
        reactor.callLater(0, int)
        turn(reactor)
        service.stopService()
    finally:
        del type(reactor)._insertNewDelayedCalls
    assert set(names(service)) == {"unknown"}


def test_an_error_in_the_measuring_reaches_nobody(
    service: BlockingCalls, reactor: Any, time: Time, logged: Logged, pipes: Any
) -> None:
    """With a clock that tells no time all runs as ever, and one error is logged."""
    seen: list[str] = []
    turn(reactor)
    reactor.callLater(0, seen.append, "delayed call")
    reactor.callFromThread(seen.append, "thread")
    pipes(lambda: seen.append("data"))
    reactor.callLater(0, setattr, time, "broken", True)
    turn(reactor)
    time.broken = False
    assert sorted(seen) == ["data", "delayed call", "thread"]
    assert len(logged.flush(OSError)) == 1
    reactor.callLater(0, time.pass_by, 0.1)
    turn(reactor)
    assert names(service) == ["Time.pass_by"]


def test_a_name_that_is_taken_is_told_all_the_same(
    service: BlockingCalls, reactor: Any, time: Time, registry: MetricsRegistry, logged: Logged
) -> None:
    """Somebody has a gauge where the callback's timer would be."""
    registry.gauge("reactor.blocked.Time_pass_by")
    for _ in range(2):
        reactor.callLater(0, time.pass_by, 0.1)
        turn(reactor)
    assert names(service) == ["Time.pass_by", "Time.pass_by"]
    assert len(logged.flush(ValueError)) == 1


def test_there_are_never_too_many(service: BlockingCalls, reactor: Any, time: Time, registry: MetricsRegistry) -> None:
    """Of a hundred names fifty have a timer, and the twenty longest are told."""
    for number in range(100):
        callback = type(f"Job{number}", (), {"run": lambda self, seconds: time.pass_by(seconds)})().run
        callback.__func__.__name__ = "run"
        reactor.callLater(0, callback, 0.1 + number / 1000)
    turn(reactor)
    assert names(service) == [f"Job{number}.run" for number in range(99, 79, -1)]
    timers = {reading.name: reading.fields()["count"] for reading in registry.snapshot()}
    blocked = {name: count for name, count in timers.items() if name.startswith("reactor.blocked.")}
    assert len(blocked) == 51
    assert blocked["reactor.blocked._other"] == 50


def test_what_is_long_ago_is_forgotten(service: BlockingCalls, reactor: Any, time: Time) -> None:
    """A quarter of an hour."""
    reactor.callLater(0, time.pass_by, 0.1)
    turn(reactor)
    service.stopService()
    time.pass_by(899)
    service.startService()
    reactor.callLater(0, time.pass_by, 0.06)
    turn(reactor)
    assert names(service) == ["Time.pass_by", "Time.pass_by"]
    time.pass_by(2)
    assert [block.seconds for block in service.slowest()] == [pytest.approx(0.06)]


def test_a_reactor_that_is_not_known_is_left_alone(registry: MetricsRegistry, logged: Logged) -> None:
    """One line in the log says so, and nothing is measured."""
    reactor = FakeReactor()
    before = dict(vars(reactor))
    service = BlockingCalls(registry, reactor, stacks=True)
    threads = threading.enumerate()
    service.startService()
    assert vars(reactor) == before
    assert threading.enumerate() == threads
    service.stopService()
    said = [text for text in logged.texts() if "not measured" in text]
    assert said == [
        "the callbacks of the reactor are not measured: FakeReactor is not one of those whose insides are known"
    ]
    assert service.slowest() == []


def test_a_reactor_without_the_insides_is_left_alone(registry: MetricsRegistry, logged: Logged) -> None:
    """As one of a later Twisted might be."""
    kind = type("EPollReactor", (), {"__module__": "twisted.internet.epollreactor", "runUntilCurrent": None})
    reactor = kind()
    BlockingCalls(registry, reactor).startService()
    assert vars(reactor) == {}
    assert "EPollReactor has no _insertNewDelayedCalls that could be overridden" in logged.texts()[-1]


def test_there_is_one_at_a_time(
    service: BlockingCalls, registry: MetricsRegistry, reactor: Any, logged: Logged
) -> None:
    """A second one of the same reactor says so, and disturbs the first neither now nor at its end."""
    overridden = dict(vars(reactor))
    second = BlockingCalls(registry, reactor, "second")
    second.startService()
    second.stopService()
    assert vars(reactor) == overridden
    assert "runUntilCurrent of this" in logged.texts()[-1]
    assert "is overridden already" in logged.texts()[-1]


def test_what_lies_upon_ours_stays(registry: MetricsRegistry, reactor: Any, time: Time) -> None:
    """Somebody who has overridden a method after us still calls ours, which then only hands on."""
    service = BlockingCalls(registry, reactor)
    service.startService()
    ours = reactor.callFromThread
    theirs = reactor.callFromThread = lambda *args: ours(*args)
    service.stopService()
    assert reactor.callFromThread is theirs
    seen: list[int] = []
    reactor.callFromThread(seen.append, 1)
    turn(reactor)
    assert seen == [1]
    assert service.slowest() == []
    del reactor.callFromThread


def test_a_reactor_in_the_middle_of_a_callback(service: BlockingCalls, reactor: Any, time: Time) -> None:
    """``iterate`` in a callback, though nobody should: both are timed, the outer one with all that it let happen."""
    if hasattr(reactor, "_asyncioEventloop"):
        return  # whose event loop refuses that

    def inner() -> None:
        time.pass_by(0.1)

    def outer() -> None:
        reactor.callLater(0, inner)
        time.pass_by(0.2)
        turn(reactor)
        time.pass_by(0.2)
        turn(reactor)

    reactor.callLater(0, outer)
    turn(reactor)
    seen = {
        name.rpartition(".")[2]: block.seconds for name, block in zip(names(service), service.slowest(), strict=True)
    }
    assert seen == {"outer": pytest.approx(0.5), "inner": pytest.approx(0.1)}


def test_a_deferred_is_what_waits_for_it(service: BlockingCalls, reactor: Any, time: Time) -> None:
    """A delayed ``Deferred.callback`` bears the name of the callback."""

    def after_that(result: object) -> None:
        time.pass_by(0.1)

    waiting: Deferred[None] = Deferred()
    waiting.addCallback(after_that)
    reactor.callLater(0, waiting.callback, None)
    turn(reactor)
    assert names(service) == ["test_a_deferred_is_what_waits_for_it.after_that"]


@pytest.mark.parametrize("threshold", [0, -1, float("nan")])
def test_a_threshold_is_above_zero(threshold: float) -> None:
    """Else everything would be one."""
    with pytest.raises(ValueError, match="threshold"):
        BlockingCalls(MetricsRegistry(), threshold=threshold)


def test_a_block_has_named_parts() -> None:
    """For whoever shows them."""
    assert Block._fields == ("name", "seconds", "time", "stack")
