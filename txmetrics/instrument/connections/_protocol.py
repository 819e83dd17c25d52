"""The moment in which a protocol is connected to its transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from txmetrics.instrument._shadow import Shadow

__all__ = ["before_connection"]


def before_connection(protocol: Any, tell: Callable[[Any], object]) -> None:
    """Call ``tell`` with the transport right before ``protocol`` is connected to it, and leave nothing behind."""
    undo: list[Callable[[], object]] = []  # empty afterwards, for it is part of a cycle

    def made(connect: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def make_connection(transport: Any) -> Any:
            undo.pop()()
            tell(transport)
            return connect(transport)

        return make_connection

    connect = protocol.makeConnection
    try:
        undo.append(Shadow(protocol, "makeConnection", made).remove)
    except AttributeError:  # it has __slots__ only: until it is connected, it is of a class of its own
        undo.append(_disguise(protocol, made(connect)))


def _disguise(protocol: Any, make_connection: Callable[[Any], Any]) -> Callable[[], object]:
    real: Any = type(protocol)
    metaclass: Any = type(real)

    def undo() -> None:
        protocol.__class__ = real

    names = {"__slots__": (), "__module__": real.__module__, "__qualname__": real.__qualname__}
    own = {**names, "makeConnection": lambda self, transport: make_connection(transport)}
    protocol.__class__ = metaclass(real.__name__, (real,), own)
    return undo
