"""Secret: an API key shows itself to nobody but the transport."""

from __future__ import annotations

import copy
import json
import pickle
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.ssl import SSL
from twisted.logger import eventAsJSON, formatEvent

from tests.delivery.network import Endpoint, chunk, dropped
from tests.strict import Logged
from txmetrics import MetricsRegistry, backends
from txmetrics.delivery import Secret, Stream
from txmetrics.testing import FakeReactor

KEY = "3fb7a2d1-canary-4c0e-9d5e-a1b2c3d4e5f6"


def shown(text: str) -> bool:
    """Whether the key can be read out of `text`, as it is or in a thin disguise."""
    plain = KEY.encode()
    disguises = [plain, plain[::-1], plain.hex().encode(), quote(KEY).encode(), b64encode(plain).rstrip(b"=")[:-1]]
    return any(one in text.encode() for one in disguises)


def test_the_search_for_the_key_finds_it() -> None:
    """The tests below look for something that they would see."""
    assert shown(f"b'{KEY}.a.b 1 2'")
    assert shown(repr(list(KEY)).replace("', '", ""))
    assert shown(b64encode(KEY.encode()).decode())
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


@pytest.mark.parametrize("wrong", [{"endpoint": "nowhere"}, {"prefix": "a b"}, {"dialect": "x"}, {"interval": 0.1}])
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
    stream = Stream(reactor, endpoint, "tls:host:1", frame=Secret(KEY).before_each_line, resend=False, max_bytes=10**5)
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
    assert set(dropped(stream)) == {"cut_off", "overflow", "not_written", "stopped"}
    assert logged.flush_text("failed (OSError)")
    texts = [*stories(logged), repr(stream), repr(vars(stream)), repr(vars(stream._connector)), repr(stream.counts)]
    assert len(texts) > 10
    assert not [text for text in texts if shown(text)]


def test_a_reporter_does_not_show_its_key() -> None:
    """Neither it nor anything in it says the key in its repr, and it cannot be pickled with it."""
    reactor = FakeReactor()
    registry = MetricsRegistry(reactor.clock)
    reporter = backends.hosted_graphite(registry, KEY, reactor=reactor, endpoint="tcp:127.0.0.1:1")
    reporter.startService()
    assert not shown(repr(reporter) + repr(vars(reporter)) + repr(vars(reporter._delivery)))
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)) as refused:
        pickle.dumps(reporter)
    assert not shown(str(refused.value))
    reporter.stopService()
    reactor.advance(10)
