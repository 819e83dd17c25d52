"""Post: chunks to the HTTPS sink, first with an agent that answers as it is told, then over TLS on loopback."""

from __future__ import annotations

import os
import warnings
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL.SSL import Error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError, DNSLookupError, TimeoutError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests import sink as answers
from tests.carbon import Carbon
from tests.delivery.certificates import Authority
from tests.delivery.network import check_books, chunk, dropped, until
from tests.sink import Sink, SinkServer
from tests.strict import Logged, the_reactor
from txmetrics.delivery import Secret, Spool
from txmetrics.delivery._post import HOSTED_GRAPHITE_SINK, Post, check_url
from txmetrics.interfaces import Chunk, IDelivery
from txmetrics.testing import FakeReactor

KEY = "3fb7a2d1-4c0e-9d5e-a1b2c3d4e5f6"
AUTHORIZATION = "Basic " + b64encode(f"{KEY}:".encode()).decode()


def lines(first: int, last: int, timestamp: int = 1_000_000_000) -> Chunk:
    """One chunk with a line for each number."""
    text = "".join(f"post.{number} {number}.5 {timestamp}\n" for number in range(first, last))
    return Chunk(text.encode(), last - first, timestamp)


# An agent that answers as it is told


class Response:
    """An answer; its body has ended, unless `ends` is False."""

    phrase = b"<script>"

    def __init__(self, code: int, headers: Headers, ends: bool = True) -> None:
        self.code = code
        self.headers = headers
        self.transport = StringTransport()
        self.reader: Any = None
        self._ends = ends

    def deliverBody(self, reader: Any) -> None:
        self.reader = reader
        reader.makeConnection(self.transport)
        reader.dataReceived(b"<script>")
        if self._ends:
            self.end()

    def end(self, reason: Exception | None = None) -> None:
        self.reader.connectionLost(Failure(reason or ResponseDone()))


class Asked:
    """One request, made at the time `at`, whose end the test decides."""

    def __init__(self, at: float, method: bytes, url: bytes, headers: Headers, body: Any) -> None:
        self.at = at
        self.method = method
        self.url = url
        self.headers = dict(headers.getAllRawHeaders())
        consumer = StringTransport()
        body.startProducing(consumer)
        self.data = consumer.value()
        assert body.length == len(self.data)
        self.cancelled = False
        self.deferred: Deferred[Any] = Deferred(self._cancel)

    def _cancel(self, deferred: object) -> None:
        self.cancelled = True

    def answer(self, status: int, ends: bool = True, **headers: str) -> Response:
        named = {name.replace("_", "-"): [value] for name, value in headers.items()}
        response = Response(status, Headers(named), ends)
        self.deferred.callback(response)
        return response

    def lose(self, error: Exception) -> None:
        """There is no answer, and Twisted wraps the reason why."""
        self.deferred.errback(ResponseNeverReceived([Failure(error)]))

    @property
    def waits(self) -> bool:
        return not self.deferred.called

    @property
    def number(self) -> int:
        """Which `chunk` it is."""
        return int(self.data[:8])


@implementer(IAgent)
class Agent:
    """Keeps what it is asked."""

    def __init__(self, reactor: FakeReactor) -> None:
        self.asked: list[Asked] = []
        self._reactor = reactor

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        assert not self.asked or not self.latest.waits, "two requests at once"
        self.asked.append(Asked(self._reactor.seconds(), method, uri, headers, bodyProducer))
        return self.latest.deferred

    @property
    def latest(self) -> Asked:
        return self.asked[-1]


