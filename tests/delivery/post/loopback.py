"""Sinks over TLS on loopback, and posts to them with Twisted's own agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from tests.delivery.certificates import Authority
from tests.delivery.network import check_books, until
from tests.delivery.post.net import KEY
from tests.sink import Sink, SinkServer
from tests.strict import the_reactor
from txmetrics.delivery import Post, Secret


class Loopback:
    """Sinks and posts that are closed when the test is over. Time for timers passes by `time.advance` only."""

    def __init__(self, authority: Authority) -> None:
        self.reactor = the_reactor()
        self.time = Clock()
        self.authority = authority
        self._servers: list[SinkServer] = []
        self._posts: list[Post] = []

    async def serve(self, sink: Sink | None = None, tls: Any = None) -> SinkServer:
        server = SinkServer(sink or Sink(), tls or self.authority.server("127.0.0.1"))
        self._servers.append(await server.start())
        return server

    def post(self, url: str, **settings: Any) -> Post:
        """A user of the sink at `url`, started."""
        settings = {"time": self.time, "random": lambda: 0.0, **settings}
        post = Post(self.reactor, url, url, Secret(KEY), **settings)
        self._posts.append(post)
        post.start()
        return post

    async def until(self, predicate: Callable[[], object], *, seconds: float = 0.0) -> None:
        """Let the reactor go on until `predicate` holds, while so many seconds a turn pass for the timers."""

        def turn() -> object:
            self.time.advance(seconds)
            return predicate()

        await until(turn, 20)

    async def close(self) -> None:
        for post in self._posts:
            stopped = post.stop(0)
            self.time.advance(0)
            await stopped
            check_books(post)
        for server in self._servers:
            await server.stop()
        assert self.time.getDelayedCalls() == []


def ends(server: SinkServer) -> list[Any]:
    """Our ends of all connections to `server`."""
    return [one for one in the_reactor().getReaders() if getattr(one, "addr", None) == ("127.0.0.1", server.port)]
