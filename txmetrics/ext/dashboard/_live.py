"""What runs while the reactor does: a point a second, and the state that all viewers share."""

from __future__ import annotations

import os
import socket
from math import floor
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import TaskStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from txmetrics.ext.dashboard._events import Viewers
from txmetrics.ext.dashboard._history import HAIR, History
from txmetrics.ext.dashboard._overview import Overview, Process, Sources
from txmetrics.ext.dashboard._work import Shared, Steps, Work
from txmetrics.registry import MetricsRegistry
from txmetrics.steady import steady

__all__ = ["Live"]

SAMPLE = 10
"""Seconds between two looks at the reporters."""


class Live:
    """The ring buffers of a dashboard from its start to its stop, and the state of the current second.

    At each whole second of the wall clock ``history`` gets its rows, in turns of ``work``; a second that comes before
    the last one is done is left out. While somebody looks, the state is then written down, once for all of ``viewers``.
    What goes wrong is logged once.
    """

    log = Logger()

    def __init__(
        self,
        registry: MetricsRegistry,
        max_series: int,
        sources: Sources,
        viewers: Viewers,
        reactor: Any,
    ) -> None:
        self._clock = registry.clock
        self._time = steady(reactor)
        self.work = Work(reactor, registry.clock)
        self.history = History(registry, max_series)
        self._viewers = viewers
        process = Process(socket.gethostname(), os.getpid(), registry.clock.wall())
        self._overview = Overview(self.history, registry.clock, process, sources)
        self._state = Shared(self.work)
        self._seconds = 0
        self._sampled: float | None = None
        self._walking = self._failed = False
        self._call: IDelayedCall
        self._tick()

    def stop(self) -> None:
        """End everything; whoever waits for something gets a TaskStopped."""
        self._call.cancel()
        self.work.stop()

    def state(self) -> Deferred[bytes]:
        """The state of this second, as JSON."""
        return self._state.ask(self._seconds, self._overview.steps)

    def _tick(self) -> None:
        wall = self._clock.wall()
        self._call = self._time.callLater(floor(wall + HAIR) + 1 - wall, self._tick)
        if not self._walking:
            self._walking = True
            self.work.do(self._walk(wall)).addErrback(self._not_well).addBoth(self._walked)

    def _walk(self, wall: float) -> Steps[None]:
        yield from self.history.collect(wall)
        self._seconds += 1
        if self._sampled is None or wall // SAMPLE != self._sampled:
            self._sampled = wall // SAMPLE
            self._overview.sample()
        if len(self._viewers):
            self.state().addCallback(self._viewers.tell).addErrback(self._not_well)

    def _walked(self, result: object) -> None:
        self._walking = False

    def _not_well(self, failure: Failure) -> None:
        if failure.check(TaskStopped) is None and not self._failed:
            self._failed = True
            self.log.failure("the dashboard could not tell how things are; this is said only once", failure)
