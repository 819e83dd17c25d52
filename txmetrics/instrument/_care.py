"""Care: an error in the metrics is logged once and counted, and never reaches the application."""

from __future__ import annotations

from twisted.logger import Logger

from txmetrics.metrics import Counter

__all__ = ["Care"]


class Care:
    """Guards one piece of instrumentation: ``with care: counter.inc()`` raises no Exception.

    ``what`` names it in the log; ``errors`` counts what went wrong.
    """

    log = Logger()

    def __init__(self, what: str, errors: Counter | None = None) -> None:
        self._what = what
        self.errors = Counter() if errors is None else errors

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self.errors.count:
            self.log.failure("measuring {what} failed; from now on such failures are only counted", what=self._what)
        self.errors.inc()
        return True
