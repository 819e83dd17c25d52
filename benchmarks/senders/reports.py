"""What the senders have in common: what they are told, the numbers of their reports, and when it is over."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


class Reports:
    """Reports to the port on 127.0.0.1 that the command line names, one a second; each has a number, from 1 on.

    Its number is the value of all its points: who finds it in Graphite knows which report brought it there.
    """

    def __init__(self) -> None:
        port, self.prefix, series = sys.argv[1:]
        self.port = int(port)
        self.names = [f"app.series{number}" for number in range(int(series))]
        self.taken_at: list[float] = []

    @property
    def number(self) -> int:
        """The latest report's."""
        return len(self.taken_at)

    def next(self) -> int:
        """The number of a report that is being taken now."""
        self.taken_at.append(time.time())
        return self.number

    def tell(self, **more: Any) -> None:
        """The last thing that a sender does: say which reports it took."""
        print(json.dumps({"taken_at": self.taken_at, **more}))


def wait_for_the_end() -> None:
    """Return when the parent says so, or is gone."""
    sys.stdin.read()


def stop_at_the_end(reactor: Any) -> None:
    """Stop the reactor when the parent says so, or is gone."""

    def wait() -> None:
        wait_for_the_end()
        reactor.callFromThread(reactor.stop)

    reactor.callInThread(wait)


def seconds_to_the_middle() -> float:
    """Seconds until the middle of a second: a report a second from there on puts none twice into one second."""
    return 1 - (time.time() + 0.5) % 1
