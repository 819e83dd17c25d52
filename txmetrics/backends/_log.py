"""A log: a line a metric."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from txmetrics.backends._prefix import check_prefix, wire_maker
from txmetrics.delivery import Log, log_target
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Backend, Reporter
from txmetrics.steady import steady
from txmetrics.wire import LogLines

__all__ = ["log"]


def log(
    registry: MetricsRegistry,
    to: str | os.PathLike[str] = "-",
    interval: float = 10.0,
    prefix: str = "",
    *,
    form: str = "json",
    dialect: str = "dropwizard",
    durations: str = "seconds",
    reactor: Any = None,
) -> Reporter:
    """A log is a line a metric, every ``interval`` seconds, for people and programs that have nothing else.

    ``to`` is "-", the standard output; "log", Twisted's log, an event of level info in the namespace ``txmetrics`` a
    line; or the path of a file, in a directory that is there. The file is created with the mode 0640 if it must be,
    and opened anew for each report: whoever rotates it renames it, and need tell nobody.

    ``form`` is "json": ``{"time": 1764380000, "name": "http.requests", "count": 3, ...}``, or "logfmt":
    ``time=1764380000 name=http.requests count=3 ...``; with the fields that ``graphite`` would report.

    Lines wait in at most 8 MiB of memory while nobody reads the standard output; what cannot be written is dropped and
    counted. The rest is as for ``graphite``. Raises ValueError for an argument that is wrong.
    """
    target = log_target(to)
    make_wire = wire_maker(partial(LogLines, form=form), check_prefix(prefix), dialect, durations)
    return Reporter(
        registry,
        lambda reactor: Backend(make_wire(), Log(steady(reactor), target)),
        interval,
        where=target.where,
        reactor=reactor,
    )
