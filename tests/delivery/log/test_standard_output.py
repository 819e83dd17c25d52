"""The standard output, whatever it is, and its flags, which are everybody's."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.delivery.log.rig import MANY, Rig, at_most, check_nothing_is_lost, everything, lines, warnings
from tests.strict import Logged


@contextmanager
def standard_output(fd: int) -> Iterator[None]:
    """File descriptor 1 is another one's, whose flags stay as they are."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    before = os.dup(1)
    os.dup2(fd, 1)
    try:
        yield
        assert fcntl.fcntl(fd, fcntl.F_GETFL) == flags
    finally:
        os.dup2(before, 1)
        os.close(before)


def pipe_ends() -> tuple[int, int]:
    return os.pipe()


def socket_ends() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**15)
    return theirs.detach(), ours.detach()


def terminal_ends() -> tuple[int, int]:
    theirs, ours = pty.openpty()
    tty.setraw(ours)
    return theirs, ours


@pytest.mark.parametrize(
    ("ends", "anew"),
    [(pipe_ends, True), (pipe_ends, False), (socket_ends, False), (terminal_ends, True)],
)
def test_a_standard_output_that_nobody_reads_stops_nothing(
    ends: Callable[[], tuple[int, int]], anew: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where it cannot be opened anew, as a socket never can; and its flags, which others rely on, stay."""
    theirs, ours = ends()
    try:
        with standard_output(ours):
            if not anew:
                monkeypatch.setattr("txmetrics.delivery._log_targets._FLAGS", os.O_RDONLY | os.O_DIRECTORY)
            rig = Rig("-")
            check_nothing_is_lost(rig, lambda: everything(theirs))
            assert rig.ended()
    finally:
        os.close(theirs)
        os.close(ours)


def test_a_closed_pipe_costs_what_comes_meanwhile(logged: Logged) -> None:
    """As when the program behind ``|`` has ended."""
    theirs, ours = os.pipe()
    os.close(theirs)
    with standard_output(ours):
        rig = Rig("-")
        rig.deliver(lines(1), lines(2))
        assert rig.books == (0, 0, {"refused": 6})
        assert len(warnings(logged)) == 1
        assert "the standard output ([Errno 32] Broken pipe)" in warnings(logged)[0]
        assert rig.ended()
    os.close(ours)


def test_a_pipe_whose_reader_goes_while_reports_wait(logged: Logged) -> None:
    """They are refused in the turn that finds out, and nothing waits any more."""
    theirs, ours = os.pipe()
    with standard_output(ours):
        rig = Rig("-")
        rig.deliver(*MANY)
        os.close(theirs)
        rig.advance(1)
        delivered, queued, dropped = rig.books
        assert (queued, dropped) == (0, {"refused": 4000 - delivered})
        assert rig.ended()
    os.close(ours)


def test_a_file_as_standard_output_is_shared_with_others(tmp_path: Path) -> None:
    """What others print there and what we write follows one another, also after a disk was full."""
    with (tmp_path / "out").open("wb") as out, standard_output(out.fileno()):
        rig = Rig("-")
        os.write(1, b"hello\n")
        rig.deliver(lines(1))
        os.write(1, b"again\n")
        with at_most(140):
            rig.deliver(lines(2))
        os.write(1, b"bye\n")
        rig.deliver(lines(3))
        assert rig.ended()
    read = (tmp_path / "out").read_bytes()
    assert read == b"hello\n" + lines(1).data + b"again\nbye\n" + lines(3).data


def test_a_standard_output_that_leads_nowhere_is_told_of(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a daemon, or where it was closed: lines that nobody can ever see do not count as delivered."""
    with open(os.devnull, "wb") as null, standard_output(null.fileno()):
        rig = Rig("-")
        rig.deliver(lines(1))
        assert rig.books == (0, 0, {"refused": 3})
        assert rig.ended()
    monkeypatch.setattr(sys, "__stdout__", None)
    closed = Rig("-")
    closed.deliver(lines(1))
    assert closed.books == (0, 0, {"refused": 3})
    assert closed.ended()
    assert ["in a daemon it leads nowhere" in warnings(logged)[0], "there is none" in warnings(logged)[1]] == [True] * 2
