"""The reactor: how late and how busy it is, and what it has to watch; by its public attributes alone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service

from txmetrics.instrument._care import Care
from txmetrics.instrument._threads import STATE
from txmetrics.instrument.reactor._lag import INTERVAL, Lag
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["MeasuredReactor"]

POOL = "threads", "working", "queue", "max"

BUSY_SECONDS = 5.0
"""Over so long the busy ratio is taken."""


class MeasuredReactor(Service):
    """An IService that measures the reactor, under ``name`` (``reactor``); without ``reactor``, the global one.

    The registry has its metrics at once. While the service runs, a probe each quarter of a second tells ``lag``, a
    timer of how late it came, and ``busy``, a gauge from 0 to 1: how much of the last five seconds the reactor's thread
    had a CPU. Gauges that ask when they are reported: ``cpu_seconds`` of the thread that reports, which is the
    reactor's; ``delayed_calls``, ``readers`` and ``writers``; of the reactor's own thread pool ``threadpool.threads``,
    ``.working``, ``.queue`` (calls that wait for a thread) and ``.max``, all 0 as long as nobody has used it. What a
    reactor does not have is 0.

    The attribute ``lag`` is the probe, for others to ask how late the reactor is right now. A probe can miss what held
    the reactor between two of them. Raises ValueError if one of the names is taken; those before it are there all the
    same.
    """

    def __init__(self, registry: MetricsRegistry | Scope, reactor: Any = None, name: str = "reactor") -> None:
        scope = registry.scope(name)
        self._reactor = reactor
        self._late = scope.timer("lag")
        self._busy = scope.gauge("busy")
        self._care = Care("the reactor")
        self._moments: deque[tuple[float, float]] = deque(maxlen=round(BUSY_SECONDS / INTERVAL) + 1)
        self.lag = Lag(registry.clock.tick, reactor, lambda late: self._care.attempt(self._probed, late))
        scope.gauge("cpu_seconds", time.thread_time)
        for gauge, tell in self._gauges().items():
            scope.gauge(gauge, tell)

    def startService(self) -> None:
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        super().startService()
        self._moments.append((self._late.now(), time.thread_time()))
        self.lag.start()

    def stopService(self) -> None:
        super().stopService()
        self.lag.stop()
        self._moments.clear()
        self._busy.set(0)

    def _probed(self, late: float) -> None:
        now, cpu = self._late.now(), time.thread_time()
        self._moments.append((now, cpu))
        then, cpu_then = self._moments[0]
        if now > then:
            self._busy.set(min(1.0, (cpu - cpu_then) / (now - then)))
        self._late.add(late)

    def _gauges(self) -> dict[str, Callable[[], int]]:
        """What is asked at the report."""
        return {
            "delayed_calls": self._delayed_calls,
            "readers": lambda: self._length("getReaders"),
            "writers": lambda: self._length("getWriters"),
            **{f"threadpool.{name}": partial(self._of_pool, STATE[name]) for name in POOL},
        }

    def _delayed_calls(self) -> int:
        self.lag.seconds()  # which wakes a probe that was put off because somebody has set the clock back
        return self._length("getDelayedCalls")

    def _length(self, method: str) -> int:
        ask = getattr(self._reactor, method, None)
        return 0 if ask is None else len(ask())

    def _of_pool(self, ask: Callable[[Any], int]) -> int:
        """``getThreadPool`` would make one."""
        pool = getattr(self._reactor, "threadpool", None)
        return 0 if pool is None else ask(pool)
