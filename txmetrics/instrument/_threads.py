"""Thread pools: how many threads work, how long jobs wait for one, and how long they run.

Metrics belong to the reactor's thread, and jobs end in others. What is known of a job is therefore put aside when it
ends, and becomes metrics in the reactor's thread: when a gauge is read, or when enough has come together.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorThreads
from twisted.python.threadable import isInIOThread

from txmetrics.instrument._care import Care
from txmetrics.instrument._shadow import Override
from txmetrics.metrics import Counter
from txmetrics.registry import MetricsRegistry, Scope

if TYPE_CHECKING:
    from twisted.python.threadpool import ThreadPool

__all__ = ["STATE", "Jobs", "MeasuredThreadPool"]

LIMIT = 10_000
"""So many ended jobs wait at most to become metrics; of those that find no room the times are lost, and counted."""

ENOUGH = 200
"""When so many wait, the next job from the reactor's thread makes metrics of them: a fraction of a millisecond."""

AT_A_TIME = 500
"""So many become metrics in one step of a report, which is less than a millisecond's work; there is a step a gauge."""

STATE: dict[str, Callable[[ThreadPool], int]] = {
    "threads": lambda pool: pool.workers,  # pool.threads keeps those that have ended
    "working": lambda pool: len(pool.working),
    "idle": lambda pool: len(pool.waiters),
    "queue": lambda pool: pool.q.qsize(),
    "min": lambda pool: pool.min,
    "max": lambda pool: pool.max,
}
"""What a ThreadPool tells of itself."""


class MeasuredThreadPool(Service):
    """An IService that measures the thread pool ``pool`` under ``name`` (``threadpool``) for as long as it runs.

    Without a ``pool`` it is that of ``reactor`` (the global one if that is not given either) from the moment it has
    one: none is made for being measured, and none is started. A pool that nothing but a lookup of a host's name has
    asked for is found at the next report.

    Gauges: ``threads``, the ``working`` and the ``idle`` of them; ``queue``, the jobs that wait for one; ``min`` and
    ``max``; all 0 while there is no pool. Timers, in seconds: ``queue_wait``, from the call for a job to its beginning,
    and ``run``, from there to its end, of the jobs that were asked for while the service ran. Counters: ``errors``, the
    jobs that raised; ``untimed``, the jobs whose times were lost, because more than 10,000 ended between two reports
    and none of them was asked for in the reactor's thread; ``measuring_errors``.

    Jobs, their results, errors and contexts stay what they are, and nothing of this is left in the pool or the reactor
    when the service has stopped. Raises ValueError if one of the names is taken; those before it are there all the
    same.
    """

    def __init__(
        self,
        registry: MetricsRegistry | Scope,
        name: str = "threadpool",
        pool: ThreadPool | None = None,
        reactor: Any = None,
    ) -> None:
        self._pool = pool
        self._reactor = reactor
        self._making: Override | None = None
        scope = registry.scope(name)
        for gauge, ask in STATE.items():
            scope.gauge(gauge, partial(self._tell, ask))
        self._queue_wait = scope.timer("queue_wait")
        self._run = scope.timer("run")
        self._errors = scope.counter("errors")
        care = Care("the jobs of a thread pool", scope.counter("measuring_errors"))
        self._jobs = Jobs(self._find, self._take, self._run.now, care, scope.counter("untimed"))

    def startService(self) -> None:
        super().startService()
        if self._pool is None and self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        self._jobs.hear()
        if self._find() is None and self._making is None and IReactorThreads.providedBy(self._reactor):
            self._making = Override(self._reactor, "getThreadPool", self._asked_for)

    def stopService(self) -> None:
        super().stopService()
        self._jobs.hear_no_more()
        self._wait_no_more()

    def _find(self) -> ThreadPool | None:
        if self._pool is not None:
            return self._pool
        pool: ThreadPool | None = getattr(self._reactor, "threadpool", None)  # reactor.getThreadPool() would make one
        return pool

    def _asked_for(self, override: Override) -> Callable[[], ThreadPool]:
        def getThreadPool() -> ThreadPool:
            pool: ThreadPool = override.original()
            if override.active:
                self._jobs.hear()
                self._wait_no_more()
            return pool

        return getThreadPool

    def _wait_no_more(self) -> None:
        if self._making is not None:
            self._making.undo()
            self._making = None

    def _tell(self, ask: Callable[[ThreadPool], int]) -> int:
        self._jobs.fold()
        pool = self._find()
        return 0 if pool is None else ask(pool)

    def _take(self, waited: float, ran: float, error: str | None, note: object) -> None:
        self._queue_wait.add(waited)
        self._run.add(ran)
        if error is not None:
            self._errors.inc()


