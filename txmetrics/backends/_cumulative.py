"""What is told since a metric was made, to whoever needs a key for it: what the backends that post have in common."""

from __future__ import annotations

from txmetrics import names
from txmetrics.delivery import Authorization
from txmetrics.registry import MetricsRegistry

__all__ = ["Lives", "authorization_of", "exists"]


class Lives:
    """A registry as a reporter wants it, whose readings are about whole lives instead of intervals."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self._registry = registry
        self.clock = registry.clock

    def __len__(self) -> int:
        return len(self._registry)

    def reader(self) -> MetricsRegistry:
        return self._registry


def exists(registry: MetricsRegistry, name: str) -> bool:
    """Whether there is such a metric, or may be: the reporter's own are in no registry."""
    return name in registry or name.startswith(f"{names.OWN}.")


def authorization_of(authorization: str | tuple[str, str] | Authorization | None) -> Authorization | None:
    """The user's argument as it is kept. Raises what Authorization does, with nothing of it in the traceback."""
    try:
        if authorization is None or isinstance(authorization, Authorization):
            return authorization
        return Authorization(authorization)
    finally:
        del authorization
