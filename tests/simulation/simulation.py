"""One simulation: the real reporter, stream and Twisted transports for ten virtual minutes of faults, and a judge."""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from tests.simulation import cipher
from tests.simulation.disk import Disk, Killed
from tests.simulation.ears import heard_outbox, heard_spool
from tests.simulation.faults import FAULTS, SPOOL_FAULTS, Fault, draw
from tests.simulation.kernel import Network, Reactor, outstanding
from tests.simulation.mutants import Sender
from tests.simulation.oracles import RECOVERY, Judge, ViolationError
from tests.simulation.server import Server
from txmetrics import Clock, MetricsRegistry
from txmetrics.delivery import Secret, _kernel, _outbox, _segment, _spool, _stream
from txmetrics.reporter import STOP, Backend
from txmetrics.wire import Graphite

__all__ = ["Outcome", "Settings", "run", "schedule"]

SECONDS = 600.0
FAULTY = 480.0
"""No fault begins later, so that each heals within SECONDS."""

INTERVAL = 10.0

BUSY = 20_000
"""So many events in one moment are an endless loop."""


@dataclass(frozen=True)
class Settings:
    """The world that a seed stands for, its faults aside."""

    window: float
    server_memory: float
    """What a crash may take from the server, in seconds: within the window."""
    max_bytes: int
    warm: int
    series: int
    latency: float
    send_buffer: int
    receive_buffer: int
    kernel_timeouts: bool
    kernel_counts: bool
    stubborn: bool
    tls: bool
    key: str
    spool_bytes: int
    """0: there is no spool."""

    @classmethod
    def draw(cls, random: Random, spool: bool) -> Settings:
        window = random.choice([60.0, 60.0, 60.0, 60.0, 60.0, 60.0, 30.0, 15.0, 120.0, 0.0])
        kernel_timeouts = random.random() < 0.8
        return cls(
            window=window,
            server_memory=window,
            max_bytes=random.choice([2**23, 2**23, 2**23, random.randint(8_000, 60_000)]),
            warm=random.choice([_outbox.WARM, _outbox.WARM, 0, 5_000]),
            series=random.randint(1, 8),
            latency=random.choice([0.0, 0.0, 0.01, 0.1, 0.4]),
            send_buffer=random.choice([4_096, 16_384, 65_536, 262_144]),
            receive_buffer=random.choice([4_096, 16_384, 65_536, 262_144]),
            kernel_timeouts=kernel_timeouts,
            # Where the kernel does not tell what has arrived only a long window can make up for it.
            kernel_counts=not kernel_timeouts or window < 60.0 or random.random() < 0.8,
            stubborn=random.random() < 0.1,
            tls=random.random() < 0.25,
            key=f"{random.getrandbits(128):032x}" if random.random() < 0.2 else "",
            spool_bytes=random.choice([2**26, 2**26, 2**26, random.randint(20_000, 100_000)]) if spool else 0,
        )


@dataclass
class Outcome:
    """What came of one simulation."""

    wrong: str = ""
    seen: Tally[str] = field(default_factory=Tally)
    recoveries: list[tuple[float, float]] = field(default_factory=list)


def schedule(seed: int, spool: bool = False) -> tuple[Settings, list[Fault]]:
    """What ``seed`` stands for."""
    name = f"{seed} spool" if spool else f"{seed}"
    settings = Settings.draw(Random(f"{name} settings"), spool)
    # A new process cannot know which seconds the last one has reported, if the clock was set back.
    kinds = [kind for kind in FAULTS if kind != "wall_clock"] + 2 * list(SPOOL_FAULTS) if spool else list(FAULTS)
    return settings, draw(Random(f"{name} faults"), name, kinds, FAULTY, INTERVAL)


def run(seed: int, keep: list[int] | None = None, spool: bool = False, sender: Sender | None = None) -> Outcome:
    """Simulate ``seed``, with only the faults at the places ``keep`` in its schedule if that is given."""
    settings, faults = schedule(seed, spool)
    if keep is not None:
        faults = [faults[place] for place in keep]
    simulation = Simulation(seed, settings, sender or Sender())
    with simulation.in_place():
        try:
            simulation.run(faults)
        except ViolationError as violation:
            simulation.outcome.wrong = str(violation)
        finally:
            simulation.disk.remove()
    simulation.conclude(faults)
    return simulation.outcome


