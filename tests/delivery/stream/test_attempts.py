"""When a stream tries to connect again, how it counts what goes wrong, and what it says in the log."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import OpenSSL.SSL
import pytest
import service_identity
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionDone,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TimeoutError,
    UnknownHostError,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import LogLevel
from zope.interface import implementer

from tests.delivery.network import Attempt, waits
from tests.delivery.stream.net import Net, network_log, refuse
from tests.strict import Logged


def accept_and_close(attempt: Attempt) -> None:
    attempt.accept().end_of_stream()


def accept_and_reset(attempt: Attempt) -> None:
    attempt.accept().lose()


def test_refusals_are_answered_with_growing_waits(net: Net) -> None:
    """0.5 seconds after the first, 1.7 times as long after each, a minute at most."""
    net.stream.start()
    net.pass_time(300, refuse)
    schedule = [min(60.0, 0.5 * 1.7**n) for n in range(12)]
    assert waits(net.endpoint.attempts) == pytest.approx(schedule, abs=0.11)
    assert net.stream.counts["connection_failures.refused"] == 13
    assert net.stream.counts["connections"] == 0


def test_an_endpoint_that_raises_is_a_refusal(net: Net) -> None:
    """What `connect` raises is logged and tried again like what its Deferred fails with."""

    @implementer(IStreamClientEndpoint)
    class Broken:
        calls = 0

        def connect(self, factory: object) -> Deferred[Any]:
            self.calls += 1
            raise DNSLookupError("no such host")

    broken = Broken()
    net.make(endpoint=broken).start()
    net.pass_time(2)
    assert broken.calls == 3
    assert net.stream.counts["connection_failures.dns"] == 3
    assert not net.stream.levels["connected"]


@pytest.mark.parametrize("answer", [accept_and_close, accept_and_reset])
@pytest.mark.parametrize("seed", range(5))
def test_a_peer_that_accepts_and_closes_is_left_alone_more_and_more(
    net: Net, seed: int, answer: Callable[[Attempt], None]
) -> None:
    """A balancer without a backend sees at most 20 attempts in ten minutes, whatever the jitter, and costs nothing."""
    net.make(random=Random(seed).random)
    net.deliver(1)
    net.stream.start()
    net.pass_time(600, answer)
    assert 12 <= len(net.endpoint.attempts) <= 20
    assert waits(net.endpoint.attempts)[-1] > 40
    assert net.stream.ledger.queued == 1


def test_a_peer_that_accepts_and_closes_is_one_line_in_the_log(net: Net, logged: Logged) -> None:
    """A mere connect is no return: nothing says that it is back as long as it closes at once."""
    net.stream.start()
    net.pass_time(600, accept_and_close)
    assert network_log(logged) == [
        "no connection to tcp:graphite:2003 (Connection was closed cleanly.); trying again",
    ]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ConnectionRefusedError(), "refused"),
        (DNSLookupError("no such host"), "dns"),
        (UnknownHostError(), "dns"),
        (TimeoutError(), "timeout"),
        (OpenSSL.SSL.Error(), "tls"),
        (service_identity.VerificationError([]), "tls"),
        (NoRouteError(), "lost"),
        (ValueError("a bug"), "lost"),
    ],
)
def test_a_failure_to_connect_is_counted_by_reason(net: Net, error: Exception, word: str) -> None:
    """One word for each, whatever the endpoint says."""
    net.stream.start()
    net.endpoint.latest.deferred.errback(error)
    assert net.stream.counts[f"connection_failures.{word}"] == 1


@pytest.mark.parametrize(("error", "word"), [(None, "lost"), (ConnectionDone(), "closed")])
def test_a_lost_connection_is_counted_by_reason(net: Net, error: Exception | None, word: str) -> None:
    """A peer that closes in order is told from one that vanishes; neither is a failure to connect."""
    net.connect().lose(error)
    assert net.stream.counts[f"connections_lost.{word}"] == 1
    assert not any(name.startswith("connection_failures") for name in net.stream.counts)


def test_only_a_connection_that_lives_begins_the_back_off_anew(net: Net) -> None:
    """One that is lost before it has lived ten seconds goes on with the waits, one that lasted begins anew."""
    net.stream.start()
    for lived, wait in [(0, 0.5), (9.8, 0.85), (9.8, 1.445), (10.2, 0.5), (3600, 0.5), (5, 0.85)]:
        pipe = net.endpoint.latest.accept()
        net.pass_time(lived)
        lost_at = net.reactor.seconds()
        pipe.lose()
        net.pass_time(2)
        assert net.endpoint.latest.at - lost_at == pytest.approx(wait, abs=0.11)


def test_an_outage_is_two_lines_in_the_log(net: Net, logged: Logged) -> None:
    """One when it goes, however often it is tried, and one when it is back for good."""
    net.connect().lose()
    net.pass_time(300, refuse)
    net.pass_time(100, Attempt.accept)
    assert network_log(logged) == [
        "no connection to tcp:graphite:2003 (Connection to the other side was lost in a non-clean fashion.);"
        " trying again",
        "connected to tcp:graphite:2003 again",
    ]
    assert all(event["log_level"] in (LogLevel.warn, LogLevel.info) for event in logged.events)


def test_trouble_after_a_usual_close_is_told(net: Net, logged: Logged) -> None:
    """A peer that closed a good connection and closes each new one at once is gone, and not idle."""
    pipe = net.connect()
    net.pass_time(60)
    pipe.lose(ConnectionDone())
    net.pass_time(100, accept_and_close)
    assert len(network_log(logged)) == 1


def test_each_outage_has_its_two_lines(net: Net, logged: Logged) -> None:
    """The second outage is told like the first."""
    pipe = net.connect()
    for _ in range(2):
        net.pass_time(20)
        pipe.lose()
        net.pass_time(1)
        pipe = net.endpoint.latest.accept()
    net.pass_time(20)
    assert len(network_log(logged)) == 4


def test_an_idle_time_out_of_the_peer_is_not_worth_a_word(net: Net, logged: Logged) -> None:
    """A balancer that closes good connections every minute gets a new one each time, silently and at once."""
    pipe = net.connect()
    for _ in range(10):
        net.pass_time(60)
        pipe.lose(ConnectionDone())
        net.pass_time(1)
        pipe = net.endpoint.latest.accept()
    assert network_log(logged) == []
    assert max(waits(net.endpoint.attempts)) < 62
    assert len(net.endpoint.attempts) == 11


def test_a_peer_that_closes_and_is_gone_is_told(net: Net, logged: Logged) -> None:
    """The silence about a clean close ends when the next attempt fails."""
    pipe = net.connect()
    net.pass_time(60)
    pipe.lose(ConnectionDone())
    net.pass_time(10, refuse)
    assert len(network_log(logged)) == 1
    assert "refused" in network_log(logged)[0]
