"""Each backend in one sentence: this wire, over that delivery, this often."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import IReactorPluggableNameResolver, IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock

from txmetrics import names
from txmetrics.delivery import (
    HOSTED_GRAPHITE_SINK,
    REPLAY_WINDOW,
    Datagrams,
    Log,
    Post,
    Secret,
    Spool,
    Stream,
    check_host,
    check_url,
    log_target,
    with_own_lookups,
)
from txmetrics.interfaces import IWire
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Backend, Reporter
from txmetrics.steady import steady
from txmetrics.wire import Graphite, LogLines, Pickle

__all__ = [
    "HOSTED_GRAPHITE",
    "check_endpoint",
    "check_prefix",
    "check_window",
    "graphite",
    "hosted_graphite",
    "log",
    "way_to",
]

HOSTED_GRAPHITE = "tls:carbon.hostedgraphite.com:20030"
"""HostedGraphite's TLS line listener; some accounts have a host of their own."""

PROTOCOLS = ("plaintext", "pickle", "udp")

TRANSPORTS = {
    "tls": HOSTED_GRAPHITE,
    "https": HOSTED_GRAPHITE_SINK,
    "cleartext": "tcp:carbon.hostedgraphite.com:2003",
}


def graphite(
    registry: MetricsRegistry,
    endpoint: str,
    interval: float = 10.0,
    prefix: str = "",
    *,
    protocol: str | None = None,
    replay_window: float = REPLAY_WINDOW,
    spool: str | os.PathLike[str] | None = None,
    dialect: str = "dropwizard",
    durations: str = "seconds",
    reactor: Any = None,
) -> Reporter:
    """Graphite is plaintext lines over one connection to ``endpoint``, every ``interval`` seconds.

    ``endpoint`` is any Twisted client endpoint string: ``tcp:127.0.0.1:2003``, ``tls:graphite.example:20030``,
    ``unix:/run/carbon.sock``; or ``udp:127.0.0.1:2003``. ``prefix`` stands before every name; ``{host}`` and ``{pid}``
    in it are filled in when the service starts. ``dialect`` names the fields as "dropwizard" or "pyformance" does,
    ``durations`` is "seconds" or "milliseconds".

    ``protocol`` is "plaintext", "pickle" or "udp"; None: as the endpoint says. Over UDP nobody knows what arrives.

    When a connection is lost, everything that was written in the ``replay_window`` seconds before is written again,
    with its old timestamps. Give 0 for whatever adds a second value to the first instead of replacing it:
    carbon-aggregator, a relay that aggregates, VictoriaMetrics without deduplication.

    ``spool`` is a directory, this user's alone, in which undelivered points outlive the process; each backend has a
    folder of its own in it. Without one, points wait in at most 8 MiB of memory.

    Raises ValueError for an argument that is wrong.
    """
    protocol = _check_protocol(protocol, endpoint)
    check_window(replay_window)
    make_wire = _wire_maker(Pickle if protocol == "pickle" else Graphite, check_prefix(prefix), dialect, durations)
    open_spool = _spool_opener(spool, f"{protocol}_{endpoint}")
    check_endpoint(endpoint)
    if protocol == "udp" and spool is not None:
        raise ValueError("over UDP nobody knows what has arrived, so there is no spool; give a tcp: endpoint")

    def open_backend(reactor: Any) -> Backend:
        time, reactor = steady(reactor), with_own_lookups(reactor)
        if protocol == "udp":
            return Backend(make_wire(), Datagrams(reactor, *_address(endpoint), endpoint, time=time))
        way = way_to(reactor, endpoint)
        return Backend(make_wire(), Stream(time, way, endpoint, replay_window=replay_window, spool=open_spool()))

    return Reporter(registry, open_backend, interval, where=_shown(endpoint), reactor=reactor)


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
    make_wire = _wire_maker(Graphite, check_prefix(prefix), dialect, durations)
    open_spool = _spool_opener(spool, f"hosted_graphite_{where}")

    def open_backend(reactor: Any) -> Backend:
        time, reactor = steady(reactor), with_own_lookups(reactor)
        if transport == "https":
            return Backend(make_wire(), Post(reactor, where, where, key, time=time, spool=open_spool()))
        way = way_to(reactor, where)
        frame = key.before_each_line
        return Backend(make_wire(), Stream(time, way, where, frame=frame, replay_window=0, spool=open_spool()))

    return Reporter(registry, open_backend, interval, where=_shown(where), reactor=reactor)


