"""A fleet of three workers, what is true of it, and the page that says how to ask for that."""

from __future__ import annotations

import random
import re
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from txmetrics import MetricsRegistry

PAGE = (Path(__file__).parent.parent / "docs" / "fleets.md").read_text("utf-8")

BOUND = 0.25

WORKERS = ["h1/w0", "h1/w1", "h2/w0"]
MEDIANS = {"h1/w0": 0.03, "h1/w1": 0.02, "h2/w0": 0.9}
MANY = {"h1/w0": 400, "h1/w1": 900, "h2/w0": 10}
ERRORS = {"h1/w0": 12, "h1/w1": 0, "h2/w0": 7}
"""By worker: the median of its requests in seconds, how many it has in a step, and how many of these fail."""


def queries(section: str) -> dict[str, str]:
    """The table of a section of the page: what is asked for, and how."""
    table = PAGE.split(f"### {section}\n\n")[1].split("\n\n")[0]
    return dict(re.findall(r"^\| (.+?) \| `(.+)` \|$", table, re.MULTILINE))


def requests(worker: str, step: int) -> list[float]:
    """How long the requests of a worker took in that step; none is so near the bound that it may be on either side."""
    numbers = random.Random(f"{worker} {step}")
    times = (numbers.lognormvariate(0, 0.5) * MEDIANS[worker] for _ in range(MANY[worker]))
    return [seconds for seconds in times if not 0.245 < seconds < 0.255]


class Truth(NamedTuple):
    """What the answers are held against."""

    by_worker: dict[str, list[float]]
    seconds: float
    """A rate is what happened in so many seconds."""

    def of(self, row: str) -> Any:
        every = [seconds for times in self.by_worker.values() for seconds in times]
        rates = {worker: len(times) / self.seconds for worker, times in self.by_worker.items()}
        return {
            "total": lambda: len(every),
            "a second": lambda: sum(rates.values()),
            "per worker": lambda: rates,
            "hottest worker": lambda: max(rates.values()),
            "errors": lambda: sum(ERRORS.values()) / sum(MANY.values()),
            "within the bound": lambda: sum(seconds <= BOUND for seconds in every) / len(every),
            "workers": lambda: len(WORKERS),
            "p99": lambda: sorted(every)[ceil(0.99 * len(every)) - 1],
        }[row.partition(",")[0]]()


def measure(registry: MetricsRegistry, worker: str, step: int) -> None:
    registry.timer("http.requests").take_in(requests(worker, step))
    for status, many in (("2xx", MANY[worker] - ERRORS[worker]), ("5xx", ERRORS[worker])):
        registry.counter(f"http.status.{status}").inc(many)
