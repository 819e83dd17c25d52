"""Connector: keeps one connection to an endpoint, for as long as it is wanted.

    IDLE --start--> OPENING --ready--> OPEN --lost--> WAITING --back-off--> OPENING ...
                    OPENING --refused, lost, or not ready in time--> WAITING
    OPEN --close--> CLOSING --lost--> IDLE; stop leads to IDLE at once

Opening includes the TLS handshake. Twisted's ClientService is not used: its stop waits without bound for a peer that
does not read, its back-off starts anew with every mere connect, and a connect is no proof of health: a balancer or
a TLS terminator without a backend accepts and closes at once.

Where there are several endpoints, the waiting is for after the last of them:

    OPENING or OPEN --failed--> NEXT --at once--> OPENING, to the next one
    OPEN, to another than the first --a while later--> LEAVING --lost--> NEXT, which is the first
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from txmetrics.delivery._backoff import Backoff
from txmetrics.delivery._connection import Connection
from txmetrics.delivery._failover import Failover
from txmetrics.delivery._reasons import kind
from txmetrics.forks import cut_off

__all__ = ["Connector"]

OPENING_TIMEOUT = 10.0

HEALTHY = 10.0
"""A connection that has lived so many seconds is a good one: the trouble is over, and the back-off begins anew."""

AWAY = 300.0
"""After so many seconds, or half of them, for not all shall do it at once, a better endpoint is tried again."""

LEAVING_TIMEOUT = 10.0

DEAD = ("stalled", "timeout")
"""Why a connection was lost to which, however good it was, it would take long to find out that none can be made."""


class Phase(Enum):
    IDLE = "idle"
    OPENING = "opening"
    OPEN = "open"
    WAITING = "waiting"
    CLOSING = "closing"
    LEAVING = "leaving"
    NEXT = "next"


class Connector:
    """Calls ``room()`` whenever something may be written, ``acknowledged(n)`` when the peer has the n next writes, and
    ``lost(confirmed)`` when there is no connection (any more): confirmed if ``close`` ended it in order.

    ``where`` names the endpoint in the log: one line when it goes away, one when it is back for good. A good
    connection that its peer closes, as balancers do with idle ones, is made anew without a word.

    An endpoint that is a Failover is several: when one fails it is the next one's turn, and the first one's again
    after a good connection.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        where: str,
        random: Callable[[], float],
        room: Callable[[], None],
        acknowledged: Callable[[int], None],
        lost: Callable[[bool], None],
    ) -> None:
        self._reactor = reactor
        self._ways = endpoint if isinstance(endpoint, Failover) else Failover({where: endpoint})
        self._random = random
        self._backoff = Backoff(random)
        self._room = room
        self._acknowledged = acknowledged
        self._lost = lost
        self._phase = Phase.IDLE
        self._process = 0  # the one that started it
        self._attempt: _Attempt | None = None
        self._timer: IDelayedCall | None = None  # the end of the opening, of the trial period, or of the waiting
        self._healthy = False
        self._troubled: set[str] = set()  # what the log has said of which one it last said that it has gone
        self._told = self._ways.where
        self.connections = 0
        self.failures: Tally[str] = Tally()
        """Attempts that led to no connection, by reason."""
        self.losses: Tally[str] = Tally()
        """Connections that were lost, by reason."""

    # What the owner calls

    @property
    def connection(self) -> Connection | None:
        """The connection that may be written to, if there is one."""
        return self._attempt.connection if self._phase is Phase.OPEN and self._attempt is not None else None

    @property
    def connected_to(self) -> int:
        """Which of the endpoints there is a connection to; 1 is the first, 0 is none."""
        return self._ways.number if self._phase is Phase.OPEN else 0

    @property
    def opening(self) -> bool:
        """Whether there is an attempt, or will be one at once."""
        return self._phase in (Phase.OPENING, Phase.NEXT)

    @property
    def closing(self) -> bool:
        return self._phase in (Phase.CLOSING, Phase.LEAVING)

    def start(self) -> None:
        """Connect now, if there is neither a connection nor an attempt at one; in a forked child, never."""
        self._process = self._process or os.getpid()
        if self._phase in (Phase.IDLE, Phase.WAITING, Phase.NEXT) and self._process == os.getpid():
            self._enter(Phase.OPENING, OPENING_TIMEOUT, self._give_up_opening)
            self._attempt = _Attempt(self, self._reactor)
            self._attempt.begin(self._ways)

    def close(self) -> None:
        """Pass on what the open connection still holds, then close it; ``lost`` tells when that is done."""
        connection = self.connection
        if connection is not None:
            self._enter(Phase.CLOSING)
            connection.close()

    def stop(self) -> None:
        """End what there is, at once, and never connect again by itself. Calls nobody back."""
        self._enter(Phase.IDLE)
        self._give_up()

    # What the attempt calls

    def ready(self) -> None:
        if self._phase is Phase.OPENING:
            self._enter(Phase.OPEN, HEALTHY, self._recover)
            self.connections += 1
        if self._phase is Phase.OPEN:
            self._room()

    def acknowledged(self, writes: int) -> None:
        self._acknowledged(writes)

    def lost(self, reason: Failure, confirmed: bool) -> None:
        self._attempt = None
        if self._phase is Phase.CLOSING:
            self._enter(Phase.IDLE)
            self._lost(confirmed)
        elif self._phase is Phase.LEAVING:
            self._left(confirmed)
        else:
            self._fail(reason)

    # What happens next

    def _give_up_opening(self) -> None:
        self._give_up()
        self._fail(Failure(TimeoutError(f"not open after {OPENING_TIMEOUT:g} seconds")))

    def _give_up(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.give_up()

    def _recover(self) -> None:
        self._healthy = True
        self._backoff.reset()
        where = self._ways.where
        if where in self._troubled:
            self._troubled.remove(where)
            self.log.info("connected to {where} again", where=where)
        elif where != self._told:
            self.log.info("connected to {where}", where=where)
        self._told = where
        if self._ways.number > 1:
            self._enter(Phase.OPEN, AWAY * (1 - self._random() / 2), self._leave)

    def _leave(self) -> None:
        """In order, so that nothing is lost on the way."""
        connection = self.connection
        self._ways.begin_again()
        self._enter(Phase.LEAVING, LEAVING_TIMEOUT, self._give_up_leaving)
        if connection is not None:
            connection.close()

    def _give_up_leaving(self) -> None:
        self._give_up()
        self._left(False)

    def _left(self, confirmed: bool) -> None:
        self._healthy = False
        self._enter(Phase.NEXT, 0.0, self.start)
        self._lost(confirmed)

    def _fail(self, reason: Failure) -> None:
        word, where = kind(reason), self._ways.where
        usual = self._healthy and reason.check(ConnectionDone)
        (self.losses if self._phase is Phase.OPEN else self.failures)[word] += 1
        good = self._healthy and word not in DEAD
        self._healthy = False
        if self._ways.lost(good):
            self._enter(Phase.NEXT, 0.0, self.start)
        else:
            self._enter(Phase.WAITING, self._backoff.failed(), self.start)
        if where not in self._troubled and not usual:
            self._troubled.add(where)
            self.log.warn(
                "no connection to {where} ({error}); trying {next}",
                where=where,
                error=reason.getErrorMessage() or type(reason.value).__name__,
                next="again" if self._ways.where == where else self._ways.where,
            )
        self._lost(False)

    def _enter(self, phase: Phase, seconds: float = 0.0, then: Callable[[], None] | None = None) -> None:
        """Change the phase; ``then`` is called if it still is that phase after ``seconds``."""
        self._phase = phase
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if then is None else self._reactor.callLater(seconds, then)


class _Attempt(Factory):
    """One attempt to connect, and the connection that came of it.

    Once it has failed or was given up it is heard no more, whatever its endpoint may still bring.
    """

    noisy = False

    def __init__(self, connector: Connector, reactor: Any) -> None:
        self._process = os.getpid()
        self._connector: Connector | None = connector
        self._reactor = reactor
        self._pending: Deferred[Any] | None = None
        self.connection: Connection | None = None

    def begin(self, endpoint: IStreamClientEndpoint) -> None:
        self._pending = maybeDeferred(endpoint.connect, self)
        self._pending.addErrback(self._fail)

    def give_up(self) -> None:
        self._connector = None
        if self.connection is not None:
            self.connection.abort()
        elif self._pending is not None and self._process == os.getpid():  # a child would end its parent's attempt
            with suppress(Exception):  # Twisted's own connectors may raise here
                self._pending.cancel()

    def buildProtocol(self, addr: object) -> Connection:
        return Connection(self, self._reactor)

    # What the connection calls

    def opened(self, connection: Connection) -> None:
        if self._process != os.getpid():
            cut_off(connection)  # a forked child has gone on with its parent's attempt
        if self._connector is None or self.connection is not None:
            connection.abort()
        else:
            self.connection = connection

    def ready(self, connection: Connection) -> None:
        if connection is self.connection and self._connector is not None:
            self._connector.ready()

    def acknowledged(self, connection: Connection, writes: int) -> None:
        if self._connector is not None:
            self._connector.acknowledged(writes)

    def lost(self, connection: Connection, reason: Failure) -> None:
        if connection is self.connection:
            self._fail(reason)

    def _fail(self, reason: Failure) -> None:
        connector = self._connector
        self.give_up()
        if connector is not None:
            connector.lost(reason, self.connection is not None and self.connection.confirmed)
