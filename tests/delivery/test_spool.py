"""The spool: first in, first out, through kills, full disks and damaged files, with books that balance.

``python -m tests.delivery.test_spool 100000`` runs that many mutations instead of the few thousand here.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.delivery.spool_child import numbered
from tests.processes import ROOT, environment
from tests.strict import Logged
from txmetrics.delivery._segment import MAX_DATA
from txmetrics.delivery._spool import MAX_SEGMENTS, Spool
from txmetrics.interfaces import Chunk

HEADER_SIZE = 29
KILLS = 20
MUTATIONS = 3000
MANY = 2**20


def made(number: int, size: int = 100, points: int = 1) -> Chunk:
    """A chunk unlike all others."""
    return Chunk(Random(number).randbytes(size), points, number)


def opened(directory: Path, max_bytes: int = MANY) -> Spool:
    spool = Spool(directory, max_bytes)
    spool.open()
    assert spool.usable
    return spool


def kill(spool: Spool) -> None:
    """What the kernel does to a process that ends without a word."""
    for descriptor in spool.filenos():
        os.close(descriptor)


def everything(spool: Spool) -> list[Chunk]:
    """Take and settle all there is."""
    chunks = []
    while (chunk := spool.take()) is not None:
        chunks.append(chunk)
        spool.settle()
    return chunks


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.spool"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


# First in, first out


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
            assert fits and before + HEADER_SIZE + size > self.MAX_BYTES  # noqa: PT018
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


def kill_with(directory: Path, chunks: list[Chunk], settled: int = 0) -> list[tuple[int, int]]:
    """A life that appends these chunks, settles some, and is killed; where each frame begins and ends in its file."""
    spool, places = opened(directory), []
    for chunk in chunks:
        before = spool.bytes
        assert spool.append(chunk)
        places.append((before, spool.bytes))
    for _ in range(settled):
        spool.take()
        spool.settle()
    kill(spool)
    return places


# Killed


def test_every_acknowledged_chunk_survives_a_kill(directory: Path) -> None:
    """kill -9 at any moment: what was said to be appended is there, in order; what was settled is not."""
    random = Random(20)
    alive: list[int] = []  # appended and not settled
    first = acknowledged = torn = 0
    for seed in range(KILLS):
        said = child_until_killed(directory, first, seed, random.uniform(0, 0.04))
        appended = [int(line[1:]) for line in said if line.startswith("+")]
        done = [int(line[1:]) for line in said if line.startswith("-")]
        acknowledged += len(appended)
        assert (alive + appended)[: len(done)] == done
        alive = (alive + appended)[len(done) :]
        spool = opened(directory, 2**30)
        found = list(iter(spool.take, None))
        assert found == [numbered(chunk.timestamp) for chunk in found]
        numbers = [chunk.timestamp for chunk in found]
        # The very last step may have been taken without being acknowledged any more.
        last = max(appended, default=first - 1) + 1
        assert numbers in [alive, [*alive, last], alive[1:]]
        torn += 1  # at most, by each kill since the segments were last emptied
        assert spool.damaged_frames <= torn
        spool.rewind()
        if random.random() < 0.5:
            everything(spool)
            numbers, torn = [], 0
        spool.close()
        alive, first = numbers, last + 1
    assert acknowledged > KILLS


def child_until_killed(directory: Path, first: int, seed: int, seconds: float) -> list[str]:
    """What a child says from its first word until it is killed, ``seconds`` later."""
    command = [sys.executable, "-m", "tests.delivery.spool_child", str(directory), str(first), str(seed)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            said = child.stdout.readline()
            time.sleep(seconds)
        finally:
            child.kill()
        return (said + child.stdout.read()).decode().splitlines()


@pytest.mark.parametrize("missing", range(1, 100 + HEADER_SIZE))
def test_a_torn_end_costs_nothing_but_itself(directory: Path, missing: int) -> None:
    """Wherever the last write was cut: the chunks before it are there, and later ones are not written behind it."""
    kill_with(directory, [made(0), made(1), made(2)])
    (segment,) = segments(directory)
    os.truncate(segment, segment.stat().st_size - missing)
    spool = opened(directory)
    assert spool.append(made(3))
    assert everything(spool) == [made(0), made(1), made(3)]
    assert spool.damaged_frames == 1
    assert spool.recovered_points == 2 + spool.dropped["damaged"]
    assert spool.dropped["damaged"] == (missing <= 100)  # else the header was not whole
    spool.close()
    assert segments(directory) == []


# Damaged


class Frame(NamedTuple):
    """Where a chunk stood before the damage was done."""

    chunk: Chunk
    segment: str
    start: int
    raw: bytes

    def survives(self, files: dict[str, bytes]) -> bool:
        """Not a byte of it has changed but for its flag, and that does not say done."""
        raw = files.get(self.segment, b"")[self.start :][: len(self.raw)]
        flag = HEADER_SIZE - 1
        return len(raw) == len(self.raw) and raw[flag] != 0xFF and without(raw, flag) == without(self.raw, flag)


def without(raw: bytes, position: int) -> bytes:
    return raw[:position] + raw[position + 1 :]


def flip_bits(random: Random, raw: bytearray) -> None:
    for _ in range(random.randint(1, 8)):
        raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)


def overwrite(random: Random, raw: bytearray) -> None:
    start = random.randrange(len(raw))
    size = min(random.randint(1, 200), len(raw) - start)
    raw[start : start + size] = random.choice([bytes(size), b"\xff" * size, random.randbytes(size)])


def truncate(random: Random, raw: bytearray) -> None:
    del raw[random.randrange(len(raw)) :]


def cut_out(random: Random, raw: bytearray) -> None:
    start = random.randrange(len(raw))
    del raw[start : start + random.randint(1, 200)]


def insert(random: Random, raw: bytearray) -> None:
    at = random.randrange(len(raw) + 1)
    raw[at:at] = random.randbytes(random.randint(1, 200))


def swap(random: Random, raw: bytearray) -> None:
    size = random.randint(1, max(1, min(200, len(raw) // 2)))
    one, other = random.randrange(len(raw) - size + 1), random.randrange(len(raw) - size + 1)
    raw[one : one + size], raw[other : other + size] = raw[other : other + size], raw[one : one + size]


def copy(random: Random, raw: bytearray) -> None:
    start, to = random.randrange(len(raw)), random.randrange(len(raw) + 1)
    piece = raw[start : start + random.randint(1, 400)]
    raw[to : to + random.choice([0, len(piece)])] = piece


def lie_about_length(random: Random, raw: bytearray) -> None:
    at = raw.find(b"\xf7TX1", random.randrange(len(raw)))
    if at >= 0:
        raw[at + 4 : at + 8] = struct.pack(">I", random.choice([0, 1, len(raw), MAX_DATA, 2**31, 2**32 - 1]))


def move_frame(random: Random, raw: bytearray) -> None:
    """A whole frame, or nearly, at another place."""
    at = raw.find(b"\xf7TX1", random.randrange(len(raw)))
    if at >= 0:
        to = random.randrange(len(raw) + 1)
        raw[to:to] = raw[at : at + random.randint(100, 300)]


MUTATORS: list[Callable[[Random, bytearray], None]] = [
    *(flip_bits, overwrite, truncate, cut_out, insert, swap, copy, lie_about_length, move_frame)
]


def fuzz(seed: int, cases: int) -> Tally[str]:
    """Damage so many spools, and require of each that it hands out what is whole, nothing else, and keeps its books.

    Returns how often what happened.
    """
    outcomes: Tally[str] = Tally()
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "spool"
        for case in range(cases):
            if case % 20 == 0:
                frames, files = _filled(Random(f"{seed} {case} filled"), directory)
            try:
                _fuzz_one(Random(f"{seed} {case}"), directory, frames, files, outcomes)
            except BaseException:
                print(f"seed {seed}, case {case}")
                raise
    return outcomes


def _filled(random: Random, directory: Path) -> tuple[list[Frame], dict[str, bytes]]:
    """Fill a spool, settle some of it; where every chunk was written, and the files as a kill has left them."""
    spool = opened(directory, random.choice([4000, 16_000, MANY]))  # small segments, or a large one
    frames: list[Frame] = []
    before: dict[str, bytes] = {}
    for number in range(random.randint(4, 12)):
        chunk = made(number, random.randrange(300), random.randint(1, 50))
        assert spool.append(chunk)
        after = contents(directory)
        (name,) = (name for name, raw in after.items() if before.get(name) != raw)
        start = len(before.get(name, b""))
        frames.append(Frame(chunk, name, start, after[name][start:]))
        before = after
    for _ in range(random.randint(0, 3)):
        spool.take()
        spool.settle()
    kill(spool)
    return frames, clear(directory)


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in os.listdir(directory) if name != "lock"}


def put(directory: Path, files: dict[str, bytes]) -> None:
    """Write into the very files that are there, if any."""
    for name, raw in files.items():
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, raw)
        os.ftruncate(descriptor, len(raw))
        os.close(descriptor)


def clear(directory: Path) -> dict[str, bytes]:
    """Remove all segments; returns what was in them."""
    files = contents(directory)
    for name in files:
        (directory / name).unlink()
    return files


def _fuzz_one(
    random: Random, directory: Path, frames: list[Frame], files: dict[str, bytes], outcomes: Tally[str]
) -> None:
    spool, damaged = Spool(directory, MANY), _damaged(random, files)
    living = random.random() < 0.3  # the damage is done under its eyes
    if living:
        put(directory, files)
        spool.open()
    put(directory, damaged)
    spool.open()
    assert spool.append(made(-1))
    taken = _taken_somehow(random, spool)
    assert spool.recovered_points + 1 == sum(chunk.points for chunk in taken) + spool.dropped.total()
    assert spool.waiting_points == spool.taken_points == spool.errors == 0
    assert taken.pop() == made(-1)
    if living:  # it may be more careful than it must; and a new file is left to the next life
        assert set(taken) <= {frame.chunk for frame in frames}
        assert [chunk.timestamp for chunk in taken] == sorted({chunk.timestamp for chunk in taken})
    else:
        assert taken == [frame.chunk for frame in frames if frame.survives(damaged)]
        assert contents(directory) == {}
    spool.close()
    clear(directory)
    outcomes["cases"] += 1
    outcomes["chunks"] += len(frames)
    outcomes["handed out"] += len(taken)
    outcomes["damaged places"] += spool.damaged_frames
    outcomes["damaged points"] += spool.dropped["damaged"]


def _damaged(random: Random, files: dict[str, bytes]) -> dict[str, bytes]:
    damaged = dict(files)
    for _ in range(random.choice([1, 1, 2, 3])):
        name = random.choice(sorted(files))
        raw = bytearray(damaged[name])
        if raw:
            random.choice(MUTATORS)(random, raw)
        damaged[name] = bytes(raw)
    if random.random() < 0.1:
        foreign = f"{random.randint(100, 200):010d}.spool"
        damaged[foreign] = random.choice([b"", random.randbytes(random.randint(1, 500)), b"\xf7TX1" * 50])
    return damaged


def _taken_somehow(random: Random, spool: Spool) -> list[Chunk]:
    """All chunks, in their order, with some going back and forth."""
    held: list[Chunk] = []
    done: list[Chunk] = []
    while True:
        chunk = spool.take()
        if chunk is not None:
            held.append(chunk)
        while held and (chunk is None or random.random() < 0.4):
            spool.settle()
            done.append(held.pop(0))
        if chunk is None:
            return done
        if random.random() < 0.1:
            spool.rewind()
            assert [spool.take() for _ in held] == held


def test_damage_never_invents_a_chunk_nor_costs_a_whole_one() -> None:
    """Bits flipped, pieces lost, moved, added, foreign: exactly what is still whole comes out, and nothing raises."""
    outcomes = fuzz(3, MUTATIONS)
    assert outcomes["cases"] == MUTATIONS
    assert outcomes["damaged places"] > MUTATIONS / 2
    assert outcomes["handed out"] > outcomes["chunks"] / 4


def forged(start: int, length: int, points: int = 1, data: bytes = b"", flag: int = 0, timestamp: int = 1) -> bytes:
    """A frame whose header is as right as if the spool had written it at ``start``."""
    checked = struct.pack(">4sIIqI", b"\xf7TX1", length, points, timestamp, crc32(data))
    return checked + struct.pack(">IB", crc32(checked, start), flag) + data


def test_the_frame_is_laid_out_as_documented(directory: Path) -> None:
    """A later version finds what this one has left."""
    spool = opened(directory)
    spool.append(Chunk(b"a.b 1 1\n", 3, 1))
    (segment,) = segments(directory)
    assert segment.read_bytes() == forged(0, 8, 3, b"a.b 1 1\n")
    spool.append(Chunk(b"", 0, 1))
    spool.take()
    spool.settle()
    assert segment.read_bytes() == forged(0, 8, 3, b"a.b 1 1\n", 0xFF) + forged(37, 0, 0)
    assert everything(spool) == [Chunk(b"", 0, 1)]
    spool.close()


@pytest.mark.parametrize("length", [1000, MAX_DATA, MAX_DATA + 1, 2**31, 2**32 - 1])
def test_no_length_is_believed(directory: Path, length: int) -> None:
    """Even with the right CRC it makes nobody read beyond the file, nor take the memory for it."""
    end = kill_with(directory, [made(0)])[-1][1]
    (segment,) = segments(directory)
    with segment.open("ab") as file:
        file.write(forged(end, length, data=b"short"))
    tracemalloc.start()
    spool = opened(directory)
    assert everything(spool) == [made(0)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MAX_DATA
    assert spool.damaged_frames == 1
    spool.close()


def test_a_large_foreign_file_costs_little_memory(directory: Path) -> None:
    """The search for the next header reads in pieces, and finds a frame behind megabytes of something else."""
    end = kill_with(directory, [made(0)])[-1][1]
    (segment,) = segments(directory)
    far = end + 20 * 2**20 + 7
    os.truncate(segment, far)
    with segment.open("ab") as file:
        file.write(forged(far, 4, data=b"tail"))
    tracemalloc.start()
    spool = opened(directory)
    assert everything(spool) == [made(0), Chunk(b"tail", 1, 1)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MAX_DATA
    assert (spool.damaged_frames, spool.dropped.total()) == (1, 0)
    spool.close()


def test_a_frame_within_a_chunk_is_no_chunk(directory: Path) -> None:
    """Whoever chooses the data cannot smuggle in a chunk by damaging the frame around it."""
    inner = forged(0, 5, data=b"false")
    places = kill_with(directory, [Chunk(inner * 3, 1, 1), made(1)])
    (segment,) = segments(directory)
    raw = bytearray(segment.read_bytes())
    raw[places[0][0] + 5] ^= 1
    segment.write_bytes(raw)
    spool = opened(directory)
    assert everything(spool) == [made(1)]
    spool.close()


def test_a_segment_that_vanishes_is_counted(directory: Path) -> None:
    """Somebody tidies up while we run: its points are dropped, and the next chunk comes from the next segment."""
    for number in range(0, 6, 2):
        kill_with(directory, [made(number), made(number + 1, points=3)])
    spool = opened(directory)
    assert spool.take() == made(0)
    first, middle, last = segments(directory)
    middle.unlink()
    middle.symlink_to(first)
    assert list(iter(spool.take, None)) == [made(1, points=3), made(4), made(5, points=3)]
    assert spool.dropped == {"damaged": 4}
    last.unlink()
    spool.settle()
    spool.rewind()
    assert everything(spool) == [made(1, points=3)]
    assert spool.dropped == {"damaged": 8}
    assert (spool.recovered_points, spool.waiting_points, spool.taken_points) == (12, 0, 0)
    assert spool.errors == 0
    spool.close()


def test_damage_is_counted_in_one_life_only(directory: Path) -> None:
    """A chunk that could not be read is not found anew by every later life."""
    kill_with(directory, [made(0), made(1)])
    flip(segments(directory)[0], HEADER_SIZE)
    spool = opened(directory)
    assert spool.take() == made(1)
    assert spool.dropped == {"damaged": 1}
    kill(spool)
    spool = opened(directory)
    assert spool.recovered_points == 1
    assert everything(spool) == [made(1)]
    assert spool.damaged_frames == 0
    spool.close()


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


def test_a_mark_that_vanishes_brings_no_chunk_back(directory: Path) -> None:
    """What was settled when it was opened is in nobody's books: it is not handed out, whoever tampers with it since."""
    places = kill_with(directory, [made(0), made(1, points=50), made(2)])
    (segment,) = segments(directory)
    flag = places[1][0] + HEADER_SIZE - 1
    with segment.open("r+b") as file:
        os.pwrite(file.fileno(), b"\xff", flag)
        spool = opened(directory)
        os.pwrite(file.fileno(), b"\x00", flag)
    assert spool.recovered_points == 2
    assert everything(spool) == [made(0)]
    assert (spool.waiting_points, spool.dropped) == (0, {"damaged": 1})
    spool.close()


