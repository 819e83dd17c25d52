"""Which seconds were reported already: no second twice, in bounded memory."""

from __future__ import annotations

from math import floor

from hypothesis import given
from hypothesis import strategies as st

from txmetrics.stamps import RANGES, Stamps, first_boundary

HOUR, YEAR = 3600, 365 * 86_400
NOW = 1_700_000_000


def claimed(stamps: Stamps, first: int, last: int, interval: int = 10) -> list[int]:
    """Claim each boundary of the interval from `first` to `last`: those that were granted."""
    return [stamp for stamp in range(first, last + 1, interval) if stamps.claim(stamp)]


def test_a_second_is_granted_once() -> None:
    """And then it is taken, as often as one asks."""
    stamps = Stamps()
    assert stamps.claim(NOW)
    assert not stamps.claim(NOW)
    assert not stamps.claim(NOW)
    assert stamps.claim(NOW + 1)
    assert stamps.claim(NOW - 1)


def test_after_a_step_back_only_what_was_reported_is_taken() -> None:
    """Who was started a minute ago goes on at once, and is silent for that minute when it comes again."""
    stamps = Stamps()
    assert len(claimed(stamps, NOW, NOW + 60)) == 7
    again = claimed(stamps, NOW + 65 - HOUR, NOW + 65 + HOUR, interval=5)
    assert again == [
        stamp for stamp in range(NOW + 65 - HOUR, NOW + 65 + HOUR + 1, 5) if stamp not in range(NOW, NOW + 61, 10)
    ]


def test_after_days_of_reports_a_step_back_within_them_finds_all_taken() -> None:
    """The hour that comes again was reported to the last second, whatever was forgotten in detail."""
    stamps = Stamps()
    assert len(claimed(stamps, NOW, NOW + 72 * HOUR)) == 72 * 360 + 1
    assert len(stamps._ranges) == RANGES
    assert claimed(stamps, NOW + 71 * HOUR, NOW + 72 * HOUR) == []
    assert len(claimed(stamps, NOW + 72 * HOUR + 10, NOW + 73 * HOUR)) == 360


def test_a_time_that_was_jumped_over_stays_free() -> None:
    """A clock that was ten years ahead for a while is set right, and everything is reported as if nothing had been."""
    stamps = Stamps()
    assert len(claimed(stamps, NOW, NOW + HOUR)) == 361
    assert len(claimed(stamps, NOW + 10 * YEAR, NOW + 10 * YEAR + HOUR)) == 361
    assert len(claimed(stamps, NOW + HOUR + 10, NOW + 5 * HOUR)) == 4 * 360


def test_the_first_free_second_from_one_on() -> None:
    """Is that one, or the next that follows all that are taken without a gap; and then it is taken, too."""
    stamps = Stamps()
    assert [stamps.claim_from(NOW) for _ in range(4)] == [NOW, NOW + 1, NOW + 2, NOW + 3]
    assert stamps.claim_from(NOW - 1) == NOW - 1
    assert stamps.claim_from(NOW + 1) == NOW + 4
    assert claimed(stamps, NOW - 2, NOW + 6, interval=1) == [NOW - 2, NOW + 5, NOW + 6]


seconds = st.integers(0, 400) | st.integers(NOW, NOW + 10 * YEAR)


@given(st.lists(st.tuples(seconds, st.booleans()), max_size=400))
def test_no_second_is_granted_twice_in_bounded_memory(asked: list[tuple[int, bool]]) -> None:
    """In whatever order they come, and whichever way one asks."""
    stamps, granted = Stamps(), set()
    for stamp, any_later in asked:
        if any_later:
            free = stamps.claim_from(stamp)
            assert free >= stamp
        elif stamps.claim(stamp):
            free = stamp
        else:
            continue
        assert free not in granted
        granted.add(free)
        assert len(stamps._ranges) <= RANGES


@given(st.lists(seconds, max_size=RANGES))
def test_a_few_are_remembered_exactly(asked: list[int]) -> None:
    """None that was not asked for before is refused."""
    stamps, granted = Stamps(), set()
    for stamp in asked:
        assert stamps.claim(stamp) == (stamp not in granted)
        granted.add(stamp)


@given(st.lists(st.tuples(seconds, st.sampled_from([1.0, 1.2, 2.5, 10.0, 60.0])), max_size=200))
def test_a_boundary_is_granted_once(asked: list[tuple[int, float]]) -> None:
    """The next one of which nothing is taken, not before the time that was asked for, however far the next free is."""
    stamps, granted = Stamps(), set()
    for wall, interval in asked:
        stamp = stamps.claim_boundary(wall, interval)
        slot = round(stamp / interval)
        assert stamp in {int(each * interval) for each in (slot - 1, slot, slot + 1)}
        assert stamp >= int(wall)
        assert stamp not in granted
        granted.add(stamp)


def test_a_clock_that_was_set_back_for_years_is_no_long_search() -> None:
    """All those years count as taken, and are jumped over."""
    stamps = Stamps()
    stamps._ranges = [(NOW, NOW + 10 * YEAR)]
    assert stamps.claim_boundary(NOW + 5, 10.0) == NOW + 10 * YEAR + 10


# Who comes next


@given(
    st.sampled_from([1.0, 1.2, 1.5, 1.9, 2.0, 2.5, 3.0, 10.0, 60.0]) | st.floats(1, 20),
    st.floats(0, 100),
    st.floats(0, 50),
    st.floats(0, 3),
)
def test_the_first_report_is_in_no_second_of_a_predecessor(
    interval: float, started: float, lived: float, later: float
) -> None:
    """Whenever that one began, ended, and we begin: at the next boundary or, for short intervals, soon after it."""
    stamps = Stamps()
    slot = round(first_boundary(started, interval) / interval)
    end = started + lived
    while slot * interval <= end:
        stamps.claim(int(slot * interval))
        slot += 1
    last = stamps.claim_from(int(end))
    begin = end + later
    first = first_boundary(begin, interval)
    assert int(first) > last
    assert begin < first <= begin + interval + 2
    if interval.is_integer() and interval > 1:
        assert first == interval * (floor(begin / interval) + 1)
