"""The wall clock is set, back and forward, while a child reports."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.carbon import HOST
from tests.kills.journal import Reporting, parsed
from tests.kills.peers import Collecting
from tests.kills.stored import keys

HOUR = 3600.0

SET = [(1.2, -HOUR), (2.0, +HOUR), (2.1, 10 * 365 * 24 * HOUR), (2.0, -2.0)]
"""After so many seconds the wall clock makes such a step; with the last one, two seconds come again."""

REST = (3.0, 0.0)
"""The seconds that come again are over before the next step."""


class Clocked(NamedTuple):
    """What arrived of a child whose clock was set."""

    lived: float
    """Seconds from the first report to the last."""
    reports: int
    skipped: int
    pauses: list[float]
    """Between two reports."""
    conflicts: int
    """Points whose second was there already."""
    lost: int
    """Points that the child handed over and that did not arrive."""
    wrong: list[str]

    @property
    def missed(self) -> int:
        """Seconds without a report that nothing explains."""
        return round(self.lived) + 1 - self.reports - self.skipped

    def __str__(self) -> str:
        return (
            f"{self.reports} reports, {self.skipped} skipped and {self.missed} missed in {self.lived:.1f} s, "
            f"{min(self.pauses):.2f} to {max(self.pauses):.2f} s apart, {self.conflicts} conflicts, {self.lost} lost"
        )


def the_clock_is_set(directory: Path, steps: list[tuple[float, float]] = SET) -> Clocked:
    """A child reports each second while its wall clock is set."""
    moments, total = [], 0.0
    for after, by in steps:
        total += after
        moments.append((total, by))
    with Collecting() as peer:
        endpoint = f"tcp:{HOST}:{peer.port}"
        with Reporting(directory, endpoint=endpoint, prefix="clock", series=20, steps=moments) as child:
            child.lives_to(lambda life: life.ledgers)
            time.sleep(total + 3.3)
            life = child.end()
    arrived = parsed(peer.data)
    times = [at for at, _ in life.reports][:-1]  # the last one is that of the end
    return Clocked(
        lived=times[-1] - times[0],
        reports=len(times),
        skipped=life.told("reports_skipped")[""],
        pauses=[later - earlier for earlier, later in pairwise(times)],
        conflicts=len(arrived) - len(keys(arrived)),
        lost=len(set(life.points) - set(arrived)),
        wrong=life.wrong,
    )
