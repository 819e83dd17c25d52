"""Where to: endpoints, addresses and URLs as a user writes them, one at a time."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import IReactorPluggableNameResolver, IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock

from txmetrics.delivery import check_host, check_url

__all__ = ["address", "check_endpoint", "shown", "way_to"]


def check_endpoint(text: str) -> str:
    """Return ``text`` if it is a client endpoint string, a udp: address or an https: URL; ValueError if not."""
    if str(text).lower().startswith("udp:"):
        check_host(address(text)[0])
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


def way_to(reactor: Any, endpoint: str) -> IStreamClientEndpoint:
    """The client endpoint that ``endpoint`` describes.

    For a plain ``tcp:host:port`` it tries all addresses of the host, of IPv4 and of IPv6.
    """
    if IReactorPluggableNameResolver.providedBy(reactor):
        with suppress(ValueError):
            return HostnameEndpoint(reactor, *address(endpoint))
    described: IStreamClientEndpoint = clientFromString(reactor, endpoint)
    return described


def address(endpoint: str) -> tuple[str, int]:
    """Host and port of ``udp:host:port`` or ``tcp:host:port``; ValueError if it is neither."""
    match = re.fullmatch(r"(?:udp|tcp):((?:[^:\\]|\\.)+):(\d{1,5})", endpoint, re.IGNORECASE)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError(f"{endpoint!r} is no endpoint such as udp:127.0.0.1:2003 or udp:\\:\\:1:2003")
    return re.sub(r"\\(.)", r"\1", match[1]), int(match[2])


def shown(where: str) -> str:
    """``where`` for the eyes of others: its kind, host and port, without the files and options that may follow."""
    if where.lower().startswith("https:"):
        return where.split("?")[0]
    kind, *rest = re.split(r"(?<!\\):", where)
    return ":".join([kind, *(part for part in rest[:2] if "/" not in part and "=" not in part)])
