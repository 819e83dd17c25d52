"""What is asked of the sink, and what becomes of chunks that it accepts, refuses or finds too large."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed
from zope.interface.verify import verifyObject

from tests.delivery.network import chunk, dropped
from tests.delivery.post.net import AUTHORIZATION, Asked, Net, lines, numbers, told, with_status
from tests.strict import Logged
from txmetrics.delivery import HOSTED_GRAPHITE_SINK, Spool
from txmetrics.interfaces import IDelivery


def test_a_post_is_a_delivery(net: Net) -> None:
    """It has everything that IDelivery promises."""
    assert verifyObject(IDelivery, net.post)


def test_nothing_happens_before_start(net: Net, tmp_path: Path) -> None:
    """Chunks may come before, but nobody is asked and nothing waits in the reactor."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.deliver(1, 2)
    assert net.agent.asked == []
    assert net.reactor.getDelayedCalls() == []
    assert net.post.levels["queue_points"] == 2


def test_a_request_has_the_lines_and_the_key(net: Net) -> None:
    """POST, the chunk as it is without a key in it, and the key as the user of Basic authentication."""
    asked = net.start(1)
    assert (asked.method, asked.url) == (b"POST", HOSTED_GRAPHITE_SINK.encode())
    assert asked.data == chunk(1).data
    assert asked.headers == {
        b"Authorization": [AUTHORIZATION.encode()],
        b"Content-Type": [b"text/plain"],
        b"User-Agent": [b"txmetrics"],
    }


def test_one_chunk_at_a_time_in_their_order(net: Net) -> None:
    """The next one is posted when the one before is done with, body and all; starting twice changes nothing."""
    net.start(1, 2)
    net.post.start()
    net.deliver(3)
    assert numbers(net.agent.asked) == [1]
    response = net.answer(202, ends=False)
    net.reactor.advance(0.1)
    assert numbers(net.agent.asked) == [1]
    response.end()
    net.pass_time(1, with_status(202))
    assert numbers(net.agent.asked) == [1, 2, 3]
    net.deliver(4)
    assert numbers(net.agent.asked) == [1, 2, 3, 4]
    net.answer(202)
    assert net.post.counts == {
        "points_collected": 4,
        "points_sent": 4,
        "points_replayed": 0,
        "points_delivered": 4,
        "bytes_sent": 80,
        "requests": 4,
    }
    assert net.post.levels["connected"] == 1


@pytest.mark.parametrize("status", [200, 202, 204])
def test_what_was_accepted_is_delivered(net: Net, status: int) -> None:
    """From the status on, whatever becomes of the body."""
    net.start(1)
    response = net.answer(status, ends=False)
    assert net.post.ledger.delivered == 1
    response.end(ResponseFailed([Failure(ConnectionLost())]))
    net.pass_time(100)
    assert len(net.agent.asked) == 1
    assert net.failures == {}


def test_what_is_refused_is_dropped_and_counted(net: Net, logged: Logged) -> None:
    """400: the chunk is lost, the next one's turn comes at once, and the log says it once."""
    net.start(1, 2, 3, 4)
    net.answer(400)
    assert net.post.levels["connected"] == 0
    net.reactor.advance(0)
    net.answer(202)
    net.reactor.advance(0)
    net.answer(400)
    net.reactor.advance(0)
    net.answer(202)
    assert numbers(net.agent.asked) == [1, 2, 3, 4]
    assert dropped(net.post) == {"refused": 2}
    assert net.post.ledger.delivered == 2
    assert net.failures == {"400": 2}
    assert told(logged) == ["the sink refuses points (400); they are dropped, and further ones only counted"]


def test_what_is_too_large_is_halved(net: Net) -> None:
    """413: until it is small enough; a single line that is too large is refused, and only that."""
    net.post.deliver(lines(0, 10))
    net.post.start()
    accepted: list[bytes] = []

    def at_most_two_lines(asked: Asked) -> None:
        if asked.data.count(b"\n") > 2 or b"post.7 " in asked.data:
            asked.answer(413)
        else:
            accepted.extend(asked.data.splitlines())
            asked.answer(202)

    net.pass_time(5, at_most_two_lines)
    assert accepted == [line for line in lines(0, 10).data.splitlines() if b"post.7 " not in line]
    assert dropped(net.post) == {"refused": 1}
    assert net.post.ledger.delivered == 9
