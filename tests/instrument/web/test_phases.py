"""The phases of a request, and its sizes: the wait for the body, the first byte and the last, and Server-Timing."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.instrument.web.applications import (
    TEXT,
    Branch,
    Never,
    OnlyGet,
    Page,
    first,
    gzipped,
    raise_error,
    send_events,
    text,
    tree,
    twisted_socket,
)
from tests.instrument.web.loopback import answers, counted, handshake, request, routes
from tests.instrument.web.wire import Times, Wire
from tests.strict import Logged
from txmetrics import TimedResource


@pytest.fixture(params=["TimedResource", "measure_site"])
def times(request: pytest.FixtureRequest) -> Times:
    return Times(measure=request.param == "measure_site")


@pytest.fixture
def site() -> Times:
    """A Site that is measured from the beginning."""
    return Times(measure=True)


# Waiting for the body

UPLOADS = {
    "content-length": (request("/", method="POST", body=b"abc", close=False)[:-3], b"abc"),
    "chunked": (request("/", "Transfer-Encoding: chunked", method="POST", close=False), b"3\r\nabc\r\n0\r\n\r\n"),
    "HTTP/1.0": (request("/", method="POST", body=b"abc", version="1.0")[:-3], b"abc"),
    "a body to a GET": (request("/", body=b"abc", close=False)[:-3], b"abc"),
}


def echo(request: Any) -> bytes:
    return bytes(request.content.read())


@pytest.mark.parametrize("kind", UPLOADS)
def test_a_body_is_waited_for_from_the_headers_on(site: Times, kind: str) -> None:
    """Not from the first line on, and not as a part of the request's time."""
    headers, body = UPLOADS[kind]
    wire = site.connect(Page(first(site.page(held=0.5), echo)))
    wire.send(headers[:-10])
    site.reactor.advance(4)
    wire.send(headers[-10:])
    site.reactor.advance(2)
    wire.send(body[:2])
    site.reactor.advance(1)
    wire.send(body[2:])
    assert answers(wire.received)[0].body == b"abc"
    assert site.body_wait == [3]
    assert site.requests == [0.5]
    assert counted(site.registry)["bytes_received"] == 3


def test_a_body_that_comes_with_its_headers_is_not_waited_for(site: Times) -> None:
    """The wait is there, and is nothing."""
    site.connect(Page(echo)).send(request(method="POST", body=b"abc"))
    assert site.body_wait == [0]


def test_requests_without_a_body_have_no_wait(site: Times) -> None:
    """They would only bury the others' in zeros."""
    wire = site.connect(Page(site.page()))
    wire.send(request(close=False), request(method="HEAD", close=False), request(method="POST"))
    assert counted(site.registry)["2xx"] == 3
    assert site.body_wait == []


def test_a_wrapper_learns_of_the_wait_after_the_first_request(times: Times) -> None:
    """On the same connection and on new ones; a Site that is measured from the beginning knows of the first, too."""
    headers, body = UPLOADS["content-length"]
    wire = times.connect(Page(echo))

    def upload(seconds: float) -> None:
        wire.send(headers)
        times.reactor.advance(seconds)
        wire.send(body)

    upload(1)
    known = len(times.body_wait)
    upload(2)
    wire.connect()
    upload(5)
    assert times.body_wait == ([1, 5] if known else [2, 5])
    assert times.registry.timer("http.body_wait").count == known + 2
    assert counted(times.registry) == {"requests": 3, "blocking": 3, "2xx": 3, "bytes_received": 9, "bytes_sent": 9}


def test_pipelined_bodies_are_waited_for_one_by_one(site: Times) -> None:
    """The wait for the second begins when Twisted Web reads its headers: when the first request was answered."""
    headers, body = UPLOADS["content-length"]
    wire = site.connect(Page(site.page(later=1)))
    wire.send(headers + body + headers)
    site.reactor.advance(1)
    assert site.body_wait == [0]
    site.reactor.advance(3)
    wire.send(body)
    site.reactor.advance(1)
    assert site.body_wait == [0, 3]
    assert site.requests == [1, 1]


def test_an_upload_that_is_never_complete_is_no_request(site: Times) -> None:
    """As on a Site of its own, which never hears of it."""
    wire = site.connect(Page(echo))
    wire.send(UPLOADS["chunked"][0])
    wire.lose()
    assert counted(site.registry) == {}


# The first byte, and the last


