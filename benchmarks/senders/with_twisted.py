"""A plain Twisted client, as one writes it first: a factory that reconnects, and ``transport.write``."""

from __future__ import annotations

import time
from typing import Any

from reports import Reports, seconds_to_the_middle, stop_at_the_end
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, ReconnectingClientFactory
from twisted.internet.task import LoopingCall, deferLater

reactor: Any = _reactor


class Client(Protocol):
    factory: Clients

    def connectionMade(self) -> None:
        self.factory.client = self

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.client = None


class Clients(ReconnectingClientFactory):
    protocol: Any = Client
    client: Client | None = None

    def buildProtocol(self, address: Any) -> Any:
        self.resetDelay()
        return super().buildProtocol(address)


def report() -> None:
    number, now = reports.next(), int(time.time())
    lines = "".join(f"{reports.prefix}.{name} {number} {now}\n" for name in reports.names)
    if clients.client is not None and clients.client.transport is not None:
        clients.client.transport.write(lines.encode())


def stop() -> Deferred[None]:
    loop.stop()
    clients.stopTrying()
    if clients.client is not None and clients.client.transport is not None:
        clients.client.transport.loseConnection()
    return deferLater(reactor, 1, lambda: None)  # until that is done


reports = Reports()
clients = Clients()
loop = LoopingCall(report)
reactor.connectTCP("127.0.0.1", reports.port, clients)
reactor.callLater(seconds_to_the_middle(), loop.start, 1)
reactor.addSystemEventTrigger("before", "shutdown", stop)
stop_at_the_end(reactor)
reactor.run()
reports.tell()
