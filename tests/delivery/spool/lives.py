"""Spools that are opened, filled, killed and emptied, and what a frame of theirs looks like."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from random import Random
from zlib import crc32

from tests.strict import Logged
from txmetrics.delivery._spool import Spool
from txmetrics.interfaces import Chunk

HEADER_SIZE = 29
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


def forged(start: int, length: int, points: int = 1, data: bytes = b"", flag: int = 0, timestamp: int = 1) -> bytes:
    """A frame whose header is as right as if the spool had written it at ``start``."""
    checked = struct.pack(">4sIIqI", b"\xf7TX1", length, points, timestamp, crc32(data))
    return checked + struct.pack(">IB", crc32(checked, start), flag) + data


def check_unusable(directory: Path, logged: Logged, why: str) -> None:
    """One line tells why, and nothing else happens."""
    before = len(logged.texts())
    spool = Spool(directory)
    spool.open()
    assert not spool.usable
    (text,) = logged.texts()[before:]
    assert text.startswith(f"cannot use the spool {directory} (")
    assert why in text
    assert text.endswith(")")
    assert spool.errors == 1
    assert spool.filenos() == []
    assert not spool.append(made(0))
    assert spool.take() is None
    spool.close()
