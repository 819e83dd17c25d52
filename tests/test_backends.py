"""The backends: each in one sentence, and each wrong argument in one, too."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import IService
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, UNIXServerEndpoint

from tests.delivery.certificates import Authority
from tests.delivery.network import Pipe, until
from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, backends
from txmetrics.delivery import Secret
from txmetrics.reporter import STOP
from txmetrics.testing import FakeReactor, GraphiteReceiver

KEY = "3fb7a2d1-0000-4c0e-9d5e-a1b2c3d4e5f6"

Make = Callable[..., Any]


def graphite(**kwargs: Any) -> Any:
    return backends.graphite(MetricsRegistry(), **{"endpoint": "tcp:127.0.0.1:2003", **kwargs})


def hosted_graphite(**kwargs: Any) -> Any:
    return backends.hosted_graphite(MetricsRegistry(), **{"api_key": KEY, **kwargs})


def sentence(error: BaseException) -> str:
    """The text of `error`, if it is one line that tells somebody something."""
    text = str(error)
    assert re.fullmatch(r"[^\n]{20,300}", text)
    assert "argument" not in text  # the words of Python about a function that the user never called
    assert " ()" not in text
    assert KEY not in text
    return text


WRONG_ENDPOINTS = [
    "",
    "127.0.0.1:2003",
    "http://127.0.0.1:2003",
    "tcp",
    "tcp:127.0.0.1",
    "tcp:127.0.0.1:http",
    "tcp:a:1:2:3:4:5",
    "tcp:a:1:colour=red",
    "tls:127.0.0.1",
    "tls:127.0.0.1:20030:trustRoots=/nonexistent/directory",
    "unix",
    None,
    2003,
    b"tcp:127.0.0.1:2003",
]


@pytest.mark.parametrize(
    ("make", "endpoint"),
    [(graphite, each) for each in WRONG_ENDPOINTS] + [(hosted_graphite, each) for each in WRONG_ENDPOINTS if each],
)
def test_a_wrong_endpoint_is_refused(make: Make, endpoint: Any) -> None:
    """At once, with the text that is wrong and one that is right."""
    with pytest.raises(ValueError, match=r"is no endpoint such as tcp:127.0.0.1:2003") as refused:
        make(endpoint=endpoint)
    assert sentence(refused.value).startswith(repr(endpoint))


@pytest.mark.parametrize("endpoint", ["tcp:127.0.0.1:2003", "tcp:host=h:port=1:timeout=5", "tls:h:1", "unix:/run/x"])
def test_any_client_endpoint_is_taken(endpoint: str) -> None:
    """What Twisted understands is checked, and nothing is opened for it."""
    assert backends.check_endpoint(endpoint) == endpoint


@pytest.mark.parametrize("make", [graphite, hosted_graphite])
@pytest.mark.parametrize(
    ("argument", "wrong", "part"),
    [
        ("prefix", "web 1", "' '"),
        ("prefix", "web..1", "part 2"),
        ("prefix", "web1.", "part 2"),
        ("prefix", "wéb", "'é'"),
        ("prefix", "{fqdn}.web", "{fqdn}; only {host}, {pid}, {worker} and {generation}"),
        ("prefix", "{host}.{0}", "{0}; only {host}, {pid}, {worker} and {generation}"),
        ("prefix", "{host", "'{'"),
        ("prefix", "x" * 2000, "2000 characters"),
        ("dialect", "statsd", "'statsd' is unknown; choose one of dropwizard, pyformance"),
        ("durations", "hours", "'hours' is unknown; choose one of seconds, milliseconds"),
        ("interval", 0.5, "0.5 seconds is too short"),
        ("interval", float("nan"), "nan seconds is too short"),
    ],
)
def test_a_wrong_argument_is_refused(make: Make, argument: str, wrong: Any, part: str) -> None:
    """At once and not when the service starts, with the part that is wrong."""
    with pytest.raises(ValueError, match=re.escape(part)) as refused:
        make(**{argument: wrong})
    sentence(refused.value)


@pytest.mark.parametrize("make", [graphite, hosted_graphite])
def test_a_prefix_that_is_no_text_is_refused(make: Make) -> None:
    """Its type is named."""
    with pytest.raises(TypeError, match="prefix None is a NoneType, not a string"):
        make(prefix=None)


@pytest.mark.parametrize("key", ["", " ", "two words", f"{KEY}\n", f"{KEY}.x", None, 5])
def test_a_wrong_key_is_refused_without_showing_it(key: Any) -> None:
    """A key with a line end too many is still a secret."""
    with pytest.raises(ValueError, match="the API key is empty or no key") as refused:
        hosted_graphite(api_key=key)
    sentence(refused.value)


@pytest.mark.parametrize("make", [graphite, hosted_graphite])
def test_a_backend_is_a_service_that_opens_nothing_yet(make: Make) -> None:
    """It does not even ask for the reactor."""
    reporter = make()
    assert IService.providedBy(reporter)
    assert not reporter.running


class Memory:
    """A reporter on a fake reactor, connected to a receiver in memory."""

    def __init__(self, make: Make, *args: Any, **kwargs: Any) -> None:
        self.reactor, self.graphite = FakeReactor(), GraphiteReceiver()
        self.registry = MetricsRegistry(self.reactor.clock)
        self.reporter = make(self.registry, *args, reactor=self.reactor, **kwargs)
        self.reporter.startService()
        self.pipe = self.connect()

    def connect(self) -> Pipe:
        client = self.reactor.tcpClients[-1][2].buildProtocol(None)
        pipe = Pipe(self.reactor, client, self.graphite.buildProtocol(None))
        client.makeConnection(pipe)
        return pipe

    def end(self) -> None:
        self.reporter.stopService()
        self.reactor.advance(STOP + 1)
        assert self.reactor.getDelayedCalls() == []


def test_prefix_dialect_and_durations_reach_the_wire() -> None:
    """And the interval the clock."""
    memory = Memory(backends.graphite, "tcp:h:1", 5, "web1", dialect="pyformance", durations="milliseconds")
    memory.registry.timer("waits").add(0.25)
    memory.reactor.advance(5)
    assert memory.graphite.values("web1.waits.avg") == {1_000_000_005: 250.0}
    assert "web1.waits.999_percentile" in memory.graphite.names()
    assert all(name.startswith("web1.") for name in memory.graphite.names())
    memory.end()


def test_without_a_prefix_names_are_bare() -> None:
    """No dot stands before them."""
    memory = Memory(backends.graphite, "tcp:h:1")
    memory.registry.counter("jobs").inc()
    memory.reactor.advance(10)
    assert "jobs.count" in memory.graphite.names()
    memory.end()


@pytest.mark.parametrize("endpoint", ["tcp:h:2003", "TCP:h:2003", "unix:/run/socket"])
def test_a_key_in_clear_must_be_asked_for_by_name(endpoint: str) -> None:
    """Whoever names an endpoint without TLS is told what it would mean, and how to say that it is meant."""
    with pytest.raises(ValueError, match="everybody on the way could read the API key") as refused:
        hosted_graphite(endpoint=endpoint)
    sentence(refused.value)
    assert "cleartext" in str(refused.value)
    assert not hosted_graphite(endpoint=endpoint, transport="cleartext").running


@pytest.mark.parametrize(
    "arguments",
    [
        {"transport": "https", "endpoint": "tls:h:1"},
        {"transport": "tls", "endpoint": "https://h/sink"},
        {"transport": "cleartext", "endpoint": "https://h/sink"},
        {"transport": "https", "endpoint": "http://h/sink"},
        {"transport": "carrier pigeon"},
    ],
)
def test_a_transport_that_does_not_suit_its_endpoint_is_refused(arguments: dict[str, str]) -> None:
    """In one sentence that names what was given."""
    with pytest.raises(ValueError, match=r"transport|endpoint") as refused:
        hosted_graphite(**arguments)
    sentence(refused.value)
    assert repr(arguments.get("endpoint", arguments["transport"])) in str(refused.value)


def test_a_key_in_a_url_is_refused_and_not_repeated() -> None:
    """User information of a URL ends in logs."""
    with pytest.raises(ValueError, match="user") as refused:
        hosted_graphite(transport="https", endpoint=f"https://{KEY}@h/sink")
    sentence(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("endpoint", "arguments", "told"),
    [
        ("tcp:h:1", {"protocol": "udp"}, "UDP's is such as udp:"),
        ("udp:h:1", {"protocol": "pickle"}, "UDP's is such as udp:"),
        ("udp:h:0", {}, "'udp:h:0' is no endpoint such as"),
        ("udp:h:65536", {}, "is no endpoint such as"),
        ("udp:h", {}, "is no endpoint such as"),
        ("udp:a:b:1", {}, "is no endpoint such as"),
        ("udp:h:1", {"spool": "/somewhere"}, "nobody knows what has arrived"),
        ("tcp:h:1", {"protocol": "protobuf"}, "plaintext, pickle, udp"),
        ("tcp:h:1", {"replay_window": -1}, "replay window of -1 seconds"),
        ("tcp:h:1", {"replay_window": float("nan")}, "replay window of nan seconds"),
        ("https://h/sink", {}, "is a URL"),
    ],
)
def test_graphite_refuses_what_makes_no_sense(endpoint: str, arguments: dict[str, Any], told: str) -> None:
    """Each in one sentence that says what is wrong."""
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        graphite(endpoint=endpoint, **arguments)
    sentence(refused.value)


def test_graphite_is_sent_again_what_was_cut_off() -> None:
    """A second value replaces the first there, so nothing needs to be lost."""
    assert cut_off(Memory(backends.graphite, "tcp:h:1")) > 0


def test_hosted_graphite_is_sent_nothing_twice() -> None:
    """A second value would be added there: what was cut off is dropped and counted."""
    assert cut_off(Memory(backends.hosted_graphite, KEY, endpoint="tcp:h:1", transport="cleartext")) == 0


def cut_off(memory: Memory) -> int:
    """Lose the connection in the middle of a big report; how many bytes were written a second time."""
    for number in range(5000):
        memory.registry.gauge(f"some.gauge.with.a.rather.long.name.{number}").set(number)
    memory.pipe.full = True
    memory.reactor.advance(10)
    assert memory.pipe.paused
    first = memory.pipe.held.split(b"\n")
    memory.pipe.lose()
    memory.reactor.advance(1)
    second = memory.connect()
    lines = second.value().split(b"\n")[:-1]
    assert len(lines) > 1000
    assert len(lines) == len(set(lines))
    dropped = memory.reporter._delivery.counts.get("points_dropped.unconfirmed", 0)
    again = len(set(first) & set(lines))
    assert (dropped == 0) == (again > 0)
    memory.end()
    return again


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
@pytest_twisted.ensureDeferred
async def test_graphite_takes_any_endpoint(tmp_path: Path, kind: str) -> None:
    """Over TCP, TLS and a UNIX socket the same numbers arrive."""
    reactor, receiver = the_reactor(), GraphiteReceiver()
    authority = Authority(tmp_path / "trusted")
    if kind == "unix":
        port = await UNIXServerEndpoint(reactor, str(tmp_path / "socket")).listen(receiver)
        where = f"unix:{tmp_path}/socket"
    elif kind == "tls":
        server = SSL4ServerEndpoint(reactor, 0, authority.server("127.0.0.1"), interface="127.0.0.1")
        port = await server.listen(receiver)
        where = f"tls:127.0.0.1:{port.getHost().port}:trustRoots={authority.directory}"
    else:
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(receiver)
        where = f"tcp:127.0.0.1:{port.getHost().port}"
    registry = MetricsRegistry()
    registry.counter("jobs").inc(5)
    reporter = backends.graphite(registry, where, interval=3600, prefix="web1")
    reporter.startService()
    await reporter.stopService()
    await until(lambda: receiver.latest("web1.jobs.count") == 5)
    assert receiver.wrong == []
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_hosted_graphite_sends_the_key_before_each_name(tmp_path: Path, logged: Logged) -> None:
    """Over TLS, from the first line to the last, and the log does not know the key."""
    reactor, receiver = the_reactor(), GraphiteReceiver()
    authority = Authority(tmp_path / "trusted")
    server = SSL4ServerEndpoint(reactor, 0, authority.server("127.0.0.1"), interface="127.0.0.1")
    port = await server.listen(receiver)
    registry = MetricsRegistry()
    for number in range(2000):
        registry.gauge(f"g.{number}").set(number)
    where = f"tls:127.0.0.1:{port.getHost().port}:trustRoots={authority.directory}"
    reporter = backends.hosted_graphite(registry, Secret(KEY), 3600, "web1", endpoint=where)
    reporter.startService()
    await reporter.stopService()
    await until(lambda: f"{KEY}.web1.g.1999" in receiver.names())
    assert receiver.latest(f"{KEY}.web1.g.1000") == 1000
    assert all(name.startswith(f"{KEY}.web1.") for name in receiver.names())
    assert receiver.wrong == []
    assert not [text for text in logged.texts() if KEY in text or "in clear" in text]
    await port.stopListening()


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("tcp:127.0.0.1:2003", "tcp:127.0.0.1:2003"),
        (r"tcp:\:\:1:2003:timeout=3", r"tcp:\:\:1:2003"),
        ("tls:localhost:20030:timeout=3", "tls:localhost:20030"),
        ("unix:/run/carbon.sock", "unix"),
        ("udp:127.0.0.1:2003", "udp:127.0.0.1:2003"),
    ],
)
def test_where_a_reporter_reports_to_shows_no_files(endpoint: str, shown: str) -> None:
    """What a page shows of a reporter is its kind, host and port."""
    assert graphite(endpoint=endpoint).where == shown


def test_a_reporter_tells_its_own_numbers() -> None:
    """The same as in its report, and nothing before it was ever started."""
    reactor = FakeReactor()
    reporter = backends.graphite(MetricsRegistry(reactor.clock), "tcp:127.0.0.1:2003", reactor=reactor)
    assert reporter.numbers() == {}
    reporter.startService()
    reactor.advance(10)
    told = reporter.numbers()
    assert (told["reports"], told["connected"]) == (1, 0)
    assert told["queue_points"] == told["points_collected"] > 10
    reporter.stopService()
    reactor.advance(5)