def test_opened_again_it_counts_what_others_did_meanwhile(directory: Path) -> None:
    """The books of one object stay right although another process had the spool in between."""
    spool = opened(directory)
    spool.append(made(0, points=5))
    spool.close()
    other = opened(directory)
    other.append(made(1, points=7))
    other.close()
    spool.open()
    assert (spool.recovered_points, spool.waiting_points) == (7, 12)
    spool.close()
    other.open()
    everything(other)
    other.close()
    spool.open()
    assert (spool.recovered_points, spool.waiting_points) == (-5, 0)
    spool.close()


# The disk


@contextmanager
def limit(what: int, value: int) -> Iterator[None]:
    """A limit of this process, for a moment."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount something on a fresh directory, for as long as the test runs."""
    mounted: list[Path] = []

    def mount(*options: str) -> Path:
        place = tmp_path / f"mounted{len(mounted)}"
        place.mkdir()
        done = subprocess.run(["mount", *options, place], capture_output=True, text=True)
        if done.returncode and ("superuser" in done.stderr or "permission denied" in done.stderr.lower()):
            pytest.skip(f"only root may mount: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounted.append(place)
        return place

    yield mount
    for place in reversed(mounted):
        subprocess.run(["umount", "--lazy", place], check=True)  # a failed test may hold files on it


def test_a_full_disk_is_noticed_and_survived(mount: Callable[..., Path], logged: Logged) -> None:
    """No torn frame stays, what was there is kept, one line tells, and with the first free block it goes on."""
    disk = mount("-t", "tmpfs", "-o", "size=256k", "tmpfs")
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(100_000))
    spool = opened(disk / "spool")
    chunks = [made(number, 7000) for number in range(60)]
    kept = [chunk for chunk in chunks if spool.append(chunk)]
    assert 10 < len(kept) < 30
    assert kept == chunks[: len(kept)]
    assert spool.errors == len(chunks) - len(kept)
    assert spool.bytes == sum(path.stat().st_size for path in segments(disk / "spool"))
    assert spool.bytes == sum(HEADER_SIZE + 7000 for _ in kept)
    assert spool.take() == kept[0]
    spool.settle()
    ballast.unlink()
    assert spool.append(chunks[-1])
    kill(spool)
    spool = opened(disk / "spool")
    assert everything(spool) == [*kept[1:], chunks[-1]]
    assert spool.damaged_frames == 0
    assert logged.texts() == [
        f"cannot write to the spool {disk}/spool ([Errno 28] No space left on device)",
        f"can write to the spool {disk}/spool again",
    ]
    spool.close()


