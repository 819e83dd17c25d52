"""What importing costs: processor time of fresh processes that import a module, and of ones that do not."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.results import Table

__all__ = ["measure", "tell"]

NOTHING = "pass"
TWISTED = "import twisted.internet"
SERVER = "from twisted.internet import reactor; from twisted.web.server import Site"

IMPORTS = [
    ("import txmetrics", NOTHING, "import txmetrics"),
    ("import txmetrics", TWISTED, "import txmetrics"),
    ("what a server uses of txmetrics", SERVER, "from txmetrics import MetricsRegistry, TimedResource, backends"),
    ("import pyformance", NOTHING, "import pyformance"),
    ("import prometheus_client", NOTHING, "import prometheus_client"),
    ("opentelemetry-sdk's metrics", NOTHING, "import opentelemetry.sdk.metrics"),
    ("import statsd", NOTHING, "import statsd"),
    ("import ddsketch", NOTHING, "import ddsketch"),
    ("import hdrh.histogram", NOTHING, "import hdrh.histogram"),
]
"""What is told, what is imported before, and what is imported on top of that."""

OVERS = {NOTHING: "Python itself", TWISTED: "`import twisted.internet`", SERVER: "reactor and twisted.web.server"}


def measure(rounds: int) -> list[list[float]]:
    """Milliseconds of CPU on top, of each of IMPORTS by round; empty where the module is not installed."""
    taken: list[list[float]] = [[] for _ in IMPORTS]
    for number in range(rounds + 1):
        bases = {base: milliseconds(base) for base in OVERS}
        for times, (_, base, code) in zip(taken, IMPORTS, strict=True):
            total = milliseconds(f"{base}; {code}")
            if number and total is not None:  # the first round fills the caches
                times.append(total - (bases[base] or 0.0))
    return taken


def milliseconds(code: str) -> float | None:
    """CPU time of a process that does this, None if it fails."""
    code += "; import time; print(1000 * time.process_time())"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return None if done.returncode else float(done.stdout)


def tell(taken: list[list[float]]) -> tuple[Table, dict[str, float]]:
    """A table and the figures of what ``measure`` took."""
    table = Table("Import, ms of CPU in a fresh process", ["", "on top of", "median", "least", "most"])
    table.note = "Processes alternate; each is compared with that of the same round that does not import it."
    figures = {}
    for (what, base, _), times in zip(IMPORTS, taken, strict=True):
        cells = [f"{each:.0f}" for each in (median(times), min(times), max(times))] if times else ["not installed"] * 3
        table.rows.append([what, OVERS[base], *cells])
        if times:
            over = {NOTHING: "", TWISTED: " over twisted.internet", SERVER: " over a server's"}[base]
            figures[what + over] = median(times)
    return table, figures
