"""Wall time and the monotonic tick: two different questions, asked of one object.

Durations, moving averages and budgets are differences of ``tick``; only the timestamp of a reading is
``wall`` time. A wall clock may jump; a difference of two of its answers is not a duration.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["SYSTEM", "Clock"]


@dataclass(frozen=True, slots=True)
class Clock:
    """Two callables without arguments, both in seconds.

    ``wall`` counts from the Unix epoch, ``tick`` from anywhere and never goes back.
    """

    wall: Callable[[], float]
    tick: Callable[[], float]


SYSTEM = Clock(wall=time.time, tick=time.perf_counter)
"""The machine's own clocks."""
