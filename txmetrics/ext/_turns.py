"""Long work in short turns of the reactor, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Cooperator

from txmetrics.clock import Clock
from txmetrics.steady import steady

__all__ = ["PAUSE", "TURN", "in_turns"]

TURN = 0.0005
"""Seconds for which work may hold the reactor at a time; a single step may overrun it."""

PAUSE = 0.001
"""Seconds from one turn to the next, in which the reactor is everybody else's."""


def in_turns(reactor: Any, clock: Clock) -> Cooperator:
    """A Cooperator whose ``coiterate(steps)`` takes steps for TURN seconds, then pauses; ``reactor`` has the time.

    Its Deferred fires after the last step, and fails with what a step raised. With a clock whose time stands still
    (a test's) everything is done in one turn.
    """
    time = steady(reactor)

    def a_turn() -> Callable[[], bool]:
        end = clock.tick() + TURN
        return lambda: clock.tick() >= end

    return Cooperator(terminationPredicateFactory=a_turn, scheduler=lambda turn: time.callLater(PAUSE, turn))