def test_a_streamed_answer_has_a_first_byte_and_a_last(times: Times) -> None:
    """The first write and the finish, which may be far apart; further writes are neither."""

    def answer(request: Any) -> int:
        for seconds in (1, 2, 3):
            times.reactor.callLater(seconds, request.write, b"part")
        times.reactor.callLater(4, request.finish)
        return NOT_DONE_YET

    times.connect(Page(answer)).send(request())
    for _ in range(4):
        times.reactor.advance(1)
    assert (times.blocking, times.first_byte, times.requests) == ([0], [1], [4])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "wrap", [lambda page: page, gzipped, lambda page: tree(a=page), lambda page: tree(a=gzipped(page))]
)
def test_an_answer_begins_at_its_first_write(times: Times, wrap: Callable[[Any], Any], method: str) -> None:
    """Whether a body comes or none, and before the encoder has anything to send."""

    def answer(request: Any) -> int:
        times.reactor.advance(0.25)
        times.reactor.callLater(1, request.write, TEXT)
        times.reactor.callLater(3, request.finish)
        return NOT_DONE_YET

    times.connect(wrap(Page(answer))).send(request("/a", "Accept-Encoding: gzip", method=method))
    times.reactor.advance(1)
    times.reactor.advance(2)
    assert (times.blocking, times.first_byte, times.requests) == ([0.25], [1.25], [3.25])


def test_an_empty_answer_begins_when_it_ends(times: Times) -> None:
    """A finish without a write sends the headers."""
    times.connect(Page(times.page(held=0.25, later=2))).send(request())
    times.reactor.advance(2)
    assert times.first_byte == times.requests == [2.25]


def test_an_error_has_a_first_byte(times: Times, logged: Logged) -> None:
    """That of the page that tells of it."""
    times.connect(Page(first(times.page(held=0.25), raise_error))).send(request())
    assert len(logged.flush(ArithmeticError)) == 1
    assert times.first_byte == times.blocking == times.requests == [0.25]


def test_nobody_gets_a_first_byte_after_hanging_up(times: Times) -> None:
    """What is written to a client that is gone does not count."""
    seen = []
    wire = times.connect(Page(lambda request: (seen.append(request), NOT_DONE_YET)[1]))
    wire.send(request())
    wire.lose()
    seen[0].write(b"too late")
    assert (times.first_byte, times.requests) == ([], [0])


def test_what_is_written_while_a_head_is_faked_is_no_first_byte(times: Times) -> None:
    """It goes nowhere: the answer begins when the page has returned."""

    def answer(request: Any) -> int:
        request.write(b"nowhere")
        times.reactor.advance(0.25)
        return NOT_DONE_YET

    times.connect(OnlyGet(answer)).send(request(method="HEAD"))
    assert times.first_byte == [0.25]


def test_an_upgrade_has_no_first_byte(times: Times) -> None:
    """Its handshake is the websocket's own."""
    wire = times.connect(tree(a=twisted_socket()))
    wire.send(handshake("/a"))
    assert wire.received.startswith(b"HTTP/1.1 101")
    assert counted(times.registry) == {"requests": 1, "blocking": 1, "upgrades": 1}
    assert times.first_byte == []


# Server-Timing


def timings(received: bytes) -> list[dict[str, float]]:
    """The phases that each response in ``received`` tells, in milliseconds."""
    found = []
    for line in re.findall(rb"(?im)^server-timing: ([^\r]*)\r$", received):
        metrics = re.fullmatch(rb"\w+;dur=\d+\.\d+(, \w+;dur=\d+\.\d+)*", line)  # as the header's grammar has it
        assert metrics, line
        found.append({name.decode(): float(time) for name, time in re.findall(rb"(\w+);dur=([\d.]+)", line)})
    return found


def test_clients_are_told_the_phases(site: Times) -> None:
    """In milliseconds, as far as they are known before the first byte."""
    headers, body = UPLOADS["content-length"]
    wire = site.connect(tree(now=Page(site.page(held=0.25)), a=Page(site.page(held=0.25, later=1))), server_timing=True)
    wire.send(request("/now", close=False))
    wire.send(headers.replace(b"/", b"/a", 1))
    site.reactor.advance(2)
    wire.send(body)
    site.reactor.advance(1)
    assert timings(wire.received) == [{"total": 250}, {"body": 2000, "blocking": 250, "total": 1250}]


