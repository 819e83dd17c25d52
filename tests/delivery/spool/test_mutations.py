"""Damage by chance: whatever is done to its files, exactly what is still whole comes out.

``python -m tests.delivery.spool 100000`` runs that many mutations instead of the few thousand here.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections import Counter as Tally
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.delivery.spool.lives import HEADER_SIZE, MANY, kill, made, opened
from txmetrics.delivery._segment import MAX_DATA
from txmetrics.delivery._spool import Spool
from txmetrics.interfaces import Chunk

MUTATIONS = 3000


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
