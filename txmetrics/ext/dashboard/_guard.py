"""Who may look: a browser on this machine that means this page, unless more was allowed in words."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv6Address, ip_address
from typing import Any

from twisted.internet.address import UNIXAddress

__all__ = ["Guard", "check_hosts"]

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::\d{1,5})?")
"""A name, or an address, IPv6 in brackets; and a port."""

PROXY = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"via")
"""Headers that only a proxy adds. Behind one, everybody comes from loopback."""


class Guard:
    """Says why a request is refused.

    A Host header other than this machine's own names is what a page elsewhere sends whose name was made to mean
    127.0.0.1 (DNS rebinding), so those of ``hosts`` have to be told.
    """

    def __init__(self, hosts: Collection[str], allow_public: bool) -> None:
        self._hosts = LOCAL | check_hosts(hosts)
        self._allow_public = allow_public

    def objection(self, request: Any) -> str | None:
        """Why ``request`` is refused, in a sentence; None if it is not."""
        host = _host(request.requestHeaders.getRawHeaders(b"host", []))
        if host not in self._hosts:
            return (
                "This page answers under the names of this machine only; to reach it under another one, give that to "
                'Dashboard(..., hosts=("name",)).'
            )
        if self._allow_public:
            return None
        if not (_is_local(request.channel.getHost()) and _is_local(request.channel.getPeer())):
            return (
                "This page shows itself on loopback only; if everybody who can come here may see it, or a login stands "
                "before it, say so with Dashboard(..., allow_public=True)."
            )
        if any(request.requestHeaders.hasHeader(name) for name in PROXY):
            return (
                "This request came through a proxy, so it may be anybody's; if everybody may see this page, or a login "
                "stands before it, say so with Dashboard(..., allow_public=True)."
            )
        return None


def check_hosts(hosts: Collection[str]) -> frozenset[str]:
    """The names of ``hosts`` as they are compared; ValueError (TypeError for what is no name) for a wrong one."""
    if isinstance(hosts, str):
        raise TypeError(f"hosts is {hosts!r}, a string; give a tuple of names: hosts=({hosts!r},)")
    for host in hosts:
        match = _HOST.fullmatch(host) if isinstance(host, str) else None
        if match is None or match[1] != host:
            raise ValueError(f"{host!r} is no name of a host; give one such as metrics.example.org, without a port")
    return frozenset(host.lower() for host in hosts)


def _host(headers: list[bytes]) -> str | None:
    """The name in the one Host header, without the port."""
    match = _HOST.fullmatch(headers[0].decode("latin-1")) if len(headers) == 1 else None
    return None if match is None else match[1].lower()


def _is_local(address: Any) -> bool:
    if isinstance(address, UNIXAddress):
        return True
    try:
        ip = ip_address(address.host)
    except (AttributeError, ValueError):
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_loopback
