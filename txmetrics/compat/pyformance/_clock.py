"""Time, as pyformance's classes ask for it: any object with a method ``time()``, in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from txmetrics.clock import SYSTEM, Clock

__all__ = ["clock_of", "tick_of"]


def clock_of(clock: Any) -> Clock:
    """Both questions, asked of that object; of the module ``time``, each of the machine's own clock for it."""
    return SYSTEM if clock is time else Clock(clock.time, clock.time)


def tick_of(clock: Any) -> Callable[[], float]:
    """What durations, rates and decay are measured with: the wall clock is set now and then."""
    return clock_of(clock).tick
