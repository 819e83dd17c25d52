"""The program ``txmetrics`` itself: its help, its exit status, and how it ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.console.listening import HOST, BlackHole
from tests.processes import SECONDS, environment, run
from tests.waiting import wait_until
from txmetrics.console import main
from txmetrics.console._text import clipped, plain, width

COMMANDS = {"top", "check", "send", "spool", "graphite-config"}


def test_the_help_names_every_command(tmp_path: Path) -> None:
    """Run as a module."""
    done = run(sys.executable, "-m", "txmetrics", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert set(done.stdout.split()) >= COMMANDS


@pytest.mark.parametrize("command", [["top"], ["check"], ["send"], ["spool"], ["spool", "show"], ["spool", "replay"]])
def test_every_command_has_a_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It says in a sentence what the command does."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: txmetrics {' '.join(command)} ")
    assert ".\n" in said


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["send", "a"], ["spool"], ["check", "tcp:a:1", "--timeout", "x"]]
)
def test_a_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and nothing on stdout."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: txmetrics")


def test_what_the_system_refuses_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the file that it is about, harmless for a terminal."""
    with pytest.raises(SystemExit) as ended:
        main(["spool", "show", f"{tmp_path}/no\x1b[31mwhere"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"txmetrics: {tmp_path}/no\\x1b[31mwhere: No such file or directory\n"


@pytest.mark.parametrize(
    ("command", "number", "status"),
    [
        (["send", "a", "1", "--graphite"], signal.SIGINT, 130),
        (["check"], signal.SIGINT, 130),
        (["check"], signal.SIGTERM, 143),
    ],
)
def test_it_ends_quietly_when_it_is_told_to(
    command: list[str], number: signal.Signals, status: int, tmp_path: Path
) -> None:
    """In the middle of an attempt to connect: no traceback, no word."""
    with BlackHole() as hole, (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "txmetrics", *command, f"tcp:{HOST}:{hole.port}"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            wait_until(lambda: _has_begun(process.pid), lambda: "it has no handler for SIGTERM yet")
            process.send_signal(number)
            assert process.wait(SECONDS) == status
        finally:
            process.kill()
            process.wait(SECONDS)
    assert (tmp_path / "said").read_text() == ""


def _has_begun(pid: int) -> bool:
    """Whether the process has a handler of its own for SIGTERM; for SIGINT Python always has one."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """A pipe that is closed early is no trouble."""
    read, write = os.pipe()
    os.close(read)
    (tmp_path / "lock").touch()
    command = [sys.executable, "-m", "txmetrics", "spool", "show", str(tmp_path)]
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            command, env=environment(), stdin=subprocess.DEVNULL, stdout=closed, stderr=subprocess.PIPE, timeout=SECONDS
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_that_a_terminal_cannot_show(tmp_path: Path) -> None:
    """They are escaped instead of ending the program."""
    folder = tmp_path / "snow\N{SNOWMAN}man"
    folder.mkdir()
    (folder / "lock").touch()
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = run(sys.executable, "-m", "txmetrics", "spool", "show", tmp_path, cwd=tmp_path, **ascii_only)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("snow\\u2603man\n")


def test_text_from_outside_is_one_harmless_line() -> None:
    """Control characters, line ends of all kinds, and what turns the direction round."""
    hostile = "a\x1b[2Jb\nc\r\x07\x9b\x7f\u202e\u2028\u2066\ud800\0\t"
    assert plain(hostile) == "a\\x1b[2Jb\\nc\\r\\x07\\x9b\\x7f\\u202e\\u2028\\u2066\\ud800\\x00\\t"
    assert plain("Größe 漢") == "Größe 漢"


def test_the_room_that_a_text_takes() -> None:
    """Wide characters take two cells, combining ones none; what is clipped says so and fits."""
    assert (width("abc"), width("漢字"), width("e\u0301")) == (3, 4, 1)
    assert clipped("abcdef", 6) == "abcdef"
    assert clipped("abcdef", 4) == "abc~"
    assert clipped("漢字漢字", 4) == "漢~"
    assert clipped("abc", 0) == ""
