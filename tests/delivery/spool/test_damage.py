"""Damage by design: lies about lengths, frames within chunks, files that vanish or are tampered with."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from tests.delivery.spool.lives import HEADER_SIZE, everything, forged, kill, kill_with, made, opened, segments
from txmetrics.delivery._segment import MAX_DATA
from txmetrics.interfaces import Chunk


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
