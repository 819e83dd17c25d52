"""In the place of the global reactor: none that runs, or one whose time passes when a test says so."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest
import twisted.internet

from txmetrics.testing import FakeReactor

__all__ = ["Fake", "no_reactor"]


class Fake(FakeReactor):
    """A FakeReactor that starts and stops as the test says, and is a clock of pyformance's kind, too."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._patch = patch

    def install(self) -> None:
        """Be the global reactor. Not before the test itself has begun, for the other one begins the tests."""
        self._patch.setitem(sys.modules, "twisted.internet.reactor", self)
        self._patch.setattr(twisted.internet, "reactor", self)

    time = FakeReactor.seconds

    def begin(self) -> None:
        """Run as the global reactor, and call all that waited for that."""
        self.install()
        self.running = self.hasRun = True
        for call, args, kwargs in self.whenRunningHooks:
            call(*args, **kwargs)

    def end(self) -> list[Any]:
        """Stop: what those who are told before the shutdown say to that."""
        return [call(*args, **kwargs) for call, args, kwargs in self.triggers["before"]["shutdown"]]

    def pass_by(self, seconds: float) -> None:
        """In steps of an eighth, which adds up without a rounding."""
        for _ in range(round(seconds * 8)):
            self.advance(0.125)


def no_reactor() -> AbstractContextManager[object]:
    """For so long no reactor runs, as far as anybody can tell."""
    return mock.patch.dict(sys.modules, {"twisted.internet.reactor": FakeReactor()})
