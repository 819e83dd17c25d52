"""What runs under a name: how many are in flight, how old the oldest is, how long they take and how they end.

``Calls`` is that knowledge, and ``Call`` one run. ``timed`` keeps it for functions, ``Tasks`` for everything else.
"""

from __future__ import annotations

from asyncio import CancelledError as TaskCancelledError
from collections.abc import Iterable
from heapq import nsmallest
from math import isnan, nan
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from txmetrics.family import Family
from txmetrics.instrument._care import Care
from txmetrics.metrics import Counter, Timer
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["Call", "Calls", "Tasks", "calls_of"]

T = TypeVar("T")

ERROR_TYPES = 50
"""So many types of errors are told apart under one name; the others share a series."""

NAMES = 200
"""So many names of tasks are told apart; the others share a series."""

CANCELLED = CancelledError, TaskCancelledError, GeneratorExit


class Tasks:
    """Tells which tasks are in flight and how old they are, by name; each name has its metrics below ``name``.

    A task is a block, ``with tasks.run("import"): ...``, which may await, or a Deferred,
    ``tasks.watch(deferred, "import")``. Its metrics are: ``tasks.import``, a timer; the counters ``.ok``,
    ``.cancelled`` and ``.errors.<Type>``, one of which counts each task when it ends; and the gauges ``.active``, how
    many are in flight, and ``.oldest_seconds``, how old the oldest of them is (0 if there is none). A task whose
    Deferred nobody can fire any more is in flight until the Deferred is garbage, and is then forgotten.

    The task is not changed, whatever goes wrong in the measuring. A name becomes one part of a Graphite path; beyond
    200 names all others share the series ``_other``.
    """

    def __init__(self, registry: MetricsRegistry | Scope, name: str = "tasks") -> None:
        scope = registry.scope(name)
        self._tick = scope.clock.tick
        self._care = Care(f"the tasks of {name}")
        self._calls: Family[Calls] = Family(lambda part: calls_of(scope, part), NAMES)
        self._elsewhere = Calls(MetricsRegistry(scope.clock), name)

    def run(self, name: str) -> Call:
        """A context manager, to be entered at once: a task called ``name``, from now to the end of its block."""
        return Call(self._care.attempt(self._calls.__getitem__, name) or self._elsewhere)

    def watch(self, deferred: Deferred[T], name: str) -> Deferred[T]:
        """The same Deferred, which is a task called ``name`` from now until it fires or fails."""
        return deferred.addBoth(self.run(name).passing)

    def in_flight(self, limit: int = 20) -> list[tuple[str, float]]:
        """The oldest tasks, oldest first, at most ``limit``: name and age in seconds."""
        begun = [(start, name) for name in self._calls for start in self._calls[name].starts()]
        now = self._tick()
        return [(name, now - start) for start, name in nsmallest(limit, begun)]


class Calls:
    """What is known of all calls under one name: see Tasks for its metrics, and ``timed`` for ``held``.

    Raises ValueError if one of the metrics' names belongs to another kind of metric.
    """

    def __init__(self, registry: MetricsRegistry | Scope, name: str) -> None:
        self._scope = registry.scope(name)
        self.care = Care(f"the calls of {name}")
        self._timer = registry.timer(name)
        self._ok = self._scope.counter("ok")
        self._cancelled = self._scope.counter("cancelled")
        self._errors: Family[Counter] = Family(self._scope.scope("errors").counter, ERROR_TYPES)
        self._running: dict[int, float] = {}  # by the id of a Call, its start; in the order of starting
        self._held: Timer | None = None

    def active(self) -> int:
        return len(self._running)

    def oldest_seconds(self) -> float:
        return next((self._timer.now() - start for start in self.starts()), 0.0)

    def starts(self) -> Iterable[float]:
        """When those in flight began, the oldest first."""
        # Of a copy, made in one step: the garbage collector may take calls away at any moment.
        return self._running.copy().values()

    def held(self) -> Timer:
        """How long each call held the reactor; a metric that is made when it is first asked for."""
        if self._held is None:
            self._held = self._scope.timer("held")
        return self._held

    def now(self) -> float:
        """The clock, in seconds; NaN if it fails."""
        try:
            return self._timer.now()
        except Exception:
            self.care.failed()
            return nan

    def begun(self, call: Call, now: float) -> None:
        if not isnan(now):
            self._running[id(call)] = now

    def gone(self, call: Call) -> None:
        """It is not in flight, or no longer."""
        self._running.pop(id(call), None)

    def ended(self, seconds: float, error: BaseException | None) -> None:
        """Count a call that took ``seconds``, NaN if that is not known."""
        if error is None:
            self._ok.inc()
        elif isinstance(error, CANCELLED):
            self._cancelled.inc()
        else:
            self._errors[type(error).__name__].inc()
        if not isnan(seconds):
            self._timer.add(seconds)


def calls_of(registry: MetricsRegistry | Scope, name: str) -> Calls:
    """The Calls of ``name`` in that registry: the same for all who ask, as it is with metrics.

    Raises ValueError if one of the metrics' names belongs to another metric; those before it are there all the same.
    """
    calls, scope = Calls(registry, name), registry.scope(name)
    try:
        scope.gauge("active", calls.active)
    except ValueError:
        known = getattr(scope.gauge("active").tell, "__self__", None)
        if isinstance(known, Calls):
            return known
        raise
    scope.gauge("oldest_seconds", calls.oldest_seconds)
    return calls


class Call:
    """One call, from now until its one ``end``; as a context manager, to the end of the block.

    Who keeps an eye on those in flight does not keep them: a call that is dropped without an end is forgotten.
    """

    __slots__ = ("_calls", "_held", "_resumed", "_start")

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._start = self._resumed = calls.now()
        self._held = 0.0
        calls.begun(self, self._start)

    def __del__(self) -> None:
        self._calls.gone(self)

    def end(self, error: BaseException | None = None) -> None:
        calls = self._calls
        seconds = calls.now() - self._start
        calls.gone(self)
        try:
            calls.ended(seconds, error)
        except Exception:
            calls.care.failed()

    def passing(self, result: Any) -> Any:
        """As a callback and errback: end with that result, and pass it on."""
        self.end(result.value if isinstance(result, Failure) else None)
        return result

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.end(error)

    # A call in steps begins with the first of them and ends with the last.

    def resume(self) -> None:
        """A step begins."""
        self._resumed = self._calls.now()

    def suspend(self) -> None:
        """A step ends, and others will follow."""
        self._held += self._calls.now() - self._resumed

    def end_step(self, error: BaseException | None = None) -> None:
        """The last step ends."""
        self.suspend()
        self.end(error)
        try:
            if not isnan(self._held):
                self._calls.held().add(self._held)
        except Exception:
            self._calls.care.failed()
