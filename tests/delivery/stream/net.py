"""A stream on the network in memory, what its peers read, and what the log says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.delivery.network import Attempt, Endpoint, Pipe, check_books, chunk
from tests.strict import Logged
from txmetrics.delivery import Stream
from txmetrics.testing import FakeReactor

BIG = 60_000
"""A chunk of so many bytes, and one more, fill a transport."""


class Net:
    """A stream to an endpoint in memory, and what was seen of both."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.endpoint = Endpoint(self.reactor)
        self.stream = self.make()

    def make(self, **settings: Any) -> Stream:
        settings = {"random": lambda: 0.0, **settings}
        self.stream = Stream(self.reactor, settings.pop("endpoint", self.endpoint), "tcp:graphite:2003", **settings)
        return self.stream

    def connect(self, **how: Any) -> Any:
        """Start the stream and let the peer accept."""
        self.stream.start()
        return self.endpoint.latest.accept(**how)

    def deliver(self, *numbers: int, size: int = 20) -> None:
        for number in numbers:
            self.stream.deliver(chunk(number, size))
            check_books(self.stream)

    def pass_time(self, seconds: float, answer: Callable[[Attempt], object] = lambda attempt: None) -> None:
        """In steps of a tenth, while each attempt to connect that waits gets its `answer`."""
        for _ in range(round(seconds * 10)):
            if self.endpoint.attempts and self.endpoint.latest.waits:
                answer(self.endpoint.latest)
            self.reactor.advance(0.1)
            check_books(self.stream)

    def stop(self, seconds: float = 5.0) -> list[None]:
        """Stop the stream; the list holds its answer once there is one."""
        answers: list[None] = []
        self.stream.stop(seconds).addCallback(answers.append)
        check_books(self.stream)
        return answers


def numbers(pipe: Pipe) -> list[int]:
    """Which chunks the peer has read, whole ones only."""
    return [int(line[:8]) for line in pipe.value().split(b"\n")[:-1]]


def refuse(attempt: Attempt) -> None:
    attempt.refuse()


def network_log(logged: Logged) -> list[str]:
    return [text for text in logged.texts() if "connect" in text]
