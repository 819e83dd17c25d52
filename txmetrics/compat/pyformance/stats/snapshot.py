"""Snapshot: some values in order, and the percentiles between them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Snapshot"]


class Snapshot:
    """The values of a sample at one moment, which ascend in ``values``."""

    MEDIAN = 0.5
    P75_Q = 0.75
    P95_Q = 0.95
    P99_Q = 0.99
    P999_Q = 0.999

    def __init__(self, values: Iterable[float]) -> None:
        self.values = sorted(values)

    def get_size(self) -> int:
        return len(self.values)

    def get_median(self) -> float:
        return self.get_percentile(self.MEDIAN)

    def get_75th_percentile(self) -> float:
        return self.get_percentile(self.P75_Q)

    def get_95th_percentile(self) -> float:
        return self.get_percentile(self.P95_Q)

    def get_99th_percentile(self) -> float:
        return self.get_percentile(self.P99_Q)

    def get_999th_percentile(self) -> float:
        return self.get_percentile(self.P999_Q)

    def get_percentile(self, percentile: float) -> float:
        """The value at ``percentile`` (0..1), on the line between the two nearest ones; 0 if there are no values.

        The n values stand at 1/(n+1) .. n/(n+1); outside of them the first or the last is told. Raises ValueError
        for a ``percentile`` that is not between 0 and 1.
        """
        if not 0 <= percentile <= 1:
            raise ValueError(f"a percentile lies between 0 and 1, not at {percentile!r}")
        count = len(self.values)
        if not count:
            return 0
        place = percentile * (count + 1)
        if place < 1:
            return self.values[0]
        if place >= count:
            return self.values[-1]
        whole = int(place)
        below, above = self.values[whole - 1 : whole + 1]
        return below + (place - whole) * (above - below)
