"""A post whose agent answers as it is told, what it was asked, and what the log says of it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from tests.delivery.network import check_books, chunk
from tests.strict import Logged
from txmetrics.delivery import HOSTED_GRAPHITE_SINK, Post, Secret
from txmetrics.interfaces import Chunk
from txmetrics.testing import FakeReactor

KEY = "3fb7a2d1-4c0e-9d5e-a1b2c3d4e5f6"
AUTHORIZATION = "Basic " + b64encode(f"{KEY}:".encode()).decode()


def lines(first: int, last: int, timestamp: int = 1_000_000_000) -> Chunk:
    """One chunk with a line for each number."""
    text = "".join(f"post.{number} {number}.5 {timestamp}\n" for number in range(first, last))
    return Chunk(text.encode(), last - first, timestamp)


class Response:
    """An answer; its body has ended, unless `ends` is False."""

    phrase = b"<script>"

    def __init__(self, code: int, headers: Headers, ends: bool = True) -> None:
        self.code = code
        self.headers = headers
        self.transport = StringTransport()
        self.reader: Any = None
        self._ends = ends

    def deliverBody(self, reader: Any) -> None:
        self.reader = reader
        reader.makeConnection(self.transport)
        reader.dataReceived(b"<script>")
        if self._ends:
            self.end()

    def end(self, reason: Exception | None = None) -> None:
        self.reader.connectionLost(Failure(reason or ResponseDone()))


class Asked:
    """One request, made at the time `at`, whose end the test decides."""

    def __init__(self, at: float, method: bytes, url: bytes, headers: Headers, body: Any) -> None:
        self.at = at
        self.method = method
        self.url = url
        self.headers = dict(headers.getAllRawHeaders())
        consumer = StringTransport()
        body.startProducing(consumer)
        self.data = consumer.value()
        assert body.length == len(self.data)
        self.cancelled = False
        self.deferred: Deferred[Any] = Deferred(self._cancel)

    def _cancel(self, deferred: object) -> None:
        self.cancelled = True

    def answer(self, status: int, ends: bool = True, **headers: str) -> Response:
        named = {name.replace("_", "-"): [value] for name, value in headers.items()}
        response = Response(status, Headers(named), ends)
        self.deferred.callback(response)
        return response

    def lose(self, error: Exception) -> None:
        """There is no answer, and Twisted wraps the reason why."""
        self.deferred.errback(ResponseNeverReceived([Failure(error)]))

    @property
    def waits(self) -> bool:
        return not self.deferred.called

    @property
    def number(self) -> int:
        """Which `chunk` it is."""
        return int(self.data[:8])


@implementer(IAgent)
class Agent:
    """Keeps what it is asked."""

    def __init__(self, reactor: FakeReactor) -> None:
        self.asked: list[Asked] = []
        self._reactor = reactor

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        assert not self.asked or not self.latest.waits, "two requests at once"
        self.asked.append(Asked(self._reactor.seconds(), method, uri, headers, bodyProducer))
        return self.latest.deferred

    @property
    def latest(self) -> Asked:
        return self.asked[-1]


class Net:
    """A sink's user whose agent is ours."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.agent = Agent(self.reactor)
        self.post = self.make()

    def make(self, **settings: Any) -> Post:
        settings = {"random": lambda: 0.0, "agent": self.agent, **settings}
        self.post = Post(self.reactor, HOSTED_GRAPHITE_SINK, "the sink", Secret(KEY), **settings)
        return self.post

    def start(self, *numbers: int) -> Asked:
        """Start with chunks of these numbers; the answer is the first request."""
        self.deliver(*numbers)
        self.post.start()
        return self.agent.latest

    def deliver(self, *numbers: int, size: int = 20) -> None:
        for number in numbers:
            self.post.deliver(chunk(number, size))
            check_books(self.post)

    def answer(self, status: int, **how: Any) -> Response:
        response = self.agent.latest.answer(status, **how)
        check_books(self.post)
        return response

    def pass_time(self, seconds: float, answer: Callable[[Asked], object] = lambda asked: None) -> None:
        """In steps of a tenth, while each request that waits gets its `answer`."""
        for _ in range(round(seconds * 10)):
            if self.agent.asked and self.agent.latest.waits:
                answer(self.agent.latest)
                check_books(self.post)
            self.reactor.advance(0.1)
            check_books(self.post)

    def stop(self, seconds: float = 5.0) -> list[None]:
        """Stop; the list holds the answer once there is one."""
        answers: list[None] = []
        self.post.stop(seconds).addCallback(answers.append)
        check_books(self.post)
        return answers

    @property
    def failures(self) -> dict[str, int]:
        return failures(self.post)


def with_status(status: int, **headers: str) -> Callable[[Asked], object]:
    return lambda asked: asked.answer(status, **headers)


def refuse(asked: Asked) -> None:
    asked.deferred.errback(ConnectionRefusedError())


def numbers(asked: list[Asked]) -> list[int]:
    return [one.number for one in asked]


def told(logged: Logged) -> list[str]:
    return [text for text in logged.texts() if "the sink" in text]


def failures(post: Post) -> dict[str, int]:
    lead = "requests_failed."
    return {name.removeprefix(lead): count for name, count in post.counts.items() if name.startswith(lead)}
