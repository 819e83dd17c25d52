"""A load that is bounded, and writes down what is true: each answer, with the seconds that its worker has measured.

Every request has a connection of its own, so that the kernel spreads them over the workers.
"""

from __future__ import annotations

import json
from typing import IO, Any, NamedTuple

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["Answer", "Load"]

REQUEST = b"GET / HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n"
PATIENCE = 20.0


class Answer(NamedTuple):
    """What a worker has said."""

    worker: str
    generation: int
    pid: int
    seconds: float


class Load:
    """Sends requests to ``port`` on this machine, and writes each answer, a line of JSON, to ``file``."""

    def __init__(self, reactor: Any, port: int, file: IO[str]) -> None:
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        """Why requests were not answered."""
        self.port = port
        self._reactor = reactor
        self._endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self._file = file

    async def send(self, requests: int, at_once: int) -> list[Answer]:
        """So many requests, so many of them at a time at most; what was answered."""
        numbers, begin = iter(range(requests)), len(self.answers)

        async def client() -> None:
            for _ in numbers:
                try:
                    await self.ask()
                except Exception as error:
                    self.failures.append(f"{type(error).__name__}: {error}")

        await gatherResults([Deferred.fromCoroutine(client()) for _ in range(at_once)])
        return self.answers[begin:]

    async def ask(self) -> Answer:
        """One request; raises what has kept it from being answered."""
        exchange = await connectProtocol(self._endpoint, _Exchange())
        late = self._reactor.callLater(PATIENCE, exchange.transport.abortConnection)
        try:
            head, _, body = (await exchange.done).partition(b"\r\n\r\n")
        finally:
            if late.active():
                late.cancel()
        if not head.startswith(b"HTTP/1.1 200 ") or not body.endswith(b"\n"):
            raise ConnectionError(f"this is no whole answer: {(head + body)[:60]!r}")
        answer = Answer(**json.loads(body))
        self._file.write(json.dumps(answer._asdict()) + "\n")
        self.answers.append(answer)
        return answer


class _Exchange(Protocol):
    """One request over one connection."""

    transport: Any

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._read = b""

    def connectionMade(self) -> None:
        self.transport.write(REQUEST)

    def dataReceived(self, data: bytes) -> None:
        self._read += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(self._read)
