"""Datagrams: chunks over UDP, at a pace that a receiver can bear, and without ever knowing what arrived.

    chunks --> outbox --> datagrams of whole lines --> a connected socket --> an address of the host

The socket is connected so that the kernel tells when nobody listens there (an ICMP answer to an earlier datagram). A
socket that is new, or was refused, is on probation: one datagram, and a while for a refusal of it to come back. While
nobody listens, that one is sent again and again, at the times of the back-off, and everything else waits.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from random import random as system_random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from txmetrics.delivery._ending import Ending
from txmetrics.delivery._outbox import MAX_BYTES, Outbox
from txmetrics.delivery._packer import LARGEST, SIZE, SMALLEST, Packer
from txmetrics.delivery._route import Route, Socket
from txmetrics.forks import parents_only
from txmetrics.interfaces import Chunk, IDelivery, Ledger

__all__ = ["Datagrams"]

PACE = 400_000
"""Bytes a second, some 10,000 points of 40 bytes: a carbon that lost none of 20,000 points a second lost 5 % of
50,000. It may also look away for a third of a second: so long Linux's usual receive buffer, which has room for some
90 datagrams of 1,400 bytes, holds out."""

BURST = 8192
"""Bytes after which a turn of the reactor is over: a tenth of a millisecond's work, every 20 milliseconds."""

RETRY = 0.1
"""Seconds until a kernel whose own buffer was full is tried again."""

PROBATION = 0.25
"""Seconds in which a refusal comes back from almost everywhere."""

HEALTHY = 10.0
"""After so many seconds without a refusal the trouble is over, and the back-off begins anew."""


@implementer(IDelivery)
class Datagrams:
    """Sends chunks to ``host`` and ``port`` in UDP datagrams of at most ``size`` bytes, ``pace`` bytes a second.

    Nobody knows what arrives: a point counts as delivered once it is *sent*. Only what is refused at once, because
    nobody listens there, is kept and sent again later. Of chunks that wait, the oldest are dropped and counted beyond
    ``max_bytes``. A datagram holds whole lines. One that is longer than ``size`` has a datagram of its own; one that
    is longer than 8,192 bytes is dropped and counted, as "refused".

    ``host`` is a name or an address of either family. A name is looked up without blocking, again every minute and
    after trouble; each of its addresses is tried in turn. ``where`` names it in the log. Raises ValueError for a size
    under 512 or over 8,192, and for a host that can be none.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        where: str,
        *,
        time: Any = None,
        size: int = SIZE,
        pace: float = PACE,
        max_bytes: int = MAX_BYTES,
        random: Callable[[], float] = system_random,
    ) -> None:
        """``time`` is an IReactorTime, of monotonic time where the clock may be set; None: the reactor's."""
        if not SMALLEST <= size <= LARGEST:
            raise ValueError(f"datagrams of {size} bytes are out of reason; give {SMALLEST} to {LARGEST}")
        self._time = reactor if time is None else time
        self._where = where
        self._pace = pace
        self._outbox = Outbox(self._time.seconds, max_bytes, window=0.0, resend=False)
        self._packer = Packer(self._outbox, size)
        self._route = Route(reactor, self._time, host, port, where, random, self._opened, self._gave_up)
        self._timer: IDelayedCall | None = None  # the next turn
        self._on_probation = True
        self._probe_sent = False
        self._trusted_at = 0.0
        self._datagrams = self._bytes_sent = self._errors = 0
        self._ending = Ending(self._time, self._end)
        self._ended = False
        self._pid = os.getpid()

    @property
    def counts(self) -> Mapping[str, int]:
        return {
            **self._outbox.counts,
            "datagrams": self._datagrams,
            "bytes_sent": self._bytes_sent,
            "refusals": self._route.refusals,
            "errors": self._errors + self._route.errors,
        }

    @property
    def levels(self) -> Mapping[str, float]:
        return {"connected": int(self._route.socket is not None), **self._outbox.levels}

    @property
    def ledger(self) -> Ledger:
        return self._outbox.ledger

    def filenos(self) -> Iterable[int]:
        return self._route.filenos()

    def start(self) -> None:
        if not self._ending.begun:
            self._pid = os.getpid()
            self._route.start()

    def deliver(self, chunk: Chunk) -> None:
        self._outbox.put(chunk)
        if self._ended:
            self._outbox.close()
        else:
            self._turn_after(0)

    def stop(self, seconds: float) -> Deferred[None]:
        first = not self._ending.begun
        done = self._ending.ask(seconds)
        if first and self._outbox.empty:
            self._end()
        elif first:
            self._route.start()  # if it was never started, or waits: one last attempt
        return done

    # Sending

    def _turn_after(self, seconds: float) -> None:
        if self._timer is None and self._route.socket is not None:
            self._timer = self._time.callLater(seconds, self._turn)

    def _turn(self) -> None:
        """Send a burst; the next one has its turn when the pace allows it."""
        self._timer = None
        socket = self._route.socket
        if socket is None or os.getpid() != self._pid:
            return
        before, pause = self._bytes_sent, 0.0
        try:
            socket.check()
            self._assess()
            self._send_burst(socket)
            self._route.refresh()
        except Exception as error:
            pause = self._cope(error)
        sent = self._bytes_sent - before
        if self._ending.begun and self._outbox.empty:
            self._end()
        elif sent or not self._outbox.empty:
            self._turn_after(max(pause, sent / self._pace, PROBATION if self._probe_sent else 0.0))

    def _send_burst(self, socket: Socket) -> None:
        end = self._bytes_sent + BURST
        while self._bytes_sent < end and (datagram := self._packer.datagram()):
            socket.send(datagram)
            self._datagrams += 1
            self._bytes_sent += len(datagram)
            if self._on_probation:
                self._probe_sent = True  # but not `sent` before it is over
                return
            self._packer.sent()

    def _assess(self) -> None:
        """Nothing was refused until now: what does that mean?"""
        now = self._time.seconds()
        if self._probe_sent:
            self._on_probation = self._probe_sent = False
            self._trusted_at = now
            self._packer.sent()
        elif not self._on_probation and now - self._trusted_at >= HEALTHY:
            self._route.recover()

    def _cope(self, error: Exception) -> float:
        """With whatever the kernel answered; returns for how many seconds, at least, to send nothing."""
        if isinstance(error, MessageLengthError):
            self._errors += 1
            self._packer.make_smaller()
        elif isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOBUFS):
            self._errors += 1
            return RETRY
        else:
            self._begin_probation()
            self._route.fail(error)
        return 0.0

    def _begin_probation(self) -> None:
        self._on_probation, self._probe_sent = True, False

    # What the route tells

    def _opened(self) -> None:
        parents_only(self)
        self._begin_probation()
        if not self._outbox.empty:
            self._turn_after(0)

    def _gave_up(self) -> None:
        if self._ending.begun:
            self._end()

    # The end

    def _end(self) -> None:
        """Give up what is still there."""
        if self._ended:
            return
        self._ended = True
        self._ending.cancel()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        points = self._outbox.close()
        if points:
            self.log.warn("{points} points may not have reached {where}", points=points, where=self._where)
        self._route.stop().addBoth(lambda _: self._ending.answer())
