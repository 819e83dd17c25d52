"""Connector: keeps one connection to an endpoint, for as long as it is wanted.

    IDLE --start--> OPENING --ready--> OPEN --lost--> WAITING --back-off--> OPENING ...
                    OPENING --refused, lost, or not ready in time--> WAITING
    OPEN --close--> CLOSING --lost--> IDLE; stop leads to IDLE at once

Opening includes the TLS handshake. Twisted's ClientService is not used: its stop waits without bound for a peer that
does not read, its back-off starts anew with every mere connect, and a connect is no proof of health: a balancer or
a TLS terminator without a backend accepts and closes at once.
"""

from __future__ import annotations

from collections.abc import Callable
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

__all__ = ["Connector"]

OPENING_TIMEOUT = 10.0

HEALTHY = 10.0
"""A connection that has lived so many seconds is a good one: the trouble is over, and the back-off begins anew."""


class Phase(Enum):
    IDLE = "idle"
    OPENING = "opening"
    OPEN = "open"
    WAITING = "waiting"
    CLOSING = "closing"


class Connector:
    """Calls ``room()`` whenever something may be written, and ``lost()`` when there is no connection (any more).

    ``where`` names the endpoint in the log: one line when it goes away, one when it is back for good. A good
    connection that its peer closes, as balancers do with idle ones, is made anew without a word.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        where: str,
        random: Callable[[], float],
        room: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._where = where
        self._backoff = Backoff(random)
        self._room = room
        self._lost = lost
        self._phase = Phase.IDLE
        self._attempt: _Attempt | None = None
        self._timer: IDelayedCall | None = None  # the end of the opening, of the trial period, or of the waiting
        self._healthy = False
        self._troubled = False
        self.connections = 0
        self.failures = 0

    # What the owner calls

    @property
    def connection(self) -> Connection | None:
        """The connection that may be written to, if there is one."""
        return self._attempt.connection if self._phase is Phase.OPEN and self._attempt is not None else None

    @property
    def opening(self) -> bool:
        return self._phase is Phase.OPENING

    def start(self) -> None:
        """Connect now, if there is neither a connection nor an attempt at one."""
        if self._phase in (Phase.IDLE, Phase.WAITING):
            self._enter(Phase.OPENING, OPENING_TIMEOUT, self._give_up_opening)
            self._attempt = _Attempt(self)
            self._attempt.begin(self._endpoint)

    def close(self) -> None:
        """Pass on what the open connection still holds, then close it; ``lost()`` tells when that is done."""
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

    def lost(self, reason: Failure) -> None:
        self._attempt = None
        if self._phase is Phase.CLOSING:
            self._enter(Phase.IDLE)
            self._lost()
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
        if self._troubled:
            self._troubled = False
            self.log.info("connected to {where} again", where=self._where)

    def _fail(self, reason: Failure) -> None:
        usual = self._healthy and reason.check(ConnectionDone)
        self._healthy = False
        self._enter(Phase.WAITING, self._backoff.failed(), self.start)
        self.failures += 1
        if not self._troubled and not usual:
            self._troubled = True
            error = reason.getErrorMessage() or type(reason.value).__name__
            self.log.warn("no connection to {where} ({error}); trying again", where=self._where, error=error)
        self._lost()

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

    def __init__(self, connector: Connector) -> None:
        self._connector: Connector | None = connector
        self._pending: Deferred[Any] | None = None
        self.connection: Connection | None = None

    def begin(self, endpoint: IStreamClientEndpoint) -> None:
        self._pending = maybeDeferred(endpoint.connect, self)
        self._pending.addErrback(self._fail)

    def give_up(self) -> None:
        self._connector = None
        if self.connection is not None:
            self.connection.abort()
        elif self._pending is not None:
            self._pending.cancel()

    def buildProtocol(self, addr: object) -> Connection:
        return Connection(self)

    # What the connection calls

    def opened(self, connection: Connection) -> None:
        if self._connector is None or self.connection is not None:
            connection.abort()
        else:
            self.connection = connection

    def ready(self, connection: Connection) -> None:
        if connection is self.connection and self._connector is not None:
            self._connector.ready()

    def lost(self, connection: Connection, reason: Failure) -> None:
        if connection is self.connection:
            self._fail(reason)

    def _fail(self, reason: Failure) -> None:
        connector = self._connector
        self.give_up()
        if connector is not None:
            connector.lost(reason)
