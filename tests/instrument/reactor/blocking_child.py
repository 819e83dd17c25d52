"""A program that holds its reactor in several ways, and says, in JSON, what a BlockingCalls has seen of it.

Its argument is the reactor.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.internet.threads import deferToThread
from twisted.python.reflect import namedModule

from txmetrics import MetricsRegistry
from txmetrics.instrument import BlockingCalls

namedModule(f"twisted.internet.{sys.argv[1]}reactor").install()
reactor: Any = namedModule("twisted.internet.reactor")

SECONDS = 0.2
LESS = 0.1


class Receiver(Protocol):
    def dataReceived(self, data: bytes) -> None:
        time.sleep(SECONDS)

    def connectionLost(self, reason: Any = None) -> None:
        time.sleep(LESS)


class Jobs:
    def refresh(self) -> None:
        time.sleep(SECONDS)

    def repeat(self) -> None:
        time.sleep(LESS)


def from_thread() -> None:
    time.sleep(SECONDS)


def from_thread_later() -> None:
    reactor.callLater(0, at_once)


def at_once() -> None:
    time.sleep(LESS)


def refused() -> None:
    """Not measured: it comes when all is over."""
    time.sleep(LESS)


async def after_a_while() -> None:
    await deferLater(reactor, 0.01)
    time.sleep(LESS)


async def after_a_thread() -> None:
    await deferToThread(int)
    time.sleep(LESS)


async def hold(port: int) -> None:
    """One way after the other."""
    reactor.callLater(0.01, Jobs().refresh)
    await deferLater(reactor, 0.02)
    await deferToThread(reactor.callFromThread, from_thread)
    await deferToThread(reactor.callFromThread, from_thread_later)
    await deferLater(reactor, 0.02)
    loop = LoopingCall(Jobs().repeat)
    loop.start(0.01, now=False)
    await deferLater(reactor, 0.02)
    loop.stop()
    await ensureDeferred(after_a_while())
    await ensureDeferred(after_a_thread())
    client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Protocol())
    client.transport.write(b"data")
    await deferLater(reactor, 0.1)
    client.transport.loseConnection()
    await deferLater(reactor, 0.1)
    if sys.argv[1] == "asyncio":
        reactor._asyncioEventloop.call_soon(time.sleep, LESS)
        await deferLater(reactor, 0.1)


def attributes() -> dict[str, Any]:
    """Whatever could be left of an override: on the reactor, its event loop's selector, and for each descriptor."""
    loop = getattr(reactor, "_asyncioEventloop", None)
    found = {name: repr(value) for name, value in vars(reactor).items() if callable(value)}
    if loop is not None:
        found["selector"] = sorted(vars(loop._selector))
        handles = [handle for key in loop._selector.get_map().values() for handle in key.data if handle is not None]
        ours = [handle for handle in handles if len(handle._args) == 4]  # the loop has one of its own
        found["registered"] = [repr(handle._args[1]) for handle in ours]
    return found


def samplers() -> int:
    return sum("sampler" in thread.name for thread in threading.enumerate())


async def main() -> None:
    port = reactor.listenTCP(0, Factory.forProtocol(Receiver), interface="127.0.0.1")
    await deferToThread(int)  # so that the thread pool is there
    before = attributes()
    registry = MetricsRegistry()
    service = BlockingCalls(registry, stacks=True)
    service.startService()
    during, threads = attributes(), samplers()
    await hold(port.getHost().port)
    service.stopService()
    service.stopService()
    after = attributes()
    seen = service.slowest()
    await deferLater(reactor, 0, refused)
    late = service.slowest() != seen
    await port.stopListening()
    print(
        json.dumps(
            {
                "blocks": seen,
                "timers": {reading.name: reading.fields()["count"] for reading in registry.snapshot()},
                "longest tick": registry.read("reactor.ticks")["max"],
                "overridden": during != before,
                "left behind": after != before,
                "threads": [threads, samplers()],
                "measured too late": late,
            }
        )
    )


react(lambda _: ensureDeferred(main()))
