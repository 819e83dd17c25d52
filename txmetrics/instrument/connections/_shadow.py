"""Shadow: an attribute of one object in place of a method of its class, and without a trace again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Shadow", "before_connection"]

_NOTHING = object()


class Shadow:
    """From now on ``target`` has what ``make`` makes of its method ``name`` in place of that.

    Raises AttributeError if there is none, or if ``target`` cannot have attributes of its own.
    """

    __slots__ = ("_had", "_name", "_ours", "_target")

    def __init__(self, target: Any, name: str, make: Callable[[Any], Any]) -> None:
        self._target = target
        self._name = name
        real = getattr(target, name)
        self._had = _NOTHING
        # A look at the __dict__ makes all attributes of the object slower from then on.
        if getattr(real, "__func__", None) is not getattr(type(target), name, None):
            self._had = getattr(target, "__dict__", {}).get(name, _NOTHING)
        self._ours = make(real)
        setattr(target, name, self._ours)

    def remove(self) -> None:
        """Make it as before, unless somebody else has replaced ours."""
        if getattr(self._target, self._name, None) is self._ours:
            if self._had is _NOTHING:
                delattr(self._target, self._name)
            else:
                setattr(self._target, self._name, self._had)


def before_connection(protocol: Any, tell: Callable[[Any], object]) -> None:
    """Call ``tell`` with the transport right before ``protocol`` is connected to it, and leave nothing behind."""
    undo: list[Callable[[], None]] = []  # empty afterwards, for it is part of a cycle

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


def _disguise(protocol: Any, make_connection: Callable[[Any], Any]) -> Callable[[], None]:
    real: Any = type(protocol)
    metaclass: Any = type(real)

    def undo() -> None:
        protocol.__class__ = real

    names = {"__slots__": (), "__module__": real.__module__, "__qualname__": real.__qualname__}
    own = {**names, "makeConnection": lambda self, transport: make_connection(transport)}
    protocol.__class__ = metaclass(real.__name__, (real,), own)
    return undo
