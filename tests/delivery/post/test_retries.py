"""What is asked again, after which waits, and what a server may wish for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL.SSL import Error
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError, DNSLookupError, TimeoutError
from twisted.web.http_headers import Headers

from tests.delivery.network import check_books, waits
from tests.delivery.post.net import Net, Response, numbers, refuse, told, with_status
from tests.strict import Logged

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
