"""A scope: a registry, seen from below a prefix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from txmetrics import names
from txmetrics.clock import Clock
from txmetrics.metrics import Counter, Gauge, Histogram, Meter, Timer
from txmetrics.names import Tag

if TYPE_CHECKING:
    from txmetrics.registry._registry import MetricsRegistry

__all__ = ["Scope"]


class Scope:
    """A prefixed view of a registry: ``registry.scope("db").counter("reads")`` is ``db.reads``.

    A tag that the scope gives cannot be given once more: TypeError.
    """

    def __init__(self, registry: MetricsRegistry, prefix: str, tags: Mapping[str, Tag]) -> None:
        self._registry = registry
        self._prefix = prefix
        self._tags = tags

    def counter(self, name: str, /, **tags: Tag) -> Counter:
        return self._registry.counter(self._full(name), **self._tags, **tags)

    def gauge(self, name: str, /, tell: Callable[[], object] | None = None, **tags: Tag) -> Gauge:
        return self._registry.gauge(self._full(name), tell, **self._tags, **tags)

    def histogram(self, name: str, /, **tags: Tag) -> Histogram:
        return self._registry.histogram(self._full(name), **self._tags, **tags)

    def meter(self, name: str, /, **tags: Tag) -> Meter:
        return self._registry.meter(self._full(name), **self._tags, **tags)

    def timer(self, name: str, /, **tags: Tag) -> Timer:
        return self._registry.timer(self._full(name), **self._tags, **tags)

    def scope(self, prefix: str, /, **tags: Tag) -> Scope:
        return self._registry.scope(self._full(prefix), **self._tags, **tags)

    def unregister(self, name: str, /, **tags: Tag) -> None:
        self._registry.unregister(self._full(name), **self._tags, **tags)

    def read(self, name: str, /, **tags: Tag) -> dict[str, object]:
        return self._registry.read(self._full(name), **self._tags, **tags)

    @property
    def clock(self) -> Clock:
        return self._registry.clock

    def _full(self, name: str) -> str:
        if not isinstance(name, str):
            names.check(name)  # raises
        return f"{self._prefix}.{name}"