def test_settling_frees_a_full_disk(mount: Callable[..., Path]) -> None:
    """What was delivered makes room by itself."""
    disk = mount("-t", "tmpfs", "-o", "size=128k", "tmpfs")
    spool = opened(disk / "spool", 64 * 16_000)
    count = 0
    while spool.append(made(count, 7000)):
        count += 1
        assert count < 20
    while not spool.append(made(count, 7000)):
        assert spool.take() is not None
        spool.settle()
    assert [chunk.timestamp for chunk in everything(spool)][-1] == count
    spool.close()


def test_no_room_for_a_file_at_all(mount: Callable[..., Path], logged: Logged) -> None:
    """A disk without a free inode cannot even hold the lock."""
    disk = mount("-t", "tmpfs", "-o", "nr_inodes=3", "tmpfs")
    (disk / "spool").mkdir(0o700)
    (disk / "last").touch()
    check_unusable(disk / "spool", logged, "No space left on device")
    (disk / "last").unlink()
    spool = opened(disk / "spool")
    assert not spool.append(made(0))  # the lock was made, no segment can be
    assert len(logged.texts()) == 2
    spool.close()


def test_a_read_only_disk_is_not_used(mount: Callable[..., Path], logged: Logged) -> None:
    """It could not be kept from handing out the same chunks in every life."""
    disk = mount("-t", "tmpfs", "tmpfs")
    kill_with(disk / "spool", [made(0)])
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    check_unusable(disk / "spool", logged, "Read-only file system")


