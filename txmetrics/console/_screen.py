"""The terminal: lines in colours, one after the other or over and over on a screen of their own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from txmetrics.console._table import Line
from txmetrics.console._text import clipped, width

__all__ = ["Screen", "rendered"]

STYLES = {"bold": "1", "dim": "2", "chosen": "1;7", "good": "32", "warn": "1;33", "bad": "1;31"}

BEGIN, END = "\x1b[?1049h\x1b[?25l", "\x1b[0m\x1b[?25h\x1b[?1049l"
"""xterm's other screen, which every terminal of today has; without the cursor."""
HOME, CLEAR_LINE, CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


def rendered(line: Line, columns: int | None = None, colour: bool = False) -> str:
    """``line`` as text, in at most so many ``columns`` and without spaces at its end."""
    text = ""
    for part, style in line:
        shown = part if columns is None else clipped(part, columns)
        columns = None if columns is None else columns - width(shown)
        code = STYLES.get(style) if colour else None
        text += shown if code is None or not shown else f"\x1b[{code}m{shown}\x1b[0m"
        if shown != part:
            break
    return text.rstrip()


@implementer(IReadDescriptor)
class Screen:
    """A context in which the terminal is ours: what was on it is there again afterwards, and so are its ways.

    ``typed`` is called with what is typed, ``resized`` when the terminal has another size, or was somebody else's
    for a while.
    """

    def __init__(self, reactor: Any, typed: Callable[[bytes], None], resized: Callable[[], None]) -> None:
        self._reactor = reactor
        self._typed = typed
        self._resized = resized
        self._ways: list[Any] | None = None
        self._keys = sys.stdin.isatty()
        self._handlers: dict[int, Any] = {}
        self._colour = "NO_COLOR" not in os.environ

    def __enter__(self) -> Screen:
        self._take()
        self._handlers = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: self._reactor.callFromThread(self._resized)),
            signal.SIGTSTP: signal.signal(signal.SIGTSTP, lambda *_: self._reactor.callFromThread(self._suspend)),
        }
        if self._keys:
            self._reactor.addReader(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._keys:
            self._reactor.removeReader(self)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._give_back()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        return shutil.get_terminal_size()

    def show(self, lines: Sequence[Line], foot: Line) -> None:
        """Let the screen be these ``lines``, with ``foot`` as the last one."""
        columns, height = self.size
        room = max(0, height - 1)
        shown = [*lines[:room], *[[]] * (room - len(lines)), foot]
        texts = [rendered(line, columns, self._colour) for line in shown]
        self._write(HOME + f"{CLEAR_LINE}\r\n".join(texts) + CLEAR_LINE + CLEAR_REST)

    def _take(self) -> None:
        if self._keys:
            self._ways = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        self._write(BEGIN)

    def _give_back(self) -> None:
        with suppress(OSError, termios.error):  # it is gone
            self._write(END)
            if self._ways is not None:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._ways)

    def _suspend(self) -> None:
        """Ctrl-Z: the terminal is the shell's until we are called back."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
        self._resized()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    # IReadDescriptor

    def fileno(self) -> int:
        return sys.stdin.fileno()

    def doRead(self) -> None:
        try:
            keys = os.read(self.fileno(), 1024)
        except OSError:
            keys = b""
        self._typed(keys or b"q")  # nothing: the terminal is gone

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""

    def logPrefix(self) -> str:
        return "txmetrics"
