"""Post: chunks to an HTTP server, one request at a time, each kept until the server has accepted it.

    IDLE --chunk--> REQUEST --accepted, refused--> the next chunk, or IDLE
                    REQUEST --anything else--> WAITING --back-off, Retry-After--> REQUEST

What kind of server it is, its ``Peer`` knows. An answer counts from its status on; its body is read to keep the
connection, and is of no interest otherwise, but for the reason of a refusal.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Mapping
from functools import partial
from random import random as system_random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.web.http_headers import Headers
from zope.interface import implementer

from txmetrics.delivery._backoff import Backoff
from txmetrics.delivery._ending import Ending
from txmetrics.delivery._http import Client
from txmetrics.delivery._outbox import MAX_BYTES, Outbox
from txmetrics.delivery._peers import HOSTED_GRAPHITE, Peer, Verdict
from txmetrics.delivery._request import Request, retry_after
from txmetrics.delivery._secret import Authorization, Secret
from txmetrics.delivery._spool import Spool
from txmetrics.delivery._spooling import PATIENCE, Spooling
from txmetrics.interfaces import Chunk, IDelivery, Ledger

__all__ = ["Post"]


@implementer(IDelivery)
class Post:
    """Delivers chunks to the server at ``url``, which is of the kind ``peer``, with what its ``key`` is.

    A chunk is delivered once the server has accepted it (2xx), and dropped and counted if the server refuses it. It is
    posted again later, with back-off and not before the server wants it, after everything else. HostedGraphite refuses
    by 400, and after 413 it gets lines by halves; remote write refuses by 4xx but for 408 and 429, OTLP by 4xx and 5xx
    but for 429, 502, 503 and 504. When the answer is lost on its way, a chunk that was accepted is posted again. The
    next chunk is posted when one is done with, so that they arrive in their order; where the peer insists on that, they
    are not even spooled out of order.

    ``where`` names the server in the log: one line when trouble begins, one when it is over, and one for the first
    refusal. Of chunks that wait, the oldest are dropped and counted beyond ``max_bytes``, unless there is a ``spool``.
    Raises ValueError for a URL that is not right.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        url: str,
        where: str,
        key: Secret | Authorization | None,
        *,
        peer: Peer = HOSTED_GRAPHITE,
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
        self._peer = peer
        self._client = Client(reactor, self._time, peer.check_url(url), peer.headers, agent)
        self._outbox = Outbox(self._time.seconds, max_bytes, spool=spool, in_order=peer.in_order)
        self._spooling = Spooling(self._time, self._outbox, spool, self._stuck)
        self._backoff = Backoff(random)
        self._begun = False
        self._request: Request | None = None
        self._timer: IDelayedCall | None = None  # until the next request
        self._pause = 0.0  # between the last request and the next one
        self._pause_wanted = 0.0  # as much of it as the sink asked for
        self._asked_at = 0.0  # when the last request began
        self._connected = self._troubled = self._refused = False
        self._refusal: int | None = None  # the status of the last answer, if that was one
        self._rejected = 0  # points of chunks that were accepted
        self._requests = self._bytes_sent = 0
        self._failures: Tally[str] = Tally()
        self._ending = Ending(self._time, self._end)

    @property
    def counts(self) -> Mapping[str, int]:
        return {
            **self._outbox.counts,
            "bytes_sent": self._bytes_sent,
            "requests": self._requests,
            **({"points_rejected": self._rejected} if self._rejected else {}),
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
        self._request = Request(self._time, self._answered, self._failed, self._finished)
        authorization = None if self._key is None else partial(self._peer.authorize, self._key)
        self._request.begin(self._client.post(chunk.data, authorization))

    def _answered(self, status: int, headers: Headers) -> None:
        self._pause = 0.0
        verdict = self._peer.verdict(status)
        if verdict is Verdict.ACCEPTED:
            self._outbox.acknowledge(1)
            self._succeeded()
        elif verdict is Verdict.LATER:
            self._pause_wanted = retry_after(headers, self._wall())
            self._failed(str(status) if 100 <= status < 600 else "other")
        else:
            self._count_failure(str(status))
            if verdict is Verdict.REFUSED or not self._outbox.split():
                self._outbox.refuse()
                self._refusal = status

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
        self._tell_refused()
        self._tell_rejected()
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

    def _tell_refused(self) -> None:
        """Once, and as soon as the reason is there."""
        if self._refusal is None or self._refused:
            return
        self._refused = True
        reason = "" if self._request is None else self._peer.reason(self._request.text, self._key)
        text = "{where} refuses points ({why}); they are dropped, and further ones only counted"
        why = f"{self._refusal}: {reason}" if reason else str(self._refusal)
        self.log.warn(text, where=self._where, why=why)

    def _tell_rejected(self) -> None:
        """Once, and count them; to the ledger they are delivered, as the rest of their chunk is."""
        if not self._connected or self._request is None:
            return
        points, reason = self._peer.rejected(self._request.text, self._key)
        if points and not self._rejected:
            text = "{where} does not take {points} points of a request ({why}); further ones are only counted"
            self.log.warn(text, where=self._where, points=points, why=reason or "no reason given")
        self._rejected += points

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
            self._tell_refused()
            self._request = None
        self._spooling.end()
        self._client.close()
        self._connected = False
        points = self._outbox.close()
        if points:
            self.log.warn("{points} points may not have reached {where}", points=points, where=self._where)
        self._ending.answer()
