"""``txmetrics spool``: what could not be delivered and waits on disk, to be looked at, and to be delivered now."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from txmetrics.console._endpoint import Where, read_key
from txmetrics.console._figures import several
from txmetrics.console._reactor import in_reactor
from txmetrics.console._replay import Progress, replay
from txmetrics.console._seam import Commands, Trouble
from txmetrics.console._text import plain
from txmetrics.delivery import REPLAY_WINDOW, Survey, find_spools, survey

__all__ = ["add"]


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "spool",
        help="look at what waits on disk, or deliver it",
        description="Look at what could not be delivered and waits on disk, or deliver it now.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    where = "the directory of --metrics-spool, or one backend's folder in it"
    show = actions.add_parser(
        "show", help="tell what is there", description="Tell what is there. Changes nothing, also while it is in use."
    )
    show.add_argument("directory", metavar="DIR", type=Path, help=where)
    show.set_defaults(run=_show)
    deliver = actions.add_parser(
        "replay",
        help="deliver what is there",
        description="Deliver what is there, in the format in which it was kept. What cannot be delivered stays there.",
    )
    deliver.add_argument("directory", metavar="DIR", type=Path, help=where)
    deliver.add_argument("--graphite", metavar="ENDPOINT", required=True, help="such as tcp:127.0.0.1:2003")
    deliver.add_argument(
        "--key-file", metavar="FILE", help="put HostedGraphite's API key, which is in it, before names"
    )
    deliver.set_defaults(run=_replay)


def _show(arguments: Namespace) -> None:
    for folder in _spools(arguments.directory):
        print(plain(folder.absolute().name))
        for line in _lines(survey(folder)):
            print(f"    {line}")


def _replay(arguments: Namespace) -> None:
    where, key = Where.parse(arguments.graphite), read_key(arguments.key_file)
    if where.kind in ("udp", "https"):
        raise Trouble(f"{where.text} cannot say what it has read; give an endpoint such as tcp:127.0.0.1:2003")
    if key is not None:
        where.check_secrecy()
    folder = _only(arguments.directory)
    if folder is None:
        print(f"nothing waits in {plain(arguments.directory)}")
        return
    if folder.absolute().name.startswith(("remote_write_", "otlp_")):
        raise Trouble(f"{folder} holds no lines, but requests to be posted; the next start of its service posts them")
    # HostedGraphite adds a second value to the first: what a lost connection cut off is not sent again.
    frame, window = (bytes, REPLAY_WINDOW) if key is None else (key.before_each_line, 0.0)
    work = partial(replay, folder=folder, where=where, frame=frame, window=window, progress=Progress(sys.stderr))
    print(in_reactor(work))


def _spools(directory: Path) -> list[Path]:
    found = find_spools(directory)
    if not found:
        raise Trouble(f"{directory} holds no spool; give the directory of --metrics-spool, or a backend's folder in it")
    return found


def _only(directory: Path) -> Path | None:
    """The one spool in ``directory`` in which something waits; None if there is none."""
    found = [folder for folder in _spools(directory) if survey(folder).chunks]
    if len(found) > 1:
        names = " or ".join(str(folder) for folder in found)
        raise Trouble(f"several backends have points in {directory}; give one of them: {names}")
    return found[0] if found else None


def _lines(found: Survey) -> Iterator[str]:
    """What ``found`` says, for people."""
    if found.oldest is None or found.newest is None:
        yield f"nothing waits; {several(found.segments, 'segment')}, {found.bytes / 1024:,.1f} KiB on disk"
    else:
        yield f"{several(found.points, 'point')} in {several(found.chunks, 'chunk')}"
        yield f"{several(found.segments, 'segment')}, {found.bytes / 1024:,.1f} KiB on disk"
        yield f"from {_moment(found.oldest)} to {_moment(found.newest)} UTC"
    if found.damaged:
        yield f"{several(found.damaged, 'damaged place')}, which cannot be read"
    if found.process is not None:
        yield f"in use by process {found.process}"


def _moment(timestamp: int) -> str:
    try:
        return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"second {timestamp}"
