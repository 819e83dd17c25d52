"""Senders that are broken on purpose, each in one way that somebody has shipped: proof that the simulation can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from txmetrics.delivery import Stream, _segment
from txmetrics.delivery._connector import Connector
from txmetrics.delivery._outbox import Outbox
from txmetrics.delivery._spool import Spool
from txmetrics.interfaces import Chunk, Ledger
from txmetrics.reporter import Reporter
from txmetrics.stamps import Stamps

__all__ = ["MUTANTS", "Sender"]


class Sender:
    """The classes that the simulation runs: the real ones."""

    reporter: Any = Reporter
    stream: Any = Stream
    connector: Any = Connector
    outbox: Any = Outbox
    spool: Any = Spool

    with_spool = False
    """Whether it shows only where there is one."""

    def window(self, seconds: float) -> float:
        """The sender's replay window where that of the destination is ``seconds``."""
        return seconds


MUTANTS: dict[str, type[Sender]] = {}


def mutant(sender: type[Sender]) -> type[Sender]:
    MUTANTS[sender.__name__] = sender
    return sender


@mutant
class FiresAndForgets(Sender):
    """A lost connection is no reason to send anything again."""

    class outbox(Outbox):
        def lose(self) -> None:
            self.confirm()


@mutant
class ShortWindow(Sender):
    """The server may lose more than is kept."""

    def window(self, seconds: float) -> float:
        return seconds / 3


@mutant
class TrustsWrite(Sender):
    """What was handed to the transport is delivered."""

    class outbox(Outbox):
        def take(self) -> Chunk | None:
            chunk = super().take()
            self.confirm()
            return chunk

        def acknowledge(self, chunks: int) -> None:
            pass


@mutant
class TrustsKernel(Sender):
    """What the peer's kernel has acknowledged is delivered."""

    class outbox(Outbox):
        def release(self, most: int = 0) -> None:
            while self._retained:
                self._deliver(self._retained.popleft())


@mutant
class DropsNewest(Sender):
    """A full buffer takes nothing more."""

    class outbox(Outbox):
        def _make_room(self) -> None:
            while self.bytes > self._max_bytes and len(self._unsent) > 1:
                self._drop(self._unsent.pop(), "overflow")


@mutant
class NeverDrops(Sender):
    """A full buffer grows."""

    class outbox(Outbox):
        def _make_room(self) -> None:
            pass


@mutant
class TearsLines(Sender):
    """After a loss it goes on where it believes that it was cut off."""

    class outbox(Outbox):
        def lose(self) -> None:
            super().lose()
            if self._unsent and self._unsent.first.written:
                item = self._unsent.first
                data, points, timestamp = item.chunk()
                self.bytes -= item.size
                item.__init__(Chunk(data[len(data) // 3 :], points, timestamp), item.put)
                self.bytes += item.size


@mutant
class Restamps(Sender):
    """What is sent again carries the time of its sending."""

    class outbox(Outbox):
        def take(self) -> Chunk | None:
            again = bool(self._unsent and self._unsent.first.written)
            chunk = super().take()
            if chunk is None or not again:
                return chunk
            now = b" %d\n" % self._now()
            return chunk._replace(data=re.sub(rb" \d+\n", now, chunk.data))


@mutant
class ForgetsInFlight(Sender):
    """What was not acknowledged is not taken back, and nobody counts it."""

    class outbox(Outbox):
        def take_back(self) -> None:
            for item in self._in_flight:
                self.bytes -= item.size
            self._in_flight.clear()
            super().take_back()


@mutant
class CountsTwice(Sender):
    """A point that is sent twice is delivered twice."""

    class outbox(Outbox):
        again = 0

        def take_back(self) -> None:
            self.again += sum(item.points for item in self._retained)
            super().take_back()

        @property
        def ledger(self) -> Ledger:
            ledger = super().ledger
            return ledger._replace(delivered=ledger.delivered + self.again)


@mutant
class GivesUp(Sender):
    """After the tenth failure it does not try again."""

    class connector(Connector):
        def start(self) -> None:
            if self.failures.total() + self.losses.total() < 10:
                super().start()


@mutant
class StopsHastily(Sender):
    """At the stop it takes what was written for received, and does not wait for the peer's end of the stream."""

    class stream(Stream):
        def _wind_down(self) -> None:
            if self._connector.connection is not None and self._outbox.nothing_to_write:
                self._outbox.confirm()
                self._end()
            else:
                super()._wind_down()


@mutant
class NeverStops(Sender):
    """At the stop it waits for a peer that does not read, however long."""

    class stream(Stream):
        def stop(self, seconds: float) -> Any:
            return super().stop(3600.0)


@mutant
class LeavesCalls(Sender):
    """The stop's deadline is not cancelled when the stop is done."""

    class stream(Stream):
        def stop(self, seconds: float) -> Any:
            self._reactor.callLater(60.0, lambda: None)
            return super().stop(seconds)


@mutant
class ShowsKey(Sender):
    """What could not be written is quoted in the log."""

    class stream(Stream):
        def _lost(self, confirmed: bool) -> None:
            frame: Callable[[bytes], bytes] = self._frame
            self.log.warn("lost the connection before {data}", data=frame(b"app.jobs.count 1 1000000000\n"))
            super()._lost(confirmed)


@mutant
class TellsTwice(Sender):
    """A second that a clock set back brings again is reported again."""

    class reporter(Reporter):
        def _tick(self) -> None:
            self._temporality._stamps = Stamps()
            super()._tick()


@mutant
class DiesOfAGauge(Sender):
    """A gauge that raises ends the reports."""

    class reporter(Reporter):
        def _finish(self, report: Any) -> None:
            super()._finish(report)
            if report.unreadable and self._loop.running:
                self._loop.stop()


@mutant
class SettlesAtOnce(Sender):
    """What is taken from the spool is gone from the disk before it is delivered."""

    with_spool = True

    class spool(Spool):
        def take(self) -> Chunk | None:
            chunk = super().take()
            self.settle()
            return chunk


@mutant
class NeverSettles(Sender):
    """What was delivered stays on the disk."""

    with_spool = True

    class spool(Spool):
        def settle(self) -> None:
            if self._taken:
                self.taken_points -= self._taken.popleft().points


@mutant
class RecoversNothing(Sender):
    """What an earlier process has left is left there."""

    with_spool = True

    class spool(Spool):
        def _recover(self) -> int:
            points = super()._recover()
            for segment in self._segments:
                points -= segment.give_up()
            return points


@mutant
class TrustsShortWrites(Sender):
    """A full disk's half of a frame is a frame."""

    with_spool = True

    class spool(Spool):
        def append(self, chunk: Chunk) -> bool:
            writing = _segment._write
            _segment._write = lambda descriptor, data, position: _segment.os.pwrite(descriptor, data, position)
            try:
                return super().append(chunk)
            finally:
                _segment._write = writing


@mutant
class BelievesFrames(Sender):
    """What the header of a frame announces is what stands behind it."""

    with_spool = True

    class spool(Spool):
        def take(self) -> Chunk | None:
            check = _segment.Segment.data

            def unchecked(segment: Any, frame: Any) -> bytes:
                return segment._read(frame.end - frame.start - _segment.HEADER_SIZE, frame.start + _segment.HEADER_SIZE)

            _segment.Segment.data = unchecked
            try:
                return super().take()
            finally:
                _segment.Segment.data = check
