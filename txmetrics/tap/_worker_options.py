"""What ``--workers`` makes of a command line: one for each worker, or a sentence on why that cannot be."""

from __future__ import annotations

import os
import re
import sys
from getopt import getopt
from typing import Any

from twisted.python.usage import UsageError

from txmetrics.identity import WORKER_VARIABLE

__all__ = ["PYTHONPATH_VARIABLE", "check_workers", "commands", "number_of_workers", "take_over"]

MOST = 64
"""So many workers at the most: nobody has more processors, and a slip of the finger must not take a machine down."""

APART = ("{worker}", "{pid}")
"""Either is another text for each worker."""

PYTHONPATH_VARIABLE = "TXMETRICS_WORKER_PYTHONPATH"
"""The PYTHONPATH that the application and its children are to have: a worker starts with its supervisor's sys.path."""

_PORT = re.compile(r"tcp:(?:port=)?([0-9]+)(:.*)?")


def number_of_workers(text: str) -> int:
    """``text`` as the number of workers; UsageError says why not otherwise."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= MOST:
        raise UsageError(f"--workers takes a number from 1 to {MOST}, not {text!r}")
    return int(text)


def check_workers(options: Any) -> None:
    """Raise UsageError for what several processes cannot do with these ``options``, of the plugin ``metrics``."""
    if os.environ.get(WORKER_VARIABLE):
        raise UsageError(f"{WORKER_VARIABLE} names one process, and --workers names its own; unset it")
    asked = options._metrics()
    if asked.log == "-":
        raise UsageError("the workers' standard output is the supervisor's log; give --metrics-log=FILE, or log")
    same = [identity for identity in asked.identities() if not any(place in identity for place in APART)]
    if options.workers > 1 and same:
        raise UsageError(
            "workers that report under one name overwrite each other's numbers; "
            "give each its own, such as with --metrics-prefix=web.{host}.{worker}"
        )
    _check_ports(options)


def _check_ports(options: Any) -> None:
    taken: dict[int, str] = {}
    for name, endpoint in _endpoints(options).items():
        for number in range(options.workers):
            port = _port_of(name, endpoint, number)
            if port and taken.setdefault(port, name) != name:
                raise UsageError(
                    f"worker {number}'s {name} would be at port {port}, as is another one's {taken[port]}; "
                    f"leave {options.workers} ports for each"
                )


def commands(options: Any) -> dict[str, list[str]]:
    """By worker (w0, w1, ...) the command that runs it: as ``options`` were given, less ``--workers``."""
    start = [sys.executable, "-P", "-m", "txmetrics.tap._worker", str(options.workers), *_of_the_runner(options.parent)]
    given, rest = getopt(options.arguments, options.shortOpt, options.longOpt)
    found = {}
    for number in range(options.workers):
        own = _own_of_worker(options, number)
        kept = [part for name, value in given if name not in ("--workers", *own) for part in (name, value)]
        own_parts = [part for pair in own.items() for part in pair]
        found[f"w{number}"] = [*start, "metrics", *kept, *own_parts, *rest]
    return found


def take_over(parent: Any) -> str | None:
    """Make twistd, whose options are ``parent``, leave to the workers what each does for itself, after ``commands``.

    That is to shed privileges and to change the root: done by the supervisor, no worker could listen on a port below
    1024, or read a key. The answer is the directory that the workers start in, None for the supervisor's.
    """
    for name in ("uid", "gid", "chroot"):
        if parent is not None and name in parent:
            parent[name] = None
    if parent is not None and "euid" in parent:
        parent["euid"] = False
    return None if parent is None or _starts_here(parent) else os.getcwd()


def _starts_here(parent: Any) -> bool:
    return parent.get("rundir") in (None, ".")


def _of_the_runner(parent: Any) -> list[str]:
    """Of what twistd or twist was told, what is as much for each worker."""
    if parent is None:
        return []
    told = {name: parent.get(name) for name in ("chroot", "uid", "gid")}
    told["rundir"] = None if _starts_here(parent) else parent["rundir"]
    told["reactor"] = parent.get("reactorName", parent.get("reactor"))  # the first is twist's
    flags = ["--euid"] if parent.get("euid") else []
    return [*(f"--{name}={value}" for name, value in told.items() if value is not None), *flags]


def _own_of_worker(options: Any, number: int) -> dict[str, str]:
    """The options that are another's for each worker."""
    own = {}
    for name, endpoint in _endpoints(options).items():
        port = _port_of(name, endpoint, number)
        own[name] = _PORT.sub(lambda match, port=port: f"tcp:{port}{match[2] or ''}", endpoint)  # type: ignore[misc]
    spool = options._metrics().spool
    if spool is not None:
        own["--metrics-spool"] = str(spool / f"w{number}")
    return own


def _endpoints(options: Any) -> dict[str, str]:
    found = {"--metrics-dashboard": options.dashboard, "--metrics-prometheus": options.prometheus}
    return {name: endpoint for name, endpoint in found.items() if endpoint is not None}


def _port_of(name: str, endpoint: str, number: int) -> int:
    """The port of worker ``number`` where the first has ``endpoint``; 0, any free one, is so for all."""
    match = _PORT.fullmatch(endpoint)
    if match is None:
        raise UsageError(f"with --workers each worker has a port of its own: give {name}=tcp:PORT, not {endpoint}")
    port = int(match[1]) and int(match[1]) + number
    if port > 65535:
        raise UsageError(f"{name}={endpoint} leaves no ports for worker {number}; give a lower one")
    return port
