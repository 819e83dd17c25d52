"""Post: chunks to HostedGraphite's HTTPS sink, one request at a time, each kept until the sink has accepted it.

    IDLE --chunk--> REQUEST --2xx, 400, 413--> the next chunk, or IDLE
                    REQUEST --anything else--> WAITING --back-off, Retry-After--> REQUEST

An answer counts from its status on; its body is read to keep the connection, and is of no interest otherwise.
"""

from __future__ import annotations

import re
from collections import Counter as Tally
from collections.abc import Callable, Mapping
from random import random as system_random
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import stringToDatetime
from twisted.web.http_headers import Headers
from zope.interface import implementer

from txmetrics.delivery._backoff import Backoff
from txmetrics.delivery._ending import Ending
from txmetrics.delivery._https import Client, tls_server
from txmetrics.delivery._outbox import MAX_BYTES, Outbox
from txmetrics.delivery._reasons import kind
from txmetrics.delivery._secret import Secret
from txmetrics.delivery._spool import Spool
from txmetrics.delivery._spooling import PATIENCE, Spooling
from txmetrics.interfaces import Chunk, IDelivery, Ledger

__all__ = ["HOSTED_GRAPHITE_SINK", "Post", "check_url"]

HOSTED_GRAPHITE_SINK = "https://www.hostedgraphite.com/api/v1/sink"

REQUEST_TIMEOUT = 30.0
"""For a whole request: the connection, if there is none, and every byte of the answer."""

LONGEST_PAUSE = 300.0
"""A server's Retry-After is honoured up to so many seconds."""


def check_url(url: str) -> str:
    """Return ``url`` if it is one that a key may be sent to; ValueError says what is wrong with it otherwise.

    The text never quotes it: what is wrong may be that the key is in it.
    """
    try:
        parts = urlsplit(url) if isinstance(url, str) and re.fullmatch(r"[!-~]+", url) else None
    except ValueError:
        parts = None
    if parts is None or parts.scheme != "https":
        raise ValueError(f"the URL is none, or does not begin with https://; give one such as {HOSTED_GRAPHITE_SINK}")
    if "@" in parts.netloc:
        raise ValueError("the URL has a user before its host; leave that out, and give the API key by itself")
    if "?" in url or "#" in url:
        raise ValueError("the URL has a query or a fragment, which the log would show; leave out ? or # and the rest")
    try:
        tls_server(url)
    except NotImplementedError:
        raise ValueError("a URL of https:// needs TLS: pip install 'twisted[tls]'") from None
    except Exception:  # of several kinds, and with the host in their texts
        raise ValueError(
            f"the URL has no host, or a wrong host or port; give one such as {HOSTED_GRAPHITE_SINK}"
        ) from None
    return url


