"""Peers: what a kind of server is posted to with, which URLs it may have, and what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from txmetrics.delivery._http import server_of
from txmetrics.delivery._secret import Authorization, Secret

__all__ = [
    "HOSTED_GRAPHITE",
    "HOSTED_GRAPHITE_SINK",
    "REMOTE_WRITE",
    "Peer",
    "Verdict",
    "check_receiver",
    "check_remote_write_url",
    "check_url",
    "one_line",
]

HOSTED_GRAPHITE_SINK = "https://www.hostedgraphite.com/api/v1/sink"

A_RECEIVER = "http://127.0.0.1:9090/api/v1/write"

LONGEST_REASON = 200
"""Characters of what a server says that are told in the log."""


class Verdict(Enum):
    """What becomes of a chunk."""

    ACCEPTED = "it is delivered"
    REFUSED = "it never will be: it is dropped"
    TOO_LARGE = "its halves may be"
    LATER = "it is posted again"


class Peer(NamedTuple):
    """A kind of server."""

    headers: Mapping[str, str]
    """Of each request, besides Authorization."""
    check_url: Callable[[str], str]
    """Returns a URL that is right; ValueError says what is wrong with another one, without a word of it."""
    authorize: Callable[[Any], bytes]
    """The value of the header Authorization, of the key."""
    verdict: Callable[[int], Verdict]
    """What a status means."""
    reason: Callable[[bytes, Any], str]
    """What the log may say of the body of an answer that refuses, in one line; the other is the key, or None."""
    in_order: bool
    """Whether no chunk may come after a younger one."""
    rejected: Callable[[bytes, Any], tuple[int, str]] = lambda text, key: (0, "")
    """How many points of a chunk were not taken though it was accepted, and why, as ``reason`` says it."""


# HostedGraphite


def check_url(url: str) -> str:
    """Return ``url`` if it is one that a key may be sent to; ValueError says what is wrong with it otherwise.

    The text never quotes it: what is wrong may be that the key is in it.
    """
    _parts(url, ("https",), HOSTED_GRAPHITE_SINK)
    return url


def _accepted_by_hosted_graphite(status: int) -> Verdict:
    if 200 <= status < 300:
        return Verdict.ACCEPTED
    return {400: Verdict.REFUSED, 413: Verdict.TOO_LARGE}.get(status, Verdict.LATER)


HOSTED_GRAPHITE = Peer(
    headers={"User-Agent": "txmetrics", "Content-Type": "text/plain"},
    check_url=check_url,
    authorize=Secret.as_basic_user,
    verdict=_accepted_by_hosted_graphite,
    reason=lambda text, key: "",
    in_order=False,
)
"""Lines to its sink."""


# Whatever takes Prometheus' remote write


def check_remote_write_url(url: str, *, authorized: bool = False) -> str:
    """Return ``url`` if it is one of http: or https: for remote write; ValueError says what is wrong with it otherwise.

    With ``authorized`` it has to be one that a secret may be sent to: of https:, or of this machine. The text never
    quotes it.
    """
    return check_receiver(url, A_RECEIVER, authorized)


def _accepted_by_remote_write(status: int) -> Verdict:
    """What is out of order, or wrong otherwise, never becomes right. 408 is a proxy's word for not having got it."""
    if 200 <= status < 300:
        return Verdict.ACCEPTED
    return Verdict.REFUSED if 400 <= status < 500 and status not in (408, 429) else Verdict.LATER


def one_line(text: bytes, key: Authorization | None) -> str:
    """What a server says, in printable characters; nothing if the key is in it."""
    if key is not None and key.is_in(text):
        return ""
    words = " ".join(text.decode(errors="replace").split())
    return "".join(each if each.isprintable() else "?" for each in words)[:LONGEST_REASON]


REMOTE_WRITE = Peer(
    headers={
        "User-Agent": "txmetrics",
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    },
    check_url=check_remote_write_url,
    authorize=Authorization.as_header,
    verdict=_accepted_by_remote_write,
    reason=one_line,
    in_order=True,
)
"""Bodies as ``wire.RemoteWrite`` writes them, version 1.0 of the protocol."""


# URLs


def check_receiver(url: str, example: str, authorized: bool) -> str:
    """Return ``url`` if it is all of one of http: or https:, and a secret may be sent to it if ``authorized``."""
    parts = _parts(url, ("http", "https"), example)
    if not parts.path.strip("/"):
        raise ValueError(f"the URL has no path; give all of it, such as {example}")
    if authorized and parts.scheme == "http" and not _is_here(str(parts.hostname)):
        raise ValueError("over http: everybody on the way could read the authorization; give a URL of https://")
    return url


def _parts(url: object, schemes: tuple[str, ...], example: str) -> SplitResult:
    """Those of a URL that has a host and nothing secret in it; ValueError otherwise, without a word of it."""
    try:
        parts = urlsplit(url) if isinstance(url, str) and re.fullmatch(r"[!-~]+", url) else None
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in schemes:
        begin = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"the URL is none, or does not begin with {begin}; give one such as {example}")
    if "@" in parts.netloc:
        raise ValueError("the URL has a user before its host; leave that out, and give the API key by itself")
    if "?" in str(url) or "#" in str(url):
        raise ValueError("the URL has a query or a fragment, which the log would show; leave out ? or # and the rest")
    try:
        server_of(str(url))
    except NotImplementedError:
        raise ValueError("a URL of https:// needs TLS: pip install 'twisted[tls]'") from None
    except Exception:  # of several kinds, and with the host in their texts
        raise ValueError(f"the URL has no host, or a wrong host or port; give one such as {example}") from None
    return parts


def _is_here(host: str) -> bool:
    """Whether ``host`` is this machine's own, over which nothing leaves it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