def test_a_limit_on_the_size_of_files_only_makes_more_of_them(directory: Path, logged: Logged) -> None:
    """RLIMIT_FSIZE cuts a write short as a full disk does, but another file has room."""
    spool = opened(directory, 16 * MANY)
    with limit(resource.RLIMIT_FSIZE, 1000):
        assert all(spool.append(made(number)) for number in range(50))
    assert {path.stat().st_size for path in segments(directory)} == {7 * (100 + HEADER_SIZE), 100 + HEADER_SIZE}
    assert logged.texts() == []
    with limit(resource.RLIMIT_FSIZE, 10):
        assert not any(spool.append(made(99)) for _ in range(20))
    assert len(segments(directory)) <= 9
    spool.close()
    assert len(segments(directory)) == 8  # the empty one is gone
    spool.open()
    assert spool.append(made(50))
    assert everything(spool) == [made(number) for number in range(51)]
    assert spool.damaged_frames == 0
    assert len(logged.texts()) == 2
    spool.close()


def test_without_a_free_descriptor_it_waits(directory: Path, logged: Logged) -> None:
    """EMFILE loses nothing: what cannot be read or written now can be so later."""
    kill_with(directory, [made(0), made(1)])
    kill_with(directory, [made(2)])
    spool = opened(directory)
    assert spool.take() == made(0)
    everything_else = [spool.take() for _ in range(2)]  # the first segment is closed again
    assert everything_else == [made(1), made(2)]
    spool.rewind()
    with limit(resource.RLIMIT_NOFILE, 3):
        assert spool.take() is None
        assert not spool.append(made(3))
        assert spool.take() is None
    assert spool.dropped.total() == 0
    assert spool.append(made(3))
    assert everything(spool) == [made(0), made(1), made(2), made(3)]
    assert [text.partition(" the spool")[0] for text in logged.texts()] == [
        *("cannot read", "cannot write to", "can write to", "can read")
    ]
    spool.close()


