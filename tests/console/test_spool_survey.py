"""A survey of a spool sees what its owner sees, and follows nothing that leads elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from tests.console.test_spool import chunk, contents, spool_of
from txmetrics.delivery import Spool, find_spools, survey


@pytest.mark.parametrize("seed", range(5))
def test_it_sees_what_the_owner_sees(tmp_path: Path, seed: int) -> None:
    """After any work on the spool, and at no cost to it."""
    random = Random(seed)
    spool = Spool(tmp_path / "spool", max_bytes=20_000)  # so that there are many segments
    spool.open()
    steps = [lambda: spool.append(chunk(random.randrange(1000))), spool.take, spool.settle, spool.rewind]
    try:
        for _ in range(60):
            random.choices(steps, [6, 3, 2, 1])[0]()
            before = contents(tmp_path)
            found = survey(tmp_path / "spool")
            assert found.points == spool.waiting_points + spool.taken_points
            assert found.bytes == spool.bytes
            assert found.damaged == 0
            assert found.process == os.getpid()
            assert contents(tmp_path) == before
    finally:
        spool.close()


def test_what_is_no_segment_is_not_read(tmp_path: Path) -> None:
    """Neither a link to one, nor a pipe, whose opening would wait, nor a file of another name."""
    elsewhere = spool_of(tmp_path / "elsewhere", 2)
    folder = spool_of(tmp_path / "spool", 1)
    (there,) = elsewhere.glob("*.spool")
    os.mkfifo(folder / "0000000007.spool")
    (folder / "0000000008.spool").mkdir()
    (folder / "notes.txt").write_bytes(there.read_bytes())
    assert survey(folder)[:4] == (1, next(folder.glob("0000000001.spool")).stat().st_size, 1, 5)
    (folder / "0000000009.spool").symlink_to(there)
    assert survey(folder).points == 5


def test_where_the_spools_are(tmp_path: Path) -> None:
    """The folders of a directory, but none behind a link; and a folder is its own."""
    one, two = spool_of(tmp_path / "spools" / "b", 1), spool_of(tmp_path / "spools" / "a", 0)
    (tmp_path / "spools" / "none").mkdir()
    (tmp_path / "spools" / "link").symlink_to(one)
    assert find_spools(tmp_path / "spools") == [two, one]
    assert find_spools(one) == [one]
    assert find_spools(tmp_path / "spools" / "none") == []
    with pytest.raises(FileNotFoundError):
        find_spools(tmp_path / "nowhere")
