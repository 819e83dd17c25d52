"""Prometheus remote write: bodies of series, posted to whatever takes them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from txmetrics.backends._cumulative import Lives, authorization_of, exists
from txmetrics.backends._labels import check_labels, filled_labels
from txmetrics.backends._spool import spool_opener
from txmetrics.delivery import REMOTE_WRITE, Authorization, Post, check_remote_write_url, with_own_lookups
from txmetrics.interfaces import Chunk, IDelivery, Ledger
from txmetrics.metrics import Gauge
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Backend, Reporter
from txmetrics.steady import steady
from txmetrics.wire import SECONDS, RemoteWrite

__all__ = ["LABELS", "remote_write"]

LABELS: Mapping[str, str] = MappingProxyType({"job": "txmetrics", "instance": "{host}:{pid}"})


def remote_write(
    registry: MetricsRegistry,
    url: str,
    interval: float = 10.0,
    *,
    labels: Mapping[str, str] = LABELS,
    histograms: str = "classic",
    buckets: Sequence[float] = SECONDS,
    authorization: str | tuple[str, str] | Authorization | None = None,
    spool: str | os.PathLike[str] | None = None,
    reactor: Any = None,
) -> Reporter:
    """Prometheus remote write is bodies of series, posted to ``url`` every ``interval`` seconds.

    ``url`` is the receiver's, ``http://127.0.0.1:9090/api/v1/write`` for a Prometheus that was started with
    ``--web.enable-remote-write-receiver``; VictoriaMetrics, Mimir and Thanos take it as well. Everything is told since
    the metric was made, under the names and with the labels that ``ScrapeResource`` has, and with ``labels`` on every
    series; ``{host}``, ``{pid}``, ``{worker}`` and ``{generation}`` in them are filled in when the service starts. Two
    processes must not have the same labels.

    ``histograms`` says how timers and histograms arrive, for no receiver says what it does not understand:

    * "classic": cumulative ``le`` buckets, ``buckets`` being the bounds in seconds; understood by all.
    * "native": one series each, whose buckets differ by a factor of 2**(1/8). For a Prometheus with
      ``--enable-feature=native-histograms``, and for Mimir. VictoriaMetrics answers 204 and drops them.
    * "vmrange": the same buckets as VictoriaMetrics has them, those in which there are values. For that only.

    ``authorization`` is a token (Bearer), or a user and a password (Basic); over ``http:`` it is given only to this
    machine. It is in no repr, log or traceback.

    What the receiver refuses (4xx but for 408 and 429; samples that are older than what it has, above all) is dropped
    and counted as refused, and the log has its reason once. Everything else is posted again, in its order, until it is
    accepted; what comes again because an answer was lost may be refused as a duplicate, which loses nothing. On stop
    each series gets a stale marker after its last value, so that no query sees it any longer. In the ledger a point is
    a sample: markers are, too, and the zero from which a new series begins.

    Samples wait in at most 8 MiB of memory; ``spool`` is as for ``graphite``. Raises ValueError for an argument that is
    wrong.
    """
    try:
        key = authorization_of(authorization)
    finally:
        del authorization  # a verbose traceback shows the variables of a function
    check_remote_write_url(url, authorized=key is not None)
    labels = check_labels(labels)
    RemoteWrite(labels, histograms, buckets)
    open_spool = spool_opener(spool, f"remote_write_{url}")
    lives = count()

    def open_backend(reactor: Any) -> Backend:
        time, reactor = steady(reactor), with_own_lookups(reactor)
        wire = RemoteWrite(
            filled_labels(labels),
            histograms,
            buckets,
            exists=partial(exists, registry),
            # A predecessor with the same labels may have ended a second from now; of an earlier life of our own the
            # same counts are there.
            since=None if next(lives) else int(registry.clock.wall()) + 1.5,
            earlier=_counted(registry),
        )
        post = Post(reactor, url, url, key, peer=REMOTE_WRITE, time=time, spool=open_spool())
        return Backend(wire, _Farewell(post, wire, time))

    whole: Any = Lives(registry)
    return Reporter(whole, open_backend, interval, where=url, reactor=reactor)


def _counted(registry: MetricsRegistry) -> Iterator[str]:
    """The metrics that have counted something already; of which nobody can say what they had an interval before."""
    for name in registry:
        metric = registry[name]
        if not isinstance(metric, Gauge) and metric.count:
            yield name


@implementer(IDelivery)
class _Farewell:
    """A delivery that is given the wire's farewell, a body a turn of the reactor, before it stops."""

    log = Logger()

    def __init__(self, delivery: Any, wire: RemoteWrite, time: Any) -> None:
        self._delivery = delivery
        self._wire = wire
        self._time = time

    @property
    def counts(self) -> Mapping[str, int]:
        counts: Mapping[str, int] = self._delivery.counts
        return counts

    @property
    def levels(self) -> Mapping[str, float]:
        levels: Mapping[str, float] = self._delivery.levels
        return levels

    @property
    def ledger(self) -> Ledger:
        ledger: Ledger = self._delivery.ledger
        return ledger

    def start(self) -> None:
        self._delivery.start()

    def deliver(self, chunk: Chunk) -> None:
        self._delivery.deliver(chunk)

    def stop(self, seconds: float) -> Deferred[None]:
        end = self._time.seconds() + seconds
        farewell = self._wire.farewell()
        done: Deferred[None] = Deferred()

        def turn() -> None:
            left = end - self._time.seconds()
            chunk = self._next(farewell) if left > 0 else None
            if chunk is None:
                self._delivery.stop(max(0.0, left)).chainDeferred(done)
            else:
                self._delivery.deliver(chunk)
                self._time.callLater(0, turn)

        turn()
        return done

    def _next(self, farewell: Iterator[Chunk]) -> Chunk | None:
        try:
            return next(farewell, None)
        except Exception:
            self.log.failure("the series cannot be ended; they fade away")
            return None
