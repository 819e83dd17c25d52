"""Secret: an API key shows itself to nobody but the transport."""

from __future__ import annotations

import copy
import json
import pickle
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.ssl import SSL
from twisted.internet.task import Clock
from twisted.logger import eventAsJSON, formatEvent
from twisted.python.failure import Failure
from twisted.python.reflect import safe_repr
from twisted.web.client import Agent

from tests import sink as answers
from tests.delivery.certificates import Authority
from tests.delivery.network import Endpoint, chunk, dropped, until
from tests.sink import BrokenServer, Sink, SinkServer
from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, backends
from txmetrics.delivery import HOSTED_GRAPHITE_SINK, Post, Secret, Spool, Stream
from txmetrics.testing import FakeReactor

KEY = "3fb7a2d1-canary-4c0e-9d5e-a1b2c3d4e5f6"


def disguises() -> Iterator[bytes]:
    """The key as it is, reversed, in hexadecimal, percent-encoded, and within something in base64."""
    plain = KEY.encode()
    for key in (plain, plain[::-1]):
        yield key
        yield key.hex().encode()
        yield b"".join(b"%%%02x" % byte for byte in key)
        for before in (b"", b"x", b"xx"):  # three bytes are four characters, wherever one begins
            yield b64encode(before + key)[4:-4]
    yield b64encode(plain)[::-1][4:-4]


DISGUISES = list(disguises())


def shown(text: str | bytes) -> bool:
    """Whether the key can be read out of `text`, as it is or in a thin disguise."""
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    return any(one in data or one in data.lower() for one in DISGUISES)


def test_the_search_for_the_key_finds_it() -> None:
    """The tests below look for something that they would see."""
    assert shown(f"b'{KEY}.a.b 1 2'")
    assert shown(KEY.upper())
    assert shown(f"x{KEY[::-1]}")
    assert shown(repr(list(KEY)).replace("', '", ""))
    for text in (KEY, f"{KEY}:", f"x{KEY}:", f"user:{KEY}"):
        assert shown(f"Basic {b64encode(text.encode()).decode()}")
    assert shown("".join(f"%{ord(letter):02X}" for letter in KEY))
    assert not shown("3fb7a2d1")


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{!r:>40}".format, "%s".__mod__, lambda secret: repr([secret])]
)
def test_a_secret_shows_stars(show: Callable[[Secret], str]) -> None:
    """However it is turned into text."""
    text = show(Secret(KEY))
    assert "***" in text
    assert not shown(text)


@pytest.mark.parametrize("move", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars, iter])
def test_a_secret_is_not_taken_apart(move: Callable[[Any], Any]) -> None:
    """It cannot be pickled, copied, dumped or looked into by what looks into everything."""
    with pytest.raises(TypeError) as refused:
        move(Secret(KEY))
    assert not shown(str(refused.value))


def test_the_key_stands_before_each_line() -> None:
    """One key and one dot a line, and no line is changed otherwise."""
    framed = Secret(KEY).before_each_line(b"a.b 1 10\nc 2.5 10\n")
    assert framed == f"{KEY}.a.b 1 10\n{KEY}.c 2.5 10\n".encode()
    assert Secret(KEY).before_each_line(b"") == b""


def test_the_key_is_the_user_of_a_request() -> None:
    """As Basic authentication has it, with an empty password."""
    value = Secret(KEY).as_basic_user()
    assert b"".join([value]) == b"Basic " + b64encode(f"{KEY}:".encode())


@pytest.mark.parametrize("around", [lambda value: value, lambda value: b"Authorization: " + value + b"\r\n"])
@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r:>40}".format, "%s".__mod__, lambda value: repr([value])])
def test_a_header_with_the_key_shows_stars(show: Callable[[bytes], str], around: Callable[[bytes], bytes]) -> None:
    """Also with its name before it and its end behind it, as Twisted keeps it in variables."""
    text = show(around(Secret(KEY).as_basic_user()))
    assert "***" in text
    assert not shown(text)


