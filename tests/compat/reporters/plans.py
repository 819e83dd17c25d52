"""Plans: what happens to a registry, and what reporters make of it, for pyformance's and the layer's alike."""

from __future__ import annotations

from typing import Any

__all__ = ["TIMESTAMP", "carry_out", "example"]

TIMESTAMP = 1_500_000_007


def carry_out(operations: list[Any], registry: Any, clock: Any) -> None:
    """Do what ``operations`` say, each a kind, a name and a number; ``clock.now`` is the time, in whole seconds."""
    for kind, name, number in operations:
        if kind == "counter":
            registry.counter(name).inc(number)
        elif kind == "histogram":
            registry.histogram(name).add(number)
        elif kind == "meter":
            registry.meter(name).mark(number)
        elif kind == "timer":
            with registry.timer(name).time():
                clock.now += number
        elif kind == "gauge":
            registry.gauge(name).set_value(number)
        else:
            clock.now += number
    clock.now += 1  # a rate needs some time that has passed


def example() -> list[Any]:
    """One of everything, with some awkward numbers and names."""
    sizes = [["histogram", "world_size", size] for size in (3, 3, 15)]
    calls = [["timer", "calls", seconds] for seconds in (0.25, 1, 7)]
    return [
        ["counter", "hello_called", 3],
        ["counter", "a-b", -2],
        *sizes,
        ["meter", "mails", 7],
        ["wait", "", 61],
        *calls,
        ["gauge", "depth", 1e22],
        ["gauge", "depth.now", 42],
        ["gauge", "users/édit", float("nan")],
        ["gauge", "load", float("inf")],
        ["counter", "f.<locals>.g_calls", 1],
    ]
