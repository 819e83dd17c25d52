"""What stands before every name and behind it, and the wire that writes it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from txmetrics import names
from txmetrics.identity import Identity, named_worker
from txmetrics.interfaces import IWire

__all__ = ["PLACES", "check_places", "check_prefix", "check_tags", "example_of", "fillings_of", "wire_maker"]

PLACES = re.compile(r"\{[^}]*\}")


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if, filled in, it can stand before a name; ValueError says why not otherwise."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix {prefix!r} is a {type(prefix).__name__}, not a string")
    check_places(f"prefix {prefix!r}", prefix)
    if prefix:
        names.check(_filled(prefix, example_of(prefix)), "prefix")
    return prefix


def check_places(what: str, text: str) -> None:
    """Raise ValueError if there is a place in ``text`` that nothing is filled into."""
    fillings = fillings_of(example_of(text))
    unknown = set(PLACES.findall(text)) - fillings.keys()
    if unknown:
        *others, last = fillings
        raise ValueError(f"{what} has {min(unknown)}; only {', '.join(others)} and {last} are filled in")


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return ``tags``, which may be changed afterwards, if, filled in, they can be on every line; ValueError says why
    not."""
    for key, text in tags.items():
        if not isinstance(text, str) or not text:
            raise ValueError(f"tag {key}={text!r} has no value; give it some text, or leave it out")
        check_places(f"tag {key}={text!r}", text)
    names.full("metric", {key: _filled(text, example_of(text)) for key, text in tags.items()})
    return dict(tags)


def wire_maker(
    kind: Callable[..., IWire],
    prefix: str,
    dialect: str,
    durations: str,
    *,
    tags: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> Callable[[], IWire]:
    """Makes a wire, whose arguments are checked now, when the service starts: a fork may have changed who this is."""
    fixed = "".join((prefix, *tags.values()))

    def make(identity: Identity) -> IWire:
        if tags:
            options["tags"] = {key: _tag(_filled(text, identity)) for key, text in tags.items()}
        return kind(_filled(prefix, identity), dialect, durations, **options)

    make(example_of(fixed))
    return lambda: make(_identity(prefix, fixed))


def _tag(value: str) -> str:
    """``value`` as it can be in a tag."""
    return names.tags_of(names.full("metric", {"value": value}))["value"]


def _identity(prefix: str, fixed: str) -> Identity:
    """Who this process is. The service is what is fixed in ``prefix``: workers that share it must differ."""
    if "{worker}" not in fixed:
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
