"""History: what the last five minutes, the last hour and the last day were like, in bounded memory.

A walk through the registry, by a reader of the tier's own, becomes one row: the moment, and a number for each series
in an array. So percentiles are those of the row's own interval, whatever the tier.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from itertools import islice
from math import floor, nan
from typing import Any, NamedTuple

from txmetrics.ext.dashboard._series import SUFFIXES, Kept, Place, Table
from txmetrics.registry import MetricsRegistry
from txmetrics.snapshot import (
    CounterReading,
    Distribution,
    GaugeReading,
    HistogramReading,
    MeterReading,
    Reading,
    TimerReading,
)

__all__ = ["HAIR", "RANGES", "History", "Row", "Tier"]

RANGES = {"5m": (1, 300), "1h": (10, 360), "24h": (60, 1440)}
"""The tiers by their names: the seconds of a row, and how many rows there are."""

HAIR = 0.01
"""Seconds that a timer may fire before its time."""

NAMES = 200
"""So many names are gone through in a step."""


class Row(NamedTuple):
    """What a tier's interval was like that ended at ``time``, in seconds since the epoch."""

    time: int
    walk: int
    numbers: array[float]
    """By slot, NaN for what there was not; a slot that was not in use yet may be beyond the end."""

    def at(self, place: Place) -> float:
        """The number of a series, NaN if there was none."""
        slot, since = place
        return self.numbers[slot] if self.walk >= since and slot < len(self.numbers) else nan


class Tier:
    """Rows of ``step`` seconds, the latest ``length`` of them, oldest first."""

    def __init__(self, index: int, step: int, length: int, registry: MetricsRegistry) -> None:
        self.index = index
        self.step = step
        self.rows: deque[Row] = deque(maxlen=length)
        self.reader = registry.reader()
        self.last: int | None = None
        """The time of the row that was begun last."""
        self.began: float | None = None
        """The tick of the clock at which that was."""
        self.complete = False
        """Whether that walk met every metric there was."""

    def due(self, stamp: int) -> bool:
        """Whether it is time for a row at ``stamp``, whole seconds since the epoch.

        That is once a step, also where the clock was set. Where it was set back by less than a step, time is waited
        for: no moment has two rows.
        """
        slot = stamp - stamp % self.step
        return self.last is None or slot > self.last or slot < self.last - self.step

    def begin(self, stamp: int) -> int:
        """The time of the row that is due at ``stamp``. What a wrong clock told of times to come is dropped."""
        self.last = stamp - stamp % self.step
        while self.rows and self.rows[-1].time >= self.last:
            self.rows.pop()
        return self.last


