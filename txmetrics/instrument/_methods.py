"""The methods of HTTP by which requests are told apart; a client may send any other word as well."""

from __future__ import annotations

__all__ = ["METHODS", "OTHER", "known"]

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"))
"""Those of RFC 9110 and RFC 5789."""

OTHER = b"OTHER"
"""Stands for every word that is none of them."""


def known(method: bytes) -> bytes:
    """The method, or OTHER."""
    return method if method in METHODS else OTHER
