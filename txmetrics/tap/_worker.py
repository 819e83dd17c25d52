"""A worker's process: twistd, with what it has to do with its supervisor and the other workers beside it.

It is run as a program, so that the supervisor and the application find the same modules in the same places, and nothing
that was changed for the one is left over in the other.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any

from twisted.application import app
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import FileLogObserver, LogEvent, formatEventAsClassicLogText
from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]
from zope.interface import implementer

from txmetrics.tap._shared_ports import share_ports
from txmetrics.tap._worker_options import PYTHONPATH_VARIABLE

__all__ = ["main"]


def main() -> None:
    """Run twistd for one of so many workers: ``argv`` has their number before twistd's arguments."""
    path = os.environ.pop(PYTHONPATH_VARIABLE, "")
    os.environ.pop("PYTHONPATH", None)
    if path:
        os.environ["PYTHONPATH"] = path
    if int(sys.argv.pop(1)) > 1:
        share_ports()
    sys.argv[0] = "twistd"
    app.run(_run, ServerOptions)


def _run(config: Any) -> None:
    # Whatever the plugin has said about these: there is one of each, and it is the supervisor's.
    config.update(nodaemon=True, pidfile="", logger=lambda: FileLogObserver(sys.stdout, _line))
    from twisted.internet import reactor

    reactor.callWhenRunning(_Leash(reactor).hold)
    runApp(config)


def _line(event: LogEvent) -> str | None:
    """As twistd writes it, without the time, which the supervisor writes before it."""
    line = formatEventAsClassicLogText(event, lambda when: "")
    return None if line is None else line.removeprefix(" ")


@implementer(IReadDescriptor)
class _Leash:
    """The standard input: a pipe from the supervisor, which says nothing, and ends with it, also by ``kill -9``."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def hold(self) -> None:
        self._reactor.addReader(self)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._reactor.removeReader, self)
        _be_told_once()

    def fileno(self) -> int:
        return 0

    def logPrefix(self) -> str:
        return "supervisor"

    def doRead(self) -> Any:
        return None if os.read(0, 1024) else CONNECTION_DONE

    def connectionLost(self, reason: Any) -> None:
        # Nobody reads what we say any more.
        null = os.open(os.devnull, os.O_WRONLY)
        for output in (1, 2):
            os.dup2(null, output)
        os.close(null)
        with suppress(ReactorNotRunning):  # a signal has stopped it already
            self._reactor.stop()


def _be_told_once() -> None:
    """Stop with the first signal that says so: who stops a whole group of processes tells those in it twice."""
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: Any) -> None:
        # Not SIG_IGN: Python writes a traceback about a signal that came before that and is ignored by then.
        for each in handlers:
            signal.signal(each, lambda number, frame: None)
        handlers[number](number, frame)

    for number in handlers:
        if callable(handlers[number]):
            signal.signal(number, stop)


if __name__ == "__main__":
    main()
