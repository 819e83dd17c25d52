"""The carbon-cache of the tests, proved before the library is judged by it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import LoopingCall

from tests import carbon as harness
from tests.carbon import Carbon, CarbonUnavailableError, install


def test_a_point_sent_over_tcp_is_read_back(carbon: Carbon, prefix: str) -> None:
    """A point is there as soon as carbon has read it, and later on disk under the same name."""
    now = int(time.time())
    carbon.send(f"{prefix}.answer 42 {now}\n{prefix}.answer 43.5 {now + 5}\n")
    expected = {now: 42.0, now + 5: 43.5}
    assert carbon.wait_for(lambda: carbon.points(f"{prefix}.answer")) == expected
    carbon.wait_for(lambda: carbon.stored(f"{prefix}.answer") == expected)
    assert f"{prefix}.answer" in carbon.names()
    assert carbon.points(f"{prefix}.other") == {}


def test_a_series_with_tags_is_read_back(carbon: Carbon, prefix: str) -> None:
    """Carbon files a series with tags elsewhere, the reader finds it all the same."""
    now = int(time.time())
    carbon.send(f"{prefix}.hits;zone=b;host=a 7 {now}\n")
    carbon.wait_for(lambda: carbon.stored(f"{prefix}.hits;host=a;zone=b") == {now: 7.0})


@pytest_twisted.ensureDeferred
async def test_waiting_in_the_reactor_lets_it_go_on(carbon: Carbon, prefix: str) -> None:
    """`eventually` polls between the turns of the reactor and returns what it waited for."""
    ticks: list[float] = []
    loop = LoopingCall(lambda: ticks.append(time.monotonic()))
    done = loop.start(0.01)
    carbon.send(f"{prefix}.answer 42 {int(time.time())}\n")
    stored = await carbon.eventually(lambda: carbon.stored(f"{prefix}.answer"))
    loop.stop()
    await done
    assert list(stored.values()) == [42.0]
    assert len(ticks) > 1


@pytest_twisted.ensureDeferred
async def test_waiting_in_vain_ends(carbon: Carbon, prefix: str) -> None:
    """What does not come true in time is an AssertionError with the end of carbon's log."""
    with pytest.raises(AssertionError, match=r"not so within 0\.1 s"):
        await carbon.eventually(lambda: carbon.points(f"{prefix}.none"), seconds=0.1)
    with pytest.raises(AssertionError, match="the log ends"):
        carbon.wait_for(lambda: carbon.points(f"{prefix}.none"), seconds=0.1)


def test_a_frozen_carbon_reads_when_it_thaws(own_carbon: Carbon, prefix: str) -> None:
    """While carbon is frozen nothing that is sent is read, afterwards all of it is."""
    own_carbon.freeze()
    with pytest.raises(TimeoutError):
        own_carbon.send(f"{prefix}.answer 42 {int(time.time())}\n", seconds=0.2)
    assert own_carbon.points(f"{prefix}.answer") == {}
    own_carbon.thaw()
    own_carbon.wait_for(lambda: list(own_carbon.points(f"{prefix}.answer").values()) == [42.0])


def test_a_restart_keeps_ports_and_points(own_carbon: Carbon, prefix: str) -> None:
    """A stopped or killed carbon comes back on its ports, with what it had on disk."""
    now, pid, port = int(time.time()), own_carbon.pid, own_carbon.line_port
    own_carbon.send(f"{prefix}.answer 1 {now}\n")
    own_carbon.wait_for(lambda: own_carbon.stored(f"{prefix}.answer"))
    own_carbon.restart()
    assert own_carbon.pid not in (pid, None)
    own_carbon.send(f"{prefix}.answer 2 {now + 1}\n")
    own_carbon.wait_for(lambda: own_carbon.stored(f"{prefix}.answer") == {now: 1.0, now + 1: 2.0})
    own_carbon.freeze()
    own_carbon.kill()
    assert own_carbon.pid is None
    with pytest.raises(ConnectionRefusedError):
        own_carbon.send("nobody.listens 1 1\n")
    own_carbon.start()
    assert own_carbon.line_port == port
    assert own_carbon.points(f"{prefix}.answer") == {now: 1.0, now + 1: 2.0}


def test_an_interrupted_install_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an install that was marked complete is used again."""
    programs = tmp_path / "carbon-1.1.10" / "bin"
    programs.mkdir(parents=True)
    (programs / "torn").touch()
    runs: list[list[Any]] = []

    def run(command: list[Any]) -> None:
        runs.append(command)
        programs.mkdir(parents=True, exist_ok=True)
        (programs / "python").touch()

    monkeypatch.setenv("TXMETRICS_TEST_CACHE", str(tmp_path))
    monkeypatch.setattr(harness, "_run", run)
    monkeypatch.setattr(harness, "_python311", lambda: "python3.11")
    assert install() == install() == programs / "carbon-cache.py"
    assert not (programs / "torn").exists()
    assert [command[:3] for command in runs] == [
        ["python3.11", "-m", "venv"],
        [programs / "python", "-m", "pip"],
    ]


def test_without_python311_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is neither CPython 3.11 nor Debian's carbon, the tests fail and say what to install."""
    monkeypatch.setenv("TXMETRICS_TEST_CACHE", str(tmp_path))
    monkeypatch.setattr(harness, "_is_python311", lambda python: False)
    monkeypatch.setattr(harness, "DEBIAN", tmp_path / "carbon-cache")
    with pytest.raises(CarbonUnavailableError, match=r"put python3\.11 on the PATH, or install Debian's"):
        install()
    (tmp_path / "carbon-cache").touch()
    assert install() == tmp_path / "carbon-cache"
