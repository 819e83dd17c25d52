"""Gauge: how much, right now."""

from __future__ import annotations

from collections.abc import Callable

from txmetrics.snapshot import GaugeReading, Unreadable, make

__all__ = ["Gauge"]


class Gauge:
    """A value that is set, or one that a callable without arguments tells whenever it is read.

    The callable runs in the reactor's thread at every collection and must return at once. A gauge that was
    never set shows 0. Raises TypeError for a ``tell`` that cannot be called.
    """

    __slots__ = ("_tell", "_value")

    def __init__(self, tell: Callable[[], object] | None = None) -> None:
        if tell is not None and not callable(tell):
            raise TypeError(f"a gauge is told its value by a callable, not by {tell!r}; use set() for a value")
        self._tell = tell
        self._value: object = 0

    def set(self, value: float) -> None:
        """Show ``value`` from now on, in place of a callable too."""
        self._value = value
        self._tell = None

    def inc(self, n: float = 1) -> None:
        """Show ``n`` more than now. Raises TypeError if what the gauge shows is no number."""
        self._value = self.value + n  # type: ignore[operator]  # Python says so itself
        self._tell = None

    def dec(self, n: float = 1) -> None:
        """Show ``n`` less than now. Raises TypeError if what the gauge shows is no number."""
        self.inc(-n)

    @property
    def tell(self) -> Callable[[], object] | None:
        """The callable that tells the value, None if it was set."""
        return self._tell

    @property
    def value(self) -> object:
        """What the gauge shows now; raises what its callable raises."""
        return self._value if self._tell is None else self._tell()

    def read(self, name: str) -> GaugeReading | Unreadable:
        """The reading; a callable that raises makes it Unreadable and disturbs nobody else."""
        try:
            value = self._value if self._tell is None else self._tell()
            reading: GaugeReading = make(GaugeReading, (name, value))
            return reading
        except Exception as error:
            return Unreadable(name, error)
