"""``backends.otlp``: what arrives at a collector on loopback, through faults, and to the last point."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from zope.interface.verify import verifyObject

from tests import sink as answers
from tests.delivery.network import until
from tests.otlp import Collector, Told, read_request, take
from tests.sink import SinkServer
from tests.strict import Logged
from txmetrics import MetricsRegistry, backends
from txmetrics.delivery import OTLP, Authorization
from txmetrics.interfaces import IDelivery
from txmetrics.testing import FakeReactor

TOKEN = "canary-4c0e.9d5e"
URL = "http://127.0.0.1:4318/v1/metrics"

SAYS_BAD_DATA = b"\x08\x03\x12\x15no such metric \x1b[31m\xff"
"""A google.rpc.Status, whose message is not as it should be."""


class Place:
    """A collector, and reporters to it that are stopped when the test is over."""

    def __init__(self) -> None:
        self.sink = Collector()
        self.server = SinkServer(self.sink, None)
        self.registry = MetricsRegistry()
        self._reporters: list[Any] = []

    def report(self, interval: float = 3600, **arguments: Any) -> Any:
        """A reporter that has started."""
        reporter = backends.otlp(self.registry, self.server.url, interval, **arguments)
        self._reporters.append(reporter)
        reporter.startService()
        return reporter

    def values(self, name: str) -> list[float]:
        """Of the sum or gauge that is called so, in the order of their arrival."""
        return [one.value for one in self.sink.told if one.name == name]

    def many(self) -> None:
        """So many metrics that they need several requests."""
        for number in range(700):
            self.registry.counter("jobs", number=number).inc(number)

    async def close(self) -> None:
        for reporter in self._reporters:
            await reporter.stopService()
            check_books(reporter)
        await self.server.stop()


def check_books(reporter: Any) -> None:
    """Every point is somewhere."""
    ledger = reporter.ledger()
    somewhere = ledger["delivered"] + ledger["retained"] + ledger["queued"] + ledger["spooled"]
    assert ledger["collected"] == somewhere + sum(ledger["dropped"].values()) > 0


def points(data: bytes) -> list[Told]:
    return read_request(data)[1]


@pytest_twisted.async_yield_fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    await place.server.start()
    yield place
    await place.close()


@pytest_twisted.ensureDeferred
async def test_the_last_report_arrives(place: Place) -> None:
    """Everything since the start, in one request that says what it is; and the ledger is in data points."""
    begin = place.registry.clock.wall()
    reporter = place.report()
    place.registry.counter("jobs").inc(5)
    place.registry.gauge("queue").set(2)
    place.registry.timer("waits").add(0.3)
    await reporter.stopService()
    assert place.sink.headers == {("application/x-protobuf", "gzip")}
    assert (place.values("jobs"), place.values("queue")) == ([5], [2])
    [waits] = [one for one in place.sink.told if one.name == "waits"]
    assert (waits.unit, waits.point.count, waits.point.sum) == ("s", 1, 0.3)
    for one in place.sink.told:
        if one.kind != "gauge":
            assert int(begin) - 0.5 <= one.point.start_time_unix_nano / 1e9 < one.point.time_unix_nano / 1e9
    ledger = reporter.ledger()
    assert ledger["delivered"] == ledger["collected"] == sum(len(points(data)) for data in place.sink.accepted)
    assert ledger["dropped"] == {}


@pytest_twisted.ensureDeferred
async def test_reports_are_of_whole_lives(place: Place) -> None:
    """Whatever other readers have seen meanwhile, and from the same start on, also in a second life."""
    reporter = place.report(1)
    other = place.registry.reader()
    place.registry.timer("waits").add(0.3)
    await until(lambda: place.sink.told)
    assert [*other.collect()]
    place.registry.timer("waits").add(0.3)
    await until(lambda: place.sink.told[-1].point.count == 2)
    await reporter.stopService()
    reporter.startService()
    place.registry.timer("waits").add(0.3)
    await reporter.stopService()
    told = [one.point for one in place.sink.told]
    assert sorted({point.count for point in told}) == [1, 2, 3]
    assert [point.count for point in told] == sorted(point.count for point in told)
    assert len({point.start_time_unix_nano for point in told}) == 1
    times = [point.time_unix_nano for point in told]
    assert times == sorted(set(times))


@pytest_twisted.ensureDeferred
async def test_the_resource_is_filled_in_when_it_starts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a service and an instance; the host as it calls itself."""
    place.registry.counter("jobs").inc()
    await place.report().stopService()
    monkeypatch.setenv("TXMETRICS_WORKER", "w7")
    await place.report(resource={"service.name": "shop", "service.instance.id": "{worker}"}).stopService()
    assert [read_request(data)[0] for data in place.sink.accepted] == [
        {"service.name": "txmetrics", "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"},
        {"service.name": "shop", "service.instance.id": "w7"},
    ]


