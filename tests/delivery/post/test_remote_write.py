"""Posting to what takes remote write: its headers, what its answers mean, and bodies that stay in their order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from tests.delivery.network import check_books, chunk, dropped
from tests.delivery.post.net import Asked, Net, Response, numbers, refuse, told, with_status
from tests.strict import Logged
from txmetrics.delivery import REMOTE_WRITE, Authorization, Post, Spool, check_remote_write_url
from txmetrics.testing import FakeReactor

TOKEN = "eyJhbGciOi.canary-4c0e_9d5e~a1b2/c3d4+e5f6=="
URL = "http://127.0.0.1:9090/api/v1/write"


class Writing(Net):
    """A user of remote write whose agent is ours."""

    def make(self, **settings: Any) -> Post:
        settings = {"random": lambda: 0.0, "agent": self.agent, "peer": REMOTE_WRITE, **settings}
        key = settings.pop("key", None)
        self.post = Post(self.reactor, URL, "the sink", key, **settings)
        return self.post

    def refuse(self, status: int, text: bytes) -> None:
        """Answer with a body of its own."""
        response = self.answer(status, ends=False)
        response.reader.dataReceived(text)
        response.end()


@pytest.fixture
def net() -> Iterator[Writing]:
    """When the test is over, nothing may wait in the reactor any more."""
    net = Writing()
    yield net
    net.stop(0)
    net.reactor.advance(0)
    assert net.reactor.getDelayedCalls() == []
    check_books(net.post)


def test_a_request_has_the_body_and_says_what_it_is(net: Writing) -> None:
    """As the protocol demands it, and without any authorization."""
    asked = net.start(1)
    assert (asked.method, asked.url, asked.data) == (b"POST", URL.encode(), chunk(1).data)
    assert asked.headers == {
        b"User-Agent": [b"txmetrics"],
        b"Content-Type": [b"application/x-protobuf"],
        b"Content-Encoding": [b"snappy"],
        b"X-Prometheus-Remote-Write-Version": [b"0.1.0"],
    }


@pytest.mark.parametrize(
    ("secret", "header"), [(TOKEN, f"Bearer {TOKEN}"), (("me", "pass:word"), "Basic bWU6cGFzczp3b3Jk")]
)
def test_a_request_has_the_authorization(net: Writing, secret: Any, header: str) -> None:
    """A token, or a user and a password; it shows itself to nobody but the transport."""
    net.make(key=Authorization(secret))
    value = net.start(1).headers[b"Authorization"]
    assert b"".join(value) == header.encode()
    assert repr(value) == "[***]"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 499])
def test_what_is_refused_is_dropped_and_the_next_one_follows(net: Writing, logged: Logged, status: int) -> None:
    """At once and only once, whole: nothing is halved that is not lines; the log has the reason of the first."""
    net.post.deliver(chunk(1, 20, 3))
    net.deliver(2, 3)
    net.start()
    net.refuse(status, b"out of order\nsample \x1b[31m\xff")
    net.reactor.advance(0)
    net.refuse(status, b"another")
    net.reactor.advance(0)
    net.answer(204)
    assert numbers(net.agent.asked) == [1, 2, 3]
    assert dropped(net.post) == {"refused": 4}
    assert net.post.ledger.delivered == 1
    assert net.failures == {str(status): 2}
    reason = "<script>out of order sample ?[31m\N{REPLACEMENT CHARACTER}"
    assert told(logged) == [
        f"the sink refuses points ({status}: {reason}); they are dropped, and further ones only counted"
    ]


@pytest.mark.parametrize("status", [301, 408, 429, 500, 502, 503])
def test_what_may_be_accepted_later_is_posted_again(net: Writing, status: int) -> None:
    """With back-off, and before the others."""
    net.start(1, 2)
    net.answer(status)
    net.reactor.advance(0.4)
    assert numbers(net.agent.asked) == [1]
    net.pass_time(1, with_status(204))
    assert numbers(net.agent.asked) == [1, 1, 2]
    assert net.post.ledger.delivered == 2


def test_too_many_are_asked_for_patience(net: Writing) -> None:
    """Retry-After is honoured."""
    net.start(1)
    net.answer(429, retry_after="20")
    net.pass_time(19.8)
    assert len(net.agent.asked) == 1
    net.pass_time(0.4, with_status(204))
    assert net.post.ledger.delivered == 1


def test_a_reason_is_short(net: Writing, logged: Logged) -> None:
    """However much a server has to say, and in however many pieces."""
    net.start(1)
    response = net.answer(400, ends=False)
    for _ in range(100):
        response.reader.dataReceived(b"x" * 100)
    response.end()
    [line] = told(logged)
    assert 200 < len(line) < 300


def test_a_reason_that_does_not_come_is_not_waited_for(net: Writing, logged: Logged) -> None:
    """At the end of the request's time, or of all, the refusal is told without it."""
    net.start(1)
    net.answer(400, ends=False)
    assert told(logged) == []
    net.stop(1)
    net.reactor.advance(1)
    assert told(logged) == ["the sink refuses points (400: <script>); they are dropped, and further ones only counted"]


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (TOKEN, f"who is Bearer {TOKEN}?".encode()),
        (("me", "pass:word"), b"Basic bWU6cGFzczp3b3Jk"),
        (("me", "pass:word"), b"you are me, pass:word"),
    ],
)
def test_a_reason_with_the_key_in_it_is_not_told(net: Writing, logged: Logged, secret: Any, text: bytes) -> None:
    """A server that repeats what it was asked does not put it into the log."""
    net.make(key=Authorization(secret))
    net.start(1)
    net.refuse(401, text)
    assert told(logged) == ["the sink refuses points (401); they are dropped, and further ones only counted"]


# In order


