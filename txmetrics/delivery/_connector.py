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
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from txmetrics.delivery._backoff import Backoff
from txmetrics.delivery._connection import Connection

__all__ = ["Connector"]

OPENING_TIMEOUT = 10.0


class Phase(Enum):
    IDLE = "idle"
    OPENING = "opening"
    OPEN = "open"
    WAITING = "waiting"
    CLOSING = "closing"


class _Connections(Factory):
    noisy = False

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def buildProtocol(self, addr: object) -> Connection:
        return Connection(self._connector)


class Connector:
    """Calls ``room()`` whenever something may be written, and ``lost()`` when there is no connection (any more).

    ``where`` names the endpoint in the log: one line when it goes away, one when it is back.
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
        self._connection: Connection | None = None
        self._attempt: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None  # the end of the opening, or of the waiting
        self._opened_at = 0.0
        self._troubled = False
        self.connections = 0
        self.failures = 0

    # What the owner calls

    @property
    def connection(self) -> Connection | None:
        """The connection that may be written to, if there is one."""
        return self._connection if self._phase is Phase.OPEN else None

    @property
    def opening(self) -> bool:
        return self._phase is Phase.OPENING

    def start(self) -> None:
        """Connect now, if there is neither a connection nor an attempt at one."""
        if self._phase in (Phase.IDLE, Phase.WAITING):
            self._enter(Phase.OPENING, OPENING_TIMEOUT, self._give_up_opening)
            self._attempt = maybeDeferred(self._endpoint.connect, _Connections(self))
            self._attempt.addCallbacks(self._attempt_succeeded, self._attempt_failed)

    def close(self) -> None:
        """Pass on what the open connection still holds, then close it; ``lost()`` tells when that is done."""
        if self._phase is Phase.OPEN and self._connection is not None:
            self._enter(Phase.CLOSING)
            self._connection.close()

    def stop(self) -> None:
        """End what there is, at once, and never connect again by itself. Calls nobody back."""
        self._enter(Phase.IDLE)
        if self._connection is not None:
            self._connection.abort()
        elif self._attempt is not None:
            self._attempt.cancel()

    # What the connection calls

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        if self._phase is not Phase.OPENING:
            connection.abort()

    def ready(self, connection: Connection) -> None:
        if self._phase is Phase.OPENING:
            self._enter(Phase.OPEN)
            self._opened_at = self._reactor.seconds()
            self.connections += 1
            if self._troubled:
                self._troubled = False
                self.log.info("connected to {where} again", where=self._where)
        if self._phase is Phase.OPEN:
            self._room()

    def lost(self, connection: Connection, reason: Failure) -> None:
        self._connection = None
        if self._phase is Phase.CLOSING:
            self._enter(Phase.IDLE)
            self._lost()
        else:
            self._failed(reason, self._reactor.seconds() - self._opened_at if self._phase is Phase.OPEN else 0.0)

    # Openings and failures

    def _attempt_succeeded(self, connection: object) -> None:
        self._attempt = None

    def _attempt_failed(self, reason: Failure) -> None:
        self._attempt = None
        self._failed(reason, 0.0)

    def _give_up_opening(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        elif self._attempt is not None:
            self._attempt.cancel()

    def _failed(self, reason: Failure, lived: float) -> None:
        if self._phase is Phase.IDLE:
            return
        wait = self._backoff.failed(lived)
        self._enter(Phase.WAITING, wait, self.start)
        self.failures += 1
        if self._backoff.failures == 1:  # and not for each of a row
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