class Net:
    """A sink's user whose agent is ours."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.agent = Agent(self.reactor)
        self.post = self.make()

    def make(self, **settings: Any) -> Post:
        settings = {"random": lambda: 0.0, "agent": self.agent, **settings}
        self.post = Post(self.reactor, HOSTED_GRAPHITE_SINK, "the sink", Secret(KEY), **settings)
        return self.post

    def start(self, *numbers: int) -> Asked:
        """Start with chunks of these numbers; the answer is the first request."""
        self.deliver(*numbers)
        self.post.start()
        return self.agent.latest

    def deliver(self, *numbers: int, size: int = 20) -> None:
        for number in numbers:
            self.post.deliver(chunk(number, size))
            check_books(self.post)

    def answer(self, status: int, **how: Any) -> Response:
        response = self.agent.latest.answer(status, **how)
        check_books(self.post)
        return response

    def pass_time(self, seconds: float, answer: Callable[[Asked], object] = lambda asked: None) -> None:
        """In steps of a tenth, while each request that waits gets its `answer`."""
        for _ in range(round(seconds * 10)):
            if self.agent.asked and self.agent.latest.waits:
                answer(self.agent.latest)
                check_books(self.post)
            self.reactor.advance(0.1)
            check_books(self.post)

    def stop(self, seconds: float = 5.0) -> list[None]:
        """Stop; the list holds the answer once there is one."""
        answers: list[None] = []
        self.post.stop(seconds).addCallback(answers.append)
        check_books(self.post)
        return answers

    @property
    def failures(self) -> dict[str, int]:
        lead = "requests_failed."
        return {name.removeprefix(lead): n for name, n in self.post.counts.items() if name.startswith(lead)}


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


def with_status(status: int, **headers: str) -> Callable[[Asked], object]:
    return lambda asked: asked.answer(status, **headers)


def refuse(asked: Asked) -> None:
    asked.deferred.errback(ConnectionRefusedError())


def numbers(asked: list[Asked]) -> list[int]:
    return [one.number for one in asked]


def waits(asked: list[Asked]) -> list[float]:
    return [later.at - earlier.at for earlier, later in pairwise(asked)]


def told(logged: Logged) -> list[str]:
    return [text for text in logged.texts() if "the sink" in text]


# What is asked


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


# What is asked again

TROUBLE: dict[str, Exception | int] = {
    **{str(status): status for status in (301, 302, 307, 401, 403, 404, 408, 429, 500, 502, 503, 504)},
    "dns": DNSLookupError(),
    "refused": ConnectionRefusedError(),
    "timeout": TimeoutError(),
    "tls": Error([("SSL routines", "", "certificate verify failed")]),
    "lost": ConnectionLost(),
}


@pytest.mark.parametrize("reason", TROUBLE)
def test_everything_else_is_tried_again(net: Net, logged: Logged, reason: str) -> None:
    """Nothing is lost; the log has one line when it begins and one when it is over, however often it is tried."""
    trouble = TROUBLE[reason]
    net.start(1, 2)
    for _ in range(3):
        if isinstance(trouble, int):
            net.answer(trouble)
        else:
            net.agent.latest.lose(trouble)
        check_books(net.post)
        assert net.post.levels["connected"] == 0
        net.reactor.advance(2)
    assert numbers(net.agent.asked) == [1, 1, 1, 1]
    net.pass_time(1, with_status(202))
    assert numbers(net.agent.asked) == [1, 1, 1, 1, 2]
    assert net.failures == {reason: 3}
    assert net.post.ledger.delivered == 2
    assert net.post.levels["connected"] == 1
    assert told(logged) == [f"posting to the sink fails ({reason}); trying again", "posting to the sink works again"]


def test_a_server_that_just_closes_is_a_connection_lost(net: Net) -> None:
    """In order or not, there was no answer."""
    net.start(1)
    net.agent.latest.lose(ConnectionDone())
    net.reactor.advance(1)
    net.agent.latest.deferred.errback(ValueError("something else"))
    assert net.failures == {"lost": 2}


def test_the_waits_grow_and_begin_anew_after_a_success(net: Net) -> None:
    """As the back-off has it: a dead server is not asked more than once a minute."""
    net.start(1)
    net.pass_time(400, refuse)
    between = waits(net.agent.asked)
    assert between[:3] == pytest.approx([0.5, 0.85, 1.445], abs=0.1)
    assert between[-1] == pytest.approx(60, abs=0.2)
    net.pass_time(61, with_status(202))
    asked = len(net.agent.asked)
    net.deliver(2)
    net.pass_time(1, refuse)
    assert waits(net.agent.asked[asked:])[0] == pytest.approx(0.5, abs=0.1)


def test_a_new_chunk_does_not_shorten_the_wait(net: Net) -> None:
    """It waits with the others."""
    net.start(1)
    net.pass_time(20, refuse)
    asked = len(net.agent.asked)
    net.deliver(2)
    assert len(net.agent.asked) == asked


def test_an_answer_ends_the_wait_for_the_next_chunk_only_if_it_is_done_with(net: Net) -> None:
    """After a refused one, which came after trouble, the next is posted at once."""
    net.start(1, 2)
    net.answer(503)
    net.reactor.advance(0.6)
    net.answer(400)
    net.reactor.advance(0)
    assert numbers(net.agent.asked) == [1, 1, 2]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20),
        (" 20 ", 20),
        ("86400", 300),
        ("9" * 5000, 300),
        ("Sun, 09 Sep 2001 01:48:00 GMT", 80),  # the fake reactor begins at 01:46:40
        ("Sunday, 09-Sep-01 01:48:00 GMT", 80),
        ("Sun Sep  9 01:48:00 2001", 80),
        ("Wed, 01 Jan 2098 00:00:00 GMT", 300),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 300),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 0),
        ("0", 0),
        ("-5", 0),
        ("1e9", 0),
        ("soon", 0),
        ("", 0),
        ("inf", 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 302])
def test_a_server_is_left_alone_for_as_long_as_it_wants(net: Net, status: int, value: str, seconds: float) -> None:
    """In seconds or until a date, five minutes at most; what is neither is as if it were not there."""
    if len(value) > 4300:
        seconds = 0  # too long even to be a number
    net.start(1)
    net.answer(status, retry_after=value)
    for _ in range(3100):
        if len(net.agent.asked) == 1:
            net.reactor.advance(0.1)
    assert waits(net.agent.asked) == [pytest.approx(max(seconds, 0.5), abs=0.2)]


def test_a_wish_for_rest_is_forgotten_after_the_next_answer(net: Net) -> None:
    """A later failure without one is back-off only."""
    net.start(1)
    net.answer(429, retry_after="100")
    net.reactor.advance(100)
    net.agent.latest.lose(ConnectionLost())
    net.reactor.advance(1)
    assert len(net.agent.asked) == 3


NEARLY_A_DATE = st.lists(
    st.sampled_from(
        ["Sun,", "Sunday,", "9", "Sep", "-", "09-Sep-01", "01:46:40", "2001", "99:99:99", "9999999999999", "GMT"]
    )
).map(lambda parts: " ".join(parts).encode())


@given(st.one_of(st.binary(max_size=60), NEARLY_A_DATE))
@settings(max_examples=500, deadline=None)
def test_no_retry_after_does_any_harm(value: bytes) -> None:
    """Whatever a server writes there, the next request comes within five minutes."""
    net = Net()
    net.start(1)
    net.agent.latest.deferred.callback(Response(503, Headers({b"Retry-After": [value]})))
    net.reactor.advance(300)
    assert len(net.agent.asked) == 2
    net.stop(0)
    net.reactor.advance(0)


def test_a_server_cannot_invent_counts_without_end(net: Net, logged: Logged) -> None:
    """Statuses that are none are one reason, and what a server says appears in no log."""
    net.start(1)
    for status in (0, -5, 99, 600, 10**9):
        net.answer(status, retry_after="<script>")
        net.reactor.advance(60)
    assert net.failures == {"other": 5}
    assert not [text for text in logged.texts() if "script" in text]


# What takes too long


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


# What is too much


def test_an_outage_costs_bounded_memory_and_keeps_the_latest(net: Net) -> None:
    """The oldest are dropped, and counted."""
    net.make(max_bytes=10_000)
    net.post.start()
    for number in range(500):
        net.deliver(number)
        net.pass_time(0.1, refuse)
        assert net.post.levels["buffer_bytes"] <= 10_000
    kept = net.post.ledger.queued
    assert sum(dropped(net.post).values()) == 500 - kept
    assert dropped(net.post)["overflow"] > 400
    net.pass_time(100, with_status(202))
    assert net.post.ledger.delivered == kept
    assert net.agent.latest.number == 499


def test_an_outage_fills_the_spool_and_then_empties_it(net: Net, tmp_path: Path) -> None:
    """Nothing is lost, and nothing but what is on its way waits in memory."""
    net.make(max_bytes=10_000, spool=Spool(tmp_path / "spool"))
    net.post.start()
    for number in range(500):
        net.deliver(number)
        net.pass_time(0.1, refuse)
    net.pass_time(3, refuse)
    assert net.post.ledger.spooled + net.post.ledger.queued == 500
    assert net.post.ledger.queued <= 1
    net.pass_time(100, with_status(202))
    assert net.post.ledger.delivered == 500
    assert sorted(set(numbers(net.agent.asked))) == list(range(500))


def test_a_server_that_hangs_fills_the_spool_too(net: Net, tmp_path: Path) -> None:
    """While the request waits for its answer, the others go to where a crash does not reach them."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.start(*range(10))
    net.pass_time(0.9)
    assert net.post.ledger.spooled == 0
    net.pass_time(1)
    assert net.post.ledger.spooled == 9
    net.answer(202)
    net.pass_time(2, with_status(202))
    assert net.post.ledger.delivered == 10


