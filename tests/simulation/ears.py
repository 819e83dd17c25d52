"""The ears: an outbox and a spool that tell the judge what they do, and otherwise are what they are."""

from __future__ import annotations

from collections import deque
from typing import Any

from tests.simulation.disk import Killed
from tests.simulation.oracles import Batch, Judge
from txmetrics.interfaces import Chunk

__all__ = ["heard_outbox", "heard_spool"]


def heard_outbox(outbox: type, judge: Judge) -> type:
    """``outbox``, the class, which tells ``judge`` what it does."""
    return type(outbox.__name__, (_OutboxEars, outbox), {"judge": judge})


def heard_spool(spool: type, judge: Judge) -> type:
    """``spool``, the class, which tells ``judge`` what it does."""
    return type(spool.__name__, (_SpoolEars, spool), {"judge": judge})


class _OutboxEars:
    judge: Judge

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._batches: dict[Any, Batch] = {}
        """Of the items that are written, which may have lost their data."""

    def take(self: Any) -> Chunk | None:
        chunk: Chunk | None = super().take()
        batch = None if chunk is None else self.judge.batch(chunk)
        if batch is not None:
            self.judge.taken(batch)
            if self._in_flight:
                self._batches[self._in_flight.last] = batch
        return chunk

    def _deliver(self: Any, item: Any) -> None:
        batch = self._batches.pop(item, None) or self.judge.batch(item.chunk())
        if item.points and batch is not None:
            self.judge.delivered(batch)
        super()._deliver(item)

    def _drop(self: Any, item: Any, reason: str) -> None:
        self._tell_dropped(item, reason)
        super()._drop(item, reason)

    def _give_up(self: Any, written: Any, item: Any, reason: str) -> None:
        self._tell_dropped(item, reason)
        super()._give_up(written, item, reason)

    def _tell_dropped(self: Any, item: Any, reason: str) -> None:
        batch = (self._batches.pop(item, None) or self.judge.batch(item.chunk())) if item.points else None
        if batch is not None:
            next_one = self.judge.batch(self._unsent.first.chunk()) if self._unsent else None
            self.judge.dropped(batch, reason, self.bytes > self._max_bytes, next_one)


class _SpoolEars:
    judge: Judge

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken_batches: deque[Batch] = deque()

    def append(self: Any, chunk: Chunk) -> bool:
        try:
            done: bool = super().append(chunk)
        except Killed:
            self.judge.torn_points += chunk.points
            raise
        if done:
            self.judge.spooled(self.judge.batch(chunk))
        return done

    def take(self: Any) -> Chunk | None:
        chunk: Chunk | None = super().take()
        if chunk is not None:
            batch = self.judge.batch(chunk)
            if batch is None or chunk.points != len(batch.lines):
                self.judge.complain(f"the spool has invented {chunk.data[:80]!r}")
            else:
                self._taken_batches.append(batch)
        return chunk

    def settle(self: Any) -> None:
        errors = self.errors
        super().settle()
        if self._taken_batches:
            self.judge.settled(self._taken_batches.popleft(), noted=self.errors == errors)

    def rewind(self: Any) -> None:
        self._taken_batches.clear()
        super().rewind()
