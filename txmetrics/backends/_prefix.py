"""What stands before every name, and the wire that writes it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable

from txmetrics import names
from txmetrics.interfaces import IWire

__all__ = ["check_prefix", "wire_maker"]


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


def wire_maker(kind: Callable[..., IWire], prefix: str, dialect: str, durations: str) -> Callable[[], IWire]:
    """Makes a wire, whose arguments are checked now, when the service starts: a fork may have changed the pid."""

    def make() -> IWire:
        return kind(_expanded(prefix), dialect, durations)

    make()
    return make


def _expanded(prefix: str) -> str:
    host = names.clean(socket.gethostname())
    return prefix.replace("{host}", host).replace("{pid}", str(os.getpid()))
