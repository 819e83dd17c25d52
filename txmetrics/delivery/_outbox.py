"""The outbox: one queue of chunks with a cursor, in bounded memory, whose books always balance.

    retained | in flight | unsent

    collected = delivered + retained + queued + spooled + dropped (by reason), in points, after every step

A chunk that is taken is in flight, until the peer has acknowledged it; it is retained, for as long as a crash of the
backend could still lose it; then it is delivered. When the connection is lost the cursor goes back to the oldest that
is left. What waits for long is compressed, and goes to the spool where there is one. The spool's chunks are sent before
any unsent one here: they are older, but for those that were in flight when the connection was lost.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable
from itertools import chain

from txmetrics.delivery._queue import Item, Queue
from txmetrics.delivery._spool import Spool
from txmetrics.interfaces import Chunk, Ledger

__all__ = ["MAX_BYTES", "Outbox"]

MAX_BYTES = 8 * 2**20

WARM = 2**18
"""Up to so many bytes nothing is compressed: it would cost more than it is worth."""

AT_ONCE = 50
"""So many chunks are let go of in one turn of the reactor: 0.1 ms."""

SMALL, FAST = 4, 1
"""Levels of compression. What waits, may wait for long: an hour of 1,000 values every 10 seconds is 3.8 MiB instead of
4.2. What was written is gone in a minute or so, and takes a third less time."""


class Outbox:
    """Holds about ``max_bytes`` of chunks, and always room for one.

    ``window`` is for how many seconds after its writing a chunk is retained. ``resend`` says what becomes of chunks
    that a lost connection cut off: True makes them unsent again, False drops them as "unconfirmed". With ``in_order``
    nothing is spooled while a chunk is in flight that would come after it, should it be unsent again. ``now`` tells
    monotonic seconds.
    """

    def __init__(
        self,
        now: Callable[[], float],
        max_bytes: int = MAX_BYTES,
        *,
        window: float = 0.0,
        resend: bool = True,
        spool: Spool | None = None,
        in_order: bool = False,
    ) -> None:
        self._now = now
        self._in_order = in_order
        self._max_bytes = max_bytes
        self._window = window
        self._resend = resend
        self._spool = spool
        self._retained, self._in_flight, self._unsent = Queue(), Queue(), Queue()
        self._collected = self._delivered = self._sent = self._replayed = 0
        self._dropped: Tally[str] = Tally()
        self._acknowledged_at = now()
        self._taken: Chunk | None = None
        """The last one; what the spool has is nowhere else in memory."""
        self.bytes = 0

    # A chunk's way

    def put(self, chunk: Chunk) -> None:
        """Take a chunk over. Beyond ``max_bytes`` the oldest goes: to the spool, or dropped as "overflow"."""
        item = Item(chunk, self._now())
        self._collected += chunk.points
        self.bytes += item.size
        if self._unsent:
            self._pack(item, SMALL)
        self._unsent.append(item)
        self.release(2)  # so that there are never more to be released than were ever put at a time
        self._make_room()

    def take(self) -> Chunk | None:
        """The oldest chunk that is not sent, in flight from now on; None if there is none."""
        chunk = self._unspool()
        if chunk is not None:
            item = Item(chunk._replace(data=b""), self._now())  # nobody asks for the data, or the spool still has it
            item.spooled = self._resend
            self.bytes += item.size
        elif self._unsent:
            item = self._unsent.popleft()
            chunk = item.chunk()
            if self._window:
                self._pack(item, FAST)  # now rather than when many are acknowledged in one turn of the reactor
        else:
            return None
        item.written = self._now()
        self._in_flight.append(item)
        self._sent += chunk.points
        self._taken = chunk
        return chunk

    def acknowledge(self, chunks: int) -> None:
        """The ``chunks`` oldest that are in flight were received."""
        self._acknowledged_at = self._now()
        self._in_flight.move(chunks, self._retained)
        self.release()

    def release(self, most: int = AT_ONCE) -> None:
        """What had been retained for the window when the peer last acknowledged anything is delivered.

        Not more than ``most`` chunks at a time; and what comes later lets go of the others.
        """
        end = self._acknowledged_at - self._window
        for _ in range(min(most, len(self._retained))):
            if self._retained.first.written > end:
                break
            self._deliver(self._retained.popleft())

    def lose(self) -> None:
        """The connection is lost, and what it had not yet passed on; the backend perhaps, with what it had."""
        # Without a look at the time: it may have been gone since the last acknowledgement, however long ago that is.
        if self._resend:
            self.take_back()
        else:
            self._drop_written()

    def take_back(self) -> None:
        """All that is retained or in flight is unsent again, in its old order."""
        self._replayed += self._retained.points + self._in_flight.points
        self._unsend()
        self._make_room()

    def give_up_last(self) -> bool:
        """What was taken last cannot be written: drop it, but not if it is the spool's. Its place is still counted."""
        item = self._in_flight.last
        if item.spooled:
            return False
        self._give_up(self._in_flight, item, "unwritable")
        return True

    def refuse(self) -> None:
        """The backend will never take the only chunk that is in flight."""
        self._drop(self._in_flight.popleft(), "refused")

    def split(self) -> bool:
        """Put the halves of the only chunk in flight, one of lines, before all others; False if it is one line."""
        chunk = self._taken
        assert chunk is not None
        lines = chunk.data.splitlines(keepends=True)
        if len(lines) < 2 or len(lines) != self._in_flight.first.points:
            return False
        item = self._in_flight.popleft()
        middle = len(lines) // 2
        for half in (lines[middle:], lines[:middle]):
            part = Item(Chunk(b"".join(half), len(half), chunk.timestamp), item.put)
            self._unsent.appendleft(part)
            self.bytes += part.size
        self._forget(item)
        self._make_room()
        return True

    def confirm(self) -> None:
        """An orderly close has proved that the peer received everything."""
        self._acknowledged_at = self._now()
        for item in chain(self._retained, self._in_flight):
            self._deliver(item)
        self._retained.clear()
        self._in_flight.clear()

    def to_spool(self) -> bool:
        """Move the oldest unsent chunk to the spool; False if there is none, or it cannot be moved."""
        if self._spool is None or not self._unsent:
            return False
        if self._in_order and self._in_flight and not self._in_flight.first.spooled:
            return False
        if not self._spool.append(self._unsent.first.chunk()):
            return False
        self.bytes -= self._unsent.popleft().size
        return True

    def close(self) -> int:
        """The end: the spool keeps what it can, the rest is dropped; returns how many points that were."""
        before = self._dropped.total()
        if self._spool is not None and self._resend:
            self._unsend()
        else:
            self._drop_written()
        while self.to_spool():
            pass
        while self._unsent:
            item = self._unsent.popleft()
            self._drop(item, "unconfirmed" if item.written else "stopped")
        if self._spool is not None:
            self._spool.close()
        return self._dropped.total() - before

    # How things stand

    @property
    def unsent(self) -> bool:
        """Whether chunks wait here, the spool's aside."""
        return bool(self._unsent)

    @property
    def empty(self) -> bool:
        """Whether nothing is left here that could be written, the spool's aside."""
        return not self._unsent and not self._in_flight and not self._retained

    @property
    def nothing_to_write(self) -> bool:
        return not self._unsent and not self._spooled_points

    @property
    def ledger(self) -> Ledger:
        recovered, dropped = 0, self._dropped
        if self._spool is not None:
            recovered, dropped = self._spool.recovered_points, dropped + self._spool.dropped
        return Ledger(
            collected=self._collected + recovered,
            delivered=self._delivered,
            retained=self._retained.points,
            queued=self._in_flight.points + self._unsent.points,
            spooled=self._spooled_points,
            dropped=dict(dropped),
        )

    @property
    def counts(self) -> dict[str, int]:
        """What IDelivery's ``counts`` say of the outbox."""
        ledger = self.ledger
        counts = {
            "points_collected": ledger.collected,
            "points_sent": self._sent,
            "points_replayed": self._replayed,
            "points_delivered": ledger.delivered,
            **{f"points_dropped.{reason}": points for reason, points in ledger.dropped.items()},
        }
        if self._spool is not None:
            counts["spool_errors"] = self._spool.errors
        return counts

    @property
    def levels(self) -> dict[str, float]:
        """What IDelivery's ``levels`` say of the outbox."""
        ledger, now = self.ledger, self._now()
        levels = {
            "queue_points": ledger.queued,
            "buffer_bytes": self.bytes,
            "queue_seconds": now - self._unsent.first.put if self._unsent else 0.0,
            "retained_points": ledger.retained,
            "retained_bytes": self._retained.bytes,
            "seconds_since_acknowledged": now - self._acknowledged_at,
        }
        if self._spool is not None:
            levels |= {"spool_points": ledger.spooled, "spool_bytes": self._spool.bytes}
        return levels

    @property
    def _spooled_points(self) -> int:
        return 0 if self._spool is None else self._spool.waiting_points

    # What a chunk becomes

    def _unspool(self) -> Chunk | None:
        chunk = self._spool.take() if self._spool is not None and self._spool.waiting_points else None
        if chunk is not None and self._spool is not None and not self._resend:
            self._spool.settle()
        return chunk

    def _pack(self, item: Item, level: int) -> None:
        if self.bytes > WARM:
            before = item.size
            item.pack(level)
            self.bytes += item.size - before

    def _make_room(self) -> None:
        """Spool, or else give up the oldest: what was written has arrived, in all probability."""
        while self.bytes > self._max_bytes and len(self._unsent) > 1 and self.to_spool():
            pass
        if self.bytes > self._max_bytes:
            self.release(len(self._retained))
            for written in (self._retained, self._in_flight):
                for item in written:
                    if not item.spooled and self.bytes > self._max_bytes:
                        self._give_up(written, item, "unconfirmed")
        while self.bytes > self._max_bytes and len(self._unsent) > 1:
            self._drop(self._unsent.popleft(), "overflow")

    def _give_up(self, written: Queue, item: Item, reason: str) -> None:
        """Keep the place of a chunk in ``written``, for acknowledgements are counted, but nothing that is in it."""
        self._dropped[reason] += item.points
        self.bytes -= item.size
        written.empty(item)
        self.bytes += item.size

    def _unsend(self) -> None:
        for written in (self._in_flight, self._retained):
            while written:
                item = written.pop()
                if item.spooled or not item.points:
                    self.bytes -= item.size
                else:
                    self._unsent.appendleft(item)
        if self._spool is not None:
            self._spool.rewind()

    def _drop_written(self) -> None:
        for written in (self._retained, self._in_flight):
            while written:
                self._drop(written.popleft(), "unconfirmed")

    def _drop(self, item: Item, reason: str) -> None:
        self._dropped[reason] += item.points
        self._forget(item)

    def _deliver(self, item: Item) -> None:
        self._delivered += item.points
        self._forget(item)

    def _forget(self, item: Item) -> None:
        self.bytes -= item.size
        if item.spooled and self._spool is not None:
            self._spool.settle()
