"""A segment of the spool: one file of frames.

    a frame             header (magic, length, points, timestamp, CRC of the data, CRC of the header, flag), data

Nothing on disk is believed: a header counts only at the place where it was written, and a chunk is what was appended,
or is not handed out.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from typing import NamedTuple
from zlib import crc32

from txmetrics.interfaces import Chunk

__all__ = ["HEADER_SIZE", "MAX_DATA", "Frame", "Segment", "close_descriptor"]

MAX_DATA = 1024 * 1024
"""The bytes of one chunk, at most; no length beyond it is believed."""

MAGIC = b"\xf7TX1"  # no UTF-8 text has the first of these bytes
CHECKED = struct.Struct(">4sIIqI")  # magic, length, points, timestamp, CRC of the data
CHECK_AND_FLAG = struct.Struct(">IB")  # the CRC of all that; the flag, which changes later
HEADER_SIZE = CHECKED.size + CHECK_AND_FLAG.size
WAITING, DONE = 0x00, 0xFF  # far apart, and all but the latter waits: one flipped bit loses no chunk

PIECE = 64 * 1024
"""How much is read at a time in search of the next header."""


class Frame(NamedTuple):
    """Where a chunk stands, as a header says whose CRC was right."""

    segment: Segment
    start: int
    end: int
    points: int
    timestamp: int
    data_crc: int
    done: bool


class Segment:
    """One file of frames. Raises OSError where the operating system does when it is opened or written.

    What cannot be read is taken for damaged.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"{number:010d}.spool"
        self.descriptor: int | None = None
        self.end = 0
        self.full = False  # for a reason of its own; another segment may have room
        self.cursor = 0  # behind the last frame that was ever taken
        self.waiting_points = 0  # behind the cursor
        self.held = 0  # frames before the cursor that are not done
        self.damaged_places = 0

    @property
    def finished(self) -> bool:
        """Nothing in it will ever be read again."""
        return self.cursor >= self.end and not self.held

    def close(self) -> None:
        if self.descriptor is not None:
            close_descriptor(self.descriptor)
            self.descriptor = None

    def append(self, chunk: Chunk) -> None:
        """Write a frame at the end, all of it or nothing."""
        assert self.descriptor is not None
        frame = _header(chunk, self.end) + chunk.data
        try:
            _write(self.descriptor, frame, self.end)
        except OSError as error:
            self.full = True
            os.ftruncate(self.descriptor, self.end)
            self.full = error.errno == errno.EFBIG  # this file's limit, not the disk's
            raise
        self.end += len(frame)
        self.waiting_points += chunk.points

    def mark_done(self, frame: Frame) -> None:
        assert self.descriptor is not None
        os.pwrite(self.descriptor, bytes([DONE]), frame.start + HEADER_SIZE - 1)

    def survey(self) -> None:
        """Find out what an earlier life has left."""
        assert self.descriptor is not None
        self.end = os.fstat(self.descriptor).st_size
        self.cursor = self.end
        position = 0
        while position < self.end:
            frame = self._find(position)
            if frame is None or frame.start > position:
                self.damaged_places += 1
            if frame is None:
                return
            if not frame.done:
                self.cursor = min(self.cursor, frame.start)
                self.waiting_points += frame.points
            position = frame.end

    def next_frame(self) -> Frame | None:
        """The next one that waits, to be held from now on; None if there is none."""
        while self.cursor < self.end:
            frame = self._find(self.cursor)
            if frame is None:
                return None
            self.cursor = frame.end
            if not frame.done:
                if frame.points > self.waiting_points:
                    return None  # more than the survey found: somebody else has been at work here since
                self.waiting_points -= frame.points
                self.held += 1
                return frame
        return None

    def give_up(self) -> int:
        """Skip all that is behind the cursor; returns its points."""
        points, self.waiting_points = self.waiting_points, 0
        self.cursor = self.end
        return points

    def data(self, frame: Frame) -> bytes | None:
        """What was appended, None if that is not what is there."""
        size = frame.end - frame.start - HEADER_SIZE
        data = self._read(size, frame.start + HEADER_SIZE)
        return data if len(data) == size and crc32(data) == frame.data_crc else None

    def _find(self, position: int) -> Frame | None:
        """The first frame that begins at ``position`` or behind it."""
        size = HEADER_SIZE
        while position + HEADER_SIZE <= self.end:
            piece = self._read(min(size, self.end - position), position)
            if len(piece) < HEADER_SIZE:
                return None  # the file has become shorter
            at = piece.find(MAGIC)
            while 0 <= at <= len(piece) - HEADER_SIZE:
                frame = self._parse(piece, at, position + at)
                if frame is not None:
                    return frame
                at = piece.find(MAGIC, at + 1)
            position += len(piece) - HEADER_SIZE + 1
            size = PIECE
        return None

    def _parse(self, piece: bytes, at: int, start: int) -> Frame | None:
        _, length, points, timestamp, data_crc = CHECKED.unpack_from(piece, at)
        header_crc, flag = CHECK_AND_FLAG.unpack_from(piece, at + CHECKED.size)
        if length > MAX_DATA or header_crc != _header_crc(piece[at : at + CHECKED.size], start):
            return None
        return Frame(self, start, start + HEADER_SIZE + length, points, timestamp, data_crc, flag == DONE)

    def _read(self, size: int, position: int) -> bytes:
        assert self.descriptor is not None
        try:
            return os.pread(self.descriptor, size, position)
        except OSError:
            return bytes(size)  # no header, and no data whose CRC is right


def _header(chunk: Chunk, start: int) -> bytes:
    checked = CHECKED.pack(MAGIC, len(chunk.data), chunk.points, chunk.timestamp, crc32(chunk.data))
    return checked + CHECK_AND_FLAG.pack(_header_crc(checked, start), WAITING)


def _header_crc(checked: bytes, start: int) -> int:
    # With its place in it, a copy of a frame elsewhere, in a chunk's data for instance, is none.
    return crc32(checked, start & 0xFFFFFFFF)


def _write(descriptor: int, data: bytes, position: int) -> None:
    written = os.pwrite(descriptor, data, position)
    # A full disk takes what still fits without a complaint; asked again, it says what is wrong.
    if written < len(data) and written + os.pwrite(descriptor, data[written:], position + written) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def close_descriptor(descriptor: int) -> None:
    with suppress(OSError):  # some file systems tell only here what they could not write; it is closed all the same
        os.close(descriptor)
