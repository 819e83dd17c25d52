"""First in, first out, with books that balance, through any sequence of calls, ends and kills."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.delivery.spool.lives import HEADER_SIZE, everything, kill, kill_with, made, opened, segments
from tests.strict import Logged
from txmetrics.delivery._segment import MAX_DATA
from txmetrics.delivery._spool import MAX_SEGMENTS, Spool
from txmetrics.interfaces import Chunk


class Life(RuleBasedStateMachine):
    """Every sequence of calls, ends and kills, against two lists."""

    MAX_BYTES = 3000

    @initialize()
    def begin(self) -> None:
        self.parent = Path(tempfile.mkdtemp())
        self.directory = self.parent / "spool"
        self.spool = opened(self.directory, self.MAX_BYTES)
        self.made = 0
        self.waiting: list[Chunk] = []
        self.taken: list[Chunk] = []
        self.forget_books()

    def forget_books(self) -> None:
        self.recovered = sum(chunk.points for chunk in self.waiting)
        self.appended = self.settled = self.overflown = 0

    @rule(size=st.integers(0, 400) | st.just(MAX_BYTES), points=st.integers(1, 1000))
    def append(self, size: int, points: int) -> None:
        chunk = made(self.made, size, points)
        self.made += 1
        before, overflown = self.spool.bytes, self.spool.dropped["overflow"]
        kept = self.spool.append(chunk)
        lost = self.spool.dropped["overflow"] - overflown
        fits = HEADER_SIZE + size <= self.MAX_BYTES
        if lost:
            assert fits
            assert before + HEADER_SIZE + size > self.MAX_BYTES
        if not kept:
            assert not fits or self.taken
        while lost:  # whole chunks, the oldest first
            lost -= self.waiting[0].points
            self.overflown += self.waiting.pop(0).points
            assert lost >= 0
        if kept:
            self.waiting.append(chunk)
            self.appended += points

    @rule()
    def take(self) -> None:
        expected = self.waiting.pop(0) if self.waiting else None
        assert self.spool.take() == expected
        if expected is not None:
            self.taken.append(expected)

    @rule()
    def settle(self) -> None:
        self.spool.settle()
        if self.taken:
            self.settled += self.taken.pop(0).points

    @rule()
    def rewind(self) -> None:
        self.spool.rewind()
        self.waiting, self.taken = self.taken + self.waiting, []

    @rule(anew=st.booleans())
    def close_and_open(self, anew: bool) -> None:
        self.spool.close()
        self.waiting, self.taken = self.taken + self.waiting, []
        assert self.spool.waiting_points == sum(chunk.points for chunk in self.waiting)
        assert self.spool.filenos() == []
        assert bool(segments(self.directory)) == bool(self.waiting)
        if anew:
            self.spool = Spool(self.directory, self.MAX_BYTES)
            self.forget_books()
        self.spool.open()

    @rule()
    def kill_and_open(self) -> None:
        kill(self.spool)
        self.waiting, self.taken = self.taken + self.waiting, []
        self.spool = opened(self.directory, self.MAX_BYTES)
        self.forget_books()

    @invariant()
    def the_books_balance(self) -> None:
        spool = self.spool
        waiting, taken = (sum(chunk.points for chunk in chunks) for chunks in (self.waiting, self.taken))
        assert (spool.waiting_points, spool.taken_points) == (waiting, taken)
        assert spool.recovered_points == self.recovered
        assert spool.dropped.total() == spool.dropped["overflow"] == self.overflown
        assert self.recovered + self.appended == self.settled + waiting + taken + self.overflown

    @invariant()
    def the_disk_holds_what_it_says(self) -> None:
        spool = self.spool
        assert spool.bytes == sum(path.stat().st_size for path in segments(self.directory)) <= self.MAX_BYTES
        assert spool.damaged_frames == spool.errors == 0
        assert len(spool.filenos()) <= 4
        if not self.waiting and not self.taken:
            assert segments(self.directory) == []

    def teardown(self) -> None:
        try:
            self.spool.rewind()
            assert everything(self.spool) == self.taken + self.waiting
            self.spool.close()
            assert [path.name for path in self.directory.iterdir()] == ["lock"]
        finally:
            kill(self.spool)  # if it was not closed
            shutil.rmtree(self.parent)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_before_open_and_after_close_it_does_nothing(directory: Path) -> None:
    """Every method may be called at any time, and closing twice is as good as once."""
    spool = Spool(directory)
    for _ in range(2):
        assert not spool.append(made(0))
        assert spool.take() is None
        spool.settle()
        spool.rewind()
        assert spool.filenos() == []
        spool.close()
        spool.open()
        spool.open()
        spool.close()
    assert spool.errors == 0


def test_room_is_made_one_old_segment_at_a_time(directory: Path) -> None:
    """The newest fifteen sixteenths of the allowed bytes are never lost to an overflow."""
    spool = opened(directory, 16_000)
    kept = [number for number in range(1000) if spool.append(made(number))]
    assert len(kept) == 1000
    left = [chunk.timestamp for chunk in everything(spool)]
    assert left == list(range(1000 - len(left), 1000))
    assert len(left) * (100 + HEADER_SIZE) > 14_000
    assert spool.dropped == {"overflow": 1000 - len(left)}
    spool.close()


def test_what_is_taken_is_never_deleted_to_make_room(directory: Path) -> None:
    """A chunk on its way may still have to be sent again: until it is settled, the new ones are refused."""
    spool = opened(directory, 16_000)
    for number in range(200):
        spool.append(made(number))
    first, dropped = spool.take(), dict(spool.dropped)
    assert first is not None
    assert first.timestamp == dropped["overflow"] > 0
    refused = [number for number in range(200) if not spool.append(made(number))]
    assert len(refused) > 150
    assert spool.bytes <= 16_000
    assert spool.dropped == dropped
    spool.rewind()
    assert spool.take() == first
    for _ in range(20):
        spool.settle()
        spool.take()
    assert spool.append(made(2))
    spool.close()


def test_a_chunk_that_no_frame_can_hold_is_refused(directory: Path, logged: Logged) -> None:
    """Too many bytes or numbers out of all bounds leave the file as it was."""
    spool = opened(directory, 4 * MAX_DATA)
    assert not spool.append(Chunk(bytes(MAX_DATA + 1), 1, 1))
    for points, timestamp in [(-1, 1), (2**32, 1), (1, 2**63)]:
        assert not spool.append(Chunk(b"data", points, timestamp))
    assert spool.append(Chunk(bytes(MAX_DATA), 2**32 - 1, -(2**63)))
    assert everything(spool) == [Chunk(bytes(MAX_DATA), 2**32 - 1, -(2**63))]
    spool.close()


def test_many_short_lives_leave_a_bounded_number_of_files(directory: Path) -> None:
    """A process that dies over and over begins a segment each time; beyond the limit the oldest go."""
    kill_with(directory, [made(0)])
    (segment,) = segments(directory)
    for number in range(2, MAX_SEGMENTS + 100):
        shutil.copy(segment, directory / f"{number:010d}.spool")
    spool = opened(directory)
    assert spool.recovered_points == MAX_SEGMENTS + 99
    assert spool.append(made(1))
    assert len(segments(directory)) == MAX_SEGMENTS + 1
    assert spool.dropped == {"overflow": 99}
    spool.close()