class Jobs:
    """The jobs that are given to a thread pool, each told once, in the reactor's thread, after it has ended.

    ``find()`` is the pool, None while there is none; one that takes its place is found when ``fold`` is called.
    ``take(waited, ran, error, note)`` is told the seconds in the queue and in the thread by the clock ``now``, the name
    of the type of what the job raised (None if it returned), and what was noted in its thread meanwhile (None if
    nothing was). An error of ``take`` or ``now`` is ``care``'s. ``lost`` counts the jobs there was no room for.
    """

    def __init__(
        self,
        find: Callable[[], ThreadPool | None],
        take: Callable[[float, float, str | None, object], None],
        now: Callable[[], float],
        care: Care,
        lost: Counter,
    ) -> None:
        self._find = find
        self._take = take
        self._now = now
        self._care = care
        self._lost = lost
        self._ended: deque[tuple[float, float, str | None, object]] = deque()
        self._without_room = 0
        self._counting = threading.Lock()  # for the jobs without room only
        self._thread = threading.local()
        self._hearing = False
        self._pool: ThreadPool | None = None
        self._override: Override | None = None

    def hear(self) -> None:
        """From now on hear of the jobs that the pool is given. Called once more, only look for the pool again."""
        self._hearing = True
        pool = self._find()
        if pool is not self._pool:
            self._let_go()
            self._pool = pool
            if pool is not None:
                self._override = Override(pool, "callInThreadWithCallback", self._heard)

    def hear_no_more(self) -> None:
        """Leave the pool as it was; the jobs that it has been given until now will still be told."""
        self._hearing = False
        self._let_go()

    def note(self, note: object) -> None:
        """Remember ``note`` with the job that runs in this thread; it replaces what was noted before."""
        self._thread.note = note

    def fold(self) -> None:
        """Tell of jobs that have ended, so many at a time; in the reactor's thread only."""
        if self._hearing:
            self.hear()
        for _ in range(min(AT_A_TIME, len(self._ended))):
            self._care.attempt(self._take, *self._ended.popleft())
        if self._without_room:
            with self._counting:
                lost, self._without_room = self._without_room, 0
            self._lost.inc(lost)

    def _let_go(self) -> None:
        if self._override is not None:
            self._override.undo()
        self._pool = self._override = None

    def _heard(self, override: Override) -> Callable[..., None]:
        def callInThreadWithCallback(onResult: Any, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
            if override.active:
                if len(self._ended) >= ENOUGH and isInIOThread():
                    self.fold()
                func = self._job(func)
            override.original(onResult, func, *args, **kwargs)

        return callInThreadWithCallback

    def _job(self, func: Callable[..., Any]) -> Callable[..., Any]:
        attempt, now, end = self._care.attempt, self._now, self._end
        given = attempt(now)

        def job(*args: Any, **kwargs: Any) -> Any:
            self._thread.note = None
            begun = attempt(now)
            try:
                result = func(*args, **kwargs)
            except BaseException as error:
                attempt(end, given, begun, type(error).__name__)
                raise
            attempt(end, given, begun, None)
            return result

        return job

    def _end(self, given: float | None, begun: float | None, error: str | None) -> None:
        """In the job's thread: put aside what is known of it."""
        if given is None or begun is None:
            return  # the clock raised
        ended = begun - given, self._now() - begun, error, self._thread.note
        if len(self._ended) < LIMIT:
            self._ended.append(ended)
        else:
            with self._counting:
                self._without_room += 1