@implementer(IDelivery)
class Post:
    """Delivers chunks of lines to the HTTPS sink at ``url``, as the user whose key is ``key``.

    A chunk is delivered once the sink has accepted it, dropped and counted if the sink refuses it (400), halved if it
    is too large (413), and posted again later, with back-off and not before the sink wants it, after everything else.
    When the answer is lost on its way, a chunk that was accepted is posted again.

    ``where`` names the sink in the log: one line when trouble begins, one when it is over. Of chunks that wait, the
    oldest are dropped and counted beyond ``max_bytes``, unless there is a ``spool``. Raises ValueError for a URL that
    is not right.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        url: str,
        where: str,
        key: Secret,
        *,
        agent: Any = None,
        time: Any = None,
        max_bytes: int = MAX_BYTES,
        spool: Spool | None = None,
        random: Callable[[], float] = system_random,
    ) -> None:
        """``time`` is an IReactorTime, of monotonic time where the clock may be set; None: ``reactor``."""
        self._time = reactor if time is None else time
        self._wall = reactor.seconds  # which a server names its times by
        self._where = where
        self._key = key
        self._client = Client(reactor, self._time, check_url(url), agent)
        self._outbox = Outbox(self._time.seconds, max_bytes, spool=spool)
        self._spooling = Spooling(self._time, self._outbox, spool, self._stuck)
        self._backoff = Backoff(random)
        self._begun = False
        self._request: _Request | None = None
        self._timer: IDelayedCall | None = None  # until the next request
        self._pause = 0.0  # between the last request and the next one
        self._pause_wanted = 0.0  # as much of it as the sink asked for
        self._asked_at = 0.0  # when the last request began
        self._connected = self._troubled = self._refused = False
        self._requests = self._bytes_sent = 0
        self._failures: Tally[str] = Tally()
        self._ending = Ending(self._time, self._end)

    @property
    def counts(self) -> Mapping[str, int]:
        return {
            **self._outbox.counts,
            "bytes_sent": self._bytes_sent,
            "requests": self._requests,
            **{f"requests_failed.{reason}": count for reason, count in self._failures.items()},
        }

    @property
    def levels(self) -> Mapping[str, float]:
        """``connected`` is 1 while the last request has succeeded."""
        return {"connected": int(self._connected), **self._outbox.levels}

    @property
    def ledger(self) -> Ledger:
        return self._outbox.ledger

    def start(self) -> None:
        if not self._ending.begun:
            self._spooling.start()
            self._begun = True
            self._go_on()

    def deliver(self, chunk: Chunk) -> None:
        self._outbox.put(chunk)
        if self._ending.over:
            self._outbox.close()
        else:
            self._go_on()

    def stop(self, seconds: float) -> Deferred[None]:
        first = not self._ending.begun
        done = self._ending.ask(seconds)
        if first:
            self._begun = True
            if self._timer is not None and not self._pause_wanted:
                self._timer.reset(0)  # one more attempt, at least
            self._go_on()
        return done

    # One request after the other

    def _go_on(self) -> None:
        """Post the oldest chunk, unless one is under way or has to wait."""
        if not self._begun:
            return
        if self._request is None and self._timer is None:
            chunk = self._outbox.take()
            if chunk is not None:
                self._post(chunk)
        self._spooling.look()
        if self._ending.begun:
            self._wind_down()

    def _post(self, chunk: Chunk) -> None:
        self._asked_at = self._time.seconds()
        self._pause_wanted = 0.0
        self._requests += 1
        self._bytes_sent += len(chunk.data)
        self._request = _Request(self._time, self._answered, self._failed, self._finished)
        self._request.begin(self._client.post(chunk.data, self._key))

    def _answered(self, status: int, headers: Headers) -> None:
        self._pause = 0.0
        if 200 <= status < 300:
            self._outbox.acknowledge(1)
            self._succeeded()
        elif status in (400, 413):
            self._count_failure(str(status))
            if status == 400 or not self._outbox.split():
                self._outbox.refuse()
                self._tell_refused(status)
        else:
            self._pause_wanted = _retry_after(headers, self._wall())
            self._failed(str(status) if 100 <= status < 600 else "other")

    def _failed(self, reason: str) -> None:
        """The request, but not the chunk, which is posted again."""
        self._count_failure(reason)
        self._outbox.take_back()
        self._pause = max(self._backoff.failed(), self._pause_wanted)
        if not self._troubled:
            self._troubled = True
            self.log.warn("posting to {where} fails ({reason}); trying again", where=self._where, reason=reason)

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._connected = True
        if self._troubled:
            self._troubled = False
            self.log.info("posting to {where} works again", where=self._where)

    def _finished(self) -> None:
        """There is nothing more to come of the request."""
        self._request = None
        # In a later turn: an agent that answers at once must not lead to a call in a call in a call.
        self._timer = self._time.callLater(self._pause, self._waited)
        self._go_on()

    def _waited(self) -> None:
        self._timer = None
        self._go_on()

    def _count_failure(self, reason: str) -> None:
        self._failures[reason] += 1
        self._connected = False

    def _tell_refused(self, status: int) -> None:
        if not self._refused:
            self._refused = True
            text = "{where} refuses points ({status}); they are dropped, and further ones only counted"
            self.log.warn(text, where=self._where, status=status)

    def _stuck(self) -> bool:
        """Whether the last request is not done with after PATIENCE seconds, or the next one is to wait longer."""
        busy = self._request is not None or self._timer is not None
        return busy and self._time.seconds() - self._asked_at >= PATIENCE

    # The end

    def _wind_down(self) -> None:
        """End as soon as nothing more can happen before the deadline, or nothing that the spool does not keep."""
        if self._request is not None or self._ending.over:
            return
        in_time = self._timer is not None and self._timer.getTime() < self._ending.at
        if not in_time or (self._pause and self._outbox.empty):
            self._end()

    def _end(self) -> None:
        """Give up what is still there."""
        self._ending.cancel()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._request is not None:
            self._request.give_up()
            self._request = None
        self._spooling.end()
        self._client.close()
        self._connected = False
        points = self._outbox.close()
        if points:
            self.log.warn("{points} points may not have reached {where}", points=points, where=self._where)
        self._ending.answer()


class _Request(Protocol):
    """A request under way, and the reader of its answer's body.

    Tells ``answered`` the status and the headers, or ``failed`` the reason in one word; then that it is ``finished``,
    whatever the body was. It is heard no more once it was given up.
    """

    transport: Any = None

    def __init__(
        self,
        time: Any,
        answered: Callable[[int, Headers], None],
        failed: Callable[[str], None],
        finished: Callable[[], None],
    ) -> None:
        self._answered = answered
        self._failed = failed
        self._finished = finished
        self._has_status = False
        self._over = False
        self._timer: IDelayedCall = time.callLater(REQUEST_TIMEOUT, self._time_out)
        self._pending: Deferred[Any] | None = None

    def begin(self, pending: Deferred[Any]) -> None:
        self._pending = pending
        pending.addCallbacks(self._read, self._fail)

    def give_up(self) -> None:
        if self._over:
            return
        self._over = True
        if self._timer.active():
            self._timer.cancel()
        if self.transport is not None:
            self.transport.loseConnection()
        elif self._pending is not None:
            self._pending.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of the body, or of all hope for it."""
        self.transport = None
        self._finish()

    def _read(self, response: Any) -> None:
        if not self._over:
            self._has_status = True
            self._answered(response.code, response.headers)
            response.deliverBody(self)

    def _fail(self, reason: Failure) -> None:
        if not self._over:
            word = kind(reason)
            self._failed("lost" if word == "closed" else word)
            self._finish()

    def _time_out(self) -> None:
        if not self._has_status:
            self._failed("timeout")
        self._finish()

    def _finish(self) -> None:
        if not self._over:
            self.give_up()
            self._finished()


def _retry_after(headers: Headers, now: float) -> float:
    """The seconds for which the server wants to be left alone, as the last of its Retry-After headers says."""
    value = headers.getRawHeaders(b"Retry-After", [b""])[-1].strip()
    try:
        seconds = int(value) if value.isdigit() else stringToDatetime(value) - now
    except (ValueError, LookupError, OverflowError):
        return 0.0
    return float(min(max(seconds, 0), LONGEST_PAUSE))
