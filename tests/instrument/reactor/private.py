"""Reactors of our own, one of each kind, that run in the middle of a test for as long as it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from txmetrics.clock import Clock


class Time:
    """A registry's clock that passes by ``pass_by`` only."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.broken = False
        self.clock = Clock(wall=lambda: self.now + 1e9, tick=self._tick)

    def _tick(self) -> float:
        if self.broken:
            raise OSError("no time")
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def asyncio_reactor() -> Any:
    return AsyncioSelectorReactor(asyncio.SelectorEventLoop())


KINDS: dict[str, Callable[[], Any]] = {
    "epoll": EPollReactor,
    "poll": PollReactor,
    "select": SelectReactor,
    "asyncio": asyncio_reactor,
}


def turn(reactor: Any, times: int = 3) -> None:
    """Let it do what is to be done now."""
    for _ in range(times):
        reactor.iterate(0)


def close(reactor: Any) -> None:
    """Give its files back."""
    for reader in [*reactor.removeAll(), *reactor._internalReaders]:
        reactor.removeReader(reader)
        with suppress(AttributeError):
            reader.connectionLost(Failure(ConnectionError()))
    loop = getattr(reactor, "_asyncioEventloop", None)
    if loop is not None:
        loop.close()
    with suppress(AttributeError):
        reactor._poller.close()  # epoll's