class History:
    """Keeps rows of 1 second for 5 minutes, of 10 seconds for an hour and of a minute for a day.

    At most ``max_series`` series are kept, of the metrics that were made first; ``not_kept`` says how many are not.
    Each takes 8.4 kB once all tiers are full; and a busy histogram keeps for the readers of the two slower tiers what
    they have not seen yet, about 5 kB each, or 40 kB where it is thousands of values.

    A counter or meter has one series, ``.rate``; a gauge one of its own name; a histogram or timer has
    ``.rate .p50 .p95 .p99 .max``. A rate is what was counted since the row before, a second of the time that really
    passed; NaN stands for what is not known, such as percentiles of an interval in which nothing happened. A metric
    that is unregistered takes its series with it.

    The first walk of each tier only tells where things stand, and makes no row.
    """

    def __init__(self, registry: MetricsRegistry, max_series: int) -> None:
        self._registry = registry
        self._tick = registry.clock.tick
        self.tiers = {
            name: Tier(index, step, length, registry) for index, (name, (step, length)) in enumerate(RANGES.items())
        }
        self.table = Table(max_series, len(self.tiers))
        self.not_kept = 0
        """How many series there was no room for."""
        self._counted_for = (0, 0)
        self.walks = 0

    def collect(self, wall: float) -> Iterator[None]:
        """Make the rows that are due at ``wall``, in steps; none if none is due. Not to be begun before another ended.

        Raises what reading a metric raises; what was read so far makes no row then.
        """
        stamp = floor(wall + HAIR)
        for tier in self.tiers.values():
            if tier.due(stamp):
                yield from self._walk(tier, tier.begin(stamp))

    def latest(self, range_: str) -> Row | None:
        """The last row of the tier of this name; None if that is older than the interval before the one under way."""
        tier = self.tiers[range_]
        if not tier.rows or tier.last is None or tier.rows[-1].time < tier.last - tier.step:
            return None
        return tier.rows[-1]

    def counted(self, name: str) -> float | None:
        """How much the metric ``name`` had counted at the last second; None if it is not kept or does not count."""
        kept = self.table.kept.get(name)
        counted = None if kept is None else kept.counted[0]
        return None if counted is None else counted[0]

    def _walk(self, tier: Tier, time: int) -> Iterator[None]:
        self.walks += 1
        walk, table, registry = self.walks, self.table, self._registry
        first, before = tier.began is None, tier.began if tier.complete else None
        tier.began, tier.complete = self._tick(), False
        numbers = array("f", [nan]) * table.width
        met = 0
        complete = True
        for reading in tier.reader.collect():
            name = reading.name
            if name in registry:  # a gauge's callable may have unregistered it
                kept = table.enter(name, registry[name], walk)
                if kept is None:
                    complete = False
                    break  # all before it have room, and all behind it were made later
                met += 1
                self._take(reading, kept, tier, before, numbers)
            yield
        if met < len(table.kept):
            table.release_unseen(walk)
        tier.complete = complete
        if not first:
            tier.rows.append(Row(time, walk, numbers))
        yield from self._count_the_rest()

    def _take(self, reading: Reading, kept: Kept, tier: Tier, before: float | None, numbers: array[float]) -> None:
        """Put the numbers of ``reading`` into the slots of ``kept``.

        ``before`` is the tick at which a metric that is new to this tier cannot have been there; None if it may have
        been, so that what it tells is of no known time.
        """
        slots = kept.slots
        missing = slots[-1] + 1 - len(numbers)
        if missing > 0:
            numbers.extend([nan] * missing)
        one: Any = reading
        if isinstance(reading, GaugeReading):
            numbers[slots[0]] = _number(reading.value)
        elif isinstance(reading, CounterReading | MeterReading | HistogramReading | TimerReading):
            count, now = one[1], self._tick()
            last = kept.counted[tier.index]
            kept.counted[tier.index] = count, now
            if last is None:
                if before is None:
                    return
                last = 0, before
            numbers[slots[0]] = _rate(count, now, *last)
            if len(slots) > 1:
                _put_spread(one[3], slots, numbers)

    def _count_the_rest(self) -> Iterator[None]:
        """Count the series that are not kept, if anything has changed."""
        registry, kept = self._registry, self.table.kept
        state = len(registry), len(kept)
        if state == self._counted_for:
            return
        rest = 0
        names = iter(registry) if len(registry) > len(kept) else iter(())
        while some := list(islice(names, NAMES)):
            rest += sum(
                len(SUFFIXES[registry[name].__class__]) for name in some if name in registry and name not in kept
            )
            yield
        self.not_kept, self._counted_for = rest, state


def _put_spread(spread: Distribution | None, slots: tuple[int, ...], numbers: array[float]) -> None:
    if spread is not None:
        most, _, _, _, p50, _, p95, _, p99, _ = spread.numbers()
        numbers[slots[1]], numbers[slots[2]], numbers[slots[3]], numbers[slots[4]] = p50, p95, p99, most


def _rate(count: float, now: float, counted: float, then: float) -> float:
    try:
        return float((count - counted) / (now - then))
    except (ArithmeticError, TypeError, ValueError):  # no time has passed, or somebody counts in something strange
        return nan


def _number(value: object) -> float:
    """What a gauge shows as a number, NaN if it is none."""
    if isinstance(value, str | bytes | bytearray):  # float() would read text
        return nan
    try:
        number: Any = value
        return float(number)
    except Exception:  # whatever somebody else's number may raise
        return nan
