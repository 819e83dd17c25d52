"""The faults: each a generator that makes trouble, waits by yielding seconds, and heals what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf, nan
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from txmetrics.reporter import STOP

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

__all__ = ["FAULTS", "SPOOL_FAULTS", "Fault", "draw"]

Kind = Callable[["Simulation", Random], Iterator[float]]

FAULTS: dict[str, Kind] = {}

SPOOL_FAULTS: dict[str, Kind] = {}
"""Those that only a sender with a spool has a remedy for."""


class Fault(NamedTuple):
    """One fault of a schedule. Its details come from ``seed``, so that dropping another one changes none of them."""

    kind: str
    start: float
    seed: str

    def steps(self, simulation: Simulation) -> Iterator[float]:
        return {**FAULTS, **SPOOL_FAULTS}[self.kind](simulation, Random(self.seed))


def draw(random: Random, seed: object, kinds: list[str], seconds: float, interval: float) -> list[Fault]:
    """A schedule: some faults of ``kinds`` within so many ``seconds``.

    Often one comes upon the other, and often just when a report is on its way.
    """
    starts: list[float] = []
    for _ in range(random.randint(2, 7)):
        soon = bool(starts) and random.random() < 0.5
        start = starts[-1] + random.uniform(0.0, 15.0) if soon else random.uniform(0.0, seconds)
        if random.random() < 0.4:
            start = max(0.0, start // interval * interval + random.uniform(-0.2, 2.0))
        starts.append(min(start, seconds))
    return [Fault(random.choice(kinds), start, f"{seed}/{number}") for number, start in enumerate(starts)]


def fault(kind: Kind) -> Kind:
    FAULTS[kind.__name__] = kind
    return kind


def spool_fault(kind: Kind) -> Kind:
    SPOOL_FAULTS[kind.__name__] = kind
    return kind


@contextmanager
def trouble(simulation: Simulation, name: str) -> Iterator[None]:
    """Meanwhile ``name`` is wrong."""
    simulation.trouble(name, 1)
    yield
    simulation.trouble(name, -1)


def duration(random: Random, longest: float = 100.0) -> float:
    """Often a moment, sometimes long."""
    return random.choice([random.uniform(0.05, 2.0), random.uniform(1.0, 20.0), random.uniform(5.0, longest)])


def kill_server(simulation: Simulation, random: Random) -> None:
    """What the server loses is often all that the replay window can mend, and little besides."""
    lose = random.choice([0.0, random.uniform(0.0, 1.0), random.uniform(0.5, 1.0)]) * simulation.settings.server_memory
    simulation.server.kill(lose, random.choice([0.0, random.uniform(0.0, 1.0)]))


def cut_connections(simulation: Simulation, random: Random) -> None:
    """Mostly a server that cannot be reached has no connections either."""
    if random.random() < 0.8:
        simulation.network.reset_all()


# The server


@fault
def kill(simulation: Simulation, random: Random) -> Iterator[float]:
    """It is killed, and comes back."""
    with trouble(simulation, "dead"):
        kill_server(simulation, random)
        yield duration(random)


@fault
def stop(simulation: Simulation, random: Random) -> Iterator[float]:
    """SIGSTOP and SIGCONT: its kernel still takes what it can hold."""
    with trouble(simulation, "frozen"):
        yield duration(random)
    simulation.server.go_on()


@fault
def stop_and_kill(simulation: Simulation, random: Random) -> Iterator[float]:
    """What lay in its kernel unread is lost."""
    with trouble(simulation, "frozen"):
        yield duration(random, 50.0)
        with trouble(simulation, "dead"):
            kill_server(simulation, random)
            yield duration(random)
    simulation.server.go_on()


@fault
def slow(simulation: Simulation, random: Random) -> Iterator[float]:
    """It reads some hundred bytes a second."""
    simulation.server.slow_rate = random.randint(50, 1000)
    with trouble(simulation, "slow"):
        yield duration(random)
    simulation.server.go_on()


@fault
def refuse(simulation: Simulation, random: Random) -> Iterator[float]:
    """Nobody listens."""
    with trouble(simulation, "refusing"):
        cut_connections(simulation, random)
        yield duration(random)


@fault
def accept_and_close(simulation: Simulation, random: Random) -> Iterator[float]:
    """A balancer without a backend."""
    with trouble(simulation, "accept_close"):
        cut_connections(simulation, random)
        yield duration(random)


@fault
def tls_failure(simulation: Simulation, random: Random) -> Iterator[float]:
    """Its certificate is bad, where there is one."""
    with trouble(simulation, "tls"):
        cut_connections(simulation, random)
        yield duration(random)


# The network


@fault
def reset(simulation: Simulation, random: Random) -> Iterator[float]:
    """Some box between the two sends a reset to both."""
    with trouble(simulation, "reset"):
        simulation.network.reset_all()
        yield 0.001


@fault
def cut(simulation: Simulation, random: Random) -> Iterator[float]:
    """The next bytes arrive up to some place, mostly in the middle of a line."""
    simulation.network.cut_at = random.random()
    with trouble(simulation, "cut"):
        yield 12.0
    simulation.network.cut_at = None


@fault
def blackhole(simulation: Simulation, random: Random) -> Iterator[float]:
    """Nothing passes, and nobody says so."""
    with hole(simulation):
        yield duration(random)


@fault
def blackhole_and_kill(simulation: Simulation, random: Random) -> Iterator[float]:
    """The server's whole machine is gone, and nobody says so."""
    with hole(simulation):
        yield random.uniform(0.0, 5.0)
        kill_server(simulation, random)
        with trouble(simulation, "dead"):
            yield duration(random)