@pytest.mark.parametrize(
    ("fault", "twice"),
    [
        *[(answers.status(status), False) for status in (502, 503, 504)],
        (answers.status(429, retry_after="1"), False),
        (answers.cut, False),
        (answers.accept_and_cut_the_answer, True),
    ],
    ids=["502", "503", "504", "429", "cut", "answer cut"],
)
@pytest_twisted.ensureDeferred
async def test_after_a_fault_the_same_request_comes_again(place: Place, fault: answers.Answer, twice: bool) -> None:
    """Before all others, with nothing else in it; the stop waits for it."""
    place.sink.answers.append(fault)
    place.many()
    reporter = place.report()
    await reporter.stopService()
    sent = [seen.data for seen in place.sink.requests]
    assert len(set(sent)) == len(sent) - 1 > 1
    assert sent[0] == sent[1]
    assert place.sink.accepted == sent[0 if twice else 1 :]
    ledger = reporter.ledger()
    assert ledger["dropped"] == {}
    assert ledger["delivered"] == sum(len(points(data)) for data in set(sent))


@pytest_twisted.ensureDeferred
async def test_a_collector_that_is_restarted_misses_nothing(place: Place) -> None:
    """What could not be posted waits, and comes in its order."""
    place.registry.counter("jobs").inc()
    reporter = place.report(1)
    await until(lambda: place.values("jobs"))
    await place.server.stop()
    waiting = reporter.ledger()["collected"]
    place.registry.counter("jobs").inc()
    await until(lambda: reporter.ledger()["collected"] > waiting and reporter.ledger()["queued"])
    await place.server.start()
    await until(lambda: 2 in place.values("jobs"))
    await reporter.stopService()
    times = [one.point.time_unix_nano for one in place.sink.told]
    assert times == sorted(set(times))
    assert place.values("jobs") == sorted(place.values("jobs"))
    assert reporter.ledger()["dropped"] == {}


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 501])
@pytest_twisted.ensureDeferred
async def test_what_is_refused_is_told_once_and_the_rest_arrives(place: Place, logged: Logged, status: int) -> None:
    """By every other error one request is dropped and no other; the log has the message, in one harmless line."""
    place.sink.answers.extend([answers.status(status, SAYS_BAD_DATA)])
    place.many()
    reporter = place.report()
    await reporter.stopService()
    first, *others = [seen.data for seen in place.sink.requests]
    assert place.sink.accepted == others != []
    assert reporter.ledger()["dropped"] == {"refused": len(points(first))}
    [line] = [text for text in logged.texts() if "refuses" in text]
    assert f"{place.server.url} refuses points ({status}: no such metric ?[31m\ufffd); they are dropped" in line


@pytest_twisted.ensureDeferred
async def test_points_that_are_not_taken_are_told_and_counted(place: Place, logged: Logged) -> None:
    """Of a request that was accepted, and so does not come again; for the ledger they are delivered."""
    place.sink.answers.extend([take(2, "too old"), take(3, "too old"), take(0, "a warning")])
    place.many()
    reporter = place.report()
    await reporter.stopService()
    sent = [seen.data for seen in place.sink.requests]
    assert len(sent) == len(set(sent)) > 1
    assert reporter.numbers()["points_rejected"] == 5
    ledger = reporter.ledger()
    assert (ledger["delivered"], ledger["dropped"]) == (ledger["collected"], {})
    [line] = [text for text in logged.texts() if "does not take" in text]
    assert f"{place.server.url} does not take 2 points of a request (too old); further ones are only counted" in line


@pytest_twisted.ensureDeferred
async def test_a_spool_is_delivered_by_the_next_life(place: Place, tmp_path: Path) -> None:
    """The requests of a life that found nobody, with their own resource, before those of the next."""
    await place.server.stop()
    place.registry.counter("jobs").inc(5)
    first = place.report(spool=tmp_path, resource={"service.name": "first"})
    await first.stopService()
    assert first.ledger()["spooled"] == first.ledger()["collected"]
    await place.server.start()
    second = place.report(spool=tmp_path, resource={"service.name": "second"})
    await second.stopService()
    assert [read_request(data)[0]["service.name"] for data in place.sink.accepted] == ["first", "second"]
    assert place.values("jobs") == [5, 5]


