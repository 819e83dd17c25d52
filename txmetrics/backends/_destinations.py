"""A destination: an endpoint, or several of which the first that can be had is used."""

from __future__ import annotations

import re
from typing import Any

from txmetrics.backends._endpoints import check_endpoint, shown, way_to
from txmetrics.delivery import Failover

__all__ = ["check_destination", "endpoints", "failover", "shown_destination"]


def check_destination(text: str) -> str:
    """Return ``text`` if it is an endpoint, or connections' endpoints with commas between; ValueError if not.

    A comma that belongs to an endpoint, and is followed by what looks like another one, is written with a backslash.
    """
    several = endpoints(text)
    for endpoint in several:
        check_endpoint(endpoint)
        if len(several) > 1 and endpoint.lower().startswith(("udp:", "https:")):
            raise ValueError(
                f"{text!r} has {endpoint!r}, but only a connection shows when it is time for the next; "
                "give endpoints such as tcp:127.0.0.1:2003"
            )
    if len(set(several)) < len(several):
        raise ValueError(f"{text!r} names an endpoint twice; give the second one another address, or leave it out")
    return text


def endpoints(text: str) -> list[str]:
    """The endpoints in ``text``, the best first."""
    return re.split(r"(?<!\\),\s*(?=\w+:)", text) if isinstance(text, str) else [text]


def failover(reactor: Any, text: str) -> Failover:
    """What connects to the endpoints in ``text``."""
    return Failover({endpoint: way_to(reactor, endpoint) for endpoint in endpoints(text)})


def shown_destination(text: str) -> str:
    """``text`` for the eyes of others, without files and options."""
    return ",".join(map(shown, endpoints(text)))
