"""Loops: how late their calls begin, how long they run, and which intervals they miss."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import iscoroutine
from typing import Any

from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.python.reflect import safe_repr

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.metrics import Counter
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["measure_loop"]

TYPES = 30
"""So many types of errors have a counter of their own; all further ones share one."""

ROUNDING = 0.001
"""By so much of an interval a call may seem to be early, which none is."""


def measure_loop(loop: LoopingCall | TimerService, registry: MetricsRegistry | Scope, name: str) -> Callable[[], None]:
    """Measure the calls of ``loop`` under ``name`` from now on; returns what ends that, a callable without arguments.

    Timers, in seconds: ``lateness``, from when a call is due to its beginning, by the loop's own clock, which for a
    reactor is wall time (0 for the call that ``start`` makes itself; in a loop without an interval a call is due when
    the last one has ended); and ``run``, until the call, or its Deferred or coroutine, is done. Counters: ``skipped``,
    the intervals in which no call began, because one ran too long or the reactor was held; ``errors.<Type>``, of which
    a loop has one at most until it is started again; ``measuring_errors``.

    The loop may be running, or be started later, stopped, reset and started again. What it calls gets the same
    arguments, and the loop the same results. At the end of measuring, the loop has its own function back, if nobody has
    replaced it meanwhile. Raises ValueError if one of the names belongs to another kind of metric.
    """
    calls = _Calls(registry.scope(name), name)
    return _in_service(loop, calls) if isinstance(loop, TimerService) else _in_loop(loop, calls)


def _in_loop(loop: LoopingCall, calls: _Calls) -> Callable[[], None]:
    function = loop.f
    measured = calls.measured(function, lambda: loop)
    calls.schedule.join(loop)
    loop.f = measured

    def undo() -> None:
        calls.active = False
        if loop.f is measured:
            loop.f = function

    return undo


def _in_service(service: Any, calls: _Calls) -> Callable[[], None]:
    """The service makes a loop whenever it starts; nothing public leads to it."""
    given = service.call
    function, args, kwargs = given
    measured = calls.measured(function, lambda: service._loop)
    ours = service.call = measured, args, kwargs
    if service.running and service._loop.f is function:
        calls.schedule.join(service._loop)
        service._loop.f = measured

    def undo() -> None:
        calls.active = False
        if service.call is ours:
            service.call = given
        loop = getattr(service, "_loop", None)
        if loop is not None and loop.f is measured:
            loop.f = function

    return undo


class _Calls:
    """The calls of one loop."""

    def __init__(self, scope: Scope, name: str) -> None:
        self.active = True
        self.schedule = _Schedule()
        self._lateness = scope.timer("lateness")
        self._run = scope.timer("run")
        self._skipped = scope.counter("skipped")
        self._errors: Family[Counter] = Family(scope.scope("errors").counter, TYPES)
        self._care = Care(f"the loop {name}", scope.counter("measuring_errors"))

    def measured(self, function: Callable[..., Any], find: Callable[[], LoopingCall]) -> Callable[..., Any]:
        """``function``, measured when the loop that ``find`` finds calls it."""

        @wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            if not self.active:
                return function(*args, **kwargs)
            call = self._care.attempt(_Call, self, find)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self._care.attempt(self._end, call, type(error))
                raise
            if isinstance(result, Deferred):
                return result.addBoth(self._passing, call)
            if iscoroutine(result):
                return self._awaited(result, call)
            return self._passing(result, call)

        # How a loop names its function in its repr.
        measured.__qualname__ = getattr(function, "__qualname__", None) or getattr(
            function, "__name__", safe_repr(function)
        )
        return measured

    def begin(self, loop: LoopingCall) -> float:
        """A call begins; returns when, for its end."""
        lateness, skipped = self.schedule.begin(loop)
        self._lateness.add(lateness)
        self._skipped.inc(skipped)
        return self._run.now()

    def _passing(self, result: Any, call: _Call | None) -> Any:
        self._care.attempt(self._end, call, result.type if isinstance(result, Failure) else None)
        return result

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any], call: _Call | None) -> Any:
        try:
            result = await coroutine
        except BaseException as error:
            self._care.attempt(self._end, call, type(error))
            raise
        return self._passing(result, call)

    def _end(self, call: _Call | None, error: type[BaseException] | None) -> None:
        if call is not None:
            self._run.add(self._run.now() - call.begun)
            self.schedule.end(call.loop)
        if error is not None:
            self._errors[error.__name__].inc()


class _Call:
    """One call, from now on."""

    __slots__ = ("begun", "loop")

    def __init__(self, calls: _Calls, find: Callable[[], LoopingCall]) -> None:
        self.loop = find()
        self.begun = calls.begin(self.loop)


class _Schedule:
    """When the next call of a loop is due.

    A loop keeps to the multiples of its interval since its start, and having ended a call chooses the next of them.
    It forgets which before it calls, so the same is worked out here.
    """

    def __init__(self) -> None:
        self._grid: tuple[float | None, float | None] = None, None  # start and interval; others at each start and reset
        self._due: float | None = None  # None: not known
        self._taken = 0  # the last multiple that a call was made for

    def join(self, loop: LoopingCall) -> None:
        """Learn of a loop that runs already."""
        if not loop.running or loop.starttime is None:
            return
        self._grid = loop.starttime, loop.interval
        if loop.call is not None and loop.interval:
            self._due = loop.call.getTime()
            self._taken = round((self._due - loop.starttime) / loop.interval) - 1

    def begin(self, loop: LoopingCall) -> tuple[float, int]:
        """A call begins: how late, in seconds, and the number of multiples since the last one that had no call."""
        start, interval, now = loop.starttime, loop.interval, loop.clock.seconds()
        if not loop.running or start is None or interval is None:
            return 0.0, 0  # not called by its loop
        if self._grid != (start, interval):
            self._grid, self._due, self._taken = (start, interval), start + interval, 0
        elif self._due is None:  # begun to be measured during a call
            self._taken = int((now - start) / interval + ROUNDING) - 1 if interval else 0
            self._due = now if not interval else start + (self._taken + 1) * interval
        late = max(0.0, now - self._due)
        if not interval or now - self._due < -interval / 2:  # the call that start() makes, a whole interval early
            return late, 0
        last, self._taken = self._taken, round((self._due - start) / interval) + int(late / interval)
        return late, max(0, self._taken - last - 1)

    def end(self, loop: LoopingCall) -> None:
        """A call has ended, and the loop is about to choose when the next one is due."""
        start, interval = self._grid
        if start is None or interval is None:
            return
        self._due = now = loop.clock.seconds()
        if interval:
            self._due += interval - (now - start) % interval  # rounded as the loop does it
            if self._due == now:
                self._due += interval
