"""Histogram: how spread.

A value is appended to a short list and nothing more. Every FOLD values the list is folded, in one go, into what is
recent; and when somebody looks, that goes into the histogram's life and into the windows of all other readers.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from struct import pack
from typing import Any
from weakref import WeakMethod, ref

from txmetrics.metrics._accumulator import Accumulator
from txmetrics.metrics._batch import Batch
from txmetrics.snapshot import Distribution, HistogramReading, TimerReading

__all__ = ["FOLD", "Histogram", "Window"]

FOLD = 256
EXACT_IN_A_LIFE = 256
EXACT_IN_A_WINDOW = 2048
NOTHING = Accumulator(0)


class Window:
    """One reader's own view of a histogram: what happened since that reader last looked.

    The first look shows the histogram's whole life. A window that nobody holds any more costs nothing.
    """

    __slots__ = ("__weakref__", "earlier", "histogram", "looked")

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram
        self.looked = False
        self.earlier: Accumulator | None = None
        """What others have seen, and this one not, since its last look; until the first it needs the life only."""

    def take(self) -> Distribution | None:
        """What happened since the last ``take``, None if nothing did; the histogram itself keeps it."""
        histogram, earlier = self.histogram, self.earlier
        if self.looked and (earlier is None or not earlier.count):
            if histogram._sources:
                histogram._ask()
            return histogram._pass_on(self)
        histogram.settle()
        if earlier is None:
            self.looked = True
            return histogram.distribution
        spread = earlier.distribution()
        # Emptied, not replaced: thousands of new objects a report are work for the garbage collector.
        earlier.clear()
        return spread

    def catch_up(self) -> Accumulator:
        """What others have seen, to be added to."""
        if self.earlier is None:
            self.earlier = Accumulator(EXACT_IN_A_WINDOW)
        return self.earlier


class Histogram:
    """Takes any finite number; knows count, sum, min, max, mean, stddev and every quantile of its life.

    Count, sum, min and max are exact, quantiles within 0.4 % of the true order statistic and exact for integers
    up to 256. O(1) a value; memory is bounded (by the number of distinct values with eight significant bits).
    NaN and infinities are refused and counted in ``refused``.
    """

    __slots__ = ("_beyond", "_life", "_pending", "_recent", "_refused", "_sources", "_windows")

    def __init__(self) -> None:
        self._pending: list[float] = []
        # These are made when they are needed: an idle histogram is small.
        self._recent: array[float] | None = None  # what was folded since somebody looked, as it is
        self._beyond: Accumulator | None = None  # or in here, as soon as it was too much
        self._life: Accumulator | None = None  # and all before
        self._windows: tuple[ref[Window], ...] = ()
        self._refused = 0
        self._sources: tuple[WeakMethod[Callable[[], None]], ...] = ()

    def add(self, value: float) -> None:
        """Take ``value`` in. Raises TypeError for what is no number; NaN and infinities are counted only."""
        if type(value) is not float:
            number = _double(value)
            if number is None:
                self._refused += 1
                return
            value = number
        self._pending.append(value)
        if len(self._pending) >= FOLD:
            self.fold()

    def take_in(self, values: Iterable[float]) -> None:
        """The fastest way in, unchecked: ``values`` must be floats."""
        self._pending += values
        if len(self._pending) >= FOLD:
            self.fold()

    def feed(self, source: Callable[[], None]) -> None:
        """Have ``source``, a method, called before anything is told, to take in what its object has kept until then.

        So whoever adds to several metrics at a time can keep what happened in one place, and take it apart later. The
        object is held weakly; what it still has at its end is its own business. ``source`` must not raise.
        """
        self._sources = (*self._sources, WeakMethod(source))

    def fold(self) -> None:
        """Fold what was taken in, and that changes nothing that is told. Never raises."""
        values = self._pending.copy()
        self._pending.clear()
        recent = self._recent
        if recent is None:
            recent = self._recent = array("d")
        if self._beyond is None:
            recent.frombytes(pack(f"{len(values)}d", *values))
            if len(recent) <= EXACT_IN_A_WINDOW:
                return
            values = recent.tolist()
            del recent[:]
            self._beyond = Accumulator(0)
        batch = self._batch(values) if values else None
        if batch is not None:
            self._beyond.extend(batch)

    def settle(self) -> None:
        """Let all that was taken in be part of the histogram's life, and of what each reader sees next."""
        if self._sources:
            self._ask()
        self._pass_on()

    def merge(self, other: Histogram) -> None:
        """Take in everything that ``other``, which keeps it, has seen. Raises ValueError for the histogram itself."""
        if other is self:
            raise ValueError("a histogram cannot be merged with itself")
        other.settle()
        self._refused += other._refused
        if other._life is not None:
            self.settle()
            for accumulator in self._others(None):
                accumulator.merge(other._life)

    def window(self) -> Window:
        """A view for one more reader; see Window."""
        window = Window(self)
        self._windows = (*map(ref, self._living()), ref(window))
        return window

    @property
    def count(self) -> int:
        self.settle()
        return (self._life or NOTHING).count

    @property
    def sum(self) -> float:
        self.settle()
        return (self._life or NOTHING).sum

    @property
    def refused(self) -> int:
        """How many NaNs, infinities and numbers too large for a double were not taken in."""
        self.settle()
        return self._refused

    @property
    def distribution(self) -> Distribution | None:
        """The spread of everything since the histogram was made, None without values."""
        self.settle()
        return (self._life or NOTHING).distribution()

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
        spread = self.distribution if window is None else window.take()
        life = self._life or NOTHING
        return HistogramReading(name, life.count, life.sum, spread, self._refused)

    def _ask(self) -> None:
        """Have the sources take in what they have kept; those that are no more are forgotten."""
        sources = [source() for source in self._sources]
        for source in sources:
            if source is not None:
                source()
        if None in sources:
            self._sources = tuple(source for source in self._sources if source() is not None)

    def _tell(self, what: Callable[[Distribution], float]) -> float | None:
        spread = self.distribution
        return None if spread is None else what(spread)

    def _living(self) -> list[Window]:
        return [window for reference in self._windows if (window := reference()) is not None]

    def _pass_on(self, taker: Window | None = None) -> Distribution | None:
        """Give what is recent to life and to all windows but the ``taker``, which is told how it was spread."""
        if self._beyond is not None:
            return self._pass_beyond_on(taker)
        values = self._pending.copy()
        self._pending.clear()  # not replaced: a Timing adds to this list
        if self._recent:
            values += self._recent
            del self._recent[:]
        if not values:
            return None
        values.sort()
        batch = self._batch(values, ascending=True)
        if batch is None:
            return None
        for accumulator in self._others(taker):
            accumulator.extend(batch)
        return None if taker is None else batch.distribution()

    def _pass_beyond_on(self, taker: Window | None) -> Distribution | None:
        self.fold()
        beyond, self._beyond = self._beyond, None
        if beyond is None:
            return None
        for accumulator in self._others(taker):
            accumulator.merge(beyond)
        return None if taker is None else beyond.distribution()

    def _others(self, taker: Window | None) -> Sequence[Accumulator]:
        """The life's and those of all windows in use but the ``taker``; those given up are forgotten."""
        life = self._life
        if life is None:
            life = self._life = Accumulator(EXACT_IN_A_LIFE)
        windows = self._windows
        if len(windows) == 1 and windows[0]() is taker:  # as with the usual single reader
            return (life,)
        others, living = [life], self._living()
        for window in living:
            if window is not taker and window.looked:
                others.append(window.catch_up())
        if len(living) < len(windows):
            self._windows = tuple(map(ref, living))
        return others

    def _batch(self, values: list[float], ascending: bool = False) -> Batch | None:
        """The finite ones of ``values``, of which there is at least one; the others are refused. None for none."""
        batch = Batch(values, ascending=ascending)
        if isfinite(batch.parts[0]) or all(map(isfinite, values)):
            return batch
        finite = sorted(filter(isfinite, values))  # among others in between no order is to be trusted
        self._refused += len(values) - len(finite)
        return Batch(finite, ascending=True) if finite else None


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
