"""The spool: chunks on disk, first in, first out, that outlive the process.

    0000000007.spool    done | done | taken | taken | waiting | waiting | ...

A segment is one file of frames, written from its beginning to its end in one life, and deleted when all of it is done.
Files are opened relative to the directory's descriptor, so that whoever redirects `filenos()`, as a forked child must,
has disarmed the spool.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import struct
from collections import Counter as Tally
from collections import deque
from contextlib import suppress
from pathlib import Path

from twisted.logger import Logger

from txmetrics.delivery._segment import HEADER_SIZE, MAX_DATA, Frame, Segment, close_descriptor
from txmetrics.interfaces import Chunk

__all__ = ["Spool"]

MAX_BYTES = 64 * 1024 * 1024

SEGMENTS = 16
"""A full spool is so many segments, about, and room is made one segment at a time."""

MAX_SEGMENTS = 1024
"""Every life begins a segment of its own, and many may end before the first chunk is settled."""

SAFELY = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
SEGMENT_NAME = re.compile(r"[0-9]{10}\.spool")


class Spool:
    """Keeps chunks in ``directory``, in at most ``max_bytes``, until they are settled.

    A chunk that is taken stays on disk; settled, it is gone for good. What was appended and not settled is there
    again after the end of the process, ``kill -9`` included. After a power cut it may not be: nothing is fsynced.

    No method ever raises. A disk that is full or fails is tried again with every call; the log has one line when the
    trouble begins and one when it is over. Each call reads or writes one frame, and reads on where some are damaged.
    For one thread only.

    Points are conserved at every step: recovered + appended = settled + waiting + taken + dropped.
    """

    log = Logger()

    def __init__(self, directory: str | Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = Path(directory)
        self._max_bytes = max_bytes
        self._directory: int | None = None
        self._lock: int | None = None
        self._segments: deque[Segment] = deque()  # the oldest first
        self._writing: Segment | None = None
        self._reading: Segment | None = None  # stays open for the next call; never the one that is written
        self._next_number = 1
        self._taken: deque[Frame] = deque()
        self._again: deque[Frame] = deque()  # taken before, waiting again; older than all that never was
        self._troubles: set[str] = set()
        self.usable = False
        """Whether it is open. Even then a chunk may be refused."""
        self.waiting_points = 0
        self.taken_points = 0
        self.recovered_points = 0
        """What ``open`` found, less what this very object had left there before."""
        self.dropped: Tally[str] = Tally()
        """Points, by reason: "overflow" (the oldest segment was deleted to make room) or "damaged" (a frame that was
        known of could not be read)."""
        self.damaged_frames = 0
        """Places where no frame could be read, whether one or several in a row were there, torn ends included."""
        self.errors = 0
        """How often the operating system refused something; what it could not read counts as damaged."""

    @property
    def bytes(self) -> int:
        """On disk, in all segments; 0 while it is not open."""
        return sum(segment.end for segment in self._segments)

    def open(self) -> None:
        """Take the directory, which is made if need be, and find what an earlier life left in it.

        It must be a directory, no symbolic link, our own, closed to everybody else, and free of another spool. If it
        is not, or something fails, ``usable`` stays False; it can be tried again.
        """
        if self.usable:
            return
        try:
            self._take_directory()
            waiting = self._recover()
        except (OSError, ValueError) as error:  # the second for a path that no system takes
            self._let_go()
            self._failed("use", error)
        else:
            self._worked("use")
            self.usable = True
            self.recovered_points += waiting - self.waiting_points
            self.waiting_points = waiting

    def close(self) -> None:
        """Let go of the directory. What was not settled stays there, and in ``waiting_points``."""
        if self.usable:
            self.rewind()
            for segment in list(self._segments):
                self._delete_if_finished(segment)
            self._let_go()

    def append(self, chunk: Chunk) -> bool:
        """Write ``chunk`` behind all others; False if that cannot be, and then nothing of it is kept.

        Where ``max_bytes`` would be exceeded the oldest segment goes, if nothing in it is taken.
        """
        size = HEADER_SIZE + len(chunk.data)
        if not self.usable or len(chunk.data) > MAX_DATA or size > self._max_bytes:
            return False
        try:
            segment = self._segment_for(size)
            if segment is None:
                return False
            segment.append(chunk)
        except (OSError, struct.error) as error:  # the second for numbers that fit in no header
            if self._writing is not None and self._writing.full and self._writing.end:
                return self.append(chunk)  # to the next segment
            self._failed("write to", error)
            return False
        self._worked("write to")
        self.waiting_points += chunk.points
        return True

    def take(self) -> Chunk | None:
        """The oldest waiting chunk, taken from now on; None if there is none, or if it cannot be read just now."""
        if not self.usable:
            return None
        try:
            chunk = self._take()
        except OSError as error:
            self._failed("read", error)
            return None
        self._worked("read")
        return chunk

    def settle(self) -> None:
        """The oldest taken chunk is done with: no later life finds it, however soon this one ends."""
        if not self._taken:
            return
        frame = self._taken.popleft()
        self.taken_points -= frame.points
        self._finish(frame)

    def rewind(self) -> None:
        """All taken chunks wait again, in their old order."""
        self._again.extendleft(reversed(self._taken))
        self._taken.clear()
        self.waiting_points += self.taken_points
        self.taken_points = 0

    def filenos(self) -> list[int]:
        """The descriptors of everything it has open."""
        files = [segment.descriptor for segment in (self._writing, self._reading) if segment is not None]
        return [descriptor for descriptor in (self._directory, self._lock, *files) if descriptor is not None]

    # Opening and closing

    def _take_directory(self) -> None:
        with suppress(FileExistsError):
            self._path.mkdir(0o700, parents=True)
        if self._path.is_symlink():
            raise OSError("it is a symbolic link")
        self._directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = os.fstat(self._directory)
        if status.st_uid != os.geteuid():
            raise OSError(f"it belongs to the user {status.st_uid}")
        if status.st_mode & 0o077:
            raise OSError("others may enter it: its mode must be 0700")
        self._lock = os.open("lock", SAFELY | os.O_CREAT, 0o600, dir_fd=self._directory)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError("another spool is using it") from None

    def _let_go(self) -> None:
        # Closing the lock's file is enough, and LOCK_UN in a forked child would unlock it for the parent as well.
        for descriptor in self.filenos():
            close_descriptor(descriptor)
        self._directory = self._lock = self._writing = self._reading = None
        self._segments.clear()
        self._again.clear()
        self.usable = False

    def _recover(self) -> int:
        """Look through all segments, delete those where nothing waits, and return the points that wait."""
        assert self._directory is not None
        for name in sorted(filter(SEGMENT_NAME.fullmatch, os.listdir(self._directory))):
            segment = Segment(int(name.removesuffix(".spool")))
            self._next_number = segment.number + 1
            try:
                self._opened(segment).survey()
            except OSError as error:
                self._failed("recover all of", error)
                continue
            self._segments.append(segment)
            self.damaged_frames += segment.damaged_places
            self._delete_if_finished(segment)
        return sum(segment.waiting_points for segment in self._segments)

    # Segments

    def _segment_for(self, size: int) -> Segment | None:
        """The segment that takes ``size`` bytes more, once there is room for them; None if there is none."""
        writing = self._writing
        if writing is not None and writing.end and (writing.full or writing.end + size > self._max_bytes // SEGMENTS):
            writing.close()
            self._writing = None
        while self.bytes + size > self._max_bytes or len(self._segments) > MAX_SEGMENTS:
            oldest = self._segments[0]
            if self._taken and self._taken[0].segment is oldest:
                return None
            self._unlink(oldest)
            self._forget(oldest, "overflow")
        return self._writing or self._begin_writing()

    def _begin_writing(self) -> Segment:
        segment = Segment(self._next_number)
        self._next_number += 1
        segment.descriptor = os.open(segment.name, SAFELY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._directory)
        self._segments.append(segment)
        self._writing = segment
        return segment

    def _opened(self, segment: Segment) -> Segment:
        """``segment``, whose file is open. Of those that are only read, one is open at a time."""
        if segment.descriptor is None:
            if self._reading is not None:
                self._reading.close()
            self._reading = segment
            descriptor = os.open(segment.name, SAFELY, dir_fd=self._directory)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                close_descriptor(descriptor)
                raise OSError(errno.ENOENT, "not a regular file", segment.name)
            segment.descriptor = descriptor
        return segment

    def _unlink(self, segment: Segment) -> None:
        with suppress(FileNotFoundError):
            os.unlink(segment.name, dir_fd=self._directory)

    def _delete_if_finished(self, segment: Segment) -> None:
        if segment.finished:
            try:
                self._unlink(segment)
            except OSError as error:
                self._failed("delete from", error)
            else:
                self._worked("delete from")
            self._forget(segment, "damaged")  # what it should have had besides cannot be found any more

    def _forget(self, segment: Segment, reason: str) -> None:
        """``segment`` is not there any more; what waited in it is dropped for ``reason``."""
        while self._again and self._again[0].segment is segment:
            segment.held -= 1
            self._drop(self._again.popleft().points, reason)
        self._drop(segment.give_up(), reason)
        segment.close()
        if segment is self._writing:
            self._writing = None
        if segment is self._reading:
            self._reading = None
        if segment in self._segments:
            self._segments.remove(segment)

    # Reading

    def _take(self) -> Chunk | None:
        while (segment := self._next_segment()) is not None:
            try:
                self._opened(segment)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ELOOP):
                    raise
                self._forget(segment, "damaged")  # someone has deleted or replaced it
                continue
            frame = self._again.popleft() if self._again else self._next_frame(segment)
            if frame is None:
                continue
            data = segment.data(frame)
            if data is not None:
                self._taken.append(frame)
                self.waiting_points -= frame.points
                self.taken_points += frame.points
                return Chunk(data, frame.points, frame.timestamp)
            self.damaged_frames += 1
            self._drop(frame.points, "damaged")
            self._finish(frame)
        return None

    def _next_segment(self) -> Segment | None:
        if self._again:
            return self._again[0].segment
        return next((segment for segment in self._segments if segment.cursor < segment.end), None)

    def _next_frame(self, segment: Segment) -> Frame | None:
        """The next one of ``segment`` that waits; None if its rest must be looked at anew."""
        frame = segment.next_frame()
        if frame is None:
            self.damaged_frames += segment.waiting_points > 0
            self._drop(segment.give_up(), "damaged")
            self._delete_if_finished(segment)
        return frame

    def _finish(self, frame: Frame) -> None:
        """Nobody will ask for ``frame`` again, not even in a later life."""
        frame.segment.held -= 1
        try:
            self._opened(frame.segment).mark_done(frame)
        except OSError as error:
            self._failed("mark chunks in", error)
        else:
            self._worked("mark chunks in")
        self._delete_if_finished(frame.segment)

    # Books

    def _drop(self, points: int, reason: str) -> None:
        if points:
            self.waiting_points -= points
            self.dropped[reason] += points

    def _failed(self, what: str, error: Exception) -> None:
        self.errors += 1
        if what not in self._troubles:
            self._troubles.add(what)
            text = "cannot {what} the spool {directory} ({error})"
            self.log.warn(text, what=what, directory=str(self._path), error=str(error))

    def _worked(self, what: str) -> None:
        if what in self._troubles:
            self._troubles.remove(what)
            self.log.info("can {what} the spool {directory} again", what=what, directory=str(self._path))
