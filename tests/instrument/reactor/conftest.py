"""What the tests of the reactor's measuring share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.instrument.reactor.private import KINDS, Time, close


@pytest.fixture(params=KINDS)
def reactor(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A reactor that nobody else uses, of each kind."""
    reactor = KINDS[request.param]()
    yield reactor
    close(reactor)


@pytest.fixture
def time() -> Time:
    """The registry's."""
    return Time()
