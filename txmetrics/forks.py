"""Forks: what a forked child inherits of a connection or a spool, it cannot write to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Protocol
from weakref import WeakSet

__all__ = ["cut_off", "parents_only"]


class Holder(Protocol):
    """Has open files that are no business of a forked child."""

    def filenos(self) -> Iterable[int]:
        """Those that are open now."""


_holders: WeakSet[Holder] = WeakSet()


def parents_only(holder: Holder) -> None:
    """From now on, while ``holder`` lives, a forked child finds ``/dev/null`` in place of each of its files.

    The parent's sockets and files are untouched by that. Nothing else helps: bytes that wait in a transport at the
    fork would be written by whichever process comes first, and a child that closes a socket in order ends the
    parent's connection.
    """
    _register()
    _holders.add(holder)


def cut_off(holder: Holder) -> None:
    """``holder`` finds ``/dev/null`` in place of each of its files, in this process."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for fileno in holder.filenos():
            os.dup2(nowhere, fileno, inheritable=False)
    finally:
        os.close(nowhere)


@cache  # once a process: what is registered cannot be taken back
def _register() -> None:
    os.register_at_fork(after_in_child=_shut)


def _shut() -> None:
    for holder in list(_holders):
        # Whatever goes wrong here must not reach the program that forked.
        with suppress(Exception):
            cut_off(holder)
