"""A program that forks while it delivers: ``fork_child.py WHERE MOMENT``.

Children do what they like with what they have inherited; the parent goes on, and delivers ten chunks in all.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import deferLater

from txmetrics.delivery import Stream
from txmetrics.interfaces import Chunk

LIFE = 1.0
"""How many seconds a child runs the reactor on: longer than the first waits of a back-off."""


def lines(first: int, last: int) -> Chunk:
    return Chunk("".join(f"parent {n} 1000000000\n" for n in range(first, last)).encode(), last - first, 0)


def misbehave(stream: Stream) -> list[Callable[[], object]]:
    """What forked children do, one each."""
    foreign = Chunk(b"foreign 666 1000000000\n" * 5000, 5000, 0)
    connection = stream._connector.connection
    if stream._connector.opening:
        return [lambda: stream.deliver(foreign)]
    actions = [lambda: None, lambda: stream.deliver(foreign), lambda: stream.stop(0.5), lambda: stream.start()]
    if connection is not None:
        actions += [lambda: connection.write(foreign.data), connection.close, connection.abort]
        actions += [connection.transport.loseConnection]
    return actions


def fork(stream: Stream) -> list[int]:
    children = []
    for action in misbehave(stream):
        child = os.fork()
        if not child:
            reactor.callLater(LIFE, os._exit, 0)
            action()
            return []
        children.append(child)
    return children


async def until(predicate: Callable[[], object]) -> None:
    while not predicate():
        await deferLater(reactor, 0.02)


async def main(where: str, moment: str) -> None:
    stream = Stream(reactor, clientFromString(reactor, where), where)
    stream.deliver(lines(0, 5))
    stream.start()
    if moment == "idle":
        await until(lambda: stream.ledger.retained == 5)
    elif moment == "writing":
        await until(lambda: stream.levels["connected"])
    elif moment == "waiting":
        await until(lambda: stream.counts.get("connection_failures.refused"))
    stream.deliver(lines(5, 7))
    children = fork(stream)
    if not children:
        await Deferred()  # a child has nothing to say here any more
    print("forked", flush=True)
    if moment == "opening":
        time.sleep(LIFE / 2)  # so that the child is the one to get the connection
    for child in children:
        await until(lambda child=child: os.waitpid(child, os.WNOHANG)[0])
    print("alone again", flush=True)
    stream.deliver(lines(7, 10))
    await until(lambda: stream.ledger.retained == 10)
    await stream.stop(5)
    print("delivered", stream.ledger.delivered, "connections", stream.counts["connections"], flush=True)
    reactor.stop()


if __name__ == "__main__":
    reactor.callWhenRunning(lambda: ensureDeferred(main(*sys.argv[1:])).addErrback(lambda why: print(why)))
    reactor.run()
