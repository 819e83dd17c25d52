"""txmetrics: metrics for Python servers that run on Twisted.

    registry = MetricsRegistry()
    site = Site(TimedResource(root, registry))
    backends.graphite(registry, "tcp:graphite:2003").start_with(reactor)

What needs Twisted is imported when it is first asked for: the metrics themselves work without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from txmetrics.clock import Clock
from txmetrics.expiry import IdleExpiry
from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer
from txmetrics.registry import MetricsRegistry, Reader, Scope

if TYPE_CHECKING:
    from txmetrics import backends, instrument
    from txmetrics.instrument import (
        MeasuredConnectionPool,
        MeasuredLog,
        MeasuredProcess,
        MeasuredReactor,
        MeasuredThreadPool,
        ShedLoad,
        Tasks,
        TimedAgent,
        TimedEndpoint,
        TimedResource,
        measure_connections,
        measure_loop,
        set_long_lived,
        set_route,
        timed,
    )
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
    "IdleExpiry",
    # events in
    "instrument",
    "MeasuredConnectionPool",
    "MeasuredLog",
    "MeasuredProcess",
    "MeasuredReactor",
    "MeasuredThreadPool",
    "ShedLoad",
    "Tasks",
    "TimedAgent",
    "TimedEndpoint",
    "TimedResource",
    "measure_connections",
    "measure_loop",
    "set_long_lived",
    "set_route",
    "timed",
    # bytes out
    "backends",
    "Backend",
    "Reporter",
]

_MODULES = "instrument", "backends"
_OF_REPORTER = "Backend", "Reporter"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'txmetrics' has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"txmetrics.{name}")
    room = "reporter" if name in _OF_REPORTER else "instrument"
    return getattr(import_module(f"txmetrics.{room}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
