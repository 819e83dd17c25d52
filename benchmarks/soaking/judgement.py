"""What the soak says: whether the server has grown, whether its reports were in time, and whether the books agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor
from statistics import fmean, linear_regression, median, quantiles
from typing import Any

from benchmarks.results import Plot, Table
from benchmarks.soaking.server import Size
from benchmarks.soaking.world import Reports

__all__ = ["Soaked", "tell"]

MINUTE, HOUR = 60.0, 3600.0
MB = 1e6

Points = list[tuple[float, float]]
"""Times, in seconds, and what was measured then."""


@dataclass
class Soaked:
    """What was measured, between ``began`` and ``ended``, in seconds of the wall clock."""

    began: float
    ended: float
    sizes: list[tuple[float, Size]]
    reports: Reports
    asked: int
    answered: int
    books: dict[str, Any]
    """The server's: its reporter's ledger after the stop, and how many requests it has counted."""

    def slots(self) -> range:
        """The seconds of which there must be a report: all that were measured."""
        return range(floor(self.began) + 1, floor(self.ended) + 1)

    def lateness(self) -> Points:
        """Seconds by which each report was late, by its own second; without the last, which is early at a stop."""
        arrived = self.reports.arrived
        return [(slot, arrived[slot] - slot) for slot in self.slots()[:-1] if slot in arrived]

    def points(self) -> Points:
        """How many points each report has."""
        return [(slot, self.reports.points[slot]) for slot in self.slots()[:-1] if slot in self.reports.points]

    def size(self, what: str) -> Points:
        """A part of the sizes, without those that do not have it."""
        told = [(at, getattr(size, what)) for at, size in self.sizes]
        return [(at, number) for at, number in told if number is not None]


def quarters(points: Points) -> tuple[float, float]:
    """The means of the first quarter of the points and of the last."""
    size = max(1, len(points) // 4)
    values = [value for _, value in points]
    return fmean(values[:size]), fmean(values[-size:])


def slope(points: Points) -> float:
    """How much more a second, of the straight line with the least squares."""
    return linear_regression(*zip(*points, strict=True)).slope


def second_half(points: Points) -> Points:
    return points[len(points) // 2 :]


def medians(points: Points) -> Points:
    """Of each ten of them: one that something else on the machine has delayed is not to turn a line."""
    of = max(1, min(10, len(points) // 4))  # fewer where there are few
    groups = [points[start : start + of] for start in range(0, len(points), of)]
    return [(group[0][0], median(value for _, value in group)) for group in groups]


def tell(soaked: Soaked) -> Iterator[Table | Plot | dict[str, float]]:
    """Tables, plots and figures."""
    rss, late = soaked.size("rss"), medians(soaked.lateness())
    first, last = quarters(rss)
    growth, drift = slope(second_half(rss)) * MINUTE / 1e3, slope(late) * HOUR * 1e3
    yield growing(soaked, growth)
    yield in_time(soaked, drift)
    books, differences = agreeing(soaked)
    yield books
    began = soaked.began
    yield Plot(
        "Memory that the server occupies",
        "minutes",
        "MB",
        {"RSS": [((at - began) / MINUTE, value / MB) for at, value in rss]},
    )
    yield Plot(
        "How late the reports are",
        "minutes",
        "ms, median of ten reports",
        {"lateness": [((at - began) / MINUTE, 1e3 * value) for at, value in late]},
    )
    yield {"RSS last to first quarter": last / first, "RSS slope": growth, "drift": abs(drift), **differences}


def growing(soaked: Soaked, growth: float) -> Table:
    minutes = (soaked.ended - soaked.began) / MINUTE
    table = Table(f"What could grow, in {minutes:.2g} minutes", ["", "first quarter", "last quarter", "ratio"])
    for what, points, unit, digits in [
        ("memory that the server occupies, MB", soaked.size("rss"), MB, 2),
        ("objects that the garbage collector knows", soaked.size("objects"), 1, 0),
        ("metrics in the registry", soaked.size("metrics"), 1, 0),
        ("points in a report", soaked.points(), 1, 0),
    ]:
        first, last = quarters(points)
        table.rows.append([what, *(f"{each / unit:,.{digits}f}" for each in (first, last)), f"{last / first:.4f}"])
    used = [processor for _, processor in soaked.size("processor")]
    share = (used[-1] - used[0]) / (soaked.sizes[-1][0] - soaked.sizes[0][0])
    table.note = (
        f"Means. The straight line through the memory of the second half has a slope of {growth:+.1f} kB a minute. The "
        f"server has used {share:.0%} of a processor."
    )
    return table


def in_time(soaked: Soaked, drift: float) -> Table:
    table = Table("How late a report is, ms", ["", "p50", "p99", "max"])
    late = [value for _, value in soaked.lateness()]
    quarter = max(2, len(late) // 4)
    for what, values in [("first quarter", late[:quarter]), ("last quarter", late[-quarter:]), ("all", late)]:
        cuts = quantiles(values, n=100, method="inclusive")
        table.rows.append([what, *(f"{1e3 * each:.2f}" for each in (cuts[49], cuts[98], max(values)))])
    table.note = (
        "From the second that it is stamped with to the arrival of its first line, in another process. The straight "
        f"line through the medians of ten reports has a slope of {drift:+.2f} ms an hour."
    )
    return table


def agreeing(soaked: Soaked) -> tuple[Table, dict[str, float]]:
    """The books, and by how much they do not agree."""
    reports, slots, ledger = soaked.reports, soaked.slots(), soaked.books["ledger"]
    counted, dropped = soaked.books["requests"], sum(ledger["dropped"].values())
    came = sum(slot in reports.arrived for slot in slots)
    twice = sum(times > 1 for times in reports.times.values())
    elsewhere = ledger["retained"] + ledger["queued"] + ledger["spooled"] + dropped
    arrived = reports.points.total()
    table = Table("What was to arrive, and has", ["", "expected", "arrived", "missing"])
    for what, expected, there in [
        ("reports: seconds that passed, seconds that have one", len(slots), came),
        ("requests: answered, counted by txmetrics", soaked.answered, counted),
        ("points: collected, arrived", ledger["collected"], arrived),
    ]:
        table.rows.append([what, f"{expected:,}", f"{there:,}", f"{expected - there:,}"])
    table.note = (
        f"Requests and points with those before and after what was measured. {soaked.asked:,} requests were asked. "
        f"{twice} reports arrived more than once, {reports.skipped} were skipped by the reporter. Its ledger says "
        f"after the stop: {ledger['delivered']:,} points delivered, {dropped:,} dropped."
    )
    return table, {
        "reports missed": len(slots) - came,
        "reports twice": twice,
        "requests uncounted": abs(soaked.answered - counted),
        "points unaccounted": abs(ledger["collected"] - ledger["delivered"] - elsewhere)
        + abs(ledger["delivered"] - arrived),
    }