class Simulation:
    """The process, and the world around it."""

    def __init__(self, seed: int, settings: Settings, sender: Sender) -> None:
        self.settings = settings
        self.outcome = Outcome()
        self.wall_shift = 0.0
        self.odd_gauge: Any = 1.0
        self._random = Random(f"{seed} on its way")
        self._sender = sender
        self.reactor = Reactor()
        self.judge = Judge(self.reactor.seconds, settings)
        self.server = Server(self.judge, settings)
        self.network = Network(self.reactor, self.server, self._random, settings)
        self.reactor.network = self.server.network = self.network
        self.judge.server = self.server
        self._endpoint = _Endpoint(self)
        self.disk = self.judge.disk = Disk(self._random, self._die)
        self.crashes = 0
        self._dying = False
        self._running = False
        self._stops: list[float] = []
        self._registry = MetricsRegistry(Clock(wall=self._wall, tick=self.reactor.seconds))
        self._fill_registry()
        self._reporter = self._new_reporter()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Meanwhile the code under test sees the modelled kernel, and the judge hears of it."""
        fcntl = SimpleNamespace(ioctl=outstanding(self.network))
        was = (_stream.Outbox, _stream.Connector, _kernel.fcntl, _outbox.WARM)
        _spool.os = _segment.os = self.disk
        _stream.Outbox = heard_outbox(self._sender.outbox, self.judge)
        _stream.Connector = self._sender.connector
        _kernel.fcntl, _outbox.WARM = fcntl, self.settings.warm
        globalLogPublisher.addObserver(self.judge.log_event)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(self.judge.log_event)
            _stream.Outbox, _stream.Connector, _kernel.fcntl, _outbox.WARM = was
            _spool.os = _segment.os = os

    def run(self, faults: list[Fault]) -> None:
        """The faults, then the time that everything needs to be well again, then the end."""
        for fault in faults:
            self.reactor.later(fault.start, partial(self._go_on, fault.steps(self)))
        self.start()
        begin = self.reactor.seconds()
        self._until(begin + SECONDS)
        while self._troubled or not self._running:
            self._until(self.reactor.seconds() + 1.0)
        self._finish()
        if self.judge.on_disk:
            # A life that found its disk broken has left the spool alone.
            self.start()
            self._finish()
        self._look_for_key()
        self.judge.finish([*self.reactor.calls, *self.reactor.readers, *self.reactor.writers])

    def _finish(self) -> None:
        self._until(self.reactor.seconds() + RECOVERY)
        self.judge.check_arrived()
        self.stop()
        self._until(self.reactor.seconds() + STOP + 2.0)

    def conclude(self, faults: list[Fault]) -> None:
        """Fill in the outcome."""
        outcome, judge = self.outcome, self.judge
        outcome.seen = judge.seen
        outcome.recoveries = judge.recoveries
        outcome.seen.update(f"fault {fault.kind}" for fault in faults)
        outcome.seen["connection attempts"] += self.network.attempts
        outcome.seen["cuts"] += self.network.cuts
        for generation in judge.generations:
            counts = generation.counts
            for name, number in counts.items():
                if name.startswith(("points_", "connection")):
                    outcome.seen[name] += number

    # What the faults do

    def trouble(self, name: str, change: int) -> None:
        self.network.trouble[name] += change
        self.judge.turned(self._troubled)

    def block(self, seconds: float) -> None:
        self.reactor.blocked_until = max(self.reactor.blocked_until, self.reactor.seconds() + seconds)

    def start(self) -> None:
        if not self._running:
            self._running = self.judge.running = True
            self.judge.last_report = self.reactor.seconds()
            self._reporter.startService()

    def stop(self) -> None:
        if self._running:
            self._running = self.judge.running = False
            asked = max(self.reactor.seconds(), self.reactor.blocked_until)
            self._stops.append(asked)
            self._reporter.stopService().addCallback(self._stopped, asked)

    def crash(self) -> None:
        """The process is killed; its kernel does what kernels do."""
        self.crashes += 1
        self._dying = self._running = self.judge.running = False
        self.reactor.forget_process()
        self.network.process_died()
        self.disk.process_died()
        self.judge.crashed()
        self._stops.clear()
        self._look_for_key()
        self._reporter = self._new_reporter()

    @property
    def _troubled(self) -> bool:
        return self.network.trouble.total() > 0

    def _go_on(self, steps: Iterator[float]) -> None:
        wait = next(steps, None)
        if wait is not None:
            self.reactor.later(wait, partial(self._go_on, steps))

    def _die(self) -> None:
        self._dying = self.judge.deaf = True

    def _stopped(self, result: object, asked: float) -> None:
        if asked not in self._stops:
            return  # of a process that is no more
        self._stops.remove(asked)
        took = self.reactor.seconds() - max(asked, self.reactor.blocked_until)
        if took > STOP + 0.01:
            self.judge.complain(f"the stop took {took:.3f} seconds")

    # Time

    def _until(self, end: float) -> None:
        reactor, judge = self.reactor, self.judge
        moment, events = 0.0, 0
        while self._step(end):
            judge.check()
            if reactor.rightNow > moment:
                moment, events = reactor.rightNow, 0
            events += 1
            if events > BUSY:
                raise ViolationError(f"at {moment - 1e9:.3f}: an endless loop")
        for asked in self._stops:
            if reactor.rightNow - max(asked, reactor.blocked_until) > STOP + 1.0:
                judge.complain("a stop does not end")
        judge.check()

    def _step(self, end: float) -> bool:
        try:
            return self.reactor.step(end)
        except Killed:
            return True
        finally:
            if self._dying:
                self.crash()

    def _wall(self) -> float:
        return self.reactor.rightNow + self.wall_shift

    # The application

    def _backend(self, reactor: Any) -> Backend:
        settings: dict[str, Any] = {}
        if self.settings.key:
            settings["frame"] = Secret(self.settings.key).before_each_line
        stream = self._sender.stream(
            reactor,
            self._endpoint,
            "tcp:graphite:2003",
            replay_window=self._sender.window(self.settings.window),
            max_bytes=self.settings.max_bytes,
            random=self._random.random,
            spool=self._new_spool(),
            **settings,
        )
        return Backend(Graphite("app"), self.judge.generation(stream))

    def _new_spool(self) -> Any:
        if not self.settings.spool_bytes:
            return None
        return heard_spool(self._sender.spool, self.judge)(self.disk.directory / "spool", self.settings.spool_bytes)

    def _new_reporter(self) -> Any:
        return self._sender.reporter(self._registry, self._backend, INTERVAL, reactor=self.reactor)

    def _fill_registry(self) -> None:
        values = Random(f"{self._random.random()}")

        def telling(path: bytes) -> Any:
            def tell() -> float:
                value = self.judge.told[path] = values.choice([values.random(), float(values.getrandbits(40))])
                return value

            return tell

        for number in range(self.settings.series):
            name = f"gauge{number}"
            self._registry.gauge(name, telling(b"app." + name.encode()))
        self._registry.gauge("odd", self._tell_odd)
        self._registry.counter("jobs").inc()

    def _tell_odd(self) -> Any:
        if isinstance(self.odd_gauge, Exception):
            raise self.odd_gauge
        return self.odd_gauge

    def _look_for_key(self) -> None:
        for thing in (self._reporter, *(generation.stream for generation in self.judge.generations)):
            text = f"{thing!r} {thing} {vars(thing)!r}"
            self.judge.look_for_key(text, f"the repr of a {type(thing).__name__}")
        self.judge.look_for_key(self.disk.contents().decode("latin-1"), "the spool")


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """A name to look up, TCP, and TLS on it in some worlds."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._tcp = TCP4ClientEndpoint(simulation.reactor, "127.0.0.1", 2003)

    def connect(self, factory: Any) -> Any:
        simulation = self._simulation
        trouble = simulation.network.trouble
        if trouble["dns_hangs"]:
            return Deferred()
        if trouble["dns_fails"]:
            failing: Deferred[Any] = Deferred()
            crashes = simulation.crashes

            def fail() -> None:
                if not failing.called and simulation.crashes == crashes:
                    failing.errback(DNSLookupError("no such host"))

            simulation.reactor.later(0.01, fail)
            return failing
        if simulation.settings.tls:
            connecting = self._tcp.connect(cipher.over_tls(factory, simulation.reactor))
            connecting.addCallback(lambda protocol: protocol.wrappedProtocol)
        else:
            connecting = self._tcp.connect(factory)
        return _uncancellable(connecting) if simulation.settings.stubborn else connecting


def _uncancellable(connecting: Deferred[Any]) -> Deferred[Any]:
    """Some endpoints cannot be stopped: a connection may come of an attempt that nobody waits for any more."""
    answer: Deferred[Any] = Deferred()
    connecting.addCallbacks(
        lambda protocol: answer.called or answer.callback(protocol),
        lambda failure: answer.called or answer.errback(failure),
    )
    return answer
