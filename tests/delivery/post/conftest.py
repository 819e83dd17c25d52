"""For each test a post with an agent of ours, or sinks over TLS, which must leave nothing waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_twisted

from tests.delivery.certificates import Authority
from tests.delivery.network import check_books
from tests.delivery.post.loopback import Loopback
from tests.delivery.post.net import Net


@pytest.fixture
def net() -> Iterator[Net]:
    """When the test is over, nothing may wait in the reactor any more."""
    net = Net()
    yield net
    stopped = net.stop(0)
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.reactor.getDelayedCalls() == []
    assert net.post.levels["connected"] == net.post.levels["queue_points"] == net.post.levels["buffer_bytes"] == 0
    assert not net.agent.asked or not net.agent.latest.waits
    check_books(net.post)


@pytest_twisted.async_yield_fixture
async def loopback(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Loopback]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.directory / "ca.pem"))  # OpenSSL's own way to trust somebody
    loopback = Loopback(authority)
    yield loopback
    await loopback.close()