def test_its_delivery_is_one() -> None:
    """With all that IDelivery promises; and where it reports to is the URL."""
    reactor = FakeReactor()
    reporter = backends.otlp(MetricsRegistry(reactor.clock), URL, reactor=reactor)
    assert (reporter.where, reporter.running) == (URL, False)
    reporter.startService()
    assert verifyObject(IDelivery, reporter._delivery)
    assert "points_rejected" not in reporter.numbers()
    reporter.stopService()
    reactor.pump([0.01] * 600)
    assert reactor.getDelayedCalls() == []
    check_books(reporter)


# Answers


@given(st.binary(max_size=1000))
def test_any_answer_is_read(text: bytes) -> None:
    """Whatever a server says, there is a number and a line."""
    rejected, reason = OTLP.rejected(text, None)
    assert rejected >= 0
    for line in (reason, OTLP.reason(text, None)):
        assert line == "" or line.isprintable()


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=1500))
def test_a_partial_success_is_read(rejected: int, message: str) -> None:
    """Also if only the beginning of the answer was kept; a negative number is none."""
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = rejected
    response.partial_success.error_message = message
    assert OTLP.rejected(response.SerializeToString()[:1000], None)[0] == max(rejected, 0)


def test_a_reason_that_is_no_message_is_told_as_it_is() -> None:
    """A proxy knows nothing of protobuf; and a reason with the token in it is none."""
    assert OTLP.reason(b"<h1>Bad\n request</h1>", None) == "<h1>Bad request</h1>"
    assert OTLP.reason(b"\x12\x05 said", None) == "said"
    assert OTLP.reason(b"\x12\x19not " + TOKEN.encode(), Authorization(TOKEN)) == ""


# Arguments


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"url": "http://127.0.0.1:4318"}, "the URL has no path; give all of it, such as http://127.0.0.1:4318/v1/met"),
        ({"url": "tcp:127.0.0.1:4318"}, "the URL is none"),
        ({"url": "http://metrics.example/v1/metrics", "authorization": "token"}, "give a URL of https://"),
        ({"authorization": "two words"}, "the authorization is none"),
        ({"interval": 0.5}, "0.5 seconds is too short"),
        ({"resource": {"": "x"}}, "attribute '' is not called as one can be"),
        ({"resource": {"a b": "x"}}, "attribute 'a b' is not called as one can be"),
        ({"resource": {"a\n": "x"}}, "attribute 'a\\n' is not called as one can be"),
        ({"resource": {1: "x"}}, "attribute 1 is not called as one can be"),
        ({"resource": {"a": ""}}, "attribute a='' has no value"),
        ({"resource": {"a": None}}, "attribute a=None has no value"),
        ({"resource": {"a": "{fqdn}"}}, "attribute a='{fqdn}' has {fqdn}; only {host}"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], part: str) -> None:
    """At once, in one line that says what is wrong."""
    with pytest.raises(ValueError, match=re.escape(part)) as refused:
        backends.otlp(MetricsRegistry(), **{"url": URL, **arguments})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong", [{"url": "http://metrics.example/v1/metrics"}, {"resource": {"a": ""}}, {"interval": 0.1}]
)
def test_a_wrong_argument_does_not_tell_the_token(wrong: dict[str, Any]) -> None:
    """Not even the variables of a verbose traceback do."""
    make: Callable[..., Any] = backends.otlp
    with pytest.raises(ValueError) as raised:  # noqa: PT011  whichever it is, it must not show the token
        make(MetricsRegistry(), **{"url": URL, "authorization": TOKEN, **wrong})
    frames = [entry.frame for entry in raised.traceback[1:]]
    text = "\n".join([str(raised.value), *(f"{frame.f_locals!r}" for frame in frames)])
    assert "resource" in text  # the variables are there
    assert "canary" not in text


@pytest_twisted.ensureDeferred
async def test_a_token_is_in_the_header_and_nowhere_else(place: Place, logged: Logged) -> None:
    """Also when the collector throws it back."""
    place.sink.answers.append(answers.status(401, b"\x12\x1bnot Bearer " + TOKEN.encode()))
    reporter = place.report(authorization=TOKEN)
    await reporter.stopService()
    assert {seen.authorization for seen in place.sink.requests} == {f"Bearer {TOKEN}"}
    assert reporter.ledger()["dropped"].keys() == {"refused"}
    texts = [*logged.texts(), repr(reporter), repr(vars(reporter)), repr(vars(reporter._delivery))]
    assert not [text for text in texts if "canary" in text]