ANSWERS: dict[str, Any] = {
    "an answer": (text(b"now"), "GET"),
    "a streamed answer": (
        Page(lambda request: [request.write(b"1"), request.write(b"2"), request.finish(), 1][-1]),
        "GET",
    ),
    "an empty answer": (Page(lambda request: b""), "GET"),
    "an answer to HEAD": (text(b"now"), "HEAD"),
    "an answer to a faked HEAD": (OnlyGet(lambda request: b"now"), "HEAD"),
    "an answer to a faked HEAD that writes": (OnlyGet(lambda request: [request.write(b"now"), b""][-1]), "HEAD"),
    "an encoded answer": (gzipped(text(TEXT)), "GET"),
    "an error": (Page(raise_error), "GET"),
    "nothing": (Branch(raise_error), "GET"),
    "what is not allowed": (OnlyGet(lambda request: b"now"), "POST"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_answer_tells_its_phases_once(times: Times, logged: Logged, kind: str) -> None:
    """And is the same in everything else; without ``server_timing`` there is nothing of it."""
    resource, method = ANSWERS[kind]
    received = []
    for wire in (
        Wire(times.reactor, resource),
        times.connect(resource),
        times.connect(resource, name="told", server_timing=True),
    ):
        wire.send(request("/a", "Accept-Encoding: gzip", method=method))
        received.append(wire.undated)
    logged.flush(ArithmeticError)
    bare, quiet, told = received
    assert quiet == bare
    assert timings(told) == [{"total": 0}]
    assert re.sub(rb"Server-Timing: [^\r]*\r\n", b"", told) == bare


def test_the_pages_own_timings_are_told_as_well(times: Times) -> None:
    """In a header of their own, as they may be."""

    def answer(request: Any) -> bytes:
        request.setHeader(b"server-timing", b"db;dur=5.0")
        return b"now"

    wire = times.connect(Page(answer), server_timing=True)
    wire.send(request())
    assert timings(wire.received) == [{"db": 5}, {"total": 0}]


# Sizes


def test_a_page_reads_its_body_from_the_beginning(times: Times) -> None:
    """Small ones and those that Twisted Web keeps in a file; their sizes are counted meanwhile."""
    seen = []

    def answer(request: Any) -> bytes:
        seen.append((request.content.tell(), len(request.content.read())))
        return b""

    wire = times.connect(tree(a=Page(answer)))
    wire.send(request("/a", method="POST", body=b"abc", close=False))
    wire.send(request("/a", method="POST", body=bytes(200_000), close=False))
    wire.send(request("/a", "Transfer-Encoding: chunked", method="POST"), b"2\r\nab\r\n0\r\n\r\n")
    assert seen == [(0, 3), (0, 200_000), (0, 2)]
    assert counted(times.registry)["bytes_received"] == 200_005
    sizes = times.registry.histogram("http.routes.POST-a.request_bytes")
    assert (sizes.count, sizes.min, sizes.max) == (3, 2, 200_000)


def test_a_body_that_was_read_in_part_stays_so() -> None:
    """A wrapper below the root may not be the first to look at it."""
    times = Times()

    def find(name: bytes, request: Any) -> Any:
        request.content.read(2)
        return TimedResource(Page(echo), times.registry)

    root = Resource()
    root.getChild = find
    wire = Wire(times.reactor, root)
    wire.send(request("/a", method="POST", body=b"abc"))
    assert answers(wire.received)[0].body == b"c"
    assert counted(times.registry)["bytes_received"] == 3


class Reticent(BytesIO):
    """A file that does not say where it has been put, as some do."""

    def seek(self, *position: int) -> None:
        super().seek(*position)


def test_a_site_may_keep_bodies_in_files_of_its_own(times: Times) -> None:
    """They need no more than ``seek`` and ``tell``."""
    wire = times.connect(Page(echo))
    wire.site.getContentFile = lambda length: Reticent()
    wire.send(request(method="POST", body=b"abc"))
    assert answers(wire.received)[0].body == b"abc"
    assert counted(times.registry) == {
        **{"requests": 1, "blocking": 1, "2xx": 1},
        **{"bytes_received": 3, "bytes_sent": 3},
    }


def test_a_page_that_closes_its_body_is_measured_all_the_same(times: Times) -> None:
    """Its size was taken before."""
    wire = times.connect(Page(lambda request: [request.content.close(), b""][-1]))
    wire.send(request(method="POST", body=b"abc"))
    assert counted(times.registry) == {"requests": 1, "blocking": 1, "2xx": 1, "bytes_received": 3}


def test_sizes_of_answers_are_those_that_were_sent(times: Times) -> None:
    """Compressed, without headers; nothing for HEAD; for a lost client what it was sent."""
    wire = times.connect(tree(a=gzipped(text(TEXT)), b=text(TEXT), c=Never(TEXT)))
    wire.send(request("/a", "Accept-Encoding: gzip", close=False))
    compressed = len(wire.received.partition(b"\r\n\r\n")[2])
    assert compressed < len(TEXT) / 2
    wire.send(request("/b", method="HEAD", close=False), request("/c"))
    wire.lose()
    sizes = {
        route: times.registry.histogram(f"http.routes.{route}.response_bytes").sum for route in routes(times.registry)
    }
    assert sizes["GET-a"] < len(TEXT) / 2
    assert (sizes["HEAD-b"], sizes["GET-c"]) == (0, len(TEXT))
    assert counted(times.registry)["bytes_sent"] == sum(sizes.values())


def test_events_are_long_lived_and_have_a_first_byte(times: Times) -> None:
    """What does not count for the latency of requests does for that of their beginnings."""
    wire = times.connect(Never(TEXT, before=first(lambda request: times.reactor.advance(0.5), send_events)))
    wire.send(request())
    times.reactor.advance(60)
    wire.lose()
    assert (times.first_byte, times.requests, times.of("http.long_lived")) == ([0.5], [], [60.5])
