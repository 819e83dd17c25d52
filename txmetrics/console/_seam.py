"""What a command and the program that calls it have in common."""

from __future__ import annotations

from argparse import ArgumentParser, _SubParsersAction
from typing import TypeAlias

__all__ = ["Commands", "Trouble"]

Commands: TypeAlias = "_SubParsersAction[ArgumentParser]"
"""Where a command adds its parser."""


class Trouble(Exception):  # noqa: N818  # what its text says, it says to people
    """What could not be done: its text is one sentence, without a full stop; the program ends with status 1."""