def test_a_server_that_is_quick_enough_needs_no_spool(net: Net, tmp_path: Path) -> None:
    """What waits for its turn behind others that are accepted is left where it is."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.start(*range(50))
    for _ in range(50):
        assert net.post.ledger.spooled == 0
        net.answer(202)
        net.pass_time(0.2)
    assert net.post.ledger.delivered == 50


def test_another_life_posts_what_this_one_could_not(net: Net, tmp_path: Path) -> None:
    """The chunk on its way included."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.start(1, 2, 3)
    net.pass_time(5, with_status(500))
    net.pass_time(5)
    assert net.stop(1) == []
    net.reactor.advance(1)
    assert net.post.ledger.spooled == 3
    assert dropped(net.post) == {}
    net.make(spool=Spool(tmp_path / "spool"))
    net.post.start()
    net.pass_time(2, with_status(202))
    assert net.post.ledger.delivered == 3


# The end


def test_an_idle_post_stops_at_once(net: Net) -> None:
    """There is nothing to wait for."""
    net.start(1)
    net.answer(202)
    net.reactor.advance(0)
    assert net.stop() == [None]


def test_a_post_that_was_never_started_stops(net: Net) -> None:
    """At once if there is nothing; what is there is posted first."""
    assert net.stop() == [None]
    net.make()
    net.deliver(1)
    stopped = net.stop()
    net.answer(202)
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.post.ledger.delivered == 1
    net.post.start()
    assert net.stop() == [None]


