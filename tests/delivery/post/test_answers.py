"""Over TLS: what was not accepted for sure is posted again, whatever a server answers."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from tests import sink as answers
from tests.carbon import Carbon
from tests.delivery.network import check_books, dropped, until
from tests.delivery.post.loopback import Loopback, ends
from tests.delivery.post.net import AUTHORIZATION, failures, lines
from tests.sink import Sink
from tests.strict import the_reactor
from txmetrics.interfaces import Chunk


@pytest_twisted.ensureDeferred
async def test_everything_arrives_once_over_one_connection(loopback: Loopback) -> None:
    """In order, the key in the header only, and stopping delivers the rest first."""
    server = await loopback.serve()
    sink = server.sink
    post = loopback.post(server.url)
    for number in range(0, 20_000, 1000):
        post.deliver(lines(number, number + 1000))
    await loopback.until(lambda: len(sink.lines) == 20_000)
    post.deliver(lines(20_000, 20_001))
    stopped = post.stop(3600)
    await loopback.until(lambda: stopped.called)
    assert sink.lines == lines(0, 20_001).data.splitlines()
    assert len(sink.transports) == 1
    assert {one[:4] for one in sink.requests} == {(AUTHORIZATION, "text/plain", "txmetrics", b"/api/v1/sink")}
    assert post.ledger.delivered == 20_001
    assert post.counts["bytes_sent"] == len(lines(0, 20_001).data)
    await until(lambda: not sink.transports[0].connected)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answers.accept_and_cut_the_answer, "lost"),
        (answers.cut, "lost"),
        (answers.not_http, "lost"),
        (answers.endless_headers, "lost"),
        (answers.hang, "timeout"),
        (answers.status(500, b"<script>" * 1000), "500"),
        (answers.status(429, retry_after="40"), "429"),
        (answers.status(401, www_authenticate="Basic realm=x"), "401"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest_twisted.ensureDeferred
async def test_what_was_not_accepted_for_sure_is_posted_again(loopback: Loopback, answer: Any, reason: str) -> None:
    """Every point arrives; one whose acceptance was lost on the way arrives twice with the same value."""
    server = await loopback.serve()
    server.sink.answers.append(answer)
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    post.deliver(lines(3, 5))
    await until(lambda: server.sink.requests)
    await loopback.until(lambda: post.ledger.delivered == 5, seconds=0.1)
    expected = lines(0, 5).data.splitlines()
    twice = expected[:3] if answer is answers.accept_and_cut_the_answer else []
    assert server.sink.lines == twice + expected
    assert failures(post) == {reason: 1}
    assert server.sink.sent < 10**6
    check_books(post)


@pytest.mark.parametrize(
    "answer",
    [answers.accept_and_cut_the_body, answers.accept_at_length, answers.accept_and_hang],
    ids=lambda answer: answer.__name__,
)
@pytest_twisted.ensureDeferred
async def test_what_was_accepted_is_not_posted_again(loopback: Loopback, answer: Any) -> None:
    """Whatever follows the status: nothing of what was announced, a gigabyte, or nothing for ever."""
    server = await loopback.serve()
    server.sink.answers.append(answer)
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await until(lambda: post.ledger.delivered == 3)
    post.deliver(lines(3, 5))
    await loopback.until(lambda: post.ledger.delivered == 5, seconds=0.1)
    assert server.sink.lines == lines(0, 5).data.splitlines()
    assert len(server.sink.transports) == 2
    assert server.sink.sent < 10**6
    assert failures(post) == {}
    await until(lambda: not server.sink.transports[0].connected)


@pytest_twisted.ensureDeferred
async def test_the_limit_is_for_one_answer(loopback: Loopback) -> None:
    """Those of a connection's whole life may be much more together."""
    server = await loopback.serve()
    server.sink.answers.extend([answers.status(200, b"x" * 40_000)] * 5)
    post = loopback.post(server.url)
    for number in range(5):
        post.deliver(lines(number, number + 1))
    await loopback.until(lambda: post.ledger.delivered == 5)
    await deferLater(the_reactor(), 0.05)
    assert len(server.sink.transports) == 1
    assert len(ends(server)) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_refused_or_too_large_over_the_wire(loopback: Loopback) -> None:
    """400 drops, 413 halves, and both keep the connection."""
    server = await loopback.serve()
    server.sink.answers.extend([answers.status(400, b"no"), answers.status(413), answers.accept, answers.accept])
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    post.deliver(lines(3, 7))
    await loopback.until(lambda: post.ledger.delivered == 4)
    assert server.sink.accepted == [lines(3, 5).data, lines(5, 7).data]
    assert dropped(post) == {"refused": 3}
    assert len(server.sink.transports) == 1


@pytest_twisted.ensureDeferred
async def test_a_redirect_is_not_followed(loopback: Loopback) -> None:
    """The other host sees neither the key nor anything else."""
    server, other = await loopback.serve(), await loopback.serve()
    server.sink.answers.extend(answers.status(code, location=other.url) for code in (301, 302, 303, 307, 308))
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await loopback.until(lambda: post.ledger.delivered == 3, seconds=0.1)
    assert failures(post) == {"301": 1, "302": 1, "303": 1, "307": 1, "308": 1}
    assert other.sink.requests == []


@pytest_twisted.ensureDeferred
async def test_a_cookie_is_not_sent_back(loopback: Loopback) -> None:
    """Nothing that one answer says is told with the next request."""
    server = await loopback.serve()
    seen: list[Any] = []

    def look(sink: Sink, request: Any, data: bytes) -> None:
        seen.append(request.getHeader("cookie"))
        request.setHeader("set-cookie", "a=b")
        answers.accept(sink, request, data)

    server.sink.answers.extend([look, look])
    post = loopback.post(server.url)
    post.deliver(lines(0, 1))
    post.deliver(lines(1, 2))
    await loopback.until(lambda: post.ledger.delivered == 2)
    assert seen == [None, None]


@pytest_twisted.ensureDeferred
async def test_a_real_carbon_behind_the_sink_has_every_point(loopback: Loopback, carbon: Carbon, prefix: str) -> None:
    """Through trouble of every kind, each point is stored with its value."""
    server = await loopback.serve(Sink(carbon.line_port))
    server.sink.answers.extend(
        [answers.status(500), answers.accept, answers.accept_and_cut_the_answer, answers.status(413), answers.cut]
    )
    post = loopback.post(server.url)
    now = int(loopback.reactor.seconds()) - 60
    for second in range(20):
        text = "".join(f"{prefix}.{name} {second}.{digit} {now + second}\n" for digit, name in enumerate("abcde"))
        post.deliver(Chunk(text.encode(), 5, now + second))
    await loopback.until(lambda: post.ledger.delivered == 100, seconds=0.1)
    for digit, name in enumerate("abcde"):
        expected = {now + second: float(f"{second}.{digit}") for second in range(20)}
        await carbon.eventually(lambda name=name, expected=expected: carbon.points(f"{prefix}.{name}") == expected)
    assert failures(post) == {"500": 1, "lost": 2, "413": 1}
