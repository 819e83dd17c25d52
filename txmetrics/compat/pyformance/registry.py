"""The registry: its classes, the global one, and the decorators that count on that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ._calls import at_begin, from_begin_to_end
from ._registries import MetricsRegistry, RegexRegistry, Told
from .meters import CallbackGauge, Counter, Gauge, Histogram, Meter, SimpleGauge, Timer

__all__ = [
    "MetricsRegistry",
    "RegexRegistry",
    "Told",
    # what they keep
    "CallbackGauge",
    "Counter",
    "Gauge",
    "Histogram",
    "Meter",
    "SimpleGauge",
    "Timer",
    # the global one
    "clear",
    "counter",
    "dump_metrics",
    "gauge",
    "global_registry",
    "histogram",
    "meter",
    "set_global_registry",
    "timer",
    # decorators
    "count_calls",
    "get_qualname",
    "hist_calls",
    "meter_calls",
    "time_calls",
]

F = TypeVar("F", bound=Callable[..., Any])

_global_registry = MetricsRegistry()


def global_registry() -> MetricsRegistry:
    """The one that the functions below and the decorators use."""
    return _global_registry


def set_global_registry(registry: MetricsRegistry) -> None:
    """Have another one used from now on."""
    global _global_registry
    _global_registry = registry


def counter(key: str) -> Counter:
    return _global_registry.counter(key)


def histogram(key: str) -> Histogram:
    return _global_registry.histogram(key)


def meter(key: str) -> Meter:
    return _global_registry.meter(key)


def timer(key: str) -> Timer:
    return _global_registry.timer(key)


def gauge(key: str, gauge: Gauge | Callable[[], Any] | None = None) -> Any:
    return _global_registry.gauge(key, gauge)


def dump_metrics() -> dict[str, dict[str, Any]]:
    return _global_registry.dump_metrics()


def clear() -> None:
    _global_registry.clear()


def get_qualname(obj: Any) -> str:
    """A function's name, with those of the classes and functions around it."""
    name: str = obj.__qualname__
    return name


# Decorators: the meter of a function ``f`` is ``f_calls``. An error in it is logged, and never reaches the function.


def count_calls(fn: F) -> F:
    """Count the calls of ``fn``."""
    return at_begin(fn, lambda: counter(_of_calls(fn)).inc())


def meter_calls(fn: F) -> F:
    """Tell how often a second ``fn`` is called."""
    return at_begin(fn, lambda: meter(_of_calls(fn)).mark())


def hist_calls(fn: F) -> F:
    """Tell how the results of ``fn`` are spread that are an int or a float: what it returns, or its Deferred brings."""

    def begin() -> Callable[[Any], None]:
        results = histogram(_of_calls(fn))
        return lambda result: results.add(result) if type(result) in (int, float) else None

    return from_begin_to_end(fn, begin)


def time_calls(fn: F) -> F:
    """Tell how long the calls of ``fn`` take: until they return, or what they return has fired or come to its end."""

    def begin() -> Callable[[Any], object]:
        context = timer(_of_calls(fn)).time(fn=get_qualname(fn))
        return lambda result: context.stop()

    return from_begin_to_end(fn, begin)


def _of_calls(fn: Callable[..., Any]) -> str:
    return f"{get_qualname(fn)}_calls"