def test_everything_is_delivered_before_the_end(net: Net) -> None:
    """Chunk after chunk, also those that come meanwhile, and then it ends before its deadline."""
    net.start(1, 2, 3)
    stopped = net.stop(60)
    net.deliver(4)
    for _ in range(4):
        assert stopped == []
        net.answer(202)
        net.reactor.advance(0)
    assert stopped == [None]
    assert net.post.ledger.delivered == 4


def test_a_server_that_hangs_does_not_hold_up_the_end(net: Net, logged: Logged) -> None:
    """At the deadline the request is cancelled; that chunk may have arrived, the other has not."""
    asked = net.start(1, 2)
    stopped, again = net.stop(5), net.stop(60)
    net.reactor.advance(4.9)
    assert stopped == again == []
    net.reactor.advance(0.2)
    assert stopped == again == [None]
    assert asked.cancelled
    assert dropped(net.post) == {"unconfirmed": 1, "stopped": 1}
    assert "2 points may not have reached the sink" in told(logged)


def test_a_body_that_hangs_does_not_hold_up_the_end(net: Net) -> None:
    """What was accepted is delivered all the same."""
    net.start(1)
    response = net.answer(202, ends=False)
    stopped = net.stop(5)
    net.reactor.advance(5)
    assert stopped == [None]
    assert response.transport.disconnecting
    assert dropped(net.post) == {}


