"""Timer: how fast, how many a second, and how spread."""

from __future__ import annotations

import time
from contextlib import suppress
from importlib import import_module
from math import inf
from typing import Any

from .._care import Care
from .._clock import tick_of
from ..stats.samples import DEFAULT_ALPHA, DEFAULT_SIZE, Sample
from ..stats.snapshot import Snapshot
from .histogram import Histogram
from .meter import Meter

__all__ = ["Timer", "TimerContext", "call_too_long", "timer_signals"]

timer_signals: Any = None
call_too_long: Any = None
"""Where blinker is installed, its signal: sent by a timer with a ``threshold`` (seconds) for what took longer."""

with suppress(ImportError):  # nothing here needs blinker; who connects to the signal has it
    timer_signals = import_module("blinker").Namespace()
    call_too_long = timer_signals.signal("call_too_long")


class Timer:
    """A histogram of durations in seconds, and a meter of the events that took them.

    Whatever took longer than ``threshold`` seconds is signalled by ``call_too_long``. ``sink.add(seconds)`` is called
    for each duration, if a sink is given. What goes wrong in either is logged, and disturbs nobody.
    """

    def __init__(
        self,
        threshold: float | None = None,
        size: int = DEFAULT_SIZE,
        alpha: float = DEFAULT_ALPHA,
        clock: Any = time,
        sink: Any = None,
        sample: Sample | None = None,
    ) -> None:
        self.meter = Meter(clock)
        self.hist = Histogram(size, alpha, clock, sample)
        self.sink = sink
        self.threshold = threshold
        self._care = Care()

    def time(self, *args: Any, **kwargs: Any) -> TimerContext:
        """Begin to measure: ``with timer.time(): ...``, or call ``stop()`` on the answer when it is over.

        The arguments are sent with the signal, if there is one to send.
        """
        return TimerContext(self, self.meter.clock, *args, **kwargs)

    def clear(self) -> None:
        """Forget everything."""
        self.hist.clear()
        self.meter.clear()

    def get_count(self) -> float:
        return self.hist.get_count()

    def get_sum(self) -> float:
        return self.hist.get_sum()

    def get_max(self) -> float:
        return self.hist.get_max()

    def get_min(self) -> float:
        return self.hist.get_min()

    def get_mean(self) -> float:
        return self.hist.get_mean()

    def get_stddev(self) -> float:
        return self.hist.get_stddev()

    def get_var(self) -> float:
        return self.hist.get_var()

    def get_snapshot(self) -> Snapshot:
        return self.hist.get_snapshot()

    def get_mean_rate(self) -> float:
        return self.meter.get_mean_rate()

    def get_one_minute_rate(self) -> float:
        return self.meter.get_one_minute_rate()

    def get_five_minute_rate(self) -> float:
        return self.meter.get_five_minute_rate()

    def get_fifteen_minute_rate(self) -> float:
        return self.meter.get_fifteen_minute_rate()

    def _update(self, seconds: float) -> None:
        """Take a duration in; what a clock that was set back tells is none."""
        if 0 <= seconds < inf:
            self.hist.add(seconds)
            self.meter.mark()
            if self.sink is not None:
                self._care.attempt("a timer's sink", self.sink.add, seconds)

    def _signal(self, seconds: float, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if call_too_long is not None and self.threshold and seconds > self.threshold:
            self._care.attempt("a call that took too long", call_too_long.send, self, *args, elapsed=seconds, **kwargs)


class TimerContext:
    """One measurement, which counts once: at the first ``stop()``, or at the end of its block."""

    def __init__(self, timer: Timer, clock: Any, *args: Any, **kwargs: Any) -> None:
        self.timer = timer
        self.clock = clock
        self.args = args
        self.kwargs = kwargs
        self._tick = tick_of(clock)
        self._elapsed: float | None = None
        self.start_time = self._tick()

    def stop(self) -> float:
        """How many seconds it took, until the first call."""
        if self._elapsed is None:
            self._elapsed = self._tick() - self.start_time
            self.timer._update(self._elapsed)
            self.timer._signal(self._elapsed, self.args, self.kwargs)
        return self._elapsed

    def __enter__(self) -> TimerContext:
        if self._elapsed is not None:  # its next block
            self._elapsed = None
            self.start_time = self._tick()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop()
