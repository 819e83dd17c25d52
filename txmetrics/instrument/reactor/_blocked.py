"""Who held the reactor: each callback is timed, and those that were long are told by name.

This needs private attributes of Twisted's reactors (``_hooks.py``), and costs one or two microseconds a callback and
two a turn of the reactor, so it is for those who ask for it.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from twisted.application.service import Service
from twisted.logger import Logger

from txmetrics.clock import Clock
from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.instrument.reactor._callers import FUNCTIONS, Callers
from txmetrics.instrument.reactor._hooks import Hooks, UnknownReactorError
from txmetrics.instrument.reactor._sampler import Sampler
from txmetrics.metrics import Counter, Timer
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["Block", "BlockingCalls"]

MAX_NAMES = 50
"""So many callbacks have a timer of their own."""

MAX_SLOWEST = 20
RECENT = 900.0
"""Seconds for which one of the slowest is remembered."""

UNKNOWN = "unknown"
"""Who it was when the reactor was held between two callbacks that are known."""


class Block(NamedTuple):
    """The reactor was held for ``seconds`` by ``name``, until ``time`` (seconds since the epoch).

    ``stack`` is what it was doing somewhere in between, as text, the most recent call last; None if that was not asked
    for, or came too late.
    """

    name: str
    seconds: float
    time: float
    stack: str | None


class BlockingCalls(Service):
    """An IService that measures, under ``name`` (``reactor``), what each callback takes of the reactor's time.

    While it runs, ``ticks`` is a timer of the reactor's turns: the work between two waits for something to happen;
    ``thread_calls`` counts calls of ``callFromThread`` as they are made; and a callback that has held the reactor for
    at least ``threshold`` seconds is added to a timer of its own, such as ``blocked.MyService_refresh``: 50 of them,
    and ``blocked._other`` for all beyond. A callback is what the reactor calls, with all that follows until it returns:
    a delayed call, a call from a thread, or the protocol whose data came. ``blocked.unknown`` is what happened
    between those; with the asyncio reactor, that is what others do in its event loop.

    ``slowest()`` tells the longest of the last quarter of an hour one by one, and with ``stacks`` where each one was:
    while the service runs, a thread looks every ``threshold`` seconds, so it sees each one that takes twice as long.

    It is for the epoll, poll, select and asyncio reactors, some private methods of which are overridden until the
    service stops. Of a reactor that is not known, or that somebody overrides already, it says so in the log and
    measures nothing. Without ``reactor`` it is the global one. An error in the measuring is logged once and never
    reaches a callback. Raises ValueError for a threshold that is not above 0.
    """

    log = Logger()

    def __init__(
        self,
        registry: MetricsRegistry | Scope,
        reactor: Any = None,
        name: str = "reactor",
        threshold: float = 0.05,
        stacks: bool = False,
    ) -> None:
        if not threshold > 0:
            raise ValueError(f"the threshold is {threshold!r} seconds; it has to be more than 0")
        scope = registry.scope(name)
        self._reactor = reactor
        self._threshold = threshold
        self._stacks = stacks
        self._ticks = scope.timer("ticks")
        self._thread_calls = scope.counter("thread_calls")
        self._blocked = Family(scope.scope("blocked").timer, MAX_NAMES)
        self._slowest = _Slowest(registry.clock)
        self._care = Care("the reactor's callbacks")
        self._running: tuple[_Watch, Hooks, Sampler | None] | None = None

    def startService(self) -> None:
        super().startService()
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        watch = _Watch(self._threshold, self._ticks, self._thread_calls, self._note, self._care)
        try:
            hooks = Hooks(self._reactor, watch)
        except UnknownReactorError as reason:
            self.log.warn("the callbacks of the reactor are not measured: {reason}", reason=reason)
            return
        sampler = Sampler(watch.held, self._threshold, _Watch.call.__code__) if self._stacks else None
        self._running = watch, hooks, sampler
        hooks.put()
        if sampler is not None:
            sampler.start()

    def stopService(self) -> None:
        super().stopService()
        if self._running is None:
            return
        watch, hooks, sampler = self._running
        self._running = None
        watch.on = False
        hooks.remove()
        if sampler is not None:
            sampler.stop()

    def slowest(self) -> list[Block]:
        """What held the reactor longest in the last quarter of an hour: at most 20, the longest first."""
        return self._slowest.recent()

    def _note(self, name: str, seconds: float, holder: object) -> None:
        sampler = None if self._running is None else self._running[2]
        self._slowest.add(name, seconds, None if sampler is None else sampler.take(holder))
        self._blocked[name].add(seconds)


class _Slowest:
    """The longest blocks of recent times."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._blocks: list[tuple[float, Block]] = []  # with the tick of each, by which it grows old

    def add(self, name: str, seconds: float, stack: str | None) -> None:
        now = self._clock.tick()
        self._forget(now)
        self._blocks.append((now, Block(name, seconds, self._clock.wall(), stack)))
        if len(self._blocks) > MAX_SLOWEST:
            self._blocks.remove(min(self._blocks, key=lambda each: each[1].seconds))

    def recent(self) -> list[Block]:
        self._forget(self._clock.tick())
        return sorted((block for _, block in self._blocks), key=attrgetter("seconds"), reverse=True)

    def _forget(self, now: float) -> None:
        self._blocks = [each for each in self._blocks if now - each[0] <= RECENT]


