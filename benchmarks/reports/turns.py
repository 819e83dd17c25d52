"""What reports do to a reactor: starts ``reactor.py`` for each way to report, takes the reports, and tells."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from threading import Thread
from typing import NamedTuple

from benchmarks.reports.reactor import SKIPPED, Pair
from benchmarks.results import Plot, Table

__all__ = ["QUICK", "THOROUGH", "WAYS", "Plan", "Sink", "Way", "measure", "percentile", "tell"]

ROOT = Path(__file__).parent.parent.parent


class Way(NamedTuple):
    """One mode of the program, with so many reports a round."""

    name: str
    mode: str
    values: int
    interval: float
    window: float
    """Seconds from the beginning of a report on that belong to it, and before it in which there is none."""
    reports: int
    library: str = "txmetrics"
    arrives: bool = True
    """Whether its reports come to us."""


OURS, OURS_LARGE = "txmetrics", "txmetrics, 500,000 values"
IN_A_THREAD = "pyformance in its thread"

WAYS = [
    Way("no report", "nothing", 0, 4, 1.7, 3, arrives=False),
    Way(OURS, "txmetrics", 50_000, 4, 1.7, 15),
    Way(OURS_LARGE, "txmetrics", 500_000, 6, 2.5, 5),
    Way(IN_A_THREAD, IN_A_THREAD, 50_000, 1, 0.4, 10, "pyformance"),
    Way("pyformance inline", "pyformance inline", 50_000, 1, 0.4, 10, "pyformance"),
    Way("prometheus_client inline", "prometheus_client inline", 50_000, 2, 0.4, 5, "prometheus_client", arrives=False),
]
"""txmetrics has more to do after its report, up to 1.5 seconds later: its delivery looks what has arrived."""


NOTE_OF_TURNS = (
    "A turn is from the end of one poll to the beginning of the next, in CPU time of the reactor's thread; told is the "
    "longest from the beginning of a report on, and beside it that of as much time just before, without any. There are "
    "50,000 values, where nothing else is said. txmetrics is a Reporter with its delivery, which compresses, writes, "
    "and lets go of what has arrived: that takes longer, and so 1.7 seconds from the beginning on count (2.5 for "
    "500,000 values), of the others 0.4, or all until the report's end. Inline is a report made and sent in the "
    "reactor; that of prometheus_client is not sent. All of it after `gc.freeze()`, which the README recommends."
)

NOTE_OF_STALLS = (
    "The longest time between two beats of a `callLater(0)` that calls itself, in CPU time of the whole process, in "
    "the same times as above. `more` is the difference of the p50s. A thread that reports takes no turn of the "
    "reactor, but makes it wait for the interpreter, again and again."
)


class Plan(NamedTuple):
    """So many rounds of these ways, and so many processes at once."""

    ways: list[Way]
    rounds: int
    at_once: int = 1


THOROUGH = Plan(WAYS, 2)
QUICK = Plan([way._replace(values=way.values // 50, interval=1, window=0.4, reports=1) for way in WAYS], 1, len(WAYS))


class Sink:
    """Takes what is sent to ``port`` of 127.0.0.1, and counts its lines."""

    port: int

    def __init__(self) -> None:
        self.lines = self.connections = 0

    @contextmanager
    def open(self) -> Iterator[Sink]:
        sink = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(60)
                sink.connections += 1
                try:
                    while data := self.request.recv(2**18):
                        sink.lines += data.count(b"\n")
                finally:
                    sink.connections -= 1

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        with Server(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_address[1]
            Thread(target=server.serve_forever, args=[0.1], daemon=True).start()
            try:
                yield self
            finally:
                server.shutdown()

    def settle(self) -> int:
        """How many lines have come, once all senders are gone."""
        for _ in range(500):
            if not self.connections:
                break
            time.sleep(0.01)
        return self.lines


def measure(plan: Plan) -> dict[str, list[Pair]]:
    """The pairs by the name of the way. A way whose library is not installed is left out."""
    order = [way for _ in range(plan.rounds) for way in plan.ways if find_spec(way.library)]
    taken: dict[str, list[Pair]] = {way.name: [] for way in order}
    with ThreadPoolExecutor(plan.at_once) as pool:
        for way, found in zip(order, pool.map(in_a_process, order), strict=True):
            taken[way.name] += found
    without = [name for name, pairs in taken.items() if not pairs]
    if without:
        raise RuntimeError(f"this machine has too much else to do: no time between the reports of {', '.join(without)}")
    return taken


def in_a_process(way: Way) -> list[Pair]:
    """Raises RuntimeError if the reports have not arrived."""
    with Sink().open() as sink:
        options = [f"--mode={way.mode}", f"--values={way.values}", f"--port={sink.port}"]
        options += [f"--interval={way.interval}", f"--window={way.window}", f"--reports={way.reports}"]
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.reports.reactor", *options]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=300)
        lines = sink.settle()
    if way.arrives and lines < 0.9 * way.values * (way.reports + SKIPPED):
        raise RuntimeError(f"of {way.name}'s reports, {lines} lines arrived")
    return [Pair(*each) for each in json.loads(done.stdout)]


def percentile(values: list[float], percent: float) -> float:
    """The nearest rank: the smallest one that so many of a hundred do not exceed."""
    return sorted(values)[max(0, -int(-percent * len(values) // 100) - 1)]


def tell(taken: dict[str, list[Pair]]) -> tuple[Table, Table, Plot, dict[str, float]]:
    """Tables, a plot and the figures of what ``measure`` took."""
    without = ["", "reports", "p50", "p90", "most", "without a report, p50"]
    turns = Table("The longest turn of the reactor in a report, ms of CPU", without, note=NOTE_OF_TURNS + _missing())
    stalls = Table("For how long the reactor stands still, ms of CPU", [*without, "p90", "more"], note=NOTE_OF_STALLS)
    plot = Plot(stalls.title, "", "ms of CPU", kind="bars", logy=True, note="Median of the longest in each report.")
    for name, pairs in taken.items():
        turn, idle_turn, stall, idle = ([1000 * each for each in column] for column in zip(*pairs, strict=True))
        if name != IN_A_THREAD:
            turns.rows.append([name, str(len(pairs)), *_cells(turn), f"{median(idle_turn):.2f}"])
        more = median(stall) - median(idle)
        idle_cells = [f"{median(idle):.2f}", f"{percentile(idle, 90):.2f}", f"{more:+,.2f}"]
        stalls.rows.append([name, str(len(pairs)), *_cells(stall), *idle_cells])
        plot.series.setdefault("with reports", []).append((name, median(stall)))
        plot.series.setdefault("without", []).append((name, median(idle)))
    return turns, stalls, plot, figures(taken)


def figures(taken: dict[str, list[Pair]]) -> dict[str, float]:
    """What the goals are about, in milliseconds."""
    ours = taken[OURS]
    more = {
        way: 1000 * (median(pair.stall for pair in pairs) - median(pair.idle_stall for pair in pairs))
        for way, pairs in taken.items()
    }
    return {
        "longest turn": 1000 * percentile([pair.turn for pair in ours], 90),
        "longest turn at 500,000": 1000 * percentile([pair.turn for pair in taken[OURS_LARGE]], 90),
        "stall over idle": more[OURS],
        **{f"stall over idle, {way}": stall for way, stall in more.items()},
    }


def _missing() -> str:
    libraries = sorted({way.library for way in WAYS if not find_spec(way.library)})
    return "".join(f" Without {library}, which is not installed." for library in libraries)


def _cells(milliseconds: list[float]) -> list[str]:
    return [f"{each:,.2f}" for each in (median(milliseconds), percentile(milliseconds, 90), max(milliseconds))]
