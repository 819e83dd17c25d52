"""How far a replay is, on a terminal and in a file."""

from __future__ import annotations

import io

from twisted.internet.task import Clock

from txmetrics.console._replay import Progress


class Paper(io.StringIO):
    """No terminal, or one."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def progressed(out: Paper) -> str:
    clock = Clock()
    progress = Progress(out, clock.seconds)
    for done in range(0, 12_000, 1000):
        progress.tell(done, 12_000)
        clock.advance(1)
    progress.end()
    return out.getvalue()


def test_progress_in_a_file() -> None:
    """A line every five seconds."""
    assert progressed(Paper(terminal=False)).splitlines() == [
        "5,000 of 12,000 points, 41 %, 1,000 a second",
        "10,000 of 12,000 points, 83 %, 1,000 a second",
    ]


def test_progress_on_a_terminal() -> None:
    """One line, which is gone in the end."""
    said = progressed(Paper(terminal=True))
    assert "\r11,000 of 12,000 points, 91 %, 1,000 a second\x1b[K" in said
    assert "\n" not in said
    assert said.endswith("\r\x1b[K")
