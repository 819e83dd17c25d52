"""``txmetrics send``: one point, by the wire and the delivery of every report."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from typing import Any

from txmetrics.backends import way_to
from txmetrics.console._endpoint import REMEDIES, Where
from txmetrics.console._point import point
from txmetrics.console._reactor import in_reactor
from txmetrics.console._seam import Commands, Trouble
from txmetrics.delivery import Datagrams, Stream, with_own_lookups
from txmetrics.interfaces import Chunk, IDelivery
from txmetrics.steady import steady

__all__ = ["add", "failed", "failure", "run", "send"]

SECONDS = 15.0

LATEST = 2**32 - 1
"""Whisper's files have 32 bits for the time, and carbon loses what is written with such a point."""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "send",
        help="send one point to Graphite",
        description="Send one point to Graphite, and say whether it has been read there.",
    )
    parser.add_argument("name", metavar="NAME", help="the whole path, such as deploys.web")
    parser.add_argument("value", metavar="VALUE", help="a number")
    parser.add_argument(
        "--graphite",
        metavar="ENDPOINT",
        default="tcp:127.0.0.1:2003",
        help="tcp:host:2003 (this machine, if not given), tls:host:20030, unix:/path or udp:host:2003",
    )
    parser.add_argument("--timestamp", metavar="N", help="seconds since the epoch; now, if not given")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    where = Where.parse(arguments.graphite)
    if where.kind == "https":
        raise Trouble(f"{where.text} is a URL; Graphite takes an endpoint such as tcp:127.0.0.1:2003")
    chunk = point(arguments.name, _number(arguments.value), _timestamp(arguments.timestamp))
    print(in_reactor(partial(send, where=where, chunk=chunk)))


async def send(reactor: Any, where: Where, chunk: Chunk, seconds: float = SECONDS) -> str:
    """Deliver ``chunk``; returns what is known of it, Trouble if it is not delivered within ``seconds``."""
    delivery = _delivery(reactor, where)
    delivery.start()
    delivery.deliver(chunk)
    await delivery.stop(seconds)
    ledger = delivery.ledger
    if ledger.delivered:
        return "sent; over UDP nobody knows whether it arrived" if where.kind == "udp" else "sent, and read there"
    if "unconfirmed" in ledger.dropped and where.kind != "udp":
        if where.kind in ("tls", "ssl"):  # where not everybody answers the end of a connection
            return "sent; the other side has not said whether it has read it"
        raise Trouble(f"the point was written to {where.text}, and nobody has read it: is it stopped, or overloaded?")
    raise Trouble(f"the point was not sent to {where.text}: {failure(delivery.counts)}")


def _delivery(reactor: Any, where: Where) -> IDelivery:
    clock, reactor = steady(reactor), with_own_lookups(reactor)
    if where.kind == "udp":
        return Datagrams(reactor, where.host, where.port, where.text, time=clock)
    return Stream(clock, way_to(reactor, where.text), where.text)


def failure(counts: Mapping[str, int]) -> str:
    """Why a delivery with such ``counts`` has not delivered, as far as it knows."""
    reason = failed(counts)
    if reason:
        return f"{REMEDIES[reason]} (txmetrics check tells more)"
    if counts.get("refusals"):
        return REMEDIES["refused"]
    if counts.get("connections"):
        return "it took the connection, and did not say that it has read anything (txmetrics check tells more)"
    return REMEDIES["timeout"]


def failed(counts: Mapping[str, int]) -> str:
    """The word for why a delivery with such ``counts`` could not connect; "" if it always could."""
    return next((word for word in REMEDIES if f"connection_failures.{word}" in counts), "")


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise Trouble(f"the value {text!r} is no number") from None


def _timestamp(text: str | None) -> int:
    if text is None:
        return int(time.time())
    try:
        timestamp = int(text)
    except ValueError:
        raise Trouble(f"the timestamp {text!r} is no whole number of seconds since the epoch") from None
    if not 0 < timestamp <= LATEST:
        raise Trouble(f"the timestamp {timestamp} is out of reach of Graphite: give seconds since the epoch")
    return timestamp
