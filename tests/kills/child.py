"""Processes for the kills: one that reports until it is stopped or killed, and one that floods a peer.

    python -m tests.kills.child '{"endpoint": "tcp:127.0.0.1:2003"}'

In the working directory it keeps a journal of JSON objects, a line each, of what is certain to have happened. Every
one says ``at`` what monotonic second, and one of these: the ``lines`` that are about to be handed to the delivery; the
``ledger``, now; ``settled``, when all is over, with the ``errors`` that were logged.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests import steady_child

EVERY = 0.1
"""Seconds between two ledgers."""


class Journal:
    """Survives a kill -9, but for a line that is just being written; that has no end then."""

    def __init__(self) -> None:
        self._file = os.open("journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, **what: Any) -> None:
        line = json.dumps({"at": time.monotonic(), **what}).encode() + b"\n"
        assert os.write(self._file, line) == len(line)


class Noted:
    """An IDelivery whose every chunk is in the journal first."""

    def __init__(self, delivery: Any, journal: Journal) -> None:
        self._delivery = delivery
        self._journal = journal

    def deliver(self, chunk: Any) -> None:
        self._journal.note(lines=chunk.data.decode())
        self._delivery.deliver(chunk)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)


# Twisted is imported late in here, for a reactor takes hold of the wall clock when it is imported.


def reporting(
    endpoint: str,
    prefix: str,
    series: int,
    window: float = 60.0,
    spool: str | None = None,
    steps: list[tuple[float, float]] | None = None,
) -> None:
    """Report ``series`` gauges and a tenth as many counters each second, until SIGTERM.

    ``steps`` are (after seconds, by seconds): how the wall clock is set meanwhile.
    """
    if steps:
        steady_child.shift_the_clock()

    from twisted.internet import reactor
    from twisted.internet.task import LoopingCall

    from txmetrics import MetricsRegistry, Reporter, backends
    from txmetrics.reporter import Backend
    from txmetrics.steady import steady

    journal, random, errors = Journal(), Random(), logged_errors()
    registry = MetricsRegistry()
    counters = [registry.counter(f"counter_{number}") for number in range(series // 10)]
    for number in range(series):
        registry.gauge(f"gauge_{number}", lambda: random.random() * 1000)
    # This makes the backend as everybody has it, and never runs itself.
    usual = backends.graphite(registry, endpoint, 1, prefix, replay_window=window, spool=spool)

    def backend(reactor: Any) -> Backend:
        wire, delivery = usual._make_backend(reactor)
        return Backend(wire, Noted(delivery, journal))

    reporter = Reporter(registry, backend, 1).start_with(reactor)

    def work() -> None:
        for counter in counters:
            counter.inc(random.randrange(10))
        journal.note(ledger=reporter.ledger())

    def settle() -> None:
        journal.note(ledger=reporter.ledger())
        journal.note(settled=True, errors=errors)

    clock = steady(reactor)
    loop = LoopingCall(work)
    loop.clock = clock
    reactor.callWhenRunning(loop.start, EVERY)
    for after, by in steps or []:
        clock.callLater(after, set_the_clock, by)
    reactor.addSystemEventTrigger("after", "shutdown", settle)
    reactor.run()


def logged_errors() -> list[str]:
    """The errors that are logged from now on."""
    from twisted.logger import LogLevel, formatEvent, globalLogPublisher

    errors: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event["log_level"] in (LogLevel.error, LogLevel.critical):
            errors.append(f"{formatEvent(event)} {event.get('log_failure', '')}")

    globalLogPublisher.addObserver(observe)
    return errors


def set_the_clock(by: float) -> None:
    """The wall clock that ``steady_child`` has put in the place of the real one."""
    steady_child._shift += by


def flooding(endpoint: str, max_bytes: int, points: int) -> None:
    """Deliver as fast as the reactor turns; print the memory that it took when the buffer was full, and ``points``
    later."""
    from twisted.internet import reactor
    from twisted.internet.endpoints import clientFromString

    from txmetrics.delivery import Stream
    from txmetrics.snapshot import GaugeReading
    from txmetrics.steady import steady
    from txmetrics.wire import Graphite

    wire, clock, random = Graphite("flood"), steady(reactor), Random(0)
    stream = Stream(clock, clientFromString(reactor, endpoint), endpoint, max_bytes=max_bytes)
    told: dict[str, int] = {}

    def turn(stamp: int) -> None:
        encoder = wire.encoder(stamp)
        for number in range(400):
            encoder.add(GaugeReading(f"gauge_{number}", random.random()))
        stream.deliver(encoder.finish())
        ledger = stream.ledger
        if not told and sum(ledger.dropped.values()):
            told.update(full=resident(), full_points=ledger.collected)
        if told and ledger.collected >= told["full_points"] + points:
            told.update(after=resident(), points=ledger.collected, dropped=sum(ledger.dropped.values()))
            told.update(connections=stream.counts["connections"], buffer=int(stream.levels["buffer_bytes"]))
            stream.stop(0).addCallback(lambda _: reactor.stop())
        else:
            reactor.callLater(0, turn, stamp + 1)

    stream.start()
    reactor.callWhenRunning(turn, 1_000_000_000)
    reactor.run()
    print(json.dumps(told))


def resident() -> int:
    """The bytes of memory that this process takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    settings: dict[str, Any] = json.loads(sys.argv[1])
    program: Callable[..., None] = flooding if "max_bytes" in settings else reporting
    program(**settings)


if __name__ == "__main__":
    main()
