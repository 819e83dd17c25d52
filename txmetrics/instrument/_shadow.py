"""An attribute of one object in the place of what its class has, and without a trace again.

This is how what belongs to somebody else is measured: in place, so that it stays the object and the type that it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Override", "Shadow"]

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

    def remove(self) -> bool:
        """Make it as before and return True; leave it and return False if somebody else has replaced ours."""
        if getattr(self._target, self._name, None) is not self._ours:
            return False
        if self._had is _NOTHING:
            delattr(self._target, self._name)
        else:
            setattr(self._target, self._name, self._had)
        return True


class Override:
    """A Shadow of a function that others may shadow as well, and end in any order.

    ``make(override)`` makes what stands there meanwhile. It must call ``override.original``, and measure nothing more
    once ``override.active`` is false: it cannot be taken away from under what somebody else put above it later.
    """

    def __init__(self, owner: object, name: str, make: Callable[[Override], Any]) -> None:
        self.active = True
        self.original: Any = None
        self._shadow = Shadow(owner, name, lambda original: self._made(original, make))

    def _made(self, original: Any, make: Callable[[Override], Any]) -> Any:
        self.original = original
        instead = make(self)
        instead.override = self
        return instead

    def undo(self) -> None:
        """Put the original back, and let others that were undone earlier, but stood below, go as well."""
        self.active = False
        below = getattr(self.original, "override", None)
        if self._shadow.remove() and isinstance(below, Override) and not below.active:
            below.undo()
