"""One question to a dashboard: its ``state``, in bounded time and memory."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from txmetrics.console._probe import in_words
from txmetrics.console._seam import Trouble
from txmetrics.console._state import State, read

__all__ = ["Dashboard", "check_url"]

SECONDS = 5.0

LARGEST = 4 * 2**20
"""Bytes of an answer: 200 routes with the longest names are a twentieth of it."""


def check_url(url: str) -> str:
    """Return ``url`` if a dashboard can be there; Trouble if not."""
    if not re.fullmatch(r"https?://[!-~]+", url, re.IGNORECASE) or "@" in url:
        raise Trouble(f"{url!r} is no URL of a dashboard such as http://127.0.0.1:8002/")
    return url


class Dashboard:
    """The one whose page is at ``url``. ``time`` is an IReactorTime."""

    def __init__(self, reactor: Any, time: Any, url: str) -> None:
        self.url = url
        self._time = time
        self._pool = HTTPConnectionPool(reactor)
        self._agent = Agent(reactor, connectTimeout=SECONDS, pool=self._pool)

    async def state(self) -> State:
        """Ask; Trouble says why there is no answer."""
        deferred = Deferred.fromCoroutine(self._ask())
        deferred.addTimeout(SECONDS, self._time, _too_late)
        try:
            body = await deferred
        except (Trouble, CancelledError):
            raise
        except Exception as error:
            why = getattr(error, "reasons", None)
            cause = why[0].value if why else error
            raise Trouble(f"no dashboard answers at {self.url}: {in_words(cause)}") from None
        try:
            return read(json.loads(body))
        except (ValueError, RecursionError):
            raise Trouble(f"what answers at {self.url} is no dashboard of txmetrics") from None

    async def close(self) -> None:
        """Leave no connection behind."""
        await self._pool.closeCachedConnections()

    async def _ask(self) -> bytes:
        address = f"{self.url.rstrip('/')}/state".encode("ascii")
        response: Any = await self._agent.request(b"GET", address, Headers({b"Accept": [b"application/json"]}))
        body = _Body()
        response.deliverBody(body)
        content = await body.done
        if response.code != 200:
            raise Trouble(f"{self.url} answers {response.code}; give the URL that the page of a dashboard is at")
        return content


class _Body(Protocol):
    """Collects what comes, up to LARGEST bytes."""

    transport: Any

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self.transport.loseConnection())
        self._pieces: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= LARGEST:
            self._pieces.append(data)
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if self._size > LARGEST:
            self.done.errback(ValueError(f"its answer has more than {LARGEST:,} bytes"))
        elif reason.check(ResponseDone, PotentialDataLoss):  # if it was not all, it is no JSON
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(reason)


def _too_late(*_: object) -> None:
    raise TimeoutError
