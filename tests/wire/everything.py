"""All that a name or a value may be, against carbon's own receivers.

    python -m tests.wire.everything 50000

does that with all code points and at least 50,000 readings, in some minutes; the tests do a part of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire import hostile
from tests.wire.judge import RECEIVERS, Judge
from tests.wire.report import encode
from txmetrics.snapshot import GaugeReading, Reading
from txmetrics.wire._dialects import DIALECTS

PLACES = ["{}", "{}a.b", "a{}b", "a.b{}"]
"""Where in a name a character may stand."""

reports = st.tuples(
    st.lists(hostile.readings, min_size=12, max_size=24),
    st.sampled_from(sorted(DIALECTS)),
    st.booleans(),
    st.sampled_from(["", "web.host1", hostile.LONGEST]),
)
"""Readings, dialect, whether durations are milliseconds, prefix."""


def check_code_points(judge: Judge, wires: Iterable[type], places: Iterable[str]) -> None:
    """Every code point there is, in ``places`` of a name: carbon takes what is let through, all else is counted."""
    for wire in wires:
        for place in places:
            names = (place.format(chr(n)) for n in range(sys.maxunicode + 1))
            chunks, refused = encode((GaugeReading(name, 1.5) for name in names), wire())
            good = [name for each in sorted(hostile.ALPHABET) if hostile.is_full(name := place.format(each))]
            judge.check(wire, chunks, ((name, 1.5) for name in good))
            assert refused == {"name": sys.maxunicode + 1 - len(good)}


def check_report(judge: Judge, readings: list[Reading], dialect: str, milliseconds: bool, prefix: str) -> None:
    """Carbon takes every field that was let through as what was meant; the others were counted."""
    points: list[tuple[str, float]] = []
    missing = 0
    for reading in readings:
        good, lost = hostile.expected(reading, dialect, milliseconds, f"{prefix}." if prefix else "")
        points += good
        missing += lost
    for wire in RECEIVERS:
        chunks, refused = encode(readings, wire(prefix, dialect, "milliseconds" if milliseconds else "seconds"))
        judge.check(wire, chunks, points)
        assert sum(refused.values()) == missing


def main(readings: int) -> None:
    begin = time.monotonic()
    seen = 0
    with Judge() as judge:
        check_code_points(judge, RECEIVERS, PLACES)
        print(f"{sys.maxunicode + 1} code points in {len(PLACES)} places: carbon took all that was let through")

        @settings(deadline=None, database=None, max_examples=readings // 12 + 1)
        @given(reports)
        def check(report: tuple[list[Reading], str, bool, str]) -> None:
            nonlocal seen
            seen += len(report[0])
            check_report(judge, *report)

        check()
    print(f"{seen} readings: carbon took all that was let through, in {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