def test_the_end_does_not_wait_for_the_back_off(net: Net) -> None:
    """One more attempt is made at once, and as many as there is time for."""
    net.start(1)
    net.pass_time(20, refuse)
    asked = len(net.agent.asked)
    stopped = net.stop(5)
    net.reactor.advance(0)
    assert len(net.agent.asked) == asked + 1
    net.answer(202)
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.post.ledger.delivered == 1


def test_the_end_comes_at_once_when_nothing_can_happen_before_it(net: Net) -> None:
    """The attempt failed, and the next one would come too late."""
    net.start(1)
    net.pass_time(100, refuse)
    stopped = net.stop(5)
    net.reactor.advance(0)
    refuse(net.agent.latest)
    assert stopped == [None]
    assert dropped(net.post) == {"unconfirmed": 1}


def test_the_end_does_not_wait_for_what_the_spool_keeps(net: Net, tmp_path: Path) -> None:
    """While the server is away, and all that there is has gone to the spool, it comes at once."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.start(1, 2)
    net.pass_time(20, refuse)
    assert net.post.ledger.spooled == 2
    assert net.stop(3600) == [None]
    assert net.post.ledger.spooled == 2


def test_the_end_respects_a_wish_for_rest(net: Net) -> None:
    """There is another attempt only if the server wants one by then."""
    net.start(1)
    net.answer(429, retry_after="3")
    asked = len(net.agent.asked)
    stopped = net.stop(5)
    net.reactor.advance(2.9)
    assert len(net.agent.asked) == asked
    net.reactor.advance(0.2)
    net.answer(429, retry_after="3")
    assert stopped == [None]


def test_what_comes_after_the_end_is_counted(net: Net) -> None:
    """It is dropped, and nobody is asked."""
    assert net.stop() == [None]
    net.deliver(1)
    assert dropped(net.post) == {"stopped": 1}
    assert net.agent.asked == []


STEPS = st.one_of(
    st.sampled_from(["deliver", "accept", "refuse", "too large", "fail", "lose", "hang", "half"]),
    st.floats(0, 40).map(lambda seconds: round(seconds, 1)),
)


@given(st.lists(STEPS, max_size=40), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_point_goes_missing(steps: list[Any], stop: bool) -> None:
    """The books balance at every step of any order, and in the end everything was accepted or counted."""
    net = Net()
    net.post.start()
    accepted: list[bytes] = []
    made = 0

    def accept(asked: Asked, ends: bool = True) -> None:
        accepted.extend(asked.data.splitlines())
        asked.answer(202, ends)

    acts: dict[str, Callable[[Asked], object]] = {
        "accept": accept,
        "half": lambda asked: accept(asked, False),
        "refuse": with_status(400),
        "too large": with_status(413),
        "fail": with_status(503, retry_after="7"),
        "lose": lambda asked: asked.lose(ConnectionLost()),
        "hang": lambda asked: net.reactor.advance(31),
    }
    for step in steps:
        if step == "deliver":
            net.post.deliver(lines(made, made + 3))
            made += 3
        elif isinstance(step, float):
            net.reactor.advance(step)
        elif net.agent.asked and net.agent.latest.waits:
            acts[step](net.agent.latest)
        check_books(net.post)
    if stop:
        stopped = net.stop(400)
        net.pass_time(401, accept)
        assert stopped == [None]
    else:
        net.pass_time(400, accept)
    check_books(net.post)
    ledger = net.post.ledger
    assert ledger.collected == made
    assert ledger.delivered == len(accepted) == len(set(accepted))
    assert made - ledger.delivered == ledger.dropped.get("refused", 0)
    net.stop(0)
    net.reactor.advance(0)
    assert net.reactor.getDelayedCalls() == []


# URLs


@pytest.mark.parametrize(
    "right",
    [HOSTED_GRAPHITE_SINK, "https://127.0.0.1:8443/x", "https://[::1]:1/", "HTTPS://a.example", "https://a/b@c"],
)
def test_a_url_of_https_is_right(right: str) -> None:
    """With a host, and perhaps a port and a path."""
    assert check_url(right) == right
    Post(FakeReactor(), right, "the sink", Secret(KEY))


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("http://www.hostedgraphite.com/api/v1/sink", "give one such as https://www"),
        (f"http://{KEY}@www.hostedgraphite.com/", "give one such as https://www"),
        (f"{KEY}@www.hostedgraphite.com", "give one such as https://www"),
        ("www.hostedgraphite.com", "give one such as https://www"),
        (f"https://{KEY}@www.hostedgraphite.com/api/v1/sink", "give the API key by itself"),
        (f"https://{KEY}:x@www.hostedgraphite.com/api/v1/sink", "give the API key by itself"),
        (f"https://www.hostedgraphite.com\\@{KEY}/", "give the API key by itself"),
        (f"https://www.hostedgraphite.com/#{KEY}", "leave out"),
        (f"https://www.hostedgraphite.com/?key={KEY}", "leave out"),
        ("https://", "give one such as https://www"),
        (f"https:{KEY}", "give one such as https://www"),
        ("https:///path", "give one such as https://www"),
        (f"https://host:{KEY}/", "give one such as https://www"),
        ("https://host:0/", "give one such as https://www"),
        ("https://host:70000/", "give one such as https://www"),
        (f"https://[{KEY}/", "give one such as https://www"),
        (f"https://{KEY}..host/", "give one such as https://www"),
        (f"https://{KEY} /", "give one such as https://www"),
        (f"https://host/\n{KEY}", "give one such as https://www"),
        ("https://höst/", "give one such as https://www"),
        ("", "give one such as https://www"),
        (None, "give one such as https://www"),
        (b"https://host/", "give one such as https://www"),
    ],
)
def test_another_url_is_refused_with_a_remedy_and_without_a_word_of_it(wrong: Any, remedy: str) -> None:
    """It might have the key in it."""
    for refuses in (check_url, lambda url: Post(FakeReactor(), url, "the sink", Secret(KEY))):
        with pytest.raises(ValueError, match=r"^the URL") as refused:
            refuses(wrong)
        assert remedy in str(refused.value)
        assert KEY not in str(refused.value)
        assert "\n" not in str(refused.value)


# Over TLS, on loopback, with Twisted's own agent


class Loopback:
    """Sinks and posts that are closed when the test is over. Time for timers passes by `time.advance` only."""

    def __init__(self, authority: Authority) -> None:
        self.reactor = the_reactor()
        self.time = Clock()
        self.authority = authority
        self._servers: list[SinkServer] = []
        self._posts: list[Post] = []

    async def serve(self, sink: Sink | None = None, tls: Any = None) -> SinkServer:
        server = SinkServer(sink or Sink(), tls or self.authority.server("127.0.0.1"))
        self._servers.append(await server.start())
        return server

    def post(self, url: str, **settings: Any) -> Post:
        """A user of the sink at `url`, started."""
        settings = {"time": self.time, "random": lambda: 0.0, **settings}
        post = Post(self.reactor, url, url, Secret(KEY), **settings)
        self._posts.append(post)
        post.start()
        return post

    async def until(self, predicate: Callable[[], object], *, seconds: float = 0.0) -> None:
        """Let the reactor go on until `predicate` holds, while so many seconds a turn pass for the timers."""

        def turn() -> object:
            self.time.advance(seconds)
            return predicate()

        await until(turn, 20)

    async def close(self) -> None:
        for post in self._posts:
            stopped = post.stop(0)
            self.time.advance(0)
            await stopped
            check_books(post)
        for server in self._servers:
            await server.stop()
        assert self.time.getDelayedCalls() == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "trusted")


@pytest_twisted.async_yield_fixture
async def loopback(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Loopback]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.directory / "ca.pem"))  # OpenSSL's own way to trust somebody
    loopback = Loopback(authority)
    yield loopback
    await loopback.close()


def failures(post: Post) -> dict[str, int]:
    lead = "requests_failed."
    return {name.removeprefix(lead): count for name, count in post.counts.items() if name.startswith(lead)}


def ends(server: SinkServer) -> list[Any]:
    """Our ends of all connections to `server`."""
    return [one for one in the_reactor().getReaders() if getattr(one, "addr", None) == ("127.0.0.1", server.port)]


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


@pytest.mark.parametrize("answer", [answers.hang, answers.accept_and_hang], ids=lambda answer: answer.__name__)
@pytest_twisted.ensureDeferred
async def test_a_hanging_server_does_not_hold_up_the_end_over_the_wire(loopback: Loopback, answer: Any) -> None:
    """At the deadline the connection is gone, too."""
    server = await loopback.serve()
    server.sink.answers.append(answer)
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await until(lambda: server.sink.requests)
    stopped = post.stop(5)
    loopback.time.advance(4.9)
    await deferLater(the_reactor(), 0.05)
    assert not stopped.called
    loopback.time.advance(0.2)
    assert stopped.called
    await until(lambda: not server.sink.transports[0].connected)


@pytest.mark.parametrize("answer", [answers.accept, answers.accept_and_hang], ids=lambda answer: answer.__name__)
@pytest_twisted.ensureDeferred
async def test_no_connection_to_a_frozen_server_stays(loopback: Loopback, answer: Any) -> None:
    """Idle or not, it is closed without the server's consent, which TLS would wait for."""
    server = await loopback.serve()
    server.sink.answers.append(answer)
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await until(lambda: post.ledger.delivered == 3)
    await deferLater(the_reactor(), 0.05)
    server.sink.transports[0].pauseProducing()
    assert len(ends(server)) == 1
    loopback.time.advance(31)
    await until(lambda: not ends(server))


