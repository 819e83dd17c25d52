"""txmetrics: metrics for Python servers that run on Twisted.

    registry = MetricsRegistry()
    site = Site(TimedResource(root, registry))
    backends.graphite(registry, "tcp:graphite:2003").start_with(reactor)

What needs Twisted is imported when it is first asked for: the metrics themselves work without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from txmetrics.clock import Clock
from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer
from txmetrics.registry import MetricsRegistry, Reader, Scope

if TYPE_CHECKING:
    from txmetrics import backends, instrument
    from txmetrics.instrument import MeasuredProcess, TimedResource, timed
    from txmetrics.reporter import Backend, Reporter

__all__ = [
    # numbers in
    "Counter",
    "Gauge",
    "Histogram",
    "Meter",
    "Timer",
    "MetricsRegistry",
    "Reader",
    "Scope",
    "Clock",
    # events in
    "instrument",
    "MeasuredProcess",
    "TimedResource",
    "timed",
    # bytes out
    "backends",
    "Backend",
    "Reporter",
]

_ROOMS = {
    "MeasuredProcess": "instrument",
    "TimedResource": "instrument",
    "timed": "instrument",
    "Backend": "reporter",
    "Reporter": "reporter",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(f"txmetrics.{_ROOMS[name]}"), name)
    if name in __all__:
        return import_module(f"txmetrics.{name}")
    raise AttributeError(f"module 'txmetrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