Call: TypeAlias = tuple[float, Callers, Any, tuple[Any, ...]]
"""A callback that runs: since when, and what its callers need to name it."""


class _Watch:
    """Times what it is shown of a reactor while it is ``on``, and only hands it on afterwards."""

    def __init__(
        self,
        threshold: float,
        ticks: Timer,
        thread_calls: Counter,
        note: Callable[[str, float, object], None],
        care: Care,
    ) -> None:
        self.on = True
        self._threshold = threshold
        self._ticks = ticks
        self._thread_calls = thread_calls
        self._note = note
        self._care = care
        self._now = ticks.now
        self._current: Call | None = None
        self._turn = 0.0  # when it began
        self._since: float | None = None  # the end of the last callback, or this turn's begin; None during a wait

    def call(self, callers: Callers, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not self.on:
            return function(*args, **kwargs)
        outer, call = self._current, None  # there is an outer one if it told the reactor to iterate
        try:
            call = self._begin(callers, function, args)
        except Exception:
            self._care.failed()
        try:
            return function(*args, **kwargs)
        finally:
            try:
                self._end(call, outer)
            except Exception:
                self._care.failed()

    def thread_call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if self.on:
            self._care.attempt(self._thread_calls.inc)
        return self.call(FUNCTIONS, function, *args, **kwargs)

    def wait(self, function: Callable[..., Any], /, *args: Any) -> Any:
        if not self.on:
            return function(*args)
        self._care.attempt(self._end_turn)
        try:
            return function(*args)
        finally:
            self._care.attempt(self._begin_turn)

    def held(self) -> object | None:
        """By what the reactor has been held for too long by now; asked from another thread."""
        call, since = self._current, self._since
        start = since if call is None else call[0]
        if start is None or self._now() - start < self._threshold:
            return None
        return start if call is None else call

    def _begin(self, callers: Callers, function: Callable[..., Any], args: tuple[Any, ...]) -> Call:
        since, now = self._since, self._now()
        if since is None:
            self._turn = self._since = now
        elif now - since >= self._threshold:
            self._note_gap(since, now)
        call = self._current = now, callers, callers.notice(function, args), args
        return call

    def _end(self, call: Call | None, outer: Call | None) -> None:
        self._current = outer
        now = self._since = self._now()
        if call is not None and now - call[0] >= self._threshold and self.on:
            start, callers, noticed, args = call
            self._note(callers.name(noticed, args), now - start, call)

    def _begin_turn(self) -> None:
        if self._since is None:  # nothing has happened while we waited
            self._turn = self._since = self._now()

    def _end_turn(self) -> None:
        if self._since is None:
            return  # we have not seen its beginning
        since, now = self._since, self._now()
        self._since = None
        self._ticks.add(now - self._turn)
        if now - since >= self._threshold:
            self._note_gap(since, now)

    def _note_gap(self, since: float, now: float) -> None:
        """Who it was is unknown, if the reactor was held between two callbacks, and not by one that still runs."""
        if self._current is None:
            self._note(UNKNOWN, now - since, since)
