"""Files: rotated, truncated, gone and full, and never with half a line."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.delivery.log.rig import Rig, at_most, lines, warnings
from tests.strict import Logged
from txmetrics.delivery import log_target


def test_a_report_goes_into_the_file_at_once(tmp_path: Path) -> None:
    """Behind what was there, and a new file is for its owner and group."""
    path = tmp_path / "a.log"
    before = os.umask(0o002)
    try:
        rig = Rig(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.write_bytes(b"older\n")
    rig.deliver(lines(1), lines(2))
    assert path.read_bytes() == b"older\n" + lines(1).data + lines(2).data
    assert rig.books == (6, 0, {})
    assert rig.ended()


def test_a_file_that_was_renamed_gets_no_other_report(tmp_path: Path) -> None:
    """The next report is in a new one; the one that was under way at that moment stays together."""
    path, old = tmp_path / "a.log", tmp_path / "a.log.1"
    rig = Rig(path)
    first, second = lines(1), lines(1, 5)
    rig.deliver(first)
    path.rename(old)
    rig.deliver(second)
    assert not path.exists()
    rig.deliver(lines(2))
    assert old.read_bytes() == first.data + second.data
    assert path.read_bytes() == lines(2).data
    path.unlink()
    rig.deliver(lines(3))
    assert path.read_bytes() == lines(3).data
    assert rig.ended()


def test_a_file_that_was_truncated_is_written_from_its_beginning(tmp_path: Path) -> None:
    """What copies and truncates leaves no hole."""
    path = tmp_path / "a.log"
    rig = Rig(path)
    rig.deliver(lines(1))
    os.truncate(path, 0)
    rig.deliver(lines(2))
    assert path.read_bytes() == lines(2).data
    assert rig.ended()


def test_a_directory_that_vanishes_costs_what_comes_meanwhile(tmp_path: Path, logged: Logged) -> None:
    """It is counted, told once with the path, and told again when all is well."""
    path = tmp_path / "logs" / "a.log"
    path.parent.mkdir()
    rig = Rig(path)
    path.unlink()
    path.parent.rmdir()
    rig.deliver(lines(1), lines(2), lines(3))
    assert rig.books == (0, 0, {"refused": 9})
    assert rig.log.levels["connected"] == 0
    (told,) = warnings(logged)
    assert told.startswith("reports cannot be written to the file ([Errno 2] No such file or directory")
    assert str(path) in told
    path.parent.mkdir()
    rig.deliver(lines(4), lines(5))
    assert path.read_bytes() == lines(4).data + lines(5).data
    assert rig.books == (6, 0, {"refused": 9})
    assert warnings(logged)[1:] == ["reports are written to the file again"]
    assert rig.ended()


def test_a_file_that_cannot_be_opened_is_told_of_at_the_start(tmp_path: Path, logged: Logged) -> None:
    """Before there is any report; and the reason may go away until then."""
    path = tmp_path / "logs" / "a.log"
    path.parent.mkdir()
    target = log_target(path)
    path.parent.rmdir()
    rig = Rig(target=target)
    assert len(warnings(logged)) == 1
    path.parent.mkdir()
    rig.deliver(lines(1))
    assert path.read_bytes() == lines(1).data
    assert rig.ended()


def test_a_full_disk_costs_what_comes_meanwhile(logged: Logged) -> None:
    """/dev/full is a disk that is full at every moment."""
    rig = Rig("/dev/full")
    rig.deliver(lines(1), lines(2))
    assert rig.books == (0, 0, {"refused": 6})
    assert warnings(logged) == [
        "reports cannot be written to the file ([Errno 28] No space left on device); they are dropped until that works "
        "again"
    ]
    assert rig.ended()


def test_a_disk_that_becomes_full_holds_no_half_line(tmp_path: Path) -> None:
    """A chunk of which only a part would have fitted is not there at all, and the next one begins in its place."""
    path = tmp_path / "a.log"
    rig = Rig(path)
    rig.deliver(lines(1))
    with at_most(130):
        rig.deliver(lines(2))
    assert path.read_bytes() == lines(1).data
    rig.deliver(lines(3))
    assert path.read_bytes() == lines(1).data + lines(3).data
    assert rig.books == (6, 0, {"refused": 3})
    assert rig.ended()
