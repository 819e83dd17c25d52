"""Work in turns, of which each piece can be waited for and called off."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import CooperativeTask
from twisted.python.failure import Failure

from txmetrics.clock import Clock
from txmetrics.ext._turns import in_turns

__all__ = ["Shared", "Steps", "Work"]

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]
"""Work that may be interrupted at each ``yield``, and what it comes to."""


class Work:
    """All that a dashboard does which takes long: together, it holds the reactor for one turn at a time."""

    def __init__(self, reactor: Any, clock: Clock) -> None:
        self._cooperator = in_turns(reactor, clock)
        self._tasks: set[CooperativeTask[Any]] = set()

    def do(self, steps: Steps[T]) -> Deferred[T]:
        """Take ``steps`` until they return; the Deferred fires with what they return, or fails with what they raise.

        To cancel the Deferred is to take no further step; it fails with a TaskStopped then.
        """

        def fail(failure: Failure) -> None:
            if not result.called:
                result.errback(failure)

        result: Deferred[T] = Deferred(lambda _: self._call_off(task))
        task = self._cooperator.cooperate(_followed(steps, result))
        self._tasks.add(task)
        task.whenDone().addErrback(fail).addBoth(lambda _: self._tasks.discard(task))
        return result

    def stop(self) -> None:
        """Call off everything that is under way."""
        # The Cooperator's own stop() forgets every second of several tasks.
        for task in [*self._tasks]:
            self._call_off(task)

    def _call_off(self, task: CooperativeTask[Any]) -> None:
        if task in self._tasks:
            task.stop()


def _followed(steps: Steps[T], result: Deferred[T]) -> Steps[None]:
    result.callback((yield from steps))


class Shared:
    """Bytes that are made once for all who ask, as long as the key is the same."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._made: tuple[Hashable, bytes] | None = None
        self._waiting: list[Deferred[bytes]] | None = None

    def ask(self, key: Hashable, make: Callable[[], Steps[bytes]]) -> Deferred[bytes]:
        """What ``make()`` comes to, or came to; what is being made already is taken, whatever its key.

        Who is not interested any more may cancel the Deferred, without taking it away from the others.
        """
        if self._made is not None and self._made[0] == key:
            return succeed(self._made[1])
        waiter: Deferred[bytes] = Deferred()
        if self._waiting is not None:
            self._waiting.append(waiter)
            return waiter
        self._waiting = [waiter]
        self._work.do(make()).addCallback(self._keep, key).addBoth(self._hand_out)
        return waiter

    def _keep(self, made: bytes, key: Hashable) -> bytes:
        self._made = key, made
        return made

    def _hand_out(self, result: bytes | Failure) -> None:
        waiting, self._waiting = self._waiting or [], None
        for each in waiting:
            each.callback(result)  # a Failure goes on as one
