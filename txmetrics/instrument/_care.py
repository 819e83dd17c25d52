"""Care: an error in the metrics is logged once and counted, and never reaches the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.logger import Logger

from txmetrics.metrics import Counter

__all__ = ["Care"]

P = ParamSpec("P")
R = TypeVar("R")


class Care:
    """Guards one piece of instrumentation: ``care.attempt(counter.inc)`` raises no Exception.

    ``what`` names it in the log; ``errors`` counts what went wrong.
    """

    log = Logger()

    def __init__(self, what: str, errors: Counter | None = None) -> None:
        self._what = what
        self.errors = Counter() if errors is None else errors

    def attempt(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """What ``function`` returns, None if it raises an Exception."""
        try:
            return function(*args, **kwargs)
        except Exception:
            self.failed()
            return None

    def failed(self) -> None:
        """Take care of the exception that is being handled; for where a call of ``attempt`` would be too slow."""
        if not self.errors.count:
            self.log.failure("measuring {what} failed; from now on such failures are only counted", what=self._what)
        self.errors.inc()
