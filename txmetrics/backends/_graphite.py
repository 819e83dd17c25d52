"""Graphite: plaintext or pickle over one connection, or datagrams."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from time import time as wall_time
from types import MappingProxyType
from typing import Any

from txmetrics.backends._destinations import check_destination, failover, shown_destination
from txmetrics.backends._endpoints import address
from txmetrics.backends._prefix import check_prefix, check_tags, wire_maker
from txmetrics.backends._spool import spool_opener
from txmetrics.delivery import REPLAY_WINDOW, Datagrams, Stream, with_own_lookups
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Backend, Reporter, check_interval
from txmetrics.steady import steady
from txmetrics.wire import Graphite, Pickle

__all__ = ["check_window", "graphite"]

PROTOCOLS = ("plaintext", "pickle", "udp")
TEMPORALITIES = ("cumulative", "delta")


def graphite(
    registry: MetricsRegistry,
    endpoint: str,
    interval: float = 10.0,
    prefix: str = "",
    *,
    tags: Mapping[str, str] = MappingProxyType({}),
    temporality: str = "cumulative",
    buckets: Iterable[str] = (),
    slo: Mapping[str, Sequence[float]] = MappingProxyType({}),
    protocol: str | None = None,
    replay_window: float = REPLAY_WINDOW,
    jitter: float | None = None,
    spool: str | os.PathLike[str] | None = None,
    dialect: str = "dropwizard",
    durations: str = "seconds",
    reactor: Any = None,
) -> Reporter:
    """Graphite is plaintext lines over one connection to ``endpoint``, every ``interval`` seconds.

    ``endpoint`` is any Twisted client endpoint string: ``tcp:127.0.0.1:2003``, ``tls:graphite.example:20030``,
    ``unix:/run/carbon.sock``; or ``udp:127.0.0.1:2003``. Several with commas between are one destination:
    ``tcp:relay1:2003,tcp:relay2:2003`` is the second relay for as long as the first cannot be had.

    ``prefix`` stands before every name. When the service starts ``{host}`` and ``{pid}`` in it are filled in;
    ``{worker}``: w0, w1, ..., another one for each process on this machine that has the same prefix, and again the same
    for the one that takes its place, or what TXMETRICS_WORKER says (see ``txmetrics.identity``); and ``{generation}``,
    the second of the process's start. ``tags`` are on every line instead, or as well, and are filled in likewise:
    ``{"host": "{host}", "worker": "{worker}"}``. A metric's own tag that is called like one of them becomes
    ``exported_...``.

    ``temporality`` is "cumulative", or "delta" for many processes whose counts are added up: then there is in the place
    of ``count`` and ``sum``, which grow, ``delta`` and ``sum_delta``, of the time since the last report. ``interval``
    must be the step that Graphite stores (``txmetrics graphite-config`` writes the rules), for each report has a step
    of its own. With it go ``buckets``, the names of timers and histograms (or patterns such as ``http.routes.*``) that
    are told by buckets, which a fleet's percentiles can be computed from with ``txmetrics.fleet``; and ``slo``, such as
    ``{"http.requests": [0.1, 0.25, 1]}``, of which it is told how many values are at most so large: seconds, or the
    unit of the histogram.

    ``dialect`` names the fields as "dropwizard" or "pyformance" does, ``durations`` is "seconds" or "milliseconds".

    ``protocol`` is "plaintext", "pickle" or "udp"; None: as the endpoint says. Over UDP nobody knows what arrives.

    When a connection is lost, everything that was written in the ``replay_window`` seconds before is written again,
    with its old timestamps. Give 0 for whatever adds a second value to the first instead of replacing it:
    carbon-aggregator, a relay that aggregates, VictoriaMetrics without deduplication.

    A report is sent up to ``jitter`` seconds after it was taken, anew each time, for a relay drops what a large fleet
    sends it at once. None: a tenth of ``interval``, a second at most; and 0 in tests, whose reactors have a time of
    their own.

    ``spool`` is a directory, this user's alone, in which undelivered points outlive the process; each backend has a
    folder of its own in it. Without one, points wait in at most 8 MiB of memory.

    Raises ValueError for an argument that is wrong.
    """
    protocol = _check_protocol(protocol, endpoint)
    check_window(replay_window)
    check_interval(interval)
    if jitter is not None and not 0 <= jitter <= interval / 2:
        raise ValueError(
            f"a jitter of {jitter} seconds makes no sense; give 0 to {interval / 2:g}, half of the interval"
        )
    deltas = _check_temporality(temporality)
    make_wire = wire_maker(
        Pickle if protocol == "pickle" else Graphite,
        check_prefix(prefix),
        dialect,
        durations,
        tags=check_tags(tags),
        deltas=deltas,
        buckets=buckets if isinstance(buckets, str) else tuple(buckets),
        slo=slo,
    )
    open_spool = spool_opener(spool, f"{protocol}_{endpoint}")
    check_destination(endpoint)
    if protocol == "udp" and spool is not None:
        raise ValueError("over UDP nobody knows what has arrived, so there is no spool; give a tcp: endpoint")

    def open_backend(reactor: Any) -> Backend:
        wait = _usual_jitter(interval, reactor) if jitter is None else jitter
        time, reactor = steady(reactor), with_own_lookups(reactor)
        if protocol == "udp":
            return Backend(make_wire(), Datagrams(reactor, *address(endpoint), endpoint, time=time))
        way = failover(reactor, endpoint)
        stream = Stream(time, way, endpoint, replay_window=replay_window, jitter=wait, spool=open_spool())
        return Backend(make_wire(), stream)

    where = shown_destination(endpoint)
    return Reporter(registry, open_backend, interval, where=where, deltas=deltas, reactor=reactor)


def check_window(seconds: float) -> float:
    """Return ``seconds`` if a replay window can be as long; ValueError says why not otherwise."""
    if not 0 <= seconds < inf:
        raise ValueError(f"a replay window of {seconds} seconds makes no sense; give 0 or more")
    return seconds


def _check_temporality(temporality: str) -> bool:
    """Whether counts are to be deltas."""
    if temporality not in TEMPORALITIES:
        raise ValueError(f"temporality {temporality!r} is unknown; choose one of {', '.join(TEMPORALITIES)}")
    return temporality == "delta"


def _usual_jitter(interval: float, reactor: Any) -> float:
    return min(1.0, interval / 10) if reactor.seconds is wall_time else 0.0


def _check_protocol(protocol: str | None, endpoint: str) -> str:
    if str(endpoint).lower().startswith("https:"):
        raise ValueError(f"{endpoint!r} is a URL; Graphite takes an endpoint such as tcp:127.0.0.1:2003")
    udp = str(endpoint).lower().startswith("udp:")
    if protocol is None:
        return "udp" if udp else "plaintext"
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
    if udp != (protocol == "udp"):
        raise ValueError(f"{endpoint!r} is no endpoint for {protocol}; UDP's is such as udp:127.0.0.1:2003")
    return protocol
