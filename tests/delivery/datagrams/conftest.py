"""Datagrams on the network in memory for each test, which must leave nothing waiting there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.delivery.datagrams.net import Net


@pytest.fixture
def net() -> Iterator[Net]:
    """A network in memory; when the test is over nothing may wait there any more."""
    net = Net()
    yield net
    net.end()
