"""The log: how many events of each level, which exceptions, and how many errors in Deferreds nobody handled.

An event may come from any thread and at any moment, also while the garbage collector runs in the midst of a metric's
work. Only in the reactor's thread, and only what is a plain addition, is counted on the spot. All else is put aside for
the reactor's next turn.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.application.service import Service
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.python.threadable import isInIOThread

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.metrics import Counter
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["MeasuredLog"]

WAITING = 10_000
"""So many events wait at most for the reactor's next turn; of more the oldest are not counted."""

REPORTS = "txmetrics"
"""The namespace of a report's lines. What else we log has a longer one."""

ERROR_TYPES = 50
"""So many types of exceptions are told apart; the others share a series."""


class MeasuredLog(Service):
    """An IService that counts what is logged through Twisted while it runs, under ``name`` (``log``).

    Counters: ``debug``, ``info``, ``warn``, ``error`` and ``critical``, the events of each level, of which a legacy
    ``log.err`` is a critical one; ``unhandled_errors``, the Deferreds that ended with a Failure that nobody handled,
    each once (in the log each is two critical events); and ``errors.<Type>``, the events that carry a Failure, by the
    type of its exception: beyond 50 types the others share ``errors._other``.

    Events are counted from all threads; those from other threads than the reactor's, and those with a Failure, in the
    reactor's next turn, for which at most 10,000 of them wait. ``reactor`` is the global one if it is not given. What
    is logged stays as it is, and no event is kept. The lines of a report that goes to this log are not counted.
    """

    def __init__(self, registry: MetricsRegistry | Scope, name: str = "log", reactor: Any = None) -> None:
        scope = registry.scope(name)
        self._reactor = reactor
        self._levels = {level: scope.counter(level.name) for level in LogLevel.iterconstants()}
        self._unhandled = scope.counter("unhandled_errors")
        self._errors: Family[Counter] = Family(scope.scope("errors").counter, ERROR_TYPES)
        self._care = Care("the log")
        self._waiting: deque[tuple[Counter | None, str | None, bool]] = deque(maxlen=WAITING)
        self._asked = False  # the reactor for a turn

    def startService(self) -> None:
        super().startService()
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        globalLogPublisher.addObserver(self._observe)  # type: ignore[arg-type]  # a method is callable, which is all

    def stopService(self) -> None:
        super().stopService()
        globalLogPublisher.removeObserver(self._observe)  # type: ignore[arg-type]  # likewise
        self._count_waiting()

    def _observe(self, event: LogEvent) -> None:
        """Hear of an event; raise nothing, which would end the hearing, and log nothing, which would be heard."""
        try:
            if event.get("log_namespace") == REPORTS:
                return
            level = self._levels.get(event.get("log_level"))
            error = _type(event)
            if error is None and isInIOThread():
                if level is not None:
                    level.inc()
                return
            self._waiting.append((level, error, _is_unhandled(event)))
            if not self._asked:
                self._asked = True  # first, as the turn may be over before callFromThread returns
                self._reactor.callFromThread(self._count_waiting)
        except Exception:
            self._asked = False
            self._care.errors.inc()

    def _count_waiting(self) -> None:
        self._asked = False  # before the first is taken, so that none can come that nobody asks for
        for _ in range(len(self._waiting)):
            self._care.attempt(self._count, *self._waiting.popleft())

    def _count(self, level: Counter | None, error: str | None, unhandled: bool) -> None:
        if level is not None:
            level.inc()
        if unhandled:
            self._unhandled.inc()
        if error is not None:
            self._errors[error].inc()


def _type(event: LogEvent) -> str | None:
    """The type of the exception that the event carries, None if it carries none."""
    failure = event.get("log_failure")
    if failure is None and event.get("isError"):  # of the legacy log
        failure = event.get("failure")
    return type(failure.value).__name__ if isinstance(failure, Failure) else None


def _is_unhandled(event: LogEvent) -> bool:
    """Whether it is the one event, of two, in which a Deferred that is garbage hands over the Failure it ended with."""
    return event.get("log_namespace") == "twisted.internet.defer" and "debugInfo" in event