@contextmanager
def hole(simulation: Simulation) -> Iterator[None]:
    with trouble(simulation, "blackhole"):
        simulation.network.begin_blackhole()
        yield
    simulation.network.heal_blackhole()


@fault
def dns_failure(simulation: Simulation, random: Random) -> Iterator[float]:
    """The name is not found."""
    with trouble(simulation, "dns_fails"):
        cut_connections(simulation, random)
        yield duration(random)


@fault
def dns_hang(simulation: Simulation, random: Random) -> Iterator[float]:
    """The resolver says nothing at all."""
    with trouble(simulation, "dns_hangs"):
        cut_connections(simulation, random)
        yield duration(random)


# The process and its machine


@fault
def wall_clock(simulation: Simulation, random: Random) -> Iterator[float]:
    """Somebody sets the clock."""
    simulation.wall_shift += random.choice(
        [random.uniform(-60.0, 60.0), random.uniform(-1.0, 1.0), random.uniform(60.0, 3600.0), 315_360_000.0]
    )
    yield 0.0


@fault
def gauge(simulation: Simulation, random: Random) -> Iterator[float]:
    """A gauge raises, or tells what is no number."""
    simulation.odd_gauge = random.choice([ValueError("out of order"), nan, inf, None, "many", 10**400, [], b"1"])
    yield random.uniform(5.0, 60.0)
    simulation.odd_gauge = 1.0


@fault
def blocked(simulation: Simulation, random: Random) -> Iterator[float]:
    """The application holds the reactor."""
    seconds = duration(random, 40.0)
    simulation.block(seconds)
    with trouble(simulation, "blocked"):
        yield seconds


@fault
def blocked_and_kill(simulation: Simulation, random: Random) -> Iterator[float]:
    """The server dies while the application holds the reactor, which then hears of everything at once."""
    seconds = random.uniform(1.0, 40.0)
    simulation.block(seconds)
    with trouble(simulation, "blocked"):
        before = random.uniform(0.0, seconds)
        yield before
        kill_server(simulation, random)
        with trouble(simulation, "dead"):
            yield seconds - before + random.choice([0.0, random.uniform(0.0, 20.0)])


@fault
def restart(simulation: Simulation, random: Random) -> Iterator[float]:
    """The reporter is stopped in order, and started again."""
    simulation.stop()
    yield STOP + 0.1
    with trouble(simulation, "down"):
        yield duration(random, 30.0)
    simulation.start()


# With a spool


@spool_fault
def crash(simulation: Simulation, random: Random) -> Iterator[float]:
    """The process is killed, and started again."""
    with trouble(simulation, "down"):
        simulation.crash()
        yield random.uniform(2.0, 30.0)
    simulation.start()


@spool_fault
def crash_in_a_write(simulation: Simulation, random: Random) -> Iterator[float]:
    """The process is killed while it writes a frame, so that part of it is on the disk."""
    crashes = simulation.crashes
    simulation.disk.kill_at = random.random()
    for _ in range(60):
        yield 1.0
        if simulation.crashes > crashes:
            with trouble(simulation, "down"):
                yield random.uniform(2.0, 30.0)
            break
    simulation.disk.kill_at = None
    simulation.start()


@spool_fault
def disk_full(simulation: Simulation, random: Random) -> Iterator[float]:
    """The next bytes are written, and then no more; often just when they must be, because nobody listens."""
    with trouble(simulation, "disk"), trouble(simulation, random.choice(["disk", "refusing"])):
        cut_connections(simulation, random)
        simulation.disk.free = random.choice([0, random.randint(1, 5_000)])
        yield duration(random)
        simulation.disk.free = None


@spool_fault
def disk_failing(simulation: Simulation, random: Random) -> Iterator[float]:
    """Every now and then, or always, the disk gives an error."""
    with trouble(simulation, "disk"):
        simulation.disk.failing = random.choice([0.1, 0.5, 1.0])
        yield duration(random)
        simulation.disk.failing = 0.0
