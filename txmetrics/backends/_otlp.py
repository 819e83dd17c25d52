"""OTLP over HTTP: requests of metrics, posted to a collector of OpenTelemetry or whatever else takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

from txmetrics.backends._cumulative import Lives, authorization_of, exists
from txmetrics.backends._labels import check_text, filled_labels
from txmetrics.backends._spool import spool_opener
from txmetrics.delivery import OTLP as PEER
from txmetrics.delivery import Authorization, Post, check_otlp_url, with_own_lookups
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Backend, Reporter
from txmetrics.steady import steady
from txmetrics.wire import OTLP

__all__ = ["RESOURCE", "otlp"]

RESOURCE: Mapping[str, str] = MappingProxyType(
    {"service.name": "txmetrics", "service.instance.id": "{host}:{pid}"},
)


def otlp(
    registry: MetricsRegistry,
    url: str,
    interval: float = 10.0,
    *,
    resource: Mapping[str, str] = RESOURCE,
    authorization: str | tuple[str, str] | Authorization | None = None,
    spool: str | os.PathLike[str] | None = None,
    reactor: Any = None,
) -> Reporter:
    """OTLP over HTTP is requests of metrics, in protobuf and gzip, posted to ``url`` every ``interval`` seconds.

    ``url`` is the receiver's, ``http://127.0.0.1:4318/v1/metrics`` for a collector on this machine. Counters and meters
    arrive as cumulative sums that never fall, gauges as gauges, histograms and timers as exponential histograms of
    scale 3, whose buckets differ by a factor of 2**(1/8); durations are in seconds. Names keep their dots. Tags are
    attributes, and so is what ``ScrapeResource`` makes a label of: ``http.routes.requests`` has a ``route``.

    ``resource`` are the attributes of this process; ``{host}``, ``{pid}``, ``{worker}`` and ``{generation}`` in them
    are filled in when the service starts. Two processes must not have the same ones. Give your ``service.name``. Values
    are told since the first start of the service; what a metric had counted before is taken to be of that time.

    ``authorization`` is a token (Bearer), or a user and a password (Basic); over ``http:`` it is given only to this
    machine. It is in no repr, log or traceback.

    What the receiver answers with 429, 502, 503 or 504, or not at all, is posted again, in its order, and not before it
    wants that (Retry-After). After any other error (4xx, 5xx) the request is dropped and counted as refused, and the
    log has its reason once. Of what it accepts a receiver may reject points: the first time the log says so, and
    ``txmetrics.points_rejected`` counts them; for the ledger they are delivered. A point is a data point, one a metric.

    Requests wait in at most 8 MiB of memory; ``spool`` is as for ``graphite``. Raises ValueError for an argument that
    is wrong.
    """
    try:
        key = authorization_of(authorization)
    finally:
        del authorization  # a verbose traceback shows the variables of a function
    check_otlp_url(url, authorized=key is not None)
    resource = _checked(resource)
    open_spool = spool_opener(spool, f"otlp_{url}")
    begun: list[float] = []

    def open_backend(reactor: Any) -> Backend:
        time, reactor = steady(reactor), with_own_lookups(reactor)
        if not begun:
            # No report is of an earlier second, and a predecessor's last one is of none that is later.
            begun.append(int(registry.clock.wall()) - 0.5)
        wire = OTLP(
            filled_labels(resource, "service.name"),
            since=begun[0],
            version=_version(),
            exists=partial(exists, registry),
        )
        return Backend(wire, Post(reactor, url, url, key, peer=PEER, time=time, spool=open_spool()))

    whole: Any = Lives(registry)
    return Reporter(whole, open_backend, interval, where=url, reactor=reactor)


def _checked(resource: Mapping[str, str]) -> dict[str, str]:
    for name, text in resource.items():
        if not isinstance(name, str) or not name.isprintable() or name.split() != [name]:
            raise ValueError(f"attribute {name!r} is not called as one can be; give some text without spaces")
        check_text(f"attribute {name}", text)
    return dict(resource)


def _version() -> str:
    try:
        return version("txmetrics")
    except PackageNotFoundError:
        return ""
