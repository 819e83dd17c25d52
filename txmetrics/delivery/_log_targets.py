"""Where a log goes: the standard output, Twisted's log, or a file that may be rotated at any time.

Whoever reads the standard output may stop reading it, and must not stop the reactor by that. The output is shared with
others, for whom ``O_NONBLOCK`` on it would be a surprise. So a pipe, a FIFO or a terminal is opened once more, through
/proc, which makes its flags our own. What cannot be opened again (a socket, such as systemd's journal; another user's
terminal) is asked, before each write, whether it takes something, and gets no more than that: PIPE_BUF bytes. This
could block only if somebody else filled it between the question and the write, or a terminal kept less than its word.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol as Shape

from twisted.logger import Logger

__all__ = ["LogTarget", "log_target"]

MODE = 0o640
"""Of a new file: for its owner, and for the group that may read logs."""

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_NULL = os.makedev(1, 3)
"""Linux's number of /dev/null, which is perhaps nowhere to be found any more, after a chroot."""


class LogTarget(Shape):
    """Takes lines. Closed at first, and whatever it is told, it can be opened again."""

    where: str
    """For people to see; no path is in it."""
    burst: int
    """So many bytes are written in a turn of the reactor, and a line or so more."""

    @property
    def is_open(self) -> bool:
        """Whether it takes lines."""

    def open(self) -> None:
        """A report begins: be open, and where the file is by now. Raises OSError."""

    def write(self, data: bytes) -> int:
        """Take a part of ``data``, whole lines, and say how many bytes it was: 0 if there is no room for the moment.

        Raises OSError, and has then taken nothing of ``data``, where that can be.
        """

    def close(self) -> None:
        """Take nothing any more."""

    def filenos(self) -> Iterable[int]:
        """What is no business of a forked child."""


def log_target(to: str | os.PathLike[str]) -> LogTarget:
    """What ``to`` names: "-" the standard output, "log" Twisted's log, anything else a file.

    Opens nothing. A path is taken from the directory of now. Raises ValueError where no such file can be, TypeError for
    what is no path.
    """
    if not isinstance(to, str | os.PathLike) or not isinstance(os.fspath(to), str):
        raise TypeError(f"a log at {to!r} is a {type(to).__name__}, not a path")
    if to == "-":
        return _StandardOutput()
    if to == "log":
        return _TwistedsLog()
    if not os.fspath(to) or "\0" in os.fspath(to):
        raise ValueError(f"{os.fspath(to)!r} is no file for a log; give a path, - or log")
    path = Path(to).absolute()
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a directory; give a file for the log in it")
    if not path.parent.is_dir():
        raise ValueError(f"{str(path.parent)!r} is no directory, so there can be no log in it; make it first")
    return _File(path)


class _Descriptor:
    """A file descriptor of our own."""

    burst = 2**16

    def __init__(self) -> None:
        self._fd = -1
        self._stream = False

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):  # which says that an earlier write has failed; the descriptor is gone all the same
                os.close(fd)

    def filenos(self) -> Iterable[int]:
        return [self._fd] if self._fd >= 0 else []

    def write(self, data: bytes) -> int:
        return self._send(data) if self._stream else self._append(data)

    def _use(self, fd: int) -> None:
        self._fd = fd
        self._stream = not stat.S_ISREG(os.fstat(fd).st_mode)

    def _send(self, data: bytes) -> int:
        """To a pipe, a terminal or a socket: whole lines where they are not too long, which a pipe takes in one."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(0):
            return 0
        end = len(data)
        if end > select.PIPE_BUF:
            end = data.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
        try:
            return os.write(self._fd, data[:end])
        except BlockingIOError:
            return 0

    def _append(self, data: bytes) -> int:
        """To a file on a disk: everything or nothing."""
        written = os.write(self._fd, data)
        if written < len(data):
            self._take_back(written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def _take_back(self, written: int) -> None:
        """No half line may be left on a disk that has become full; unless others have written behind it by now."""
        end = os.lseek(self._fd, 0, os.SEEK_CUR)
        if end == os.fstat(self._fd).st_size:
            os.ftruncate(self._fd, end - written)
            os.lseek(self._fd, end - written, os.SEEK_SET)


class _StandardOutput(_Descriptor):
    """The process's standard output, as it is when the reporter starts."""

    where = "standard output"

    def open(self) -> None:
        if self.is_open:
            return
        # Where it was closed from the beginning, its number is perhaps a connection of the application's by now.
        if sys.__stdout__ is None:
            raise OSError("there is none; give a file, or log")
        status = os.fstat(1)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL:
            raise OSError("in a daemon it leads nowhere; give a file, or log")
        special = stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode)
        self._use(_open_anew(1) if special else os.dup(1))


def _open_anew(fd: int) -> int:
    try:
        return os.open(f"/proc/self/fd/{fd}", _FLAGS)
    except OSError:
        return os.dup(fd)


class _File(_Descriptor):
    """A file. Each report opens it anew, so that it may be renamed at any time, and no report is in two files."""

    where = "file"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def open(self) -> None:
        self.close()
        self._use(os.open(self._path, _FLAGS | os.O_CREAT, MODE))


class _TwistedsLog:
    """An event of level info a line, in the namespace ``txmetrics``."""

    where = "log"
    burst = 1000
    """The observers take each line for itself, to a disk perhaps: some 10 microseconds, so that this is 0.25 ms."""

    def __init__(self) -> None:
        self.is_open = False
        self._log = Logger("txmetrics")  # as an attribute of the class it would get a namespace of that

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def filenos(self) -> Iterable[int]:
        return ()

    def write(self, data: bytes) -> int:
        line, newline, _ = data.partition(b"\n")
        self._log.info("{line}", line=line.decode(errors="replace"))
        return len(line) + len(newline)
