"""Gauges: how much, right now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CallbackGauge", "Gauge", "SimpleGauge"]


class Gauge:
    """To be subclassed: ``get_value`` tells what there is to see, at once and in the reactor's thread."""

    def get_value(self) -> Any:
        # As with pyformance's: a class of the user's own has it.
        raise NotImplementedError(f"{type(self).__qualname__} has no get_value; a gauge needs one")


class CallbackGauge(Gauge):
    """Shows what ``callback`` returns whenever it is asked."""

    def __init__(self, callback: Callable[[], Any]) -> None:
        self.callback = callback

    def get_value(self) -> Any:
        """What the callback returns; raises what it raises."""
        return self.callback()


class SimpleGauge(Gauge):
    """Shows what was set; NaN before anything was."""

    def __init__(self, value: Any = float("nan")) -> None:
        self._value = value

    def get_value(self) -> Any:
        return self._value

    def set_value(self, value: Any) -> None:
        self._value = value
