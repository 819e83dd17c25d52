"""Reports that are written where they are made: they need no delivery, and no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from txmetrics.interfaces import Chunk, IDelivery, IEncoder, IWire, Ledger
from txmetrics.snapshot import Reading

__all__ = ["Nothing", "Nowhere", "OneCall"]


@implementer(IDelivery)
class Nowhere:
    """The delivery of what its encoder has written already."""

    counts: Mapping[str, int] = {}
    levels: Mapping[str, float] = {}
    ledger = Ledger(0, 0, 0, 0, 0, {})

    def start(self) -> None:
        pass

    def deliver(self, chunk: Chunk) -> None:
        pass

    def stop(self, seconds: float) -> Deferred[None]:
        return succeed(None)


class Nothing:
    """A registry for a report that looks at none."""

    def dump_metrics(self) -> dict[str, dict[str, object]]:
        return {}


@implementer(IWire, IEncoder)
class OneCall:
    """A report that is one call of somebody's own ``report``, whatever that does."""

    refused: Mapping[str, int] = {}

    def __init__(self, report: Callable[[], object]) -> None:
        self._report = report
        self._called = True

    def encoder(self, timestamp: int) -> OneCall:
        self._called = False
        return self

    def add(self, reading: Reading) -> None:
        return None

    def finish(self) -> None:
        if not self._called:  # a report that broke off is finished once more
            self._called = True
            self._report()
