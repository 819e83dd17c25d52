"""Disks that are full, read-only or broken, and the limits of a process."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.delivery.spool.lives import (
    HEADER_SIZE,
    MANY,
    check_unusable,
    everything,
    kill,
    kill_with,
    made,
    opened,
    segments,
)
from tests.strict import Logged


@contextmanager
def limit(what: int, value: int) -> Iterator[None]:
    """A limit of this process, for a moment."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


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
