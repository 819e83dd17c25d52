"""A reader: one visitor, who remembers for itself where it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zope.interface import implementer

from txmetrics.interfaces import ISource
from txmetrics.metrics import Histogram, Window
from txmetrics.snapshot import Reading

if TYPE_CHECKING:
    from txmetrics.registry._registry import MetricsRegistry

__all__ = ["Reader"]


@implementer(ISource)
class Reader:
    """One visitor of a registry: each ``collect`` tells the interval since this reader's last one.

    Counts and sums are cumulative; percentiles, min, max and mean are the interval's, the first time those of
    the metric's whole life. Readers do not disturb each other, and a reader that is dropped leaves nothing.
    """

    def __init__(self, registry: MetricsRegistry) -> None:
        self._registry = registry
        self._windows: dict[str, Window] = {}
        registry._readers.add(self)

    def collect(self) -> Iterator[Reading]:
        """Every metric's reading, each taken when its turn comes."""
        there, windows = self._registry._metrics.get, self._windows
        for name, metric in zip(*self._registry._in_order(), strict=True):
            if there(name) is not metric:
                continue
            if isinstance(metric, Histogram):
                window = windows.get(name)
                if window is None or window.histogram is not metric:
                    window = windows[name] = metric.window()
                yield metric.read(name, window)
            else:
                yield metric.read(name)

    def forget(self, name: str) -> None:
        """The metric ``name`` is gone."""
        self._windows.pop(name, None)
