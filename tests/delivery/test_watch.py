"""The watch over a connection: what it calls acknowledged, and when it calls it a stall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from txmetrics.delivery._watch import LOOK, STALL, Watch


class Watched:
    """A connection as the watch sees it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.unsent = 0
        self.progress = 0
        self.acknowledged: list[int] = []
        self.stalls: list[float] = []
        self.watch = Watch(
            self.clock,
            unsent=lambda: self.unsent,
            progress=lambda: self.progress,
            acknowledged=self.acknowledged.append,
            stalled=lambda: self.stalls.append(self.clock.seconds()),
        )

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_nobody_looks_while_nothing_was_written(watched: Watched) -> None:
    """An idle connection costs no timer, before the first write and after the last acknowledgement."""
    assert watched.clock.getDelayedCalls() == []
    watched.watch.wrote()
    watched.pass_time(5)
    assert watched.acknowledged == [1]
    assert watched.clock.getDelayedCalls() == []


def test_what_was_written_just_now_is_not_acknowledged_by_an_empty_kernel(watched: Watched) -> None:
    """It may still be in the transport, or in TLS: two turns of the reactor must lie between, so two looks do."""
    watched.watch.wrote()
    watched.clock.advance(LOOK)
    watched.clock.advance(LOOK)
    assert watched.acknowledged == []
    watched.clock.advance(LOOK)
    assert watched.acknowledged == [1]


def test_a_look_that_comes_too_late_sees_nothing(watched: Watched) -> None:
    """The reactor was blocked, and has not been to the network since: the peer may be gone, or may have moved."""
    watched.watch.wrote()
    watched.clock.advance(LOOK)
    watched.clock.advance(LOOK)
    watched.clock.advance(60)
    assert watched.acknowledged == []
    watched.clock.advance(LOOK)
    assert watched.acknowledged == [1]


def test_looks_that_come_too_late_make_no_stall(watched: Watched) -> None:
    """An hour of them, and then the ten seconds begin."""
    watched.unsent = 30
    watched.watch.wrote()
    for _ in range(60):
        watched.clock.advance(60)
    watched.pass_time(9)
    assert watched.stalls == []
    watched.pass_time(3)
    assert len(watched.stalls) == 1


def test_nothing_is_acknowledged_while_anything_is_on_its_way(watched: Watched) -> None:
    """The kernel tells a sum only; when it is zero all of them are there at once."""
    watched.unsent = 30
    for _ in range(3):
        watched.watch.wrote()
        watched.pass_time(2)
        watched.unsent -= 1
    assert watched.acknowledged == []
    watched.unsent = 0
    watched.pass_time(2)
    assert watched.acknowledged == [3]


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 3), st.integers(0, 2)), max_size=40))
def test_every_write_is_acknowledged_once(steps: list[tuple[int, float, int]]) -> None:
    """Whatever is written when, and whatever the kernel says in between: the sum is right, and nothing comes early."""
    watched = Watched()
    written: list[float] = []
    for writes, seconds, unsent in steps:
        for _ in range(writes):
            watched.watch.wrote()
            written.append(watched.clock.seconds())
        watched.unsent = unsent
        watched.clock.advance(seconds)
        assert sum(watched.acknowledged) <= sum(at <= watched.clock.seconds() - LOOK for at in written)
    watched.unsent = 0
    watched.pass_time(3)
    assert sum(watched.acknowledged) == len(written)
    assert watched.clock.getDelayedCalls() == []
    assert watched.stalls == []


def test_a_stall_is_called_once_and_in_time(watched: Watched) -> None:
    """Ten seconds after a look that saw the same as all later ones; then nobody looks any more."""
    watched.unsent = 30
    watched.watch.wrote()
    watched.pass_time(60)
    (at,) = watched.stalls
    assert STALL <= at <= STALL + 2 * LOOK
    assert watched.clock.getDelayedCalls() == []


def test_progress_begins_the_ten_seconds_anew(watched: Watched) -> None:
    """A peer that takes a little now and then is alive."""
    watched.unsent = 1000
    watched.watch.wrote()
    for _ in range(20):
        watched.pass_time(9.5)
        watched.progress += 1
    assert watched.stalls == []
    watched.pass_time(11)
    assert len(watched.stalls) == 1


def test_what_is_written_meanwhile_is_no_progress(watched: Watched) -> None:
    """A report a second, of which the peer takes none: ten seconds are ten seconds."""
    for _ in range(12):
        watched.unsent += 1000
        watched.watch.wrote()
        watched.pass_time(1)
    assert STALL <= watched.stalls[0] <= STALL + 2 * LOOK


def test_an_empty_kernel_begins_the_ten_seconds_anew(watched: Watched) -> None:
    """Each report may be as long as the one before: it is not the same one that waits."""
    for _ in range(20):
        watched.unsent = 1000
        watched.watch.wrote()
        watched.pass_time(9)
        watched.unsent = 0
        watched.pass_time(1)
    assert watched.stalls == []


def test_a_watch_that_has_ended_stays_silent(watched: Watched) -> None:
    """Also if its connection is written to once more."""
    watched.unsent = 1
    watched.watch.wrote()
    watched.watch.end()
    watched.watch.wrote()
    assert watched.clock.getDelayedCalls() == []
    watched.watch.end()
