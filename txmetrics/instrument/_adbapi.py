"""Database connections: how long work waits for a thread and how long it runs, what was committed, and what failed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.instrument._shadow import Override
from txmetrics.instrument._threads import STATE, Jobs
from txmetrics.metrics import Counter
from txmetrics.registry import MetricsRegistry, Scope

if TYPE_CHECKING:
    from twisted.enterprise.adbapi import ConnectionPool

__all__ = ["MeasuredConnectionPool"]

TYPES = 30
"""So many types of errors have a counter of their own; all further ones share one."""


class MeasuredConnectionPool(Service):
    """An IService that measures the adbapi.ConnectionPool ``pool`` under ``name`` (``db``) for as long as it runs.

    A unit of work is one ``runInteraction``, ``runQuery``, ``runOperation`` or ``runWithConnection``. Timers, in
    seconds: ``wait``, until a thread begins it, and ``run``, in the thread, with connecting and committing. Counters:
    ``commits``, units that returned; ``rollbacks``, units that raised once they had a connection (and a cursor, where
    they need one), also if the rollback itself failed; ``errors.<Type>``, by what the caller gets, in a bounded number,
    the rest under ``errors._other``; ``untimed`` and ``measuring_errors`` as MeasuredThreadPool has them. Gauges:
    ``connections`` that are open; of the threads ``threads``, ``working``, ``queue``, units that wait, and ``max``.

    The pool need not have been started, and is not by this; subclasses may override what they like. Results, errors and
    what is sent to the database stay what they are, and nothing of this is left in the pool when the service has
    stopped. Raises ValueError if one of the names is taken; those before it are there all the same.
    """

    def __init__(self, pool: ConnectionPool, registry: MetricsRegistry | Scope, name: str = "db") -> None:
        self._pool = pool
        self._overrides: list[Override] = []
        scope = registry.scope(name)
        scope.gauge("connections", lambda: self._tell(len(pool.connections)))
        for gauge in ("threads", "working", "queue", "max"):
            scope.gauge(gauge, partial(self._tell_of_threads, gauge))
        self._wait = scope.timer("wait")
        self._run = scope.timer("run")
        self._commits = scope.counter("commits")
        self._rollbacks = scope.counter("rollbacks")
        errors = scope.scope("errors")
        self._errors: Family[Counter] = Family(errors.counter, TYPES)
        care = Care("a pool of database connections", scope.counter("measuring_errors"))
        self._jobs = Jobs(lambda: pool.threadpool, self._take, self._run.now, care, scope.counter("untimed"))

    def startService(self) -> None:
        super().startService()
        self._jobs.hear()
        if not self._overrides:
            self._overrides = [
                Override(self._pool, "connectionFactory", self._noting),
                Override(self._pool, "transactionFactory", self._noting),
            ]

    def stopService(self) -> None:
        super().stopService()
        self._jobs.hear_no_more()
        while self._overrides:
            self._overrides.pop().undo()

    def _noting(self, override: Override) -> Callable[..., Any]:
        """A factory that notes whether it succeeded: only after all of them did, something is rolled back."""

        def factory(*args: Any, **kwargs: Any) -> Any:
            self._jobs.note(False)  # where nobody hears of the job, nobody reads it
            made = override.original(*args, **kwargs)
            self._jobs.note(True)
            return made

        return factory

    def _tell(self, value: int) -> int:
        self._jobs.fold()
        return value

    def _tell_of_threads(self, gauge: str) -> int:
        return self._tell(STATE[gauge](self._pool.threadpool))

    def _take(self, waited: float, ran: float, error: str | None, open: object) -> None:
        self._wait.add(waited)
        self._run.add(ran)
        if error is not None:
            self._errors[error].inc()
        if open:
            (self._commits if error is None else self._rollbacks).inc()
