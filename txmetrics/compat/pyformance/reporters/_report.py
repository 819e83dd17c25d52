"""A report: what a registry of pyformance's kind tells, and one report besides the regular ones, in turns as those."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator

from txmetrics.clock import SYSTEM
from txmetrics.compat.pyformance._clock import clock_of
from txmetrics.compat.pyformance.registry import MetricsRegistry, Told
from txmetrics.interfaces import Chunk, IEncoder
from txmetrics.steady import steady

__all__ = ["Source", "in_turns", "steps"]

TURN = 0.0005
"""Seconds for which a report may hold the reactor at a time; a single metric may overrun it."""

PAUSE = 0.001
"""Seconds from one turn to the next, in which the reactor is everybody else's."""


class Source:
    """A registry as txmetrics' reporter wants it, on the ``clock`` of the reporter.

    One that has a ``dump_metrics`` of its own is asked that, in one go; all others name by name.
    """

    def __init__(self, registry: Any, clock: Any) -> None:
        self._registry = registry
        self.clock = clock_of(clock)

    def __len__(self) -> int:
        return self._registry._size() if isinstance(self._registry, MetricsRegistry) else 0

    def reader(self) -> Source:
        return self

    def collect(self) -> Iterator[Told]:
        registry = self._registry
        if getattr(type(registry), "dump_metrics", None) is MetricsRegistry.dump_metrics:
            yield from registry._collect()
        else:
            for name, fields in registry.dump_metrics().items():
                yield Told(name, fields)


def steps(readings: Iterator[Any], encoder: IEncoder, deliver: Callable[[Chunk], None]) -> Iterator[None]:
    """A report of ``readings``, one step a metric."""
    for reading in readings:
        _hand_over(encoder.add(reading), deliver)
        yield
    _hand_over(encoder.finish(), deliver)


def _hand_over(chunk: Chunk | None, deliver: Callable[[Chunk], None]) -> None:
    if chunk is not None:
        deliver(chunk)


def in_turns(reactor: Any, report: Iterator[None]) -> Deferred[Any]:
    """Take the steps of ``report`` for TURN seconds at a time; the Deferred fires after the last, or with its error."""
    later = steady(reactor).callLater

    def a_turn() -> Callable[[], bool]:
        end = SYSTEM.tick() + TURN
        return lambda: SYSTEM.tick() >= end

    return Cooperator(a_turn, lambda turn: later(PAUSE, turn)).coiterate(report)