@pytest.mark.parametrize("impostor", ["another authority", "another name"])
@pytest_twisted.ensureDeferred
async def test_an_impostor_sees_no_request(loopback: Loopback, tmp_path: Path, impostor: str) -> None:
    """A wrong certificate ends each attempt before anything is written, and the waits grow."""
    other = Authority(tmp_path / "unknown") if impostor == "another authority" else loopback.authority
    name = "127.0.0.1" if impostor == "another authority" else "sink.example"
    server = await loopback.serve(tls=other.server(name))
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await until(lambda: failures(post) == {"tls": 1})
    loopback.time.advance(0.49)
    assert post.counts["requests"] == 1
    loopback.time.advance(0.02)
    await until(lambda: failures(post) == {"tls": 2})
    loopback.time.advance(0.84)
    assert post.counts["requests"] == 2
    assert server.sink.requests == []
    assert post.levels["queue_points"] == 3


class Silent(Protocol):
    """Accepts, and keeps what it is sent."""

    def connectionMade(self) -> None:
        self.factory.transports.append(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.factory.received += data


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_never_ends_is_given_up(loopback: Loopback) -> None:
    """After ten seconds; neither the key nor a line has left us by then, and no connection stays."""
    factory: Any = Factory.forProtocol(Silent)
    factory.noisy, factory.transports, factory.received = False, [], b""
    port = await TCP4ServerEndpoint(loopback.reactor, 0, interface="127.0.0.1").listen(factory)
    post = loopback.post(f"https://127.0.0.1:{port.getHost().port}/")
    post.deliver(lines(0, 3))
    await until(lambda: factory.received)
    loopback.time.advance(9.9)
    assert failures(post) == {}
    loopback.time.advance(0.2)
    assert failures(post) == {"timeout": 1}
    await until(lambda: not factory.transports[0].connected)
    assert b"post." not in factory.received
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_server_that_comes_back_gets_what_waited(loopback: Loopback, logged: Logged) -> None:
    """Nobody listens at first; and later it goes away and comes back once more."""
    server = await loopback.serve()
    await server.stop()
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await until(lambda: failures(post) == {"refused": 1})
    await server.start()
    await loopback.until(lambda: post.ledger.delivered == 3, seconds=0.1)
    await server.stop()
    await until(lambda: not server.sink.transports[0].connected)
    post.deliver(lines(3, 5))
    await until(lambda: failures(post)["refused"] == 2)
    await server.start()
    await loopback.until(lambda: post.ledger.delivered == 5, seconds=0.1)
    assert server.sink.lines == lines(0, 5).data.splitlines()
    assert len([text for text in logged.texts() if server.url in text]) == 4
    assert not [text for text in logged.texts() if "factory" in text and "QuietSite" not in text]


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_that_is_closed_is_no_trouble(loopback: Loopback, logged: Logged) -> None:
    """By the server at any time, by us after half a minute: the next chunk has a new one."""
    server = await loopback.serve()
    post = loopback.post(server.url)
    post.deliver(lines(0, 1))
    await loopback.until(lambda: post.ledger.delivered == 1)
    await deferLater(the_reactor(), 0.05)
    server.sink.close_idle()
    await until(lambda: not server.sink.transports[0].connected)
    await deferLater(the_reactor(), 0.05)
    post.deliver(lines(1, 2))
    await loopback.until(lambda: post.ledger.delivered == 2)
    await deferLater(the_reactor(), 0.05)
    loopback.time.advance(29)
    post.deliver(lines(2, 3))
    await loopback.until(lambda: post.ledger.delivered == 3)
    await deferLater(the_reactor(), 0.05)
    assert len(server.sink.transports) == 2
    loopback.time.advance(31)
    await until(lambda: not server.sink.transports[1].connected)
    post.deliver(lines(3, 4))
    await loopback.until(lambda: post.ledger.delivered == 4)
    assert len(server.sink.transports) == 3
    await deferLater(the_reactor(), 0.05)
    server.sink.close_idle()
    await until(lambda: not ends(server))
    loopback.time.advance(31)  # and nobody closes it again
    assert failures(post) == {}
    assert not [text for text in logged.texts() if server.url in text]


@pytest_twisted.ensureDeferred
async def test_a_forked_child_has_no_connection(loopback: Loopback) -> None:
    """What it inherits is /dev/null; the parent's connection goes on."""
    server = await loopback.serve()
    post = loopback.post(server.url)
    post.deliver(lines(0, 1))
    await loopback.until(lambda: post.ledger.delivered == 1)
    await deferLater(the_reactor(), 0.05)
    (fileno,) = [transport.fileno() for transport in ends(server)]
    assert os.fstat(fileno).st_rdev != os.stat(os.devnull).st_rdev
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of every fork in a process that has threads
        child = os.fork()
    if not child:
        os._exit(0 if os.fstat(fileno).st_rdev == os.stat(os.devnull).st_rdev else 1)
    assert os.waitpid(child, 0)[1] == 0
    post.deliver(lines(1, 2))
    await loopback.until(lambda: post.ledger.delivered == 2)
    assert len(server.sink.transports) == 1


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
