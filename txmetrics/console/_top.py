"""``txmetrics top``: what a dashboard tells, as a table in the terminal that is drawn anew each second."""

from __future__ import annotations

import os
import re
import shutil
import sys
from argparse import Namespace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from txmetrics.console import _figures as figures
from txmetrics.console._fetch import Dashboard, check_url
from txmetrics.console._reactor import in_reactor
from txmetrics.console._screen import Screen, rendered
from txmetrics.console._seam import Commands, Trouble
from txmetrics.console._state import State
from txmetrics.console._table import SORTABLE, Line, Order, table
from txmetrics.console._text import plain
from txmetrics.steady import steady

__all__ = ["add", "run"]

INTERVAL = 1.0

PAPER = 132, 60
"""Columns and lines where there is no terminal."""

HELP = "left and right: sort by another column   r: the other way round   q: quit"

KEY = re.compile(rb"\x1b\[[0-9;]*[^0-9;]|\x1bO.|.", re.DOTALL)
"""One key, of several that may have been typed at a time."""
QUIT, LEFT, RIGHT = (b"q", b"Q"), (b"\x1b[D", b"\x1bOD"), (b"\x1b[C", b"\x1bOC")


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "top",
        help="watch a running service in the terminal",
        description="Watch a running service in the terminal: what its dashboard tells, each second. Where the output "
        "is no terminal, it is printed once.",
    )
    parser.add_argument("url", metavar="URL", help="of the dashboard's page, such as http://127.0.0.1:8002/")
    parser.add_argument("--once", action="store_true", help="print it once and end")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    once = arguments.once or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb"
    in_reactor(partial(_print_once if once else _watch, url=check_url(arguments.url)))


async def _print_once(reactor: Any, url: str) -> None:
    dashboard = Dashboard(reactor, steady(reactor), url)
    try:
        state = await dashboard.state()
    finally:
        await dashboard.close()
    columns = shutil.get_terminal_size(PAPER).columns
    for line in table(state, Order(), columns):
        print(rendered(line, columns if sys.stdout.isatty() else None))


async def _watch(reactor: Any, url: str) -> None:
    clock = steady(reactor)
    dashboard = Dashboard(reactor, clock, url)
    top = _Top(reactor, clock, dashboard)
    try:
        await top.watch()
    finally:
        await dashboard.close()


class _Top:
    """The table, for as long as it is looked at."""

    def __init__(self, reactor: Any, clock: Any, dashboard: Dashboard) -> None:
        self._clock = clock
        self._dashboard = dashboard
        self._screen = Screen(reactor, self._typed, self._draw)
        self._quit: Deferred[None] = Deferred()
        self._state: State | None = None
        self._seen_at = 0.0
        self._trouble = ""
        self._order = Order()

    async def watch(self) -> None:
        """Until somebody has seen enough."""
        with self._screen:
            self._draw()
            polling = Deferred.fromCoroutine(self._poll())
            polling.addErrback(self._broken)
            try:
                await self._quit
            finally:
                polling.cancel()

    async def _poll(self) -> None:
        while not self._quit.called:
            try:
                self._state = await self._dashboard.state()
            except Trouble as trouble:
                self._trouble = plain(trouble)
            else:
                self._seen_at, self._trouble = self._clock.seconds(), ""
            if not self._quit.called:
                self._draw()
                await deferLater(self._clock, INTERVAL)

    def _broken(self, reason: Failure) -> None:
        """It cannot go on, for ``reason``; unless it is over anyway."""
        if not self._quit.called:
            self._quit.errback(reason)

    def _draw(self) -> None:
        try:
            columns, height = self._screen.size
            lines = [] if self._state is None else table(self._state, self._order, columns, height - 1)
            self._screen.show(lines, self._foot())
        except Exception:
            self._broken(Failure())

    def _foot(self) -> Line:
        if not self._trouble:
            return [(HELP if self._state is not None else f"asking {self._dashboard.url} ...", "dim")]
        old = ""
        if self._state is not None:
            old = f"; this is {figures.span(self._clock.seconds() - self._seen_at)} old"
        return [(f"{self._trouble}; trying again{old}", "bad")]

    def _typed(self, typed: bytes) -> None:
        for key in KEY.findall(typed):
            self._press(key)
        if not self._quit.called:
            self._draw()

    def _press(self, key: bytes) -> None:
        field, turned = self._order
        if key in QUIT and not self._quit.called:
            self._quit.callback(None)
        elif key in LEFT or key in RIGHT:
            step = 1 if key in RIGHT else -1
            self._order = Order(SORTABLE[(SORTABLE.index(field) + step) % len(SORTABLE)])
        elif key == b"r":
            self._order = Order(field, not turned)
