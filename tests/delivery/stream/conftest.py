"""A stream on the network in memory for each test, which must leave nothing waiting there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.delivery.network import check_books
from tests.delivery.stream.net import Net
from txmetrics.delivery import _kernel


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    """A network in memory, kernel included; when the test is over nothing may wait there any more."""
    monkeypatch.setattr(_kernel, "unacknowledged", lambda pipe: pipe.unacknowledged)
    net = Net()
    yield net
    stopped = net.stop(0)
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.reactor.getDelayedCalls() == []
    assert net.stream.levels["connected"] == net.stream.levels["queue_points"] == net.stream.levels["buffer_bytes"] == 0
    check_books(net.stream)
