"""What nearly every test of an instrument needs."""

from __future__ import annotations

import pytest

from txmetrics import MetricsRegistry
from txmetrics.testing import FakeReactor


@pytest.fixture
def reactor() -> FakeReactor:
    """A reactor whose time passes when the test says so."""
    return FakeReactor()


@pytest.fixture
def registry(reactor: FakeReactor) -> MetricsRegistry:
    """An empty registry on the reactor's clock."""
    return MetricsRegistry(reactor.clock)
