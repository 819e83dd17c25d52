"""IdleExpiry: metrics to which nothing happens any more are let go of."""

from __future__ import annotations

from txmetrics import names
from txmetrics.metrics import Counter, Gauge, Histogram, Meter
from txmetrics.registry import MetricsRegistry

__all__ = ["IdleExpiry"]


class IdleExpiry:
    """Unregisters the metrics below ``prefix``, or with tags after it, that have been idle for ``idle`` seconds.

    For names that come and go, as those of sessions or queues do: otherwise they are reported for as long as the
    process lives. ``LoopingCall(IdleExpiry(registry, "session", 600).sweep).start(1)`` looks at up to 500 metrics a
    second, and at all of them in turns; so a metric may go some time later than it could, never earlier. ``expired``
    counts those that went.

    Ask for such a metric by its name whenever you use it: one that is held goes on to count where nobody looks. A
    gauge that a callable tells is never idle. ``idle`` has to be longer than the intervals of all reporters, so that
    nothing goes unreported; what comes back begins at zero. Raises ValueError for an ``idle`` that is not positive.
    """

    def __init__(self, registry: MetricsRegistry, prefix: str, idle: float) -> None:
        if not idle > 0:
            raise ValueError(f"no metric is idle after {idle!r} seconds; give more than 0")
        self._registry = registry
        self._beginnings = f"{names.check(prefix, 'prefix')}.", f"{prefix};"
        self._idle = idle
        self._round: list[str] = []
        self._position = 0
        self._before: dict[str, _Look] = {}
        self._seen: dict[str, _Look] = {}
        self.expired = 0

    def sweep(self, most: int = 500) -> None:
        """Look at the next ``most`` metrics of the registry."""
        now = self._registry.clock.tick()
        for name in self._round[self._position : self._position + most]:
            if name.startswith(self._beginnings) and name in self._registry:
                self._look_at(name, now)
        self._position += most
        if self._position >= len(self._round):
            self._round, self._position = [*self._registry], 0
            self._before, self._seen = self._seen, {}

    def _look_at(self, name: str, now: float) -> None:
        look, before = _Look(self._registry[name], now), self._before.get(name)
        if before is not None and before.same(look):
            look = before
        if now - look.since >= self._idle:
            self._registry.unregister(name)
            self.expired += 1
        else:
            self._seen[name] = look


class _Look:
    """What a metric showed at some time."""

    __slots__ = ("_metric", "_shown", "since")

    def __init__(self, metric: Counter | Gauge | Meter | Histogram, now: float) -> None:
        self._metric = metric
        self._shown = (object() if metric.tell else metric.value) if isinstance(metric, Gauge) else metric.count
        self.since = now

    def same(self, other: _Look) -> bool:
        """Whether nothing has happened since: it is the same metric, and shows the very same object."""
        return self._metric is other._metric and self._shown is other._shown
