"""The command: many simulations in several processes, progress, a summary, and the shortest way to each failure."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections import Counter as Tally
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from twisted.logger import globalLogBeginner

from tests.simulation.mutants import MUTANTS, Sender
from tests.simulation.simulation import Outcome, run, schedule

__all__ = ["Summary", "main", "once", "parser", "regressions", "shrink", "simulate", "simulate_many"]

REGRESSIONS = Path(__file__).with_name("regressions.txt")

BATCH = 20
"""Seeds that one process simulates at a time."""

SHOWN = 5
"""So many failures are shrunk and told; more would say the same."""


@dataclass
class Summary:
    """What many simulations came to."""

    seeds: int = 0
    cpu: float = 0.0
    failures: list[tuple[int, str]] = field(default_factory=list)
    seen: Tally[str] = field(default_factory=Tally)
    recoveries: list[tuple[float, float]] = field(default_factory=list)

    def add(self, seed: int, outcome: Outcome) -> None:
        self.seeds += 1
        self.seen.update(outcome.seen)
        self.recoveries += outcome.recoveries
        if outcome.wrong:
            self.failures.append((seed, outcome.wrong))

    def join(self, other: Summary) -> None:
        self.seeds += other.seeds
        self.cpu += other.cpu
        self.failures += other.failures
        self.seen.update(other.seen)
        self.recoveries += other.recoveries

    def text(self) -> Iterator[str]:
        """The summary, line by line."""
        seen = self.seen
        speed = self.seeds / max(self.cpu, 0.001)
        yield f"{self.seeds} schedules, {len(self.failures)} failed, {speed:.0f} a CPU second"
        names = ["collected", "delivered", "sent", "replayed"]
        yield "points: " + ", ".join(f"{seen[f'points_{name}']:,} {name}" for name in names)
        yield "conflicts and foreign values: none, or they are among the failures"
        for title, lead in [("dropped", "points_dropped."), ("faults", "fault "), ("lost", "connections_lost.")]:
            counts = sorted((name.removeprefix(lead), number) for name, number in seen.items() if name.startswith(lead))
            yield f"{title}: " + ", ".join(f"{number:,} {name}" for name, number in counts)
        yield _recovery("recovery", [took for took, _ in self.recoveries])
        yield _recovery(
            "recovery from outages of at most a minute", [took for took, out in self.recoveries if out <= 60]
        )


def _recovery(title: str, seconds: list[float]) -> str:
    if not seconds:
        return f"{title}: none was needed"
    ranked = sorted(seconds)
    at = {name: ranked[min(len(ranked) - 1, int(len(ranked) * part))] for name, part in [("p50", 0.5), ("p99", 0.99)]}
    return f"{title}: p50 {at['p50']:.1f} s, p99 {at['p99']:.1f} s, max {ranked[-1]:.1f} s of {len(ranked)}"


def simulate(seeds: range, spool: bool = False, mutant: str = "") -> Summary:
    """All of ``seeds``, one after the other."""
    summary = Summary()
    begin = time.process_time()
    for seed in seeds:
        summary.add(seed, run(seed, spool=spool, sender=_sender(mutant)))
    summary.cpu = time.process_time() - begin
    return summary


def shrink(seed: int, spool: bool = False, mutant: str = "") -> tuple[list[int], str]:
    """The fewest faults of ``seed`` that still make it fail, as places in its schedule, and what is wrong then."""
    keep = list(range(len(schedule(seed, spool)[1])))
    wrong = run(seed, keep, spool, _sender(mutant)).wrong
    for place in list(keep):
        fewer = [other for other in keep if other != place]
        outcome = run(seed, fewer, spool, _sender(mutant))
        if outcome.wrong:
            keep, wrong = fewer, outcome.wrong
    return keep, wrong


def regressions() -> list[str]:
    """The arguments that once failed, in the file's order."""
    lines = (line.partition("#")[0].strip() for line in REGRESSIONS.read_text().splitlines())
    return [line for line in lines if line]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    made.add_argument("seeds", type=int, nargs="?", default=1000, help="how many (1000)")
    made.add_argument("--start", type=int, default=0, help="the first of them")
    made.add_argument("--jobs", type=int, default=1, help="in so many processes")
    made.add_argument("--spool", action="store_true", help="with a spool, a failing disk and crashes of the process")
    made.add_argument("--mutant", choices=sorted(MUTANTS), default="", help="a sender that is broken on purpose")
    made.add_argument("--seed", type=int, help="this one alone")
    made.add_argument("--keep", default=None, help="of its faults only those at these places, such as 0,2")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    return _alone(options) if options.seed is not None else _many(options)


def once(options: argparse.Namespace) -> str:
    """What is wrong with the one schedule that ``options`` name."""
    return run(options.seed, _places(options), options.spool, _sender(options.mutant)).wrong


def simulate_many(seeds: range, jobs: int, spool: bool = False, mutant: str = "", progress: bool = False) -> Summary:
    """All of ``seeds``, in ``jobs`` processes."""
    summary = Summary()
    with ProcessPoolExecutor(jobs, get_context("spawn"), be_quiet) as pool:
        batches = [seeds[first : first + BATCH] for first in range(0, len(seeds), BATCH)]
        for task in as_completed([pool.submit(simulate, batch, spool, mutant) for batch in batches]):
            summary.join(task.result())
            if progress:
                print(f"\r{summary.seeds} of {len(seeds)}, {len(summary.failures)} failed ", end="", file=sys.stderr)
    if progress:
        print(file=sys.stderr)
    summary.failures.sort()
    return summary


def be_quiet() -> None:
    """What a killed process of the simulation leaves behind is no news; the judge hears the log by himself."""
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)


def _alone(options: argparse.Namespace) -> int:
    keep = _places(options)
    settings, faults = schedule(options.seed, options.spool)
    print(settings)
    for place, fault in enumerate(faults):
        if keep is None or place in keep:
            print(f"{place}: {fault.kind} at {fault.start:.3f}")
    wrong = once(options)
    print(wrong or "nothing is wrong")
    return int(bool(wrong))


def _many(options: argparse.Namespace) -> int:
    failed = 0
    for line in regressions():
        wrong = once(parser().parse_args(shlex.split(line)))
        if wrong:
            failed += 1
            print(f"python -m tests.simulation {line}\nfails again: {wrong}\n")
    begin = time.monotonic()
    seeds = range(options.start, options.start + options.seeds)
    summary = simulate_many(seeds, options.jobs, options.spool, options.mutant, progress=sys.stderr.isatty())
    print(f"{time.monotonic() - begin:.0f} seconds in {options.jobs} processes")
    print(*summary.text(), sep="\n")
    for seed, wrong in summary.failures[:SHOWN]:
        keep, _ = shrink(seed, options.spool, options.mutant)
        rest = " --spool" * options.spool + f" --mutant {options.mutant}" * bool(options.mutant)
        print(f"\nseed {seed}: {wrong}")
        print(f"alone: python -m tests.simulation --seed {seed} --keep {','.join(map(str, keep))}{rest}")
    return int(bool(summary.failures or failed))


def _places(options: argparse.Namespace) -> list[int] | None:
    return None if options.keep is None else [int(place) for place in options.keep.split(",") if place]


def _sender(mutant: str) -> Sender:
    return MUTANTS[mutant]() if mutant else Sender()