def test_a_frame_that_cannot_be_cut_back_is_written_over(
    directory: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """A disk that fails in the middle of a write, and then refuses to forget it, leaves nothing that is believed."""
    spool = opened(directory)
    assert spool.append(made(0))
    write = os.pwrite

    def torn(descriptor: int, data: bytes, offset: int) -> int:
        write(descriptor, data[:90], offset)
        raise OSError(errno.EIO, "Input/output error")

    def fails(*ignored: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", torn)
        patch.setattr(os, "ftruncate", fails)
        assert not spool.append(made(1))
        assert not spool.append(made(2))
    assert spool.append(made(3, 10))
    assert list(iter(spool.take, None)) == [made(0), made(3, 10)]
    kill(spool)
    spool = opened(directory)
    assert everything(spool) == [made(0), made(3, 10)]
    assert spool.damaged_frames == 2  # nothing was written behind the first; the second was written over in part
    spool.close()


def test_what_the_disk_cannot_read_is_damaged(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector costs the frames in it, not those behind it."""
    places = kill_with(directory, [made(0), made(1), made(2)])
    read = os.pread

    def bad(descriptor: int, size: int, offset: int) -> bytes:
        if offset == places[1][0] + HEADER_SIZE:
            raise OSError(errno.EIO, "Input/output error")
        return read(descriptor, size, offset)

    spool = opened(directory)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", bad)
        assert everything(spool) == [made(0), made(2)]
    assert spool.dropped == {"damaged": 1}
    spool.close()


def test_marks_and_deletions_that_fail_are_no_end(
    directory: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """What cannot be marked or deleted may come again in a later life, which is better than to stop."""
    spool = opened(directory)
    spool.append(made(0))
    write = os.pwrite

    def fails(*ignored: Any, **options: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fails)
        patch.setattr(os, "pwrite", fails)
        assert everything(spool) == [made(0)]
        patch.setattr(os, "pwrite", write)
        spool.append(made(1))
        assert everything(spool) == [made(1)]
    assert spool.errors == 3
    assert (spool.waiting_points, spool.taken_points, spool.dropped.total()) == (0, 0, 0)
    spool.append(made(2))
    assert everything(spool) == [made(2)]
    assert [text.partition(" the spool")[0] for text in logged.texts()] == [
        *("cannot mark chunks in", "cannot delete from", "can mark chunks in", "can delete from")
    ]
    spool.close()
    spool.open()
    assert everything(spool) == [made(0)]
    spool.close()


# Who may use it


def check_unusable(directory: Path, logged: Logged, why: str) -> None:
    """One line tells why, and nothing else happens."""
    before = len(logged.texts())
    spool = Spool(directory)
    spool.open()
    assert not spool.usable
    (text,) = logged.texts()[before:]
    assert text.startswith(f"cannot use the spool {directory} (")
    assert why in text
    assert text.endswith("); what cannot be delivered is kept in memory only")
    assert spool.errors == 1
    assert spool.filenos() == []
    assert not spool.append(made(0))
    assert spool.take() is None
    spool.close()


def test_it_makes_its_directory_for_itself_alone(tmp_path: Path) -> None:
    """Parents get the usual modes; the directory 0700 and its files 0600; no descriptor goes to a new program."""
    spool = opened(tmp_path / "one" / "two" / "spool")
    spool.append(made(0))

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(tmp_path / "one") == mode(tmp_path / "one" / "two") != 0o700
    assert mode(tmp_path / "one" / "two" / "spool") == 0o700
    files = list((tmp_path / "one" / "two" / "spool").iterdir())
    assert {path.name: mode(path) for path in files} == {"lock": 0o600, "0000000001.spool": 0o600}
    assert len(spool.filenos()) == 3
    assert not any(os.get_inheritable(descriptor) for descriptor in spool.filenos())
    spool.close()


def test_a_second_spool_stays_away(directory: Path, logged: Logged) -> None:
    """In the same process or in another: whoever was there first keeps it, until it closes or dies."""
    first = opened(directory)
    first.append(made(0))
    check_unusable(directory, logged, "another spool is using it")
    program = "import sys; from txmetrics.delivery._spool import *; s = Spool(sys.argv[1]); s.open(); print(s.usable)"

    def elsewhere() -> str:
        command = [sys.executable, "-c", program, str(directory)]
        return subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert elsewhere() == "False\n"
    assert everything(first) == [made(0)]
    first.close()
    assert elsewhere() == "True\n"


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o770, 0o777])
def test_a_directory_that_others_may_enter_is_refused(directory: Path, mode: int, logged: Logged) -> None:
    """They could read what is in it, or put something there."""
    directory.mkdir()
    directory.chmod(mode)
    check_unusable(directory, logged, "others may enter it")
    assert list(directory.iterdir()) == []


def test_somebody_elses_directory_is_refused(directory: Path, logged: Logged) -> None:
    """Even if we may write there, as root may."""
    directory.mkdir(0o700)
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory away")
    os.chown(directory, 12345, -1)
    check_unusable(directory, logged, "it belongs to the user 12345")
    assert list(directory.iterdir()) == []


def test_a_symbolic_link_is_refused(directory: Path, tmp_path: Path, logged: Logged) -> None:
    """As the directory, whatever it points to, and as a file in it: nobody chooses for us where we write."""
    elsewhere = tmp_path / "elsewhere"
    directory.symlink_to(elsewhere)
    check_unusable(directory, logged, "it is a symbolic link")
    elsewhere.mkdir(0o700)
    check_unusable(directory, logged, "it is a symbolic link")
    assert list(elsewhere.iterdir()) == []
    directory.unlink()
    directory.mkdir(0o700)
    (directory / "lock").symlink_to(tmp_path / "target")
    check_unusable(directory, logged, "symbolic link")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("path", ["file", "file/spool", "spool\0", "x" * 300])
def test_no_directory_no_spool(tmp_path: Path, path: str, logged: Logged) -> None:
    """A file in its place or above it, or a name that cannot be."""
    (tmp_path / "file").touch()
    check_unusable(tmp_path / path, logged, "")


def test_what_else_is_in_the_directory_is_left_alone(directory: Path, tmp_path: Path, logged: Logged) -> None:
    """Other names, and whatever is no file of ours under a segment's name: neither read, nor written, nor deleted."""
    secret = tmp_path / "secret"
    secret.write_bytes(forged(0, 6, data=b"secret"))
    directory.mkdir(0o700)
    (directory / "0000000001.spool").symlink_to(secret)
    os.mkfifo(directory / "0000000002.spool")
    (directory / "0000000003.spool").mkdir()
    for name in ["1.spool", "0000000001.spool.bak", "notes", "00000000004.spool"]:
        (directory / name).write_bytes(forged(0, 5, data=b"other"))
    before = sorted(directory.iterdir())
    spool = opened(directory)
    assert (spool.recovered_points, spool.errors) == (0, 3)
    assert spool.append(made(0))
    assert (directory / "0000000004.spool").read_bytes() == forged(0, 100, data=made(0).data, timestamp=0)
    assert everything(spool) == [made(0)]
    spool.close()
    assert sorted(directory.iterdir()) == sorted([*before, directory / "lock"])
    assert secret.read_bytes() == forged(0, 6, data=b"secret")
    assert len(logged.texts()) == 1


def test_without_its_descriptors_it_is_harmless(directory: Path, logged: Logged) -> None:
    """What a forked child does with them redirected: nothing raises, and nothing on disk changes."""
    kill_with(directory, [made(0), made(1)])
    spool = opened(directory)
    spool.append(made(2))
    spool.take()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in spool.filenos():
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
    for _ in range(3):
        spool.settle()
        spool.append(made(3, 70_000))
        spool.take()
        spool.rewind()
    spool.close()
    spool.open()  # the parent's lock went with its descriptor here; a real child would not get it
    spool.close()
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


if __name__ == "__main__":
    begun = time.monotonic()
    print(dict(fuzz(0, int(sys.argv[1]))), f"{time.monotonic() - begun:.0f} s")
