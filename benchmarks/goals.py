"""The goals that txmetrics set itself, and which figure of which part tells whether it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["GOALS", "HEADLINES", "Goal"]

REQUEST = "CPU microseconds a request more, hello world, TimedResource"
PYFORMANCE, PROMETHEUS, OPENTELEMETRY = "pyformance", "prometheus_client", "opentelemetry-sdk"


@dataclass(frozen=True)
class Goal:
    """A figure of ``part`` that must not be more than ``limit``, or not less."""

    what: str
    part: str
    figure: str
    limit: float
    unit: str
    kind: Literal["at most", "at least"] = "at most"
    peers: tuple[tuple[str, str], ...] = ()
    """The same of others: how they are called, and their figure in the same part."""
    remark: str = ""
    """Why it is not reached, if it is not."""

    def reached(self, figure: float) -> bool:
        return figure <= self.limit if self.kind == "at most" else figure >= self.limit


def operation(what: str, figure: str, limit: float, *peers: str) -> Goal:
    """A goal for the cost of one operation, which hot_path measures."""
    return Goal(what, "hot_path", f"{figure}, txmetrics", limit, "x REF", peers=beside(figure, *peers))


def included(metric: str, readers: str) -> Goal:
    peers = ((PYFORMANCE, f"everything included, pyformance, {metric}"), ("ddsketch", "everything included, ddsketch"))
    figure = f"everything included, txmetrics, {metric}{readers}"
    what = f"a value of a {metric}{readers}, everything included, 10 to 100,000 an interval"
    return Goal(what, "hot_path", figure, 250, "ns", peers=peers)


def cheaper(metric: str) -> Goal:
    figure = f"everything included, times cheaper than pyformance, {metric}"
    return Goal(f"the same of a {metric}, so often cheaper than pyformance", "hot_path", figure, 5, "x", "at least")


def beside(figure: str, *peers: str) -> tuple[tuple[str, str], ...]:
    """The same figure of these."""
    return tuple((peer, f"{figure}, {peer}") for peer in peers)


REPORT = "a value of a report of 50,000, collected and encoded"
LIVE = PYFORMANCE, PROMETHEUS

GOALS = (
    operation("`counter.inc()`", "counter.inc", 1.2, PYFORMANCE, PROMETHEUS, OPENTELEMETRY),
    operation("`meter.mark()`", "meter.mark", 1.2, PYFORMANCE),
    operation('`registry.counter("name").inc()`', "counter by name", 2.3, PYFORMANCE, PROMETHEUS, OPENTELEMETRY),
    operation("`histogram.add(v)`, the call", "histogram.add", 2, PYFORMANCE, PROMETHEUS, OPENTELEMETRY, "ddsketch"),
    operation("`timer.add(v)`, the call", "timer.add", 2, PYFORMANCE),
    operation("`with timer.time():`", "with timer", 7.5, PYFORMANCE, PROMETHEUS),
    included("histogram", ""),
    included("timer", ""),
    included("histogram", ", two readers"),
    included("timer", ", two readers"),
    cheaper("histogram"),
    cheaper("timer"),
    Goal("quantiles, worst error up to 2,048 values an interval", "accuracy", "worst error up to 2,048", 0, "%"),
    Goal("quantiles, worst error beyond", "accuracy", "worst error beyond 2,048", 0.4, "%"),
    Goal("quantiles of integers up to 256, worst error", "accuracy", "worst error of small integers", 0, "%"),
    Goal(REPORT, "flush", "us a value", 0.5, "us", peers=beside("us a value", *LIVE)),
    Goal("longest turn of such a report, CPU, p90", "flush", "longest turn", 0.5, "ms"),
    Goal("stall of the reactor, more than an idle one's", "flush", "stall over idle", 0.3, "ms",
         peers=beside("stall over idle", "pyformance in its thread", "prometheus_client inline")),
    Goal("memory that it takes", "flush", "extra memory", 1, "MB", peers=beside("extra memory", *LIVE)),
    Goal("longest turn at 500,000 values", "flush", "longest turn at 500,000", 0.5, "ms"),
    Goal("a value at 500,000, as a ratio to 50,000", "flush", "500,000 to 50,000", 1.1, "x"),
    Goal("an operation at 100,000 metrics, as a ratio to 1,000", "scale", "operation at 100,000 to 1,000", 1.5, "x"),
    Goal("a value collected at 100,000 metrics, the same", "scale", "collection at 100,000 to 1,000", 1.5, "x"),
    Goal("metrics in one registry", "scale", "most metrics", 1_000_000, "", "at least"),
    Goal("memory of a counter", "memory", "counter", 200, "bytes", peers=beside("idle counter", *LIVE)),
    Goal("memory of an idle timer", "memory", "idle timer", 300, "bytes", peers=beside("idle timer", PYFORMANCE)),
    Goal("memory of 1,000 pending values", "memory", "1,000 pending values", 5_000, "bytes"),
    Goal("memory of a timer of a million values an interval", "memory", "timer of a million values", 150_000, "bytes"),
    Goal("500 requests/s, 50,000 values reported each second: p99 to that of the same server without", "end_to_end",
         "open loop p99, txmetrics", 1.15, "x", peers=beside("open loop p99", *LIVE)),
    Goal("requests over 5 ms in that, more than without", "end_to_end", "open loop over 5 ms, txmetrics", 0.05,
         "points", peers=beside("open loop over 5 ms", *LIVE)),
    Goal("wrk, 32 connections, the same: p99 to that without", "end_to_end", "wrk p99, txmetrics", 1.15, "x",
         peers=beside("wrk p99", *LIVE)),
    Goal("the same of p99.9", "end_to_end", "wrk p99.9, txmetrics", 1.15, "x", peers=beside("wrk p99.9", *LIVE)),
    Goal("`TimedResource`, what a request costs more", "request", REQUEST, 5, "us"),
    Goal("`import txmetrics`, over `import twisted.internet`", "hot_path", "import txmetrics over twisted.internet", 50,
         "ms", peers=((PYFORMANCE, "import pyformance"), (PROMETHEUS, "import prometheus_client"))),
    Goal("half an hour of load: memory, last quarter to first", "soak", "RSS last to first quarter", 1.02, "x"),
    Goal("drift of the interval in that", "soak", "drift", 20, "ms an hour"),
    Goal("reports missed in that", "soak", "reports missed", 0, ""),
)  # fmt: skip
"""In the order in which they are shown."""

HEADLINES = (
    "counter.inc, txmetrics",
    "timer.add, txmetrics",
    "with timer, txmetrics",
    "everything included, txmetrics, timer",
    "worst error beyond 2,048",
    "us a value",
    "longest turn",
    "stall over idle",
    "extra memory",
    "open loop p99, txmetrics",
    "wrk p99, txmetrics",
    REQUEST,
    "idle timer",
    "import txmetrics over twisted.internet",
    "RSS last to first quarter",
)
"""The figures that the README shows."""
