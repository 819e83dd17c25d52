"""Programs for test_steady: what would harm the tests' own process, a clock that jumps and a fork.

    python steady_child.py steps epoll       # or poll, select, asyncio
    python steady_child.py fork epoll

Each prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

INTERVAL = 0.1
HOUR = 3600.0
STEPS = [(0.5, -HOUR), (2.0, +HOUR), (0.5, 10 * 365 * 24 * HOUR)]
"""After so many seconds the wall clock makes such a step; it is behind, for the longest time, after the first."""

_shift = 0.0


def shift_the_clock() -> None:
    """Put a clock that can be set in the place of the wall clock, before Twisted takes hold of it."""
    real = time.time
    time.time = lambda: real() + _shift  # what a reactor imports, and never asks for again


def set_the_clock() -> None:
    """Make all steps, at their times; takes as long."""
    global _shift
    for seconds, step in STEPS:
        time.sleep(seconds)
        _shift += step
    time.sleep(0.5)


def timers() -> int:
    """How many timers of the kernel this process has open."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the directory's own
            found += "timerfd" in os.readlink(f"/proc/self/fd/{fd}")
    return found


def ticks(clock: Any) -> list[float]:
    """When a LoopingCall on ``clock`` ticks, in seconds that nobody can set, from now on."""
    from twisted.internet.task import LoopingCall

    told: list[float] = []
    begin = time.monotonic()
    loop = LoopingCall(lambda: told.append(time.monotonic() - begin))
    loop.clock = clock
    loop.start(INTERVAL)
    return told


def steps(reactor: Any) -> Any:
    """The ticks of steady time and of the reactor's own, side by side, while the clock is set; and what is left."""
    from txmetrics.steady import steady

    clock = steady(reactor)
    told: dict[str, list[float]] = {}
    life: list[float] = []

    def begin() -> None:
        life.append(time.monotonic())
        told["reactor"], told["steady"] = ticks(reactor), ticks(clock)
        threading.Thread(target=work).start()

    def work() -> None:
        set_the_clock()
        life.append(time.monotonic())
        reactor.callFromThread(reactor.stop)

    reactor.callWhenRunning(begin)
    reactor.run()
    return {
        **told,
        "lived": life[1] - life[0],
        "wall": reactor.seconds is time.time,
        "same": clock is reactor,
        "timers": timers(),
        "pending": len(clock.getDelayedCalls()),
    }


def fork(reactor: Any) -> Any:
    """What a forked child finds, and whether its parent's calls go on whatever the child does to them."""
    from twisted.internet.task import deferLater

    from txmetrics.steady import steady

    signal.alarm(10)  # ends the parent if its calls do not go on
    clock = steady(reactor)
    told = ticks(clock)
    found: dict[str, Any] = {}

    def split() -> None:
        found["before"] = timers()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            seen = timers()
            for call in clock.getDelayedCalls():
                call.cancel()
            clock.callLater(0, print)
            clock.callLater(HOUR, print).cancel()
            os.write(writing, json.dumps([seen, timers()]).encode())
            os._exit(0)
        os.close(writing)
        with open(reading) as pipe:
            found["child"] = json.loads(pipe.read())
        os.waitpid(child, 0)
        found["ticks"] = len(told)
        deferLater(clock, 10 * INTERVAL, reactor.stop)

    clock.callLater(3 * INTERVAL, split)
    reactor.run()
    return {**found, "ticks": len(told) - found["ticks"]}


def main() -> None:
    what, name = sys.argv[1:]
    programs: dict[str, Callable[[Any], Any]] = {"steps": steps, "fork": fork}
    if what == "steps":
        shift_the_clock()
    import_module(f"twisted.internet.{name}reactor").install()
    from twisted.internet import reactor

    print(json.dumps(programs[what](reactor)))


if __name__ == "__main__":
    main()
