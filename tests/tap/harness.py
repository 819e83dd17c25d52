"""Command lines of twistd's ``metrics``, and a Graphite for what they report."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.python.usage import UsageError

from txmetrics.tap import Options
from txmetrics.testing import GraphiteReceiver

reactor: Any = _reactor

GRAPHITE = "--metrics-graphite=tcp:127.0.0.1:2003"
KEY = "0a1b2c3d-key"


def parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def refusal(*arguments: str) -> UsageError:
    """The usage error for these arguments, which is one line."""
    with pytest.raises(UsageError) as raised:
        parsed(*arguments)
    assert len(str(raised.value).splitlines()) == 1
    return raised.value


@asynccontextmanager
async def graphite() -> AsyncIterator[tuple[GraphiteReceiver, str]]:
    """A Graphite on loopback, and its endpoint."""
    receiver = GraphiteReceiver()
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(receiver)
    try:
        yield receiver, f"tcp:127.0.0.1:{port.getHost().port}"
    finally:
        await port.stopListening()


async def arrived(receiver: GraphiteReceiver, name: str) -> float | None:
    """The latest value of ``name``: what was sent may still be on its way."""
    for _ in range(500):
        if name in receiver.names():
            break
        await deferLater(reactor, 0.01)
    return receiver.latest(name)
