"""A look into a spool from outside: what waits there, and who has it, while nothing is touched."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from txmetrics.delivery._segment import Segment, close_descriptor
from txmetrics.delivery._spool import SEGMENT_NAME

__all__ = ["Survey", "find_spools", "survey"]

ONLY_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

LOCKS = Path("/proc/locks")


class Survey(NamedTuple):
    """What a spool held at one moment."""

    segments: int
    bytes: int
    """On disk, with what is done already."""
    chunks: int
    points: int
    """In the chunks: they wait, and can be read."""
    oldest: int | None
    newest: int | None
    """When the values of these chunks held, in seconds since the epoch; None without any."""
    damaged: int
    """Places where something should be that cannot be read."""
    process: int | None
    """The one that uses it; None if there is none, or where there is no /proc."""


def find_spools(directory: Path) -> list[Path]:
    """``directory`` if it is a spool, otherwise the folders in it that are; OSError if it cannot be read."""
    if _is_spool(directory):
        return [directory]
    folders = sorted(each for each in directory.iterdir() if each.is_dir() and not each.is_symlink())
    return [folder for folder in folders if _is_spool(folder)]


def survey(directory: Path) -> Survey:
    """What the spool in ``directory`` holds; OSError if it cannot be read.

    It can be in use meanwhile, and is left as it is: not even its lock is tried.
    """
    with _opened(directory, os.O_DIRECTORY) as folder:
        segments = [_Look(each) for each in sorted(filter(SEGMENT_NAME.fullmatch, os.listdir(folder)))]
        looks = [look for look in segments if look.look(folder)]
        timestamps = [timestamp for look in looks for timestamp in look.timestamps]
        return Survey(
            segments=len(looks),
            bytes=sum(look.bytes for look in looks),
            chunks=len(timestamps),
            points=sum(look.points for look in looks),
            oldest=min(timestamps, default=None),
            newest=max(timestamps, default=None),
            damaged=sum(look.damaged for look in looks),
            process=_holder(folder),
        )


class _Look:
    """What is found in one segment."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.timestamps: list[int] = []
        self.bytes = self.points = self.damaged = 0

    def look(self, folder: int) -> bool:
        """Read it all; False if it is not there (any more), or no file of a spool."""
        try:
            with _opened(self._name, folder=folder) as descriptor:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    self._read(descriptor)
                    return True
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):  # the second for a symbolic link
                raise
        return False

    def _read(self, descriptor: int) -> None:
        segment = Segment(0)
        segment.descriptor = descriptor
        segment.survey()
        self.bytes, self.damaged = segment.end, segment.damaged_places
        while (frame := segment.next_frame()) is not None:
            if segment.data(frame) is None:
                self.damaged += 1
            else:
                self.points += frame.points
                self.timestamps.append(frame.timestamp)


@contextmanager
def _opened(path: str | Path, flags: int = 0, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, ONLY_LOOK | flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        close_descriptor(descriptor)


def _is_spool(folder: Path) -> bool:
    return any(each == "lock" or SEGMENT_NAME.fullmatch(each) for each in os.listdir(folder))


def _holder(folder: int) -> int | None:
    """The process that has locked the spool, as the kernel lists it."""
    try:
        inode = str(os.stat("lock", dir_fd=folder, follow_symlinks=False).st_ino)
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:  # 1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF
        _, kind, _, _, process, file, *_ = [*line.split(), *[""] * 6]
        if kind == "FLOCK" and file.rpartition(":")[2] == inode:
            return int(process)
    return None
