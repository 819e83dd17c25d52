"""The process: what it takes of the machine, and how long Python's garbage collector held it up.

On Linux the numbers come from /proc, elsewhere from psutil; those that neither tells are left out. A gauge asks for
its number when it is reported, and nothing is done in between.
"""

from __future__ import annotations

import gc
import os
import resource
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from twisted.application.service import Service

from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["MeasuredProcess"]

PROC = Path("/proc/self")

PAUSES = 10_000
"""So many runs of the garbage collector are remembered until a report takes them; of more the oldest are forgotten."""

AT_A_TIME = 1000
"""So many of them are taken in one step of a report, which is a millisecond's work; there is a step a generation."""


class MeasuredProcess(Service):
    """An IService that measures the process that it runs in, under ``name`` (``process``).

    The registry has its metrics at once; the service never waits, and starts no thread. Gauges: ``cpu_seconds``, of all
    threads; ``resident_memory_bytes``; ``open_fds``, and ``max_fds``, the limit of them, of which no point is made
    where there is none; ``threads``; ``uptime_seconds``; ``context_switches.voluntary`` (it had to wait) and
    ``.involuntary`` (it had to make room); ``gc.collections.generation0``, ``1`` and ``2``. What is counted is counted
    since the process began. ``gc.pause`` is a timer of the garbage collector's runs while the service runs.

    Raises ValueError if one of the names is taken; those before it are there all the same.
    """

    def __init__(self, registry: MetricsRegistry | Scope, name: str = "process") -> None:
        scope = registry.scope(name)
        for gauge, tell in {**_everywhere(), **_here()}.items():
            scope.gauge(gauge, tell)
        self._collector = _Collector(scope.scope("gc"))

    def startService(self) -> None:
        super().startService()
        self._collector.hear()

    def stopService(self) -> None:
        super().stopService()
        self._collector.hear_no_more()


def _everywhere() -> Mapping[str, Callable[[], float]]:
    """What Python itself tells."""
    return {
        "cpu_seconds": time.process_time,
        "max_fds": _max_fds,
        "context_switches.voluntary": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw,
        "context_switches.involuntary": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
    }


def _max_fds() -> float:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return inf if soft == resource.RLIM_INFINITY else soft


def _here() -> Mapping[str, Callable[[], float]]:
    """What depends on the system."""
    if (PROC / "statm").exists():
        return {
            "resident_memory_bytes": lambda: int(_words("statm")[1]) * os.sysconf("SC_PAGE_SIZE"),
            "open_fds": _open_fds,
            "threads": lambda: int(_status()[17]),
            "uptime_seconds": lambda: time.clock_gettime(_BOOT) - int(_status()[19]) / os.sysconf("SC_CLK_TCK"),
        }
    try:
        import psutil
    except ImportError:
        return {}
    return {
        "resident_memory_bytes": lambda: psutil.Process().memory_info().rss,
        "open_fds": lambda: psutil.Process().num_fds(),
        "threads": lambda: psutil.Process().num_threads(),
        "uptime_seconds": lambda: time.time() - psutil.Process().create_time(),
    }


_BOOT: int = getattr(time, "CLOCK_BOOTTIME", 0)  # the clock of /proc; it goes on while the machine sleeps


def _words(file: str) -> list[bytes]:
    return (PROC / file).read_bytes().split()


def _status() -> list[bytes]:
    """The fields of /proc/self/stat from the third on; the second, a name in brackets, may have anything in it."""
    return (PROC / "stat").read_bytes().rpartition(b")")[2].split()


def _open_fds() -> int:
    # Linux tells the number as the size of the directory since 6.2; before, that was 0. A listing has one of its own.
    directory = PROC / "fd"
    return directory.stat().st_size or len(os.listdir(directory)) - 1


class _Collector:
    """The garbage collector's runs.

    One may begin at any moment: in another thread, or while a report reads these very metrics. What is heard of it is
    therefore only put aside, and becomes metrics when the first of them is read.
    """

    def __init__(self, scope: Scope) -> None:
        self._pauses: deque[float] = deque(maxlen=PAUSES)
        self._begun: float | None = None
        for generation in range(len(gc.get_stats())):
            scope.gauge(f"collections.generation{generation}", partial(self._runs, generation))
        self._timer = scope.timer("pause")

    def hear(self) -> None:
        if self._heard not in gc.callbacks:
            gc.callbacks.append(self._heard)

    def hear_no_more(self) -> None:
        if self._heard in gc.callbacks:
            gc.callbacks.remove(self._heard)

    def _heard(self, phase: str, info: Any) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
        elif self._begun is not None:
            self._pauses.append(time.perf_counter() - self._begun)

    def _runs(self, generation: int) -> int:
        for _ in range(min(AT_A_TIME, len(self._pauses))):
            self._timer.add(self._pauses.popleft())
        return int(gc.get_stats()[generation]["collections"])
