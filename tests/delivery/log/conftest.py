"""A FIFO, and a limit for every test: a write that waits for its reader would wait for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

SECONDS = 10
"""After so many a test that waits for anybody ends with an error."""


class BlockedError(BaseException):
    """Nothing that catches an Exception can hide it."""


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    def ring(*ignored: object) -> None:
        raise BlockedError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path
