"""What stands before every name, and the wire that writes it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable

from txmetrics import names
from txmetrics.identity import Identity, named_worker
from txmetrics.interfaces import IWire

__all__ = ["PLACES", "check_prefix", "example_of", "fillings_of", "wire_maker"]

PLACES = re.compile(r"\{[^}]*\}")


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if, filled in, it can stand before a name; ValueError says why not otherwise."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix {prefix!r} is a {type(prefix).__name__}, not a string")
    example = example_of(prefix)
    unknown = set(PLACES.findall(prefix)) - fillings_of(example).keys()
    if unknown:
        *others, last = fillings_of(example)
        raise ValueError(f"prefix {prefix!r} has {min(unknown)}; only {', '.join(others)} and {last} are filled in")
    if prefix:
        names.check(_filled(prefix, example), "prefix")
    return prefix


def wire_maker(kind: Callable[..., IWire], prefix: str, dialect: str, durations: str) -> Callable[[], IWire]:
    """Makes a wire, whose arguments are checked now, when the service starts: a fork may have changed who this is."""

    def make(identity: Identity) -> IWire:
        return kind(_filled(prefix, identity), dialect, durations)

    make(example_of(prefix))
    return lambda: make(_identity(prefix))


def _identity(prefix: str) -> Identity:
    """Who this process is. The service is what is fixed in ``prefix``: workers that share it must differ."""
    if "{worker}" not in prefix:
        return Identity.resolve(worker="-")  # no slot is taken that nobody would see
    return Identity.resolve(PLACES.sub("", prefix).strip("."))


def example_of(prefix: str) -> Identity:
    """Somebody such as this process may become; ValueError if it is told to be somebody that cannot be."""
    worker = named_worker() if "{worker}" in prefix else None
    return Identity("", names.clean(socket.gethostname()), worker or "w0", 1_000_000_000)


def _filled(prefix: str, identity: Identity) -> str:
    return PLACES.sub(lambda place: fillings_of(identity).get(place[0], place[0]), prefix)


def fillings_of(identity: Identity) -> dict[str, str]:
    return {
        "{host}": identity.host,
        "{pid}": str(os.getpid()),
        "{worker}": identity.worker,
        "{generation}": str(identity.generation),
    }
