"""Reporter: the crank, from its start to its stop.

A report that spans several turns of the reactor still carries one timestamp, the tick's, aligned to the interval, so
that each report falls into a slot of its own in the backend. Which one the last has, on stop, depends on what it tells;
see ``_temporality``.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from math import floor, inf, isfinite
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from txmetrics import names
from txmetrics.interfaces import IDelivery, IWire, Ledger
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter._report import Report
from txmetrics.reporter._temporality import Cumulative, Delta
from txmetrics.snapshot import CounterReading, GaugeReading, Reading
from txmetrics.steady import steady

__all__ = ["PAUSE", "STOP", "Backend", "Reporter", "check_interval"]

PAUSE = 0.001
"""Seconds from one turn of a report to the next. Without, a request that comes meanwhile would wait for two of them:
Twisted sends the answer only in the turn after that in which it was written."""

SHARE = 0.25
"""Of the interval, at most so much is spent in pauses."""

A_TURN = 50
"""So many metrics are read in a turn, at the least and about; how many it were, the report before has shown."""

STOP = 5.0
"""Seconds after which a stopped reporter is stopped, whatever its backend does."""


class Backend(NamedTuple):
    """Where a report goes, and how it is written down."""

    wire: IWire
    delivery: IDelivery


class Reporter(Service):
    """An IService that reports ``registry`` to a backend every ``interval`` seconds, and once more on stop.

    ``backend`` is called with the reactor when the service starts (under twistd: after the fork, before root is given
    up) and opens nothing by itself. Each reporter reports its own intervals; several on one registry do not disturb
    each other. What goes wrong in here is logged and counted under ``txmetrics.``, and reaches nobody else. In a forked
    child it does nothing.
    ``stopService`` returns a Deferred that fires once the last interval was delivered, after STOP seconds at the
    latest.
    With ``deltas`` it reports what was counted and added up since its last report, instead of in all.
    ``longest_turn`` is for how many seconds the last report held the reactor at most.

    Raises ValueError for an interval under one second: Graphite keeps whole seconds.
    """

    log = Logger()

    def __init__(
        self,
        registry: MetricsRegistry,
        backend: Callable[[Any], Backend],
        interval: float = 10.0,
        *,
        where: str = "",
        deltas: bool = False,
        reactor: Any = None,
    ) -> None:
        """``reactor`` is the running one (IReactorTime and what the endpoint needs); None: the global one.

        ``where`` tells people where the reports go, and must not hold a secret.
        """
        self.where = where
        """Where the reports go, for people to see."""
        self._registry = registry
        self._make_backend = backend
        self._backend: Backend | None = None
        self._interval = check_interval(interval)
        self._reactor = reactor
        self._delivery: Any = None  # an IDelivery, since the first start
        self._reports = self._skipped = self._broken = self._unreadable = 0
        self._refused: Tally[str] = Tally()
        self._failing: frozenset[str] = frozenset()
        self._seconds = self.longest_turn = self._started = 0.0
        self._turns = 1
        self._report: Report | None = None
        self._done: Deferred[None] = succeed(None)
        self._temporality = (
            Delta(registry.reader(deltas=True), self._interval)
            if deltas
            else Cumulative(registry.reader(), self._interval)
        )
        self._collect_until = inf
        self._stopped: Deferred[None] = succeed(None)

    def start_with(self, reactor: Any) -> Reporter:
        """For a script without an Application: start when ``reactor`` runs, stop before it ends."""
        self._reactor = reactor
        reactor.callWhenRunning(self.startService)
        reactor.addSystemEventTrigger("before", "shutdown", self.stopService)
        return self

    def privilegedStartService(self) -> None:
        """Make the backend while twistd is still root: what its endpoint reads may be root's alone."""
        super().privilegedStartService()
        self._backend = self._make()

    def startService(self) -> None:
        """Begin; during a stop that is still under way, once that is done. Raises what the backend's making does."""
        if self.running:
            return
        if self._stopped.called:
            self._open()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Report the last interval, deliver it, and close; the Deferred fires when that is done, or was."""
        if self.running:
            super().stopService()
            if self._stopped.called and not self._forked:
                self._stopped = Deferred()
                ensureDeferred(self._close())
        done: Deferred[None] = Deferred()
        self._stopped.addCallback(done.callback)
        return done

    def ledger(self) -> dict[str, Any]:
        """Where every point is that was collected since the last start, as a dict.

        ``collected`` = ``delivered`` + ``retained`` + ``queued`` + ``spooled`` + the sum of ``dropped``, by reason, at
        every moment; see ``txmetrics.interfaces.Ledger``. ``refused`` are the values that never became a point, by
        reason: no number, or an infinite one.
        """
        ledger = Ledger(0, 0, 0, 0, 0, {}) if self._delivery is None else self._delivery.ledger
        return {**ledger._asdict(), "dropped": dict(ledger.dropped), "refused": dict(self._refused)}

    def numbers(self) -> dict[str, float]:
        """What the reporter reports of itself, until now, without ``txmetrics.`` before the names."""
        if self._delivery is None:
            return {}
        return {**self._counts(), **self._levels()}

    def _make(self) -> Backend:
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        return self._make_backend(self._reactor)

    def _open(self) -> None:
        self._wire, self._delivery = self._backend or self._make()
        self._backend = None
        self._pid = os.getpid()
        self._time = steady(self._reactor)
        self._delivery.start()
        self._collect_until = inf
        self._loop = LoopingCall(self._tick)
        self._loop.clock = self._time
        self._started = self._registry.clock.wall()
        own = [f"{names.OWN}.{name}" for name in self._delivery.counts]
        wait = self._temporality.begin(self._started, own) - self._started
        self._begin: IDelayedCall = self._time.callLater(wait, self._loop.start, self._interval)

    async def _close(self) -> None:
        if self._begin.active():
            self._begin.cancel()
        elif self._loop.running:
            self._loop.stop()
        clock = self._registry.clock
        deadline = clock.tick() + STOP
        self._collect_until = clock.tick() + STOP / 2
        try:
            await self._done
            await self._run(self._temporality.last_stamp(clock.wall()))
            await self._delivery.stop(max(0.0, deadline - clock.tick()))
            if self.running:
                self._open()
        except Exception:
            self.log.failure("the reporter could not be stopped as it should, or not be started again")
        finally:
            self._stopped.callback(None)

    @property
    def _forked(self) -> bool:
        """Whether this is a child of the process that reports."""
        return os.getpid() != self._pid

    def _tick(self) -> None:
        """Neither raises nor waits: either would end or stall the LoopingCall."""
        if self._forked:
            return
        # A timer may fire a hair before its time; a late tick still belongs to the slot that it was due in.
        wall = self._registry.clock.wall()
        slot = floor(wall / self._interval + 0.01)
        stamp = int(slot * self._interval)
        # The next tick is due at the next boundary, also after a first one that came late.
        self._loop.starttime = self._time.seconds() - max(0.0, wall - slot * self._interval)
        # A second that was reported already, because the clock was set back, must not get other values now.
        if self._report is None and self._temporality.claim(stamp):
            self._done = self._run(stamp)
        else:
            self._skipped += 1

    def _run(self, stamp: int) -> Deferred[None]:
        """Report everything, in as many turns as it takes; the Deferred fires after the last and never fails."""
        clock = self._registry.clock.tick
        report = self._report = Report(lambda: self._wire.encoder(stamp), self._readings, self._delivery.deliver, clock)
        done: Deferred[None] = Deferred()
        turns = max(self._turns, len(self._registry) / A_TURN)
        pause = min(PAUSE, SHARE * self._interval / turns)

        def turn() -> None:
            if self._forked:
                return
            try:
                if clock() > self._collect_until:
                    raise TimeoutError("the reactor had no time left for it")
                finished = report.turn()
            except BaseException:  # the reactor would swallow even a SystemExit, and the crank would stand still
                self.log.failure("a report broke off; the next one is tried as if nothing had happened")
                self._broken += 1
                finished = True
                report.break_off()
            if finished:
                self._finish(report)
                done.callback(None)
            else:
                self._time.callLater(pause if self._collect_until == inf else 0, turn)

        turn()
        return done

    def _finish(self, report: Report) -> None:
        self._report = None
        self._reports += 1
        self._refused.update(report.refused)
        self._seconds, self.longest_turn, self._turns = report.seconds, report.longest_turn, report.turns
        self._unreadable += len(report.unreadable)
        for name in report.unreadable.keys() - self._failing:
            self.log.failure(
                "the gauge {name} cannot be read; it is left out until it can",
                failure=Failure(report.unreadable[name]),
                level=LogLevel.warn,
                name=name,
            )
        self._failing = frozenset(report.unreadable)

    def _readings(self) -> Iterator[Reading]:
        return self._temporality.readings(self._own_readings())

    def _own_readings(self) -> Iterator[Reading]:
        """The reporter's and the delivery's own numbers, until now."""
        for name, count in self._counts().items():
            yield CounterReading(f"{names.OWN}.{name}", count)
        for name, level in self._levels().items():
            yield GaugeReading(f"{names.OWN}.{name}", level)

    def _counts(self) -> dict[str, int]:
        return {
            "reports": self._reports,
            "reports_skipped": self._skipped,
            "reports_broken": self._broken,
            "unreadable_gauges": self._unreadable,
            **{f"values_refused.{reason}": values for reason, values in self._refused.items()},
            **self._delivery.counts,
        }

    def _levels(self) -> dict[str, float]:
        return {
            "report_seconds": self._seconds,
            "longest_turn": self.longest_turn,
            "started": self._started,
            **self._delivery.levels,
        }


def check_interval(seconds: float) -> float:
    """Return ``seconds`` if a reporter can have such an interval; ValueError says why not otherwise."""
    if not (isfinite(seconds) and seconds >= 1):
        raise ValueError(f"an interval of {seconds} seconds is too short: Graphite keeps whole seconds, give 1 or more")
    return float(seconds)
