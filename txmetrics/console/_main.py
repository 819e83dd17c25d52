"""The program: its commands, and what becomes of what goes wrong in them."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from io import TextIOWrapper
from types import ModuleType

from txmetrics.console import _check, _grafana, _graphite_config, _send, _spool, _top
from txmetrics.console._seam import Trouble
from txmetrics.console._text import plain

__all__ = ["main"]

COMMANDS: tuple[ModuleType, ...] = (_top, _check, _send, _spool, _graphite_config, _grafana)
"""In the order of ``--help``."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what ``arguments`` say; None: those of the process.

    Raises SystemExit where the exit status is not 0: 1 after a sentence on stderr, 2 for a wrong usage, 130 after
    Ctrl-C.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that a terminal cannot show
    chosen = _parser().parse_args(arguments)
    status = _status(chosen)
    if status:
        raise SystemExit(status)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="txmetrics", description="Looks at metrics, and at the way to where they are kept.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


def _status(chosen: Namespace) -> int:
    try:
        chosen.run(chosen)
        sys.stdout.flush()
    except Trouble as trouble:
        return _complain(str(trouble))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever has read our output has seen enough. Python would flush what is left once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        return _complain(f"{what}{error.strerror or error}")
    return 0


def _complain(sentence: str) -> int:
    print(f"txmetrics: {plain(sentence)}", file=sys.stderr)
    return 1