def log(
    registry: MetricsRegistry,
    to: str | os.PathLike[str] = "-",
    interval: float = 10.0,
    prefix: str = "",
    *,
    form: str = "json",
    dialect: str = "dropwizard",
    durations: str = "seconds",
    reactor: Any = None,
) -> Reporter:
    """A log is a line a metric, every ``interval`` seconds, for people and programs that have nothing else.

    ``to`` is "-", the standard output; "log", Twisted's log, an event of level info in the namespace ``txmetrics`` a
    line; or the path of a file, in a directory that is there. The file is created with the mode 0640 if it must be,
    and opened anew for each report: whoever rotates it renames it, and need tell nobody.

    ``form`` is "json": ``{"time": 1764380000, "name": "http.requests", "count": 3, ...}``, or "logfmt":
    ``time=1764380000 name=http.requests count=3 ...``; with the fields that ``graphite`` would report.

    Lines wait in at most 8 MiB of memory while nobody reads the standard output; what cannot be written is dropped and
    counted. The rest is as for ``graphite``. Raises ValueError for an argument that is wrong.
    """
    target = log_target(to)
    make_wire = _wire_maker(partial(LogLines, form=form), check_prefix(prefix), dialect, durations)
    return Reporter(
        registry,
        lambda reactor: Backend(make_wire(), Log(steady(reactor), target)),
        interval,
        where=target.where,
        reactor=reactor,
    )


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


def _address(endpoint: str) -> tuple[str, int]:
    """Host and port of ``udp:host:port`` or ``tcp:host:port``; ValueError if it is neither."""
    match = re.fullmatch(r"(?:udp|tcp):((?:[^:\\]|\\.)+):(\d{1,5})", endpoint, re.IGNORECASE)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError(f"{endpoint!r} is no endpoint such as udp:127.0.0.1:2003 or udp:\\:\\:1:2003")
    return re.sub(r"\\(.)", r"\1", match[1]), int(match[2])


def way_to(reactor: Any, endpoint: str) -> IStreamClientEndpoint:
    """The client endpoint that ``endpoint`` describes.

    For a plain ``tcp:host:port`` it tries all addresses of the host, of IPv4 and of IPv6.
    """
    if IReactorPluggableNameResolver.providedBy(reactor):
        with suppress(ValueError):
            return HostnameEndpoint(reactor, *_address(endpoint))
    described: IStreamClientEndpoint = clientFromString(reactor, endpoint)
    return described


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


def _shown(where: str) -> str:
    """``where`` for the eyes of others: its kind, host and port, without the files and options that may follow."""
    if where.lower().startswith("https:"):
        return where.split("?")[0]
    kind, *rest = re.split(r"(?<!\\):", where)
    return ":".join([kind, *(part for part in rest[:2] if "/" not in part and "=" not in part)])


def _spool_opener(directory: str | os.PathLike[str] | None, what: str) -> Callable[[], Spool | None]:
    """Makes a spool in a folder of ``directory`` for ``what``: neither another backend's nor another format's."""
    if directory is None:
        return lambda: None
    folder = Path(directory).absolute() / names.clean(what)
    return lambda: Spool(folder)


def check_endpoint(text: str) -> str:
    """Return ``text`` if it is a client endpoint string, a udp: address or an https: URL; ValueError if not."""
    if str(text).lower().startswith("udp:"):
        check_host(_address(text)[0])
        return text
    if str(text).lower().startswith("https:"):
        return check_url(text)
    try:
        clientFromString(MemoryReactorClock(), text)
    except (ImportError, NameError):  # NameError is how Twisted's tls: says that pyOpenSSL is not there
        raise ValueError(f"{text!r} needs TLS: pip install 'twisted[tls]'") from None
    except TypeError:  # its text is about the parameters of a function of Twisted's
        raise ValueError(f"{text!r} is no endpoint such as tcp:127.0.0.1:2003") from None
    except Exception as error:
        reason = str(error) or str(error.__context__ or type(error).__name__)
        raise ValueError(f"{text!r} is no endpoint such as tcp:127.0.0.1:2003 ({reason})") from None
    return text


def check_window(seconds: float) -> float:
    """Return ``seconds`` if a replay window can be as long; ValueError says why not otherwise."""
    if not 0 <= seconds < inf:
        raise ValueError(f"a replay window of {seconds} seconds makes no sense; give 0 or more")
    return seconds


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if, filled in, it can stand before a name; ValueError says why not otherwise."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix {prefix!r} is a {type(prefix).__name__}, not a string")
    unknown = set(re.findall(r"\{[^}]*\}", prefix)) - {"{host}", "{pid}"}
    if unknown:
        raise ValueError(f"prefix {prefix!r} has {min(unknown)}; only {{host}} and {{pid}} are filled in")
    if prefix:
        names.check(_expanded(prefix), "prefix")
    return prefix


def _expanded(prefix: str) -> str:
    host = names.clean(socket.gethostname())
    return prefix.replace("{host}", host).replace("{pid}", str(os.getpid()))


def _wire_maker(kind: Callable[..., IWire], prefix: str, dialect: str, durations: str) -> Callable[[], IWire]:
    """Makes a wire, whose arguments are checked now, when the service starts: a fork may have changed the pid."""

    def make() -> IWire:
        return kind(_expanded(prefix), dialect, durations)

    make()
    return make
