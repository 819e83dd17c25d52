"""Care: an error in the metrics is logged, once until all is well again, and never reaches the application."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from twisted.logger import Logger

__all__ = ["Care"]

R = TypeVar("R")


class Care:
    """Guards whatever belongs together: ``care.attempt(what, function)`` raises no Exception."""

    log = Logger()

    def __init__(self) -> None:
        self._failing: set[Hashable] = set()

    def attempt(self, what: Hashable, function: Callable[..., R], *args: Any, **kwargs: Any) -> R | None:
        """What ``function`` returns, None if it raises an Exception; ``what`` names it in the log."""
        try:
            result = function(*args, **kwargs)
        except Exception:
            if what not in self._failing:
                self._failing.add(what)
                self.log.failure("measuring {what} failed; it is left out until it succeeds", what=what)
            return None
        self._failing.discard(what)
        return result
