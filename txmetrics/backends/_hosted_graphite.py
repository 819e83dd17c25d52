"""HostedGraphite: Graphite's lines with a key, over TLS or HTTPS."""

from __future__ import annotations

import os
from typing import Any

from txmetrics.backends._endpoints import check_endpoint, shown, way_to
from txmetrics.backends._prefix import check_prefix, wire_maker
from txmetrics.backends._spool import spool_opener
from txmetrics.delivery import HOSTED_GRAPHITE_SINK, Post, Secret, Stream, with_own_lookups
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Backend, Reporter
from txmetrics.steady import steady
from txmetrics.wire import Graphite

__all__ = ["HOSTED_GRAPHITE", "hosted_graphite"]

HOSTED_GRAPHITE = "tls:carbon.hostedgraphite.com:20030"
"""HostedGraphite's TLS line listener; some accounts have a host of their own."""

TRANSPORTS = {
    "tls": HOSTED_GRAPHITE,
    "https": HOSTED_GRAPHITE_SINK,
    "cleartext": "tcp:carbon.hostedgraphite.com:2003",
}


def hosted_graphite(
    registry: MetricsRegistry,
    api_key: str | Secret,
    interval: float = 10.0,
    prefix: str = "",
    *,
    transport: str = "tls",
    endpoint: str | None = None,
    spool: str | os.PathLike[str] | None = None,
    dialect: str = "dropwizard",
    durations: str = "seconds",
    reactor: Any = None,
) -> Reporter:
    """HostedGraphite is Graphite's lines, each begun with the account's key, over TLS.

    ``transport`` is "tls"; or "https", where every chunk is posted to the HTTPS sink and kept until that has accepted
    it; or "cleartext", which lets everybody on the way read the key. ``endpoint`` is a client endpoint string, for
    HTTPS a URL; None: HostedGraphite's own.

    The key is in no repr, log or traceback, and only put into what is sent when that is sent. Since HostedGraphite
    adds a second value to a first one instead of replacing it, there is no replay window: over TLS nothing is ever
    sent twice, and a chunk that was cut off by a lost connection is dropped and counted. The rest is as for
    ``graphite``.
    """
    try:
        key = api_key if isinstance(api_key, Secret) else Secret(api_key)
    finally:
        del api_key  # a verbose traceback shows the variables of a function
    where = _check_transport(transport, endpoint)
    make_wire = wire_maker(Graphite, check_prefix(prefix), dialect, durations)
    open_spool = spool_opener(spool, f"hosted_graphite_{where}")

    def open_backend(reactor: Any) -> Backend:
        time, reactor = steady(reactor), with_own_lookups(reactor)
        if transport == "https":
            return Backend(make_wire(), Post(reactor, where, where, key, time=time, spool=open_spool()))
        way = way_to(reactor, where)
        frame = key.before_each_line
        return Backend(make_wire(), Stream(time, way, where, frame=frame, replay_window=0, spool=open_spool()))

    return Reporter(registry, open_backend, interval, where=shown(where), reactor=reactor)


def _check_transport(transport: str, endpoint: str | None) -> str:
    """Where HostedGraphite is; ValueError for what would not be as secret as ``transport`` says."""
    if transport not in TRANSPORTS:
        raise ValueError(f"transport {transport!r} is unknown; choose one of {', '.join(TRANSPORTS)}")
    where = TRANSPORTS[transport] if endpoint is None else endpoint
    check_endpoint(where)
    is_url = where.lower().startswith("https:")
    if is_url != (transport == "https"):
        raise ValueError(f"{where!r} is nothing for the transport {transport!r}; a URL is for 'https', all else is not")
    if transport == "tls" and not where.lower().startswith(("tls:", "ssl:")):
        raise ValueError(
            f"over {where!r} everybody on the way could read the API key; give a tls: endpoint, or say so with the "
            "transport 'cleartext'"
        )
    return where
