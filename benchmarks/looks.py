"""What it costs to be looked at: the point a second that a page keeps of each series, and Prometheus' scrapes.

    python -m benchmarks.looks                # two minutes or so; --quick: a look at whether it runs

Each server is a process of its own, see ``looking/server.py``, and so is who scrapes it. What is compared takes turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.request import Request, urlopen

from benchmarks.results import Results, Table
from txmetrics import Clock, MetricsRegistry
from txmetrics.ext.dashboard._history import History

__all__ = ["SCRAPES", "Look", "main"]

ROOT = Path(__file__).parent.parent

SCRAPES = {
    "50,000 counters": "scraped counters",
    "3,125 timers": "scraped timers",
    "3,125 histograms of prometheus_client, inline": "prometheus_client",
}
"""All of them are 50,000 series."""

EVERY = 2.0
"""Seconds from one scrape to the next."""

NOTE_OF_A_PAGE = (
    "A registry of 1,000 timers, which is 5,000 series, each timer with five new values a second. CPU is what the "
    "reactor's thread takes a second, more than without a page; a turn is from the end of one poll to the beginning of "
    "the next. The memory is that of all ring buffers, full."
)
NOTE_OF_SCRAPES = (
    "CPU is what a scrape takes of the reactor's thread, sending included. `open` is what a request for OpenMetrics "
    "takes until its last byte; the reactor serves others meanwhile, but for its longest turn."
)


class Look(NamedTuple):
    """What a server told of itself after some seconds, and the one who scraped it."""

    cpu: float
    longest: float
    scrapes: list[float]


class Plan(NamedTuple):
    """How many series, and for how many seconds each server is looked at, after others in which it settles."""

    kept: int
    scraped: int
    seconds: float
    settle: float
    rounds: int
    at_once: int
    """So many servers; more than one only to see whether it runs."""


THOROUGH = Plan(5_000, 50_000, 12, 2, 3, 1)
QUICK = Plan(100, 1_000, 1.2, 0.2, 1, 12)


def look(mode: str, series: int, plan: Plan, gzip: bool | None = None) -> Look:
    """Run a server; ask it every EVERY seconds, unless ``gzip`` is None."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.looking.server"]
    command += [f"--mode={mode}", f"--series={series}", f"--seconds={plan.seconds}", f"--settle={plan.settle}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            scrapes = [] if gzip is None else list(scrape(port, gzip, plan.seconds))
            told = json.loads(server.stdout.readline())
            server.wait(30)
        finally:
            server.kill()
    return Look(told["cpu"], told["longest"], scrapes)


def scrape(port: int, gzip: bool, seconds: float) -> Iterator[float]:
    """Ask for everything, once at least, until the server is about to end; how long each took."""
    end = time.monotonic() + seconds - EVERY
    headers = {"Accept": "application/openmetrics-text;version=1.0.0"} | ({"Accept-Encoding": "gzip"} if gzip else {})
    while True:
        began = time.perf_counter()
        with urlopen(Request(f"http://127.0.0.1:{port}/", headers=headers), timeout=30) as answer:
            answer.read()
        took = time.perf_counter() - began
        yield took
        if time.monotonic() + EVERY > end:
            return
        time.sleep(max(0.0, EVERY - took))


def memory(series: int) -> float:
    """The bytes of all ring buffers of so many series, when each of them is full."""
    day = 1440
    time_ = [1_000_000_000.0]
    registry = MetricsRegistry(Clock(wall=lambda: time_[0], tick=lambda: time_[0]))
    for number in range(series):
        registry.gauge(f"app.gauge{number}").set(number)
    before = resident()
    history = History(registry, series)
    for _ in range(day + 1):  # a minute each, at which every tier has a row
        for _ in history.collect(time_[0]):
            pass
        time_[0] += 60
    return resident() - before


def resident() -> float:
    """Bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def tell_page(bare: list[Look], shown: list[Look], seconds: float, held: float) -> tuple[Table, dict[str, float]]:
    more = 1000 * (median(each.cpu for each in shown) - median(each.cpu for each in bare)) / seconds
    longest, idle = (1000 * max(each.longest for each in looks) for looks in (shown, bare))
    table = Table("A page that nobody looks at, of 5,000 series", ["", "ms, MB"], note=NOTE_OF_A_PAGE)
    table.rows += [
        ["CPU a second, more than without", f"{more:.1f}"],
        ["longest turn", f"{longest:.2f}"],
        ["longest turn without a page", f"{idle:.2f}"],
        ["memory", f"{held / 1e6:.1f}"],
    ]
    return table, {"page, CPU a second": more, "page, longest turn": longest, "page, memory": held / 1e6}


def tell_scrapes(taken: dict[str, tuple[Look, ...]]) -> tuple[Table, dict[str, float]]:
    columns = ["50,000 series", "CPU, ms", "longest turn, ms", "open, ms", "gzip: CPU", "longest turn", "open"]
    table = Table("A scrape", columns, note=NOTE_OF_SCRAPES)
    figures = {}
    for name, (bare, plain, gzip) in taken.items():
        row = [name]
        for each in (plain, gzip):
            cpu = 1000 * (each.cpu - bare.cpu) / len(each.scrapes)
            row += [f"{cpu:,.0f}", f"{1000 * each.longest:,.2f}", f"{1000 * median(each.scrapes):,.0f}"]
        table.rows.append(row)
        figures[f"scrape, longest turn, {name}"] = 1000 * max(plain.longest, gzip.longest)
    return table, figures


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to be looked at.")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    given = parser.parse_args()
    plan = QUICK if given.quick else THOROUGH
    results = Results("looks")
    modes = {name: mode for name, mode in SCRAPES.items() if mode != "prometheus_client" or find_spec(mode)}
    with ThreadPoolExecutor(plan.at_once) as pool:
        pages = [
            pool.submit(look, mode, plan.kept, plan) for _ in range(plan.rounds) for mode in ("nothing", "dashboard")
        ]
        scrapes = {
            name: [pool.submit(look, mode, plan.scraped, plan, gzip) for gzip in (None, False, True)]
            for name, mode in modes.items()
        }
        looks = [each.result() for each in pages]
        taken = {name: tuple(each.result() for each in its) for name, its in scrapes.items()}
    results.add(*tell_page(looks[::2], looks[1::2], plan.seconds, memory(plan.kept)))
    results.add(*tell_scrapes(taken))
    results.show()
    if given.json is not None:
        results.write(given.json)


if __name__ == "__main__":
    main()
