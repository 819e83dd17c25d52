"""Answers and bodies that never end, and agents that answer at once or cannot even begin."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.web.http_headers import Headers

from tests.delivery.post.net import Net, Response, numbers


def test_a_request_without_an_answer_is_given_up(net: Net) -> None:
    """After 30 seconds, and tried again."""
    first = net.start(1)
    net.pass_time(29.8)
    assert first.waits
    net.pass_time(0.5)
    assert first.cancelled
    assert net.failures == {"timeout": 1}
    net.pass_time(0.5)
    assert numbers(net.agent.asked) == [1, 1]


def test_a_body_without_an_end_is_given_up(net: Net) -> None:
    """After 30 seconds; the chunk was accepted, and the next one is posted."""
    net.start(1, 2)
    response = net.answer(202, ends=False)
    net.pass_time(29.8)
    assert numbers(net.agent.asked) == [1]
    net.pass_time(0.5)
    assert response.transport.disconnecting
    assert numbers(net.agent.asked) == [1, 2]
    response.end()  # too late to be heard
    assert net.post.ledger.delivered == 1
    assert net.failures == {}


def test_an_agent_that_answers_at_once_is_no_recursion(net: Net) -> None:
    """Many chunks that wait are posted one a turn of the reactor."""

    class Prompt:
        def request(self, *ignored: object) -> Deferred[Any]:
            return succeed(Response(202, Headers()))

    net.make(agent=Prompt())
    net.deliver(*range(3000))
    net.post.start()
    for _ in range(3000):
        net.reactor.advance(0)
    assert net.post.ledger.delivered == 3000


@pytest.mark.parametrize("raises", [True, False])
def test_an_agent_that_cannot_even_begin_is_tried_again(net: Net, raises: bool) -> None:
    """Whether it raises or answers with its failure at once."""

    class Broken:
        def request(self, *ignored: object) -> Deferred[Any]:
            if raises:
                raise OSError("no file descriptors left")
            return fail(OSError("no file descriptors left"))

    net.make(agent=Broken())
    net.deliver(1)
    net.post.start()
    net.pass_time(10)
    assert net.failures["lost"] == net.post.counts["requests"] == 6
    assert net.post.levels["queue_points"] == 1
