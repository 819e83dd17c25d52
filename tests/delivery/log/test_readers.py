"""FIFOs: whoever does not read stops nothing, and what waits for him is bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.delivery.log.rig import ALL, MANY, Rig, check_nothing_is_lost, lines, reading, warnings
from tests.strict import Logged


def test_a_fifo_that_nobody_empties_stops_nothing(fifo: Path) -> None:
    """What does not fit waits until it is read."""
    with reading(fifo) as read:
        rig = Rig(fifo)
        check_nothing_is_lost(rig, read)
        assert rig.ended()


def test_others_who_write_into_the_pipe_do_not_cut_a_line(fifo: Path) -> None:
    """What is written before a pipe is full ends with a line, where somebody else may go on."""
    chunks = [lines(report, 300) for report in range(1, 11)]
    every = b"".join(chunk.data for chunk in chunks)
    with reading(fifo) as read:
        rig = Rig(fifo)
        other = os.open(fifo, os.O_WRONLY)
        rig.deliver(*chunks)
        arrived = b""
        for _ in range(30):
            arrived += read()
            os.write(other, b"other\n")
            rig.advance(0.25)
        os.close(other)
        assert arrived.count(b"other\n") > 20
        assert arrived.replace(b"other\n", b"") == every
        assert set(arrived.splitlines()) == {*every.splitlines(), b"other"}
        assert rig.ended()


def test_what_waits_is_bounded(fifo: Path) -> None:
    """Beyond it the oldest is dropped, and lines stay whole."""
    with reading(fifo) as read:
        rig = Rig(fifo, max_bytes=50_000)
        rig.deliver(*MANY)
        _, queued, dropped = rig.books
        assert 0 < queued * 40 <= 66_000
        assert dropped["overflow"] > 0
        arrived = b""
        for _ in range(30):
            arrived += read()
            rig.advance(0.25)
        assert {len(line) for line in arrived.splitlines()} == {39}
        assert arrived.endswith(MANY[-1].data)
        assert rig.ended()


def test_a_fifo_that_nobody_has_open_costs_what_comes_meanwhile(fifo: Path, logged: Logged) -> None:
    """Nor does its opening wait; with a reader it works, without one any more it does not."""
    rig = Rig(fifo)
    rig.deliver(lines(1))
    with reading(fifo) as read:
        rig.deliver(lines(2))
        assert read() == lines(2).data
    rig.deliver(lines(3))
    assert rig.books == (3, 0, {"refused": 6})
    assert len(warnings(logged)) == 3
    assert rig.ended()


def test_a_stop_waits_for_a_reader_and_not_for_ever(fifo: Path, logged: Logged) -> None:
    """What he has not read by then is dropped by reason: a part of it was written, or nothing was."""
    with reading(fifo):
        rig = Rig(fifo)
        rig.deliver(*MANY)
        stopped = rig.stop(2.0)
        rig.advance(1.5)
        assert stopped == []
        rig.advance(1)
        assert stopped == [None]
    delivered, queued, dropped = rig.books
    assert queued == 0
    assert dropped.keys() == {"unconfirmed", "stopped"}
    assert warnings(logged) == [f"{4000 - delivered} points were not written to the file"]
    assert rig.reactor.getDelayedCalls() == []


def test_a_stop_ends_as_soon_as_all_is_written(fifo: Path) -> None:
    """The last report is read while it waits."""
    with reading(fifo) as read:
        rig = Rig(fifo)
        rig.deliver(*MANY)
        stopped = rig.stop(5.0)
        arrived = b""
        for _ in range(30):
            arrived += read()
            rig.advance(0.125)
        assert arrived == ALL
        assert stopped == [None]
        assert rig.reactor.getDelayedCalls() == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_writes_nothing_of_its_parents(fifo: Path) -> None:
    """Whatever it does with what it inherits, every line is there once."""
    with reading(fifo) as read:
        rig = Rig(fifo)
        rig.deliver(*MANY)
        delivered = rig.log.ledger.delivered
        (fd,) = rig.log.filenos()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert os.path.samestat(os.fstat(fd), os.stat(os.devnull))
                rig.log.deliver(lines(11))
                rig.log.stop(1.0)
                rig.reactor.advance(0.5)
                rig.reactor.advance(2)
                assert rig.log.ledger.delivered == delivered
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        arrived = b""
        for _ in range(30):
            arrived += read()
            rig.advance(0.25)
        assert arrived == ALL
        assert rig.ended()
