"""Logs on a reactor in memory, what they are to write, and disks and readers for it."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.delivery.network import check_books
from tests.strict import Logged
from txmetrics.delivery import Log, log_target
from txmetrics.interfaces import Chunk
from txmetrics.testing import FakeReactor


def lines(report: int, count: int = 3, size: int = 40) -> Chunk:
    """A chunk of so many lines of so many bytes, each of which is told from all others; a line is a point."""
    texts = [f"{chr(report + 48)} report {report} line {number} ".ljust(size - 1, ".") for number in range(count)]
    return Chunk("".join(text + "\n" for text in texts).encode(), count, report)


class Rig:
    """A log that was started, on a reactor in memory."""

    def __init__(self, to: Any = None, *, target: Any = None, **kwargs: Any) -> None:
        self.reactor = FakeReactor()
        self.target = log_target(to) if target is None else target
        self.log = Log(self.reactor, self.target, **kwargs)
        self.log.start()

    def deliver(self, *chunks: Chunk) -> None:
        for chunk in chunks:
            self.log.deliver(chunk)
            check_books(self.log)

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.125)):
            self.reactor.advance(0.125)
            check_books(self.log)

    def stop(self, seconds: float = 5.0) -> list[None]:
        answers: list[None] = []
        self.log.stop(seconds).addCallback(answers.append)
        return answers

    def ended(self) -> bool:
        """Stop it; whether that took no time and left nothing behind."""
        return self.stop() == [None] and not self.reactor.getDelayedCalls() and not list(self.log.filenos())

    @property
    def books(self) -> tuple[int, int, dict[str, int]]:
        """Delivered, queued, dropped."""
        ledger = self.log.ledger
        return ledger.delivered, ledger.queued, dict(ledger.dropped)


def warnings(logged: Logged) -> list[str]:
    """What was said of the writing, bad and good."""
    return [text for text in logged.texts() if "reports " in text or "points were" in text]


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file may become longer: a disk that has room for a part of what is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def reading(path: Path) -> Iterator[Callable[[], bytes]]:
    """Open the FIFO's other end; what is yielded reads all that is there."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield lambda: everything(fd)
    finally:
        os.close(fd)


def everything(fd: int) -> bytes:
    """All that can be read without waiting."""
    os.set_blocking(fd, False)
    read = b""
    try:
        while part := os.read(fd, 2**16):
            read += part
    except BlockingIOError:
        pass
    return read


MANY = [lines(report, 400) for report in range(1, 11)]
"""160,000 bytes: more than any of these takes that nobody reads."""

ALL = b"".join(chunk.data for chunk in MANY)


def check_nothing_is_lost(rig: Rig, read: Callable[[], bytes]) -> None:
    """What nobody reads waits; when it is read, everything arrives, whole and in order."""
    rig.deliver(*MANY)
    rig.advance(3)
    delivered, queued, dropped = rig.books
    assert queued > 0
    assert (delivered + queued, dropped) == (4000, {})
    arrived = b""
    for _ in range(100):
        arrived += read()
        rig.advance(0.25)
    assert arrived == ALL
    assert rig.books == (4000, 0, {})
