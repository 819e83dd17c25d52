"""Each backend in one sentence: this wire, over that delivery, this often."""

from __future__ import annotations

import os
import re
import socket
from typing import Any

from twisted.internet.endpoints import clientFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger

from txmetrics import names
from txmetrics.delivery import Secret, Stream
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Backend, Reporter
from txmetrics.wire import Graphite

__all__ = ["HOSTED_GRAPHITE", "check_endpoint", "check_prefix", "graphite", "hosted_graphite"]

HOSTED_GRAPHITE = "tls:carbon.hostedgraphite.com:20030"
"""HostedGraphite's TLS line listener; some accounts have a host of their own."""

_log = Logger()


def graphite(
    registry: MetricsRegistry,
    endpoint: str,
    interval: float = 10.0,
    prefix: str = "",
    *,
    dialect: str = "dropwizard",
    durations: str = "seconds",
    reactor: Any = None,
) -> Reporter:
    """Graphite is plaintext lines over one connection to ``endpoint``, every ``interval`` seconds.

    ``endpoint`` is any Twisted client endpoint string: ``tcp:127.0.0.1:2003``, ``tls:graphite.example:20030``,
    ``unix:/run/carbon.sock``. ``prefix`` stands before every name; ``{host}`` and ``{pid}`` in it are filled in when
    the service starts. ``dialect`` names the fields as "dropwizard" or "pyformance" does, ``durations`` is "seconds"
    or "milliseconds". Raises ValueError for an argument that is wrong.
    """
    check_endpoint(endpoint)
    _wire(check_prefix(prefix), dialect, durations)

    def open_backend(reactor: Any) -> Backend:
        delivery = Stream(reactor, clientFromString(reactor, endpoint), endpoint)
        return Backend(_wire(prefix, dialect, durations), delivery)

    return Reporter(registry, open_backend, interval, reactor=reactor)


def hosted_graphite(
    registry: MetricsRegistry,
    api_key: str | Secret,
    interval: float = 10.0,
    prefix: str = "",
    *,
    endpoint: str = HOSTED_GRAPHITE,
    dialect: str = "dropwizard",
    durations: str = "seconds",
    reactor: Any = None,
) -> Reporter:
    """HostedGraphite is Graphite's lines, each begun with the account's key, over TLS.

    The key is in no repr, log or traceback, and only put before a line when that is written to the connection. Since
    HostedGraphite adds a second value to a first one instead of replacing it, nothing is ever sent twice: a chunk
    that was cut off by a lost connection is dropped and counted. The rest is as for ``graphite``.
    """
    try:
        key = api_key if isinstance(api_key, Secret) else Secret(api_key)
    finally:
        del api_key  # a verbose traceback shows the variables of a function
    check_endpoint(endpoint)
    _wire(check_prefix(prefix), dialect, durations)

    def open_backend(reactor: Any) -> Backend:
        if endpoint.lower().startswith("tcp:"):
            _log.warn("{endpoint} is not encrypted: the API key is sent in clear", endpoint=endpoint)
        target = clientFromString(reactor, endpoint)
        delivery = Stream(reactor, target, endpoint, frame=key.before_each_line, resend=False)
        return Backend(_wire(prefix, dialect, durations), delivery)

    return Reporter(registry, open_backend, interval, reactor=reactor)


def check_endpoint(text: str) -> str:
    """Return ``text`` if it is a client endpoint string; ValueError says what is wrong with it otherwise."""
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


def _wire(prefix: str, dialect: str, durations: str) -> Graphite:
    return Graphite(_expanded(prefix), dialect, durations)
