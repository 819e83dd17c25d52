"""Twisted's log, and what can be named as a place for a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogLevel

from tests.delivery.log.rig import ALL, MANY, Rig, lines
from tests.strict import Logged
from txmetrics.delivery import log_target
from txmetrics.interfaces import Chunk


def test_twisteds_log_has_an_event_a_line(logged: Logged) -> None:
    """At level info, in a namespace that observers can ask for, with the line in its text and in a key."""
    rig = Rig("log")
    rig.deliver(Chunk(b'{"time": 1, "name": "a", "count": 1}\n{}\n', 2, 1))
    events = [event for event in logged.events if event["log_namespace"] == "txmetrics"]
    assert [event["line"] for event in events] == ['{"time": 1, "name": "a", "count": 1}', "{}"]
    assert {event["log_level"] for event in events} == {LogLevel.info}
    assert logged.texts() == [event["line"] for event in events]
    assert rig.ended()


def test_twisteds_log_gets_many_lines_in_many_turns(logged: Logged) -> None:
    """Its observers take their time; the rest is written before the stop is over."""
    rig = Rig("log")
    rig.deliver(*MANY)
    assert len(logged.texts()) == 25
    stopped = rig.stop()
    for _ in range(200):
        rig.reactor.advance(0.001)
    assert logged.texts() == ALL.decode().splitlines()
    assert stopped == [None]
    assert rig.books == (4000, 0, {})


@pytest.mark.parametrize(
    ("to", "error", "told"),
    [
        ("", ValueError, "'' is no file for a log; give a path, - or log"),
        ("a\0b", ValueError, "is no file for a log"),
        ("/", ValueError, "'/' is a directory; give a file for the log in it"),
        ("/no/such/a.log", ValueError, "'/no/such' is no directory, so there can be no log in it; make it first"),
        ("/dev/null/a.log", ValueError, "'/dev/null' is no directory"),
        (None, TypeError, "a log at None is a NoneType, not a path"),
        (b"a.log", TypeError, "is a bytes, not a path"),
        (Path("/no/such/a.log"), ValueError, "make it first"),
    ],
)
def test_a_place_that_cannot_be_is_refused(to: Any, error: type[Exception], told: str) -> None:
    """At once, in one sentence with the part that is wrong."""
    with pytest.raises(error) as refused:
        log_target(to)
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_place_is_told_without_its_path(tmp_path: Path) -> None:
    """And a Path is a file, whatever its name is."""
    shown = [log_target(to).where for to in ("-", "log", tmp_path / "a.log", Path("log"), Path("-"))]
    assert shown == ["standard output", "log", "file", "file", "file"]


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may change its directory before it starts, as a daemon does."""
    monkeypatch.chdir(tmp_path)
    target = log_target("a.log")
    monkeypatch.chdir("/")
    rig = Rig(target=target)
    rig.deliver(lines(1))
    assert (tmp_path / "a.log").read_bytes() == lines(1).data
    assert rig.ended()
