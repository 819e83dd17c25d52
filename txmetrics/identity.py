"""Identity: which of a fleet's processes this one is, under a name that its successor has again.

    the argument, else TXMETRICS_WORKER, else the lowest slot that is free (w0, w1, ...), else p<pid>

A slot is the lock on an empty file, and the kernel frees it when the process ends, also by ``kill -9``. So a service
of four workers has the four names w0 to w3, however often they are restarted, and none is ever held by two of them.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from txmetrics import names
from txmetrics.forks import parents_only

__all__ = ["WORKER_VARIABLE", "Identity", "check_worker", "named_worker"]

WORKER_VARIABLE = "TXMETRICS_WORKER"

SLOTS = 1000
"""So many workers of one service, on one machine, have slots."""

# Not $XDG_RUNTIME_DIR: it differs between a shell and a system service of one user, who would then both be w0, and it
# is removed with the locks in it when the user logs out.
PLACES = ("/run/lock", "/tmp")
"""Where a user's directory of slots is made: in the first of these where it can be."""

SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Identity:
    """Who reports. Each of the texts can be one part of a name, or a part of such."""

    service: str
    """What the workers have in common; "" if nobody said."""
    host: str
    """The machine's name."""
    worker: str
    """Which of the service's processes on this machine."""
    generation: int
    """The wall clock's second at which this process was first asked: which life of that worker this is.

    Unlike the pid it is another one after each restart in a container, too, where every process is number 1.
    """

    @classmethod
    def resolve(
        cls, service: str = "", worker: str | None = None, directory: str | os.PathLike[str] | None = None
    ) -> Identity:
        """Who this process is, from now on until it ends; a forked child that asks is somebody else.

        ``worker`` is its name; None: what TXMETRICS_WORKER says, or else a slot of ``service`` in ``directory``, where
        all its workers must look for theirs. None: in one of this user's own, for this machine. A directory is made if
        need be, and used only if it is this user's alone. Where there is none, or no slot is free, it is ``p<pid>``.
        Who asks again for the same has the same slot.

        Ask when the reporting starts, not before: a program may still fork. Raises ValueError for a worker's name that
        cannot be a part of a metric's name.
        """
        service = names.clean(service) if service else ""
        named = named_worker() if worker is None else check_worker(worker)
        return cls(
            service,
            names.clean(socket.gethostname()),
            _slot(service, directory) or f"p{os.getpid()}" if named is None else named,
            _generation(os.getpid()),
        )


def check_worker(worker: str, what: str = "worker") -> str:
    """Return ``worker`` if it can be one part of a metric's name; ValueError says why not otherwise."""
    if names.clean(worker) != worker:
        raise ValueError(
            f"{what} {worker!r} cannot be a part of a name; give at most {names.MAX_PART} letters, digits and "
            "_ : % @ # + -"
        )
    return worker


def named_worker() -> str | None:
    """What TXMETRICS_WORKER says, None if it says nothing; ValueError if that cannot be a part of a metric's name."""
    worker = os.environ.get(WORKER_VARIABLE, "")
    return check_worker(worker, WORKER_VARIABLE) if worker else None


@cache
def _generation(pid: int) -> int:
    return int(time.time())


# Slots


class _Lease:
    """A slot, for as long as its files are open."""

    def __init__(self, slot: str, filenos: Iterable[int]) -> None:
        self.slot = slot
        self._filenos = list(filenos)
        # The lock is on what a forked child inherits, and would outlive us in it.
        parents_only(self)

    def filenos(self) -> Iterable[int]:
        return self._filenos

    def forget(self) -> None:
        for descriptor in self._filenos:
            os.close(descriptor)
        self._filenos.clear()


_leases: dict[tuple[int, str, str], _Lease | None] = {}
"""By process, directory and service; None where there was none. A parent's are no leases of ours."""


def _slot(service: str, directory: str | os.PathLike[str] | None) -> str | None:
    """The slot that this process has, or gets now; None if it gets none."""
    for key in [key for key in _leases if key[0] != os.getpid()]:
        lease = _leases.pop(key)
        if lease is not None:
            lease.forget()
    key = (os.getpid(), "" if directory is None else os.path.abspath(directory), service)
    if key not in _leases:
        _leases[key] = _lease(service, directory)
    lease = _leases[key]
    return None if lease is None else lease.slot


def _lease(service: str, directory: str | os.PathLike[str] | None) -> _Lease | None:
    if directory is not None:
        places = [Path(directory)]
    else:
        places = [Path(place, f"txmetrics-{os.geteuid()}") for place in PLACES]
    for place in places:
        try:
            opened = _open_directory(place)
        except OSError:
            continue
        # Whatever goes wrong from here on, there may be others with slots in this place, and none is as good elsewhere.
        try:
            return _lowest_free(opened, service)
        except OSError:
            os.close(opened)
            break
    return None


def _lowest_free(directory: int, service: str) -> _Lease:
    # What tidies up /tmp leaves a directory alone that is locked. Everybody shares this lock.
    fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
    for number in range(SLOTS):
        file = _lock(directory, f"{service or '_'}.w{number}")
        if file is not None:
            return _Lease(f"w{number}", (file, directory))
    raise OSError(f"all {SLOTS} slots are taken")


def _open_directory(place: Path) -> int:
    with suppress(FileExistsError):
        place.mkdir(0o700)
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | SAFELY)
    status = os.fstat(directory)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(directory)
        raise OSError(f"{place} is not this user's alone")
    return directory


def _lock(directory: int, name: str) -> int | None:
    """The descriptor of the file of that name, locked; None if somebody else has it."""
    file = os.open(name, os.O_RDWR | os.O_CREAT | SAFELY, 0o600, dir_fd=directory)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Removed before we had the lock, it would be a lock on nothing that others look at.
        if os.path.samestat(os.fstat(file), os.stat(name, dir_fd=directory, follow_symlinks=False)):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None
