"""Histogram: how spread.

A value is appended to a short list and nothing more; every FOLD values, or when somebody looks, the list is
folded, in one batch, into the histogram's life and into the window of each reader.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any
from weakref import ref

from txmetrics.metrics._accumulator import Accumulator, Batch, add_up
from txmetrics.snapshot import Distribution, HistogramReading, TimerReading

__all__ = ["FOLD", "Histogram", "Window"]

FOLD = 256
EXACT_IN_A_LIFE = 256
EXACT_IN_A_WINDOW = 2048


class Window:
    """One reader's own view of a histogram: what happened since that reader last looked.

    The first look shows the histogram's whole life. A window that nobody holds any more costs nothing.
    """

    __slots__ = ("__weakref__", "_accumulator", "histogram")

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram
        self._accumulator: Accumulator | None = None  # until the first look, the histogram's life is all it needs

    def take(self) -> Distribution | None:
        """What happened since the last ``take``, None if nothing did; the histogram itself keeps it."""
        self.histogram._fold()
        if self._accumulator is None:
            self._accumulator = Accumulator(EXACT_IN_A_WINDOW)
            return self.histogram.distribution
        spread = self._accumulator.distribution()
        # Emptied, not replaced: thousands of new objects a report are work for the garbage collector.
        self._accumulator.clear()
        return spread


class Histogram:
    """Takes any finite number; knows count, sum, min, max, mean, stddev and every quantile of its life.

    Count, sum, min and max are exact, quantiles within 0.4 % of the true order statistic and exact for integers
    up to 256. O(1) a value; memory is bounded (by the number of distinct values with eight significant bits).
    NaN and infinities are refused and counted in ``refused``.
    """

    __slots__ = ("_count", "_life", "_pending", "_refused", "_sum", "_windows")

    def __init__(self) -> None:
        self._pending: list[float] = []
        self._life = Accumulator(EXACT_IN_A_LIFE)
        self._windows: tuple[ref[Window], ...] = ()
        self._count = 0
        self._sum: tuple[float, ...] = (0.0,)
        self._refused = 0

    def add(self, value: float) -> None:
        """Take ``value`` in. Raises TypeError for what is no number; NaN and infinities are counted only."""
        if type(value) is not float or value - value != 0:  # of all floats, NaN and the infinities alone
            number = _double(value)
            if number is None:
                self._refused += 1
                return
            value = number
        pending = self._pending
        pending.append(value)
        if len(pending) >= FOLD:
            self._fold()

    def inlet(self) -> Callable[[float], None]:
        """The fastest way in, for whoever adds several values to several metrics at a time: takes one, unchecked.

        It must be a finite float. After at most FOLD of them ``settle`` has to be called; and a timer's ``advance``
        before the first that comes after its ``due``.
        """
        return self._pending.append

    def settle(self) -> None:
        """Fold what was taken in. Never raises, and changes nothing that is told."""
        self._fold()

    def merge(self, other: Histogram) -> None:
        """Take in everything that ``other``, which keeps it, has seen. Raises ValueError for the histogram itself."""
        if other is self:
            raise ValueError("a histogram cannot be merged with itself")
        other._fold()
        self._fold()
        self._count += other._count
        self._refused += other._refused
        self._sum = add_up(self._sum, other._sum)
        for accumulator in self._accumulators():
            accumulator.merge(other._life)

    def window(self) -> Window:
        """A view for one more reader; see Window."""
        window = Window(self)
        self._windows = (*map(ref, self._living()), ref(window))
        return window

    @property
    def count(self) -> int:
        return self._count + len(self._pending)

    @property
    def sum(self) -> float:
        self._fold()
        return self._sum[0]

    @property
    def refused(self) -> int:
        """How many NaNs, infinities and numbers too large for a double were not taken in."""
        return self._refused

    @property
    def distribution(self) -> Distribution | None:
        """The spread of everything since the histogram was made, None without values."""
        self._fold()
        return self._life.distribution()

    @property
    def min(self) -> float | None:
        return self._tell(lambda spread: spread.min)

    @property
    def max(self) -> float | None:
        return self._tell(lambda spread: spread.max)

    @property
    def mean(self) -> float | None:
        return self._tell(lambda spread: spread.mean)

    @property
    def stddev(self) -> float | None:
        return self._tell(lambda spread: spread.stddev)

    def quantile(self, q: float) -> float | None:
        """The nearest-rank quantile, ``q`` between 0 and 1; None without values."""
        return self._tell(lambda spread: spread.quantile(q))

    def read(self, name: str, window: Window | None = None) -> HistogramReading | TimerReading:
        """The reading: of the histogram's life, or what happened since ``window`` was last taken."""
        return HistogramReading(name, self.count, self.sum, self._spread(window), self.refused)

    def _spread(self, window: Window | None) -> Distribution | None:
        return self.distribution if window is None else window.take()

    def _tell(self, what: Callable[[Distribution], float]) -> float | None:
        spread = self.distribution
        return None if spread is None else what(spread)

    def _accumulators(self) -> list[Accumulator]:
        """The life's and those of the windows in use; windows that their readers gave up are forgotten."""
        windows = self._living()
        if len(windows) < len(self._windows):
            self._windows = tuple(map(ref, windows))
        return [self._life, *(window._accumulator for window in windows if window._accumulator is not None)]

    def _living(self) -> list[Window]:
        return [window for reference in self._windows if (window := reference()) is not None]

    def _fold(self) -> None:
        if not self._pending:
            return
        batch = Batch(self._pending.copy())
        self._pending.clear()
        self._count += len(batch.values)
        self._sum = add_up(self._sum, batch.total)
        for accumulator in self._accumulators():
            accumulator.extend(batch)


def _double(value: Any) -> float | None:
    """``value`` as a finite double, None if it has none (NaN, 10**400); TypeError if it is no number at all."""
    try:
        if issubclass(type(value), str | bytes | bytearray):  # float() would read text
            raise TypeError
        number = float(value)
    except TypeError:
        raise TypeError(f"a histogram takes numbers, not {value!r}") from None
    except Exception:  # whatever a number of somebody else's may raise
        return None
    return number if isfinite(number) else None
