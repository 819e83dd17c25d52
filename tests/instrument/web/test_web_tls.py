"""TLS and HTTP/2: the same Site, negotiated by ALPN, and the same numbers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, InformationalResponseReceived, ResponseReceived, StreamEnded
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.web.server import Site

from tests.instrument.web.applications import (
    DELAY,
    TEXT,
    Never,
    OnlyGet,
    Page,
    answer_later,
    gzipped,
    raise_error,
    send_events,
    text,
    tree,
    twisted_socket,
)
from tests.instrument.web.loopback import (
    HELLO,
    HOST,
    Client,
    News,
    Stage,
    answers,
    check_sums,
    counted,
    handshake,
    normal,
    request,
    routes,
)
from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument.web import measure_site

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # by Twisted itself

NAME = "site.example"


class Authority:
    """A certificate authority for one test run: what a server shows, and what its clients trust."""

    def __init__(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert(NAME)
        self.server = PrivateCertificate.loadPEM(certificate.private_key_and_cert_chain_pem.bytes()).options()
        self._trusted = Certificate.loadPEM(authority.cert_pem.bytes())

    async def connect(self, stage: Stage, site: Site, protocol: Any, *speaks: bytes) -> Any:
        """Serve ``site`` over TLS and connect ``protocol`` to it."""
        port = the_reactor().listenSSL(0, site, self.server, interface=HOST)
        stage.at_end(port.stopListening)
        options = optionsForClientTLS(NAME, self._trusted, acceptableProtocols=list(speaks))
        endpoint = wrapClientTLS(options, TCP4ClientEndpoint(the_reactor(), HOST, port.getHost().port))
        return await connectProtocol(endpoint, protocol)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Http2Client(Protocol, News):
    """Asks for several pages at once, and keeps what comes back by stream."""

    def __init__(self) -> None:
        News.__init__(self)
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.headers: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self._continued: set[int] = set()
        self._ended: set[int] = set()

    def connectionMade(self) -> None:
        self._http.initiate_connection()
        self._flush()

    def ask(self, path: str, method: str = "GET", whole: bool = True, **headers: str) -> int:
        """Send a request, all of it unless there is a body to follow; returns the number of its stream."""
        stream = self._http.get_next_available_stream_id()
        target = {":method": method, ":path": path, ":scheme": "https", ":authority": NAME}
        self._http.send_headers(stream, [*target.items(), *headers.items()], end_stream=whole)
        self._flush()
        return int(stream)

    async def continued(self, stream: int) -> None:
        """Wait until the server has read the headers of a request that expects 100-continue."""
        while stream not in self._continued:
            await self.news()

    def follow(self, stream: int, body: bytes) -> None:
        """Send the body of the request on ``stream``."""
        self._http.send_data(stream, body, end_stream=True)
        self._flush()

    def reset(self, stream: int) -> None:
        """Want no more of this stream."""
        self._http.reset_stream(stream, ErrorCodes.CANCEL)
        self._flush()

    async def answered(self, *streams: int) -> list[tuple[str, bytes]]:
        """Wait for the ends of ``streams``; returns their codes and bodies."""
        while not self._ended.issuperset(streams):
            await self.news()
        return [(self.headers[stream][":status"], self.bodies[stream]) for stream in streams]

    def dataReceived(self, data: bytes) -> None:
        for event in self._http.receive_data(data):
            if isinstance(event, ResponseReceived):
                self.headers[event.stream_id] = {**dict(event.headers), "date": "now"}
            elif isinstance(event, DataReceived):
                self.bodies[event.stream_id] += event.data
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, InformationalResponseReceived):
                self._continued.add(event.stream_id)
            elif isinstance(event, StreamEnded):
                self._ended.add(event.stream_id)
        self._flush()
        self.tell()

    def _flush(self) -> None:
        self.transport.write(self._http.data_to_send())


def application() -> Any:
    return tree(
        text=text(TEXT),
        gzip=gzipped(text(TEXT)),
        late=Page(answer_later(b"late")),
        error=Page(raise_error),
        echo=Page(lambda request: request.content.read()),
        head=OnlyGet(lambda request: TEXT),
    )


def wrapped(registry: MetricsRegistry, **options: Any) -> Site:
    return Site(TimedResource(application(), registry, **options))


def measured(registry: MetricsRegistry, **options: Any) -> Site:
    site = Site(application())
    measure_site(site, registry, **options)
    return site


@pytest_twisted.ensureDeferred
async def test_a_tls_site_is_measured_like_any_other(stage: Stage, authority: Authority) -> None:
    """HTTP/1.1 over TLS: the same bytes, each request counted once."""
    registry = MetricsRegistry()
    received = []
    for root in (application(), TimedResource(application(), registry)):
        client = await authority.connect(stage, Site(root), Client(), b"http/1.1")
        client.send(request("/text", close=False), request("/late", close=False), request("/nothing"))
        await client.closed()
        received.append(normal(client.received))
    assert received[0] == received[1]
    sent = sum(len(answer.body) for answer in answers(received[1]))
    assert counted(registry) == {"requests": 3, "blocking": 3, "2xx": 2, "4xx": 1, "bytes_sent": sent}


@pytest_twisted.ensureDeferred
async def test_a_websocket_over_tls_is_an_upgrade(stage: Stage, authority: Authority) -> None:
    """It echoes, and its handshake is the whole request, however it ends."""
    registry = MetricsRegistry()
    root = TimedResource(tree(socket=twisted_socket()), registry)
    client = await authority.connect(stage, Site(root), Client())
    client.send(handshake("/socket"))
    await client.until(b"\r\n\r\n")
    assert counted(registry) == {"requests": 1, "blocking": 1, "upgrades": 1}
    client.send(HELLO)
    await client.until(b"hello")
    client.hang_up()
    await client.closed()
    assert counted(registry) == {"requests": 1, "blocking": 1, "upgrades": 1}


@pytest.mark.parametrize("measure", [wrapped, measured])
@pytest_twisted.ensureDeferred
async def test_http2_requests_are_counted_one_by_one(
    stage: Stage, authority: Authority, logged: Logged, measure: Callable[..., Site]
) -> None:
    """Requests that share a connection are answered as on a bare Site, and each is measured by itself."""
    registry = MetricsRegistry()
    seen = []
    for site in (Site(application()), measure(registry)):
        client = await authority.connect(stage, site, Http2Client(), b"h2")
        streams = [client.ask("/late"), client.ask("/text"), client.ask("/text", "HEAD"), client.ask("/error")]
        streams += [client.ask("/nothing"), client.ask("/gzip", **{"accept-encoding": "gzip"})]
        streams += [client.ask("/echo", "POST", whole=False), client.ask("/head", "HEAD")]
        client.follow(streams[-2], TEXT)
        got = await client.answered(*streams)
        seen.append((got, client.headers))
        client.transport.loseConnection()
    assert len(logged.flush(ArithmeticError)) == 2
    assert seen[0] == seen[1]
    assert [code for code, body in got] == ["200", "200", "200", "500", "404", "200", "200", "200"]
    assert counted(registry) == {
        **{"requests": 8, "blocking": 8, "2xx": 6, "4xx": 1, "5xx": 1},
        **{"bytes_received": len(TEXT), "bytes_sent": sum(len(body) for code, body in got)},
    }
    plain = {"GET-late": 1, "GET-text": 1, "GET-error": 1, "GET-gzip": 1, "_404": 1}
    assert routes(registry) == plain | {"HEAD-text": 1, "HEAD-head": 1, "POST-echo": 1}
    check_sums(registry)
    requests, blocking = registry.timer("http.requests"), registry.timer("http.blocking")
    assert requests.max > 0.9 * DELAY
    assert blocking.sum < requests.sum
    assert registry.timer("http.first_byte").count == 8


@pytest.mark.parametrize("measure", [wrapped, measured])
@pytest_twisted.ensureDeferred
async def test_an_http2_request_waits_for_its_body(
    stage: Stage, authority: Authority, measure: Callable[..., Site]
) -> None:
    """Known from the second request of a connection on, if not from the first; and so is what asks for no resource."""
    registry = MetricsRegistry()
    client = await authority.connect(stage, measure(registry), Http2Client(), b"h2")
    for length in ({}, {"content-length": "3"}):
        stream = client.ask("/echo", "POST", whole=False, expect="100-continue", **length)
        await client.continued(stream)
        await deferLater(the_reactor(), DELAY)
        client.follow(stream, b"abc")
        assert await client.answered(stream) == [("200", b"abc")]
    assert await client.answered(client.ask("*", "OPTIONS")) == [("200", b"")]
    client.transport.loseConnection()
    wait = registry.timer("http.body_wait")
    assert wait.count == (1 if measure is wrapped else 2)
    assert wait.min > 0.9 * DELAY
    assert routes(registry) == {"POST-echo": 2, "OPTIONS-_star": 1}


@pytest_twisted.ensureDeferred
async def test_an_http2_client_is_told_the_phases(stage: Stage, authority: Authority) -> None:
    """In one header of each answer, which is the same in everything else."""
    seen = []
    for options in ({}, {"server_timing": True}):
        site = measured(MetricsRegistry(), **options)
        client = await authority.connect(stage, site, Http2Client(), b"h2")
        await client.answered(client.ask("/text"), client.ask("/late"), client.ask("/head", "HEAD"))
        seen.append(client.headers)
        client.transport.loseConnection()
    quiet, told = seen
    for stream, headers in told.items():
        assert re.fullmatch(r"(blocking;dur=\d+\.\d+, )?total;dur=\d+\.\d+", headers.pop("server-timing")), stream
    assert told == quiet


@pytest_twisted.ensureDeferred
async def test_http2_events_are_long_lived(stage: Stage, authority: Authority) -> None:
    """On a stream of their own, next to which others are plain requests."""
    registry = MetricsRegistry()
    never = Never(b"data: 1\n\n", before=send_events)
    root = TimedResource(tree(events=never, text=text(TEXT)), registry)
    client = await authority.connect(stage, Site(root), Http2Client(), b"h2")
    client.ask("/events")
    await never.began
    assert await client.answered(client.ask("/text")) == [("200", TEXT)]
    assert registry.gauge("http.active_long_lived").value == 1
    client.transport.abortConnection()
    await never.gone
    assert counted(registry) == {
        **{"requests": 1, "long_lived": 1, "blocking": 2, "2xx": 1, "aborted": 1},
        "bytes_sent": len(b"data: 1\n\n" + TEXT),
    }


@pytest_twisted.ensureDeferred
async def test_an_http2_stream_that_is_reset_was_aborted(stage: Stage, authority: Authority) -> None:
    """The client gives one request up and keeps the connection, on which the next one is answered."""
    registry = MetricsRegistry()
    never = Never(b"so far")
    root = TimedResource(tree(never=never, text=text(TEXT)), registry)
    client = await authority.connect(stage, Site(root), Http2Client(), b"h2")
    stream = client.ask("/never")
    await never.began
    await deferLater(the_reactor(), 0)  # its render has not returned before
    assert registry.gauge("http.active").value == 1
    client.reset(stream)
    await never.gone
    assert await client.answered(client.ask("/text")) == [("200", TEXT)]
    client.transport.loseConnection()
    assert counted(registry) == {
        "requests": 2,
        "blocking": 2,
        "aborted": 1,
        "2xx": 1,
        "bytes_sent": len(b"so far" + TEXT),
    }


@pytest_twisted.ensureDeferred
async def test_a_lost_http2_connection_aborts_all_its_requests(stage: Stage, authority: Authority) -> None:
    """Every request that waits on the connection ends with it."""
    registry = MetricsRegistry()
    pages = {"one": Never(), "two": Never()}
    client = await authority.connect(stage, Site(TimedResource(tree(**pages), registry)), Http2Client(), b"h2")
    for path, page in pages.items():
        client.ask(f"/{path}")
        await page.began
    client.transport.abortConnection()
    for page in pages.values():
        await page.gone
    assert counted(registry) == {"requests": 2, "blocking": 2, "aborted": 2}
