"""A backend's own folder for what it could not deliver."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from txmetrics import names
from txmetrics.delivery import Spool

__all__ = ["spool_opener"]


def spool_opener(directory: str | os.PathLike[str] | None, what: str) -> Callable[[], Spool | None]:
    """Makes a spool in a folder of ``directory`` for ``what``: neither another backend's nor another format's."""
    if directory is None:
        return lambda: None
    folder = Path(directory).absolute() / names.clean(what)
    return lambda: Spool(folder)
