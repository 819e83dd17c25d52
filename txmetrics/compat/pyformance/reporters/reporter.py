"""Reporter: the base of them all, with pyformance's start, stop and report_now, on txmetrics' own reporter.

start() --> txmetrics.reporter.Reporter, in the reactor --every interval--> a wire --chunks--> a delivery
report_now() ------------------------ the same wire, in turns of the reactor -------------------^
"""

from __future__ import annotations

import atexit
import sys
import time
from functools import cached_property
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.logger import Logger

from txmetrics import reporter
from txmetrics.compat.pyformance.registry import global_registry
from txmetrics.compat.pyformance.reporters._local import Nothing, Nowhere, OneCall
from txmetrics.compat.pyformance.reporters._report import Source, in_turns, steps
from txmetrics.interfaces import IDelivery, IWire

__all__ = ["Reporter", "no_reactor"]


class Reporter:
    """Reports ``registry`` every ``reporting_interval`` seconds, and once more when it is stopped.

    ``registry`` is one of ``txmetrics.compat.pyformance`` (or has its ``dump_metrics``); None: the global one.
    ``clock.time()`` tells the timestamps; None: the machine's. Reports are due at the multiples of the interval and
    carry them as their timestamps. Everything happens in the reactor, in short turns and without a thread; what goes
    wrong is logged and reaches nobody else.

    A subclass of one's own has a ``report_now(self, registry=None, timestamp=None)``, which is called in the reactor.
    Raises ValueError for an interval under one second, TypeError for a registry that is none.
    """

    log = Logger()

    def __init__(self, registry: Any = None, reporting_interval: float = 30, clock: Any = None) -> None:
        reporter.check_interval(reporting_interval)
        self.registry = _checked(global_registry() if registry is None else registry)
        self.reporting_interval = reporting_interval
        self.clock = time if clock is None else clock
        self._crank: reporter.Reporter | None = None
        self._delivery: IDelivery | None = None  # the crank's, while it runs
        self._stopped = False
        self._reports: set[Deferred[None]] = set()  # of ``report_now``, under way

    def start(self) -> bool:
        """Begin, or as soon as the reactor runs; False if it was started or stopped already."""
        if self._crank is not None or self._stopped:
            return False
        from twisted.internet import reactor as _reactor

        reactor: Any = _reactor
        source: Any = Source(Nothing() if self._is_own else self.registry, self.clock)
        self._crank = reporter.Reporter(source, self._open, self.reporting_interval, reactor=reactor)
        atexit.register(self._complain)
        reactor.callWhenRunning(self._begin)
        reactor.addSystemEventTrigger("before", "shutdown", self.stop)
        return True

    def stop(self) -> Deferred[None]:
        """Report the last interval and end, for good; the Deferred fires when that is delivered, or given up.

        The reactor does so when it stops.
        """
        self._stopped = True
        atexit.unregister(self._complain)
        return DeferredList(list(self._reports)).addCallback(self._end)

    def report_now(self, registry: Any = None, timestamp: float | None = None) -> Deferred[None]:
        """Report once, besides the regular reports, from ``registry`` (None: its own) and of the second ``timestamp``.

        In a running reactor that takes as many short turns as are necessary, and the Deferred fires after the last,
        or, where the reporter was not started, when everything is delivered; it never fails. Where no reactor runs
        everything is done at once, and what is wrong is raised: also a RuntimeError by those that need a reactor.
        """
        source = Source(self.registry if registry is None else _checked(registry), self.clock)
        reactor = running_reactor()
        delivery = self._delivery
        if delivery is None:
            delivery = self._deliver_to(reactor)
            delivery.start()
        encoder = self._wire.encoder(int(timestamp or round(self.clock.time())))
        report = steps(source.collect(), encoder, delivery.deliver)
        if reactor is None:
            try:
                for _ in report:
                    pass
            finally:
                delivery.stop(0)
            return succeed(None)
        # The last report of a subclass: its turns would come too late.
        return self._note(maybeDeferred(list, report) if self._stopped else in_turns(reactor, report), delivery)

    # What each kind has of its own

    def _write_as(self) -> IWire:
        """How a report is written down."""
        # As with pyformance's: a class of the user's own has report_now, and only then is none of this asked for.
        raise NotImplementedError(f"{type(self).__name__} has no report_now(self, registry=None, timestamp=None)")

    def _deliver_to(self, reactor: Any) -> IDelivery:
        """Where reports go; ``reactor`` is None where none runs."""
        return Nowhere()

    @cached_property
    def _wire(self) -> IWire:
        return self._write_as()  # once, for it remembers what it has told the log

    # The crank

    def _begin(self) -> None:
        atexit.unregister(self._complain)
        if self._crank is not None and not self._stopped:
            self._crank.startService()

    def _end(self, ignored: object) -> Deferred[None]:
        def forget(ignored: object) -> None:
            self._delivery = None

        return succeed(None) if self._crank is None else self._crank.stopService().addCallback(forget)

    @property
    def _is_own(self) -> bool:
        """Whether a report is whatever somebody's own ``report_now`` does."""
        kind = type(self)
        return kind.report_now is not Reporter.report_now or kind._write_as is Reporter._write_as

    def _open(self, reactor: Any) -> reporter.Backend:
        self._delivery = self._deliver_to(reactor)
        wire = OneCall(lambda: self.report_now(self.registry)) if self._is_own else self._wire
        return reporter.Backend(wire, self._delivery)

    def _note(self, report: Deferred[Any], delivery: IDelivery) -> Deferred[None]:
        """Remember a report of ``report_now`` until it is done, and then stop a delivery that is its own."""

        def finish(result: object) -> Any:
            return None if delivery is self._delivery else delivery.stop(reporter.STOP)

        done = report.addErrback(lambda failure: self.log.failure("a report broke off", failure=failure))
        done.addCallback(finish)
        self._reports.add(done)
        answer: Deferred[None] = Deferred()
        done.addCallback(lambda ignored: self._reports.discard(done)).addCallback(answer.callback)
        return answer

    def _complain(self) -> None:
        kind = type(self).__name__
        print(
            f"{kind}: it was started, but no reactor ever ran, so it has reported nothing; "
            "call reactor.run(), or let twistd run the program",
            file=sys.stderr,
        )


def running_reactor() -> Any:
    """The global reactor if it runs, None otherwise; never chooses one."""
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    return reactor if reactor is not None and reactor.running else None


def no_reactor(reporter: Reporter) -> RuntimeError:
    """What to raise where no reactor runs, but one is needed to send what is reported."""
    return RuntimeError(
        f"no reactor runs, which would send what the {type(reporter).__name__} reports; let the reactor call "
        "report_now(), as in reactor.callWhenRunning(reporter.report_now)"
    )


def _checked(registry: Any) -> Any:
    if not callable(getattr(registry, "dump_metrics", None)):
        where = type(registry).__module__.partition("._")[0]  # the room, not the module behind its door
        kind = f"{where}.{type(registry).__qualname__}"
        raise TypeError(
            f"the registry is a {kind}; give a MetricsRegistry of txmetrics.compat.pyformance, "
            "or let txmetrics.backends report one of txmetrics"
        )
    return registry