def bodies(accepted: list[Asked]) -> list[int]:
    """Their numbers, each for the first time."""
    return list(dict.fromkeys(numbers(accepted)))


def test_what_is_spooled_stays_in_order(net: Writing, tmp_path: Path) -> None:
    """A body whose request hangs is not overtaken by those that wait behind it."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.start(1, 2, 3)
    net.pass_time(20)
    assert net.post.ledger.spooled == 0  # though they have waited for long
    net.pass_time(11)
    assert net.failures == {"timeout": 1}
    net.deliver(4)
    net.pass_time(3, refuse)
    assert net.post.ledger.spooled == 4
    accepted: list[Asked] = []
    net.pass_time(30, lambda asked: (accepted.append(asked), asked.answer(204)))
    assert numbers(accepted) == [1, 2, 3, 4]
    assert net.post.ledger.delivered == 4


def test_a_spool_that_fills_up_while_a_request_hangs_does_not_change_the_order(net: Writing, tmp_path: Path) -> None:
    """Beyond the memory's limit, too: what cannot wait is dropped and counted, the rest comes in order."""
    net.make(spool=Spool(tmp_path / "spool"), max_bytes=3000)
    net.start(1)
    net.deliver(*range(2, 20), size=1000)
    net.pass_time(40)
    accepted: list[Asked] = []
    net.pass_time(60, lambda asked: (accepted.append(asked), asked.answer(204)))
    assert numbers(accepted) == sorted(numbers(accepted))
    assert len(accepted) == net.post.ledger.delivered > 0


STEPS = st.one_of(
    st.sampled_from(["deliver", "deliver", "accept", "fail", "lose", "hang"]),
    st.floats(0, 40).map(lambda seconds: round(seconds, 1)),
)


@given(st.lists(STEPS, max_size=40), st.booleans(), st.integers(500, 5000))
@settings(max_examples=80, deadline=None)
def test_any_order_of_faults_leaves_the_bodies_in_theirs(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], spools: bool, max_bytes: int
) -> None:
    """With and without a spool, and also over a stop and a new life: what a server accepts never goes back."""
    folder = tmp_path_factory.mktemp("spool") / "spool"
    net = Writing()

    def live() -> None:
        net.make(spool=Spool(folder) if spools else None, max_bytes=max_bytes)
        net.post.start()

    accepted: list[Asked] = []
    made = 0

    def accept(asked: Asked) -> Response:
        accepted.append(asked)
        return asked.answer(204)

    acts: dict[str, Any] = {
        "accept": accept,
        "fail": with_status(503),
        "lose": lambda asked: asked.lose(ConnectionLost()),
        "hang": lambda asked: net.reactor.advance(31),
    }
    live()
    for step in steps:
        if step == "deliver":
            made += 1
            net.deliver(made, size=200)
        elif isinstance(step, float):
            net.reactor.advance(step)
        elif net.agent.asked and net.agent.latest.waits:
            acts[step](net.agent.latest)
        check_books(net.post)
    net.stop(0)
    net.reactor.advance(0)
    live()
    net.pass_time(100, accept)
    assert numbers(accepted) == sorted(numbers(accepted))
    assert net.post.ledger.queued == net.post.ledger.spooled == 0
    net.stop(0)
    net.reactor.advance(0)
    assert net.reactor.getDelayedCalls() == []


# URLs


@pytest.mark.parametrize(
    "right",
    [
        URL,
        "https://mimir.example/api/v1/push",
        "HTTP://[::1]/api/v1/write",
        "http://localhost:8428/api/v1/write",
        "http://metrics.example:8428/insert/0/prometheus/api/v1/write",
    ],
)
def test_a_url_is_right(right: str) -> None:
    """Of http: or https:, with a host and a path."""
    assert check_remote_write_url(right) == right
    Post(FakeReactor(), right, "the sink", None, peer=REMOTE_WRITE)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("http://127.0.0.1:9090", "give all of it, such as http://127.0.0.1:9090/api/v1/write"),
        ("http://127.0.0.1:9090/", "give all of it, such as http://127.0.0.1:9090/api/v1/write"),
        ("ftp://host/write", "does not begin with http:// or https://; give one such as http://127"),
        ("127.0.0.1:9090/api/v1/write", "give one such as http://127"),
        ("http://user:canary@host/write", "give the API key by itself"),
        ("http://host/write?token=canary", "leave out ?"),
        ("http://host/write#canary", "leave out ?"),
        ("http:///write", "give one such as http://127"),
        ("http://host:0/write", "give one such as http://127"),
        ("http://host:canary/write", "give one such as http://127"),
        ("http://höst/write", "give one such as http://127"),
        ("", "give one such as http://127"),
        (None, "give one such as http://127"),
    ],
)
def test_another_url_is_refused_with_a_remedy(wrong: Any, remedy: str) -> None:
    """In one line, without a word of it."""
    with pytest.raises(ValueError, match=r"^the URL") as refused:
        Post(FakeReactor(), wrong, "the sink", None, peer=REMOTE_WRITE)
    assert remedy in str(refused.value)
    assert "canary" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("here", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_a_secret_may_go_in_clear_to_this_machine(here: str) -> None:
    """It does not leave it."""
    assert check_remote_write_url(f"http://{here}:1/write", authorized=True)


@pytest.mark.parametrize("there", ["10.0.0.1", "metrics.example", "localhost.example", "127.0.0.1.example"])
def test_a_secret_does_not_go_in_clear_to_another_one(there: str) -> None:
    """Over https: it does."""
    with pytest.raises(ValueError, match="everybody on the way could read the authorization; give a URL of https://"):
        check_remote_write_url(f"http://{there}/write", authorized=True)
    assert check_remote_write_url(f"https://{there}/write", authorized=True)
