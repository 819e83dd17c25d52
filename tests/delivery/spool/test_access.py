"""Who may use a spool: one process of its owner, in a directory of its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.delivery.spool.lives import check_unusable, everything, forged, kill_with, made, opened
from tests.processes import ROOT, environment
from tests.strict import Logged


def test_it_makes_its_directory_for_itself_alone(tmp_path: Path) -> None:
    """Parents get the usual modes; the directory 0700 and its files 0600; no descriptor goes to a new program."""
    spool = opened(tmp_path / "one" / "two" / "spool")
    spool.append(made(0))

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(tmp_path / "one") == mode(tmp_path / "one" / "two") != 0o700
    assert mode(tmp_path / "one" / "two" / "spool") == 0o700
    files = list((tmp_path / "one" / "two" / "spool").iterdir())
    assert {path.name: mode(path) for path in files} == {"lock": 0o600, "0000000001.spool": 0o600}
    assert len(spool.filenos()) == 3
    assert not any(os.get_inheritable(descriptor) for descriptor in spool.filenos())
    spool.close()


def test_a_second_spool_stays_away(directory: Path, logged: Logged) -> None:
    """In the same process or in another: whoever was there first keeps it, until it closes or dies."""
    first = opened(directory)
    first.append(made(0))
    check_unusable(directory, logged, "another spool is using it")
    program = "import sys; from txmetrics.delivery._spool import *; s = Spool(sys.argv[1]); s.open(); print(s.usable)"

    def elsewhere() -> str:
        command = [sys.executable, "-c", program, str(directory)]
        return subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert elsewhere() == "False\n"
    assert everything(first) == [made(0)]
    first.close()
    assert elsewhere() == "True\n"


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o770, 0o777])
def test_a_directory_that_others_may_enter_is_refused(directory: Path, mode: int, logged: Logged) -> None:
    """They could read what is in it, or put something there."""
    directory.mkdir()
    directory.chmod(mode)
    check_unusable(directory, logged, "others may enter it")
    assert list(directory.iterdir()) == []


def test_somebody_elses_directory_is_refused(directory: Path, logged: Logged) -> None:
    """Even if we may write there, as root may."""
    directory.mkdir(0o700)
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory away")
    os.chown(directory, 12345, -1)
    check_unusable(directory, logged, "it belongs to the user 12345")
    assert list(directory.iterdir()) == []


def test_a_symbolic_link_is_refused(directory: Path, tmp_path: Path, logged: Logged) -> None:
    """As the directory, whatever it points to, and as a file in it: nobody chooses for us where we write."""
    elsewhere = tmp_path / "elsewhere"
    directory.symlink_to(elsewhere)
    check_unusable(directory, logged, "it is a symbolic link")
    elsewhere.mkdir(0o700)
    check_unusable(directory, logged, "it is a symbolic link")
    assert list(elsewhere.iterdir()) == []
    directory.unlink()
    directory.mkdir(0o700)
    (directory / "lock").symlink_to(tmp_path / "target")
    check_unusable(directory, logged, "symbolic link")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("path", ["file", "file/spool", "spool\0", "x" * 300])
def test_no_directory_no_spool(tmp_path: Path, path: str, logged: Logged) -> None:
    """A file in its place or above it, or a name that cannot be."""
    (tmp_path / "file").touch()
    check_unusable(tmp_path / path, logged, "")


def test_what_else_is_in_the_directory_is_left_alone(directory: Path, tmp_path: Path, logged: Logged) -> None:
    """Other names, and whatever is no file of ours under a segment's name: neither read, nor written, nor deleted."""
    secret = tmp_path / "secret"
    secret.write_bytes(forged(0, 6, data=b"secret"))
    directory.mkdir(0o700)
    (directory / "0000000001.spool").symlink_to(secret)
    os.mkfifo(directory / "0000000002.spool")
    (directory / "0000000003.spool").mkdir()
    for name in ["1.spool", "0000000001.spool.bak", "notes", "00000000004.spool"]:
        (directory / name).write_bytes(forged(0, 5, data=b"other"))
    before = sorted(directory.iterdir())
    spool = opened(directory)
    assert (spool.recovered_points, spool.errors) == (0, 3)
    assert spool.append(made(0))
    assert (directory / "0000000004.spool").read_bytes() == forged(0, 100, data=made(0).data, timestamp=0)
    assert everything(spool) == [made(0)]
    spool.close()
    assert sorted(directory.iterdir()) == sorted([*before, directory / "lock"])
    assert secret.read_bytes() == forged(0, 6, data=b"secret")
    assert len(logged.texts()) == 1


def test_without_its_descriptors_it_is_harmless(directory: Path, logged: Logged) -> None:
    """What a forked child does with them redirected: nothing raises, and nothing on disk changes."""
    kill_with(directory, [made(0), made(1)])
    spool = opened(directory)
    spool.append(made(2))
    spool.take()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in spool.filenos():
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
    for _ in range(3):
        spool.settle()
        spool.append(made(3, 70_000))
        spool.take()
        spool.rewind()
    spool.close()
    spool.open()  # the parent's lock went with its descriptor here; a real child would not get it
    spool.close()
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
