"""The goals that txmetrics set itself, and which figure of which part tells whether it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["GOALS", "HEADLINES", "REMARKS", "Goal"]

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
    Goal(REPORT, "flush", "us a value", 0.5, "us", peers=beside("us a value", *LIVE, "floor: numbers into lines")),
    Goal("longest turn of such a report, CPU, p90", "flush", "longest turn", 0.5, "ms"),
    Goal("stall of the reactor, more than an idle one's", "flush", "stall over idle", 0.3, "ms",
         peers=beside("stall over idle", "pyformance in its thread", "prometheus_client inline")),
    Goal("memory that it takes", "flush", "extra memory", 1, "MB", peers=beside("extra memory", *LIVE)),
    Goal("longest turn at 500,000 values", "flush", "longest turn at 500,000", 0.5, "ms"),
    Goal("a value at 500,000, as a ratio to 50,000", "flush", "500,000 to 50,000", 1.1, "x"),
    Goal("a value of a report whose metrics all have a tag, as a ratio to none", "flush", "tags to none", 1.05, "x"),
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
    Goal("longest turn in which a scrape of 50,000 series is made, counters", "looks",
         "scrape, longest turn, 50,000 counters", 5, "ms",
         peers=((PROMETHEUS, "scrape, longest turn, 3,125 histograms of prometheus_client, inline"),)),
    Goal("the same of timers", "looks", "scrape, longest turn, 3,125 timers", 5, "ms"),
    Goal("longest turn with a page of 5,000 series that nobody looks at", "looks", "page, longest turn", 1, "ms"),
    Goal("CPU a second of such a page", "looks", "page, CPU a second", 20, "ms"),
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
    "scrape, longest turn, 50,000 counters",
    "idle timer",
    "import txmetrics over twisted.internet",
    "RSS last to first quarter",
)
"""The figures that the README shows."""

OF_FEW_VALUES = (
    "It is most with ten values an interval, which share one reading: six percentiles, the deviation, and a sum that "
    "is right to the last bit. What it is with more, and the floor, the table says."
)
OF_CHEAPER = "It is least where pyformance itself takes not much more than three times as much: see the table."

REMARKS = {
    "counter by name, txmetrics": (
        "It was 1.98 before metrics had tags. These are keywords, for which Python makes a dict at each call, and "
        "calls a function in a slower way; who counts often keeps the counter."
    ),
    "with timer, txmetrics": (
        "A block that does nothing but look at the clock twice is the floor in the table. The rest is that blocks may "
        "nest and coroutines interleave, and the adding."
    ),
    **{
        f"everything included, txmetrics, {metric}{readers}": OF_FEW_VALUES
        for metric in ("histogram", "timer")
        for readers in ("", ", two readers")
    },
    **{
        f"everything included, times cheaper than pyformance, {metric}": OF_CHEAPER for metric in ("histogram", "timer")
    },
    "us a value": (
        "To do nothing but write such numbers into lines is the floor in the table. The rest is to read each metric, "
        "to sort, sums that are right to the last bit, the percentiles of the metric's life beside the interval's, and "
        "a look at the clock after each metric, so that the turn ends in time."
    ),
    "stall over idle": (
        "The longest turns are the one in which the peer is seen to have acknowledged a whole report, and those in "
        "which a chunk is compressed, to be kept until no crash of the backend can lose it any more."
    ),
    "longest turn": "The same turns as those of the stall.",
    "open loop p99, txmetrics": (
        "A request that comes while a turn of a report is under way waits for its end. A server that answers in a "
        "fifth of a millisecond has that in its p99 whenever reports take more than a hundredth of the time, as 50,000 "
        "values each second do. How many milliseconds it is, the table says."
    ),
    "longest turn at 500,000": (
        "It is the turn in which the peer is seen to have acknowledged a thousand chunks, which are passed on one by "
        "one."
    ),
    "1,000 pending values": (
        "Percentiles are exact up to 2,048 values an interval. So 1,000 doubles have to be kept, which are 8,000 "
        "bytes, and the latest of them, up to 256, are Python's own floats, which are 32 bytes each."
    ),
    "timer of a million values": (
        "There are two counts by bucket, of the interval and of all before; after a report there is one, as the table "
        "says."
    ),
    "RSS last to first quarter": (
        "The first quarter has in it the growth until the wire first lets go of names that are gone, which it does by "
        "the ten thousand. How it went on, the plot shows."
    ),
    REQUEST: (
        "A request passes through some 400 bytecodes of ours beside 2,300 of Twisted Web's: its route is found, its "
        "phases, its status, its sizes and its end are noted, once, in every shape that there is, and five "
        "distributions get a value each. The floor in the table does none of it."
    ),
}
"""Why a figure may miss its goal."""
