"""The disk: the real one, on which space runs out, operations fail, and a process dies in the middle of a write."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

__all__ = ["Disk", "Killed"]


class Killed(BaseException):
    """The process has died; nothing that still happens in it counts."""


class Disk:
    """What the spool's module sees in place of ``os``: all of it, and the faults."""

    def __init__(self, random: Random, died: Callable[[], None]) -> None:
        self.free: int | None = None
        """Bytes that are left; None: plenty."""
        self.failing = 0.0
        """How often an operation fails."""
        self.kill_at: float | None = None
        """After which part of the next frame the process dies."""
        self.directory = Path(tempfile.mkdtemp(prefix="spool", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.ever_failed = False
        self._random = random
        self._died = died
        self._open: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        self._may_fail()
        if self.free == 0 and flags & os.O_CREAT and flags & os.O_EXCL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
        self._open.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def pwrite(self, descriptor: int, data: bytes, position: int) -> int:
        self._may_fail()
        if len(data) > 1 and self.kill_at is not None:
            os.pwrite(descriptor, data[: int(len(data) * self.kill_at)], position)
            self.kill_at = None
            self._died()
            raise Killed
        grows = position + len(data) > os.fstat(descriptor).st_size
        if grows and self.free is not None:
            if not self.free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: self.free]
            self.free -= len(data)
        return os.pwrite(descriptor, data, position)

    def pread(self, descriptor: int, size: int, position: int) -> bytes:
        self._may_fail()
        return os.pread(descriptor, size, position)

    def ftruncate(self, descriptor: int, size: int) -> None:
        self._may_fail()
        os.ftruncate(descriptor, size)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._may_fail()
        os.unlink(path, dir_fd=dir_fd)

    def process_died(self) -> None:
        """The kernel closes what was open, locks and all."""
        self.kill_at = None
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()

    def contents(self) -> bytes:
        """All that is on it."""
        return b"".join(file.read_bytes() for file in sorted(self.directory.rglob("*")) if file.is_file())

    def remove(self) -> None:
        self.process_died()
        shutil.rmtree(self.directory)

    def _may_fail(self) -> None:
        if self.failing and self._random.random() < self.failing:
            self.ever_failed = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