@pytest.mark.parametrize("move", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_header_with_the_key_is_not_taken_apart(move: Callable[[Any], Any]) -> None:
    """Nor can it be pickled or copied."""
    with pytest.raises(TypeError) as refused:
        move(Secret(KEY).as_basic_user())
    assert not shown(str(refused.value))


@pytest.mark.parametrize("wrong", ["", " ", f"{KEY}\n", f" {KEY}", f"{KEY} {KEY}", f"{KEY}.x", f"ä{KEY}", None, b"x"])
def test_what_is_no_key_is_refused_without_a_word_of_it(wrong: Any) -> None:
    """A key with a blank too many is still secret."""
    with pytest.raises(ValueError, match="the API key is empty or no key") as refused:
        Secret(wrong)
    assert not shown(str(refused.value))


def verbose(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """What `function` raises, as a verbose traceback shows it: with the variables of every function on the way."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011  whichever it is, it must not show the key
        function(*args, **kwargs)
    frames = [entry.frame for entry in raised.traceback[1:]]  # that of the test knows the key
    assert frames
    return "\n".join([str(raised.value), *(f"{frame.code.name}: {frame.f_locals!r}" for frame in frames)])


def refuse_to_write(data: bytes) -> None:
    raise OSError(f"cannot write {data!r}")


def test_a_wrong_key_is_in_no_traceback() -> None:
    """Not even among the variables, which a verbose traceback shows."""
    text = verbose(backends.hosted_graphite, MetricsRegistry(), f"{KEY} ")
    assert "the API key is empty or no key" in text
    assert "'dialect': 'dropwizard'" in text  # the variables are there
    assert not shown(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "nowhere"},
        {"endpoint": "tcp:host:1"},
        {"transport": "x"},
        {"transport": "https", "endpoint": "http://host/"},
        {"transport": "https", "endpoint": "https://user@host/"},
        {"prefix": "a b"},
        {"dialect": "x"},
        {"interval": 0.1},
    ],
)
def test_another_wrong_argument_does_not_tell_the_key(wrong: dict[str, Any]) -> None:
    """Whatever is wrong beside it, the right key is not shown."""
    text = verbose(backends.hosted_graphite, MetricsRegistry(), KEY, **wrong)
    assert not shown(text)


def stories(logged: Logged) -> list[str]:
    """Every logged event in all the ways that observers show it."""
    told = [text for text in logged.texts() if text]
    for event in logged.events:
        told += [str(formatEvent(event)), eventAsJSON(dict(event)), repr(event)]
        if "log_failure" in event:
            told.append(event["log_failure"].getTraceback(detail="verbose"))
    return told


def test_no_fault_makes_the_delivery_tell_the_key(logged: Logged) -> None:
    """Refused, lost, cut off, a transport that raises, overflow, stopped: no log line and no repr has the key."""
    reactor = FakeReactor()
    endpoint = Endpoint(reactor)
    stream = Stream(
        reactor, endpoint, "tls:host:1", frame=Secret(KEY).before_each_line, replay_window=0, max_bytes=10**5
    )
    stream.start()
    endpoint.latest.refuse()
    reactor.advance(1)
    endpoint.latest.accept().lose(SSL.Error([("SSL routines", "", "certificate verify failed")]))
    reactor.advance(1)
    cut = endpoint.latest.accept(full=True)
    for number in range(4):
        stream.deliver(chunk(number, 60_000))
    assert KEY.encode() in cut.held
    cut.lose()
    reactor.advance(5)
    failing = endpoint.latest.accept(full=True)
    failing.write = refuse_to_write
    stream.deliver(chunk(4))
    stream.deliver(chunk(5))
    stream.stop(1)
    reactor.advance(2)
    assert set(dropped(stream)) == {"unconfirmed", "overflow", "stopped"}
    assert logged.flush_text("failed (OSError)")
    texts = [*stories(logged), repr(stream), repr(vars(stream)), repr(vars(stream._connector)), repr(stream.counts)]
    assert len(texts) > 10
    assert not [text for text in texts if shown(text)]


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every Failure that is made, by whomever, with all the variables that a verbose traceback of it would show."""
    made: list[str] = []
    make = Failure.__init__

    def note(self: Failure, *args: Any, captureVars: bool = False, **kwargs: Any) -> None:
        make(self, *args, captureVars=True, **kwargs)
        made.append(f"{self!r} {self.getErrorMessage()}")
        for name, _, _, here, world in self.frames:
            made.append(f"in {name}")
            made.extend(f"{variable} = {safe_repr(value)}" for variable, value in [*here, *world])

    monkeypatch.setattr(Failure, "__init__", note)
    return made


def looks(post: Post) -> list[str]:
    """A post and its parts, as somebody who debugs would look at them."""
    parts = [post, post._client, post._client._agent, post._outbox, post._request, post._backoff]
    texts = [repr(part) for part in parts] + [repr(vars(part)) for part in parts if part is not None]
    return [*texts, repr(post.counts), repr(post.levels), repr(post.ledger), repr(post._outbox.ledger)]


def test_a_request_that_cannot_be_written_does_not_tell_the_key(logged: Logged, failures: list[str]) -> None:
    """Twisted has its headers in variables by then."""
    reactor = FakeReactor()
    agent = Agent.usingEndpointFactory(reactor, BrokenServer())
    post = Post(reactor, HOSTED_GRAPHITE_SINK, "the sink", Secret(KEY), agent=agent)
    post.start()
    post.deliver(chunk(1))
    assert post.counts["requests_failed.lost"] == 1
    text = "\n".join([*failures, *stories(logged), *looks(post)])
    assert "in _writeHeaders\n" in text
    (written,) = [line for line in failures if line.startswith("requestLines = ")]
    assert "b'User-Agent: txmetrics\\r\\n'" in written
    assert "***" in written
    assert not shown(text)
    post.stop(0)
    reactor.advance(0)


SERVERS: dict[str, list[answers.Answer]] = {
    "statuses": [answers.status(code, b"<script>") for code in (301, 400, 401, 403, 413, 429, 500)],
    "an endless body": [answers.accept_at_length],
    "endless headers": [answers.endless_headers],
    "a lost answer": [answers.accept_and_cut_the_answer],
    "a lost body": [answers.accept_and_cut_the_body],
    "no answer": [answers.cut],
    "another protocol": [answers.not_http],
    "one that hangs": [answers.hang] * 3,
    "a body that hangs": [answers.accept_and_hang],
    "refused": [],
    "impostor": [],
}


@pytest.mark.parametrize("server", SERVERS)
@pytest_twisted.ensureDeferred
async def test_no_server_makes_a_post_tell_the_key(
    logged: Logged, failures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """Not in a log line, a repr, a verbose traceback of any Failure that anybody makes, or on disk."""
    authority = Authority(tmp_path / "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.directory / "ca.pem"))
    running = await SinkServer(
        Sink(), authority.server("sink.example" if server == "impostor" else "127.0.0.1")
    ).start()
    running.sink.answers.extend(SERVERS[server])
    if server == "refused":
        await running.stop()
    clock = Clock()
    spool = Spool(tmp_path / "spool")
    post = Post(the_reactor(), running.url, running.url, Secret(KEY), time=clock, spool=spool)
    post.start()
    texts: list[str] = []

    def turn() -> bool:
        clock.advance(0.2)
        texts.extend(looks(post))
        return post.ledger.delivered + sum(post.ledger.dropped.values()) == 10 or clock.seconds() > 60

    for number in range(10):
        post.deliver(chunk(number))
    await until(turn, 20)
    assert post.counts["requests"] > 1
    stopped = post.stop(1)
    clock.advance(1)
    await stopped
    if running.sink.requests:
        assert {one.authorization for one in running.sink.requests} == {
            f"Basic {b64encode(f'{KEY}:'.encode()).decode()}"
        }
    await running.stop()
    texts += [*failures, *stories(logged), *looks(post)]
    assert len(texts) > 50
    assert not [text for text in texts if shown(text)]
    files = list((tmp_path / "spool").iterdir())
    assert files
    assert not [file for file in files if shown(file.name) or shown(file.read_bytes())]


@pytest.mark.parametrize(
    ("transport", "endpoint"),
    [("tls", "tls:127.0.0.1:1"), ("https", "https://127.0.0.1:1/"), ("cleartext", "tcp:127.0.0.1:1")],
)
def test_a_reporter_does_not_show_its_key(transport: str, endpoint: str) -> None:
    """Neither it nor anything in it says the key in its repr, and it cannot be pickled with it."""
    reactor = FakeReactor()
    registry = MetricsRegistry(reactor.clock)
    reporter = backends.hosted_graphite(registry, KEY, reactor=reactor, transport=transport, endpoint=endpoint)
    reporter.startService()
    assert not shown(repr(reporter) + repr(vars(reporter)) + repr(vars(reporter._delivery)))
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)) as refused:
        pickle.dumps(reporter)
    assert not shown(str(refused.value))
    reporter.stopService()
    reactor.advance(10)
