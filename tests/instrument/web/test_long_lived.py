"""Long-lived answers: events, long polls and websockets, whose time is nobody's latency, however they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.server import NOT_DONE_YET
from twisted.web.util import DeferredResource

from tests.instrument.web.applications import (
    Branch,
    Page,
    autobahn_socket,
    finish_in_vain,
    first,
    gzipped,
    raise_error,
    send_events,
    tree,
    twisted_socket,
)
from tests.instrument.web.loopback import HELLO, Stage, check_sums, counted, handshake, request, routes
from tests.instrument.web.wire import Times
from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument.web import set_long_lived


class Waiting(Times):
    """A measured Site with one page, whose requests it keeps."""

    def __init__(self, measure: bool) -> None:
        super().__init__(measure)
        self.kept: list[Any] = []

    def keep(self, request: Any) -> int:
        """A page that does nothing more."""
        self.kept.append(request)
        return NOT_DONE_YET

    @property
    def active(self) -> tuple[object, object]:
        """The gauges: of plain requests, and of the long-lived ones."""
        registry = self.registry
        return registry.gauge("http.active").value, registry.gauge("http.active_long_lived").value

    @property
    def long_lived(self) -> list[float]:
        return self.of("http.long_lived")


@pytest.fixture(params=["TimedResource", "measure_site"])
def site(request: pytest.FixtureRequest) -> Waiting:
    return Waiting(measure=request.param == "measure_site")


def write_event(request: Any) -> None:
    request.write(b"data: 1\n\n")


def begin_events(request: Any) -> None:
    send_events(request)
    write_event(request)


# However they begin, and however they end

BEGINNINGS: dict[str, Callable[[Any], object]] = {
    "events": begin_events,
    "a long poll": set_long_lived,
    "a long poll that has begun to answer": lambda request: [request.write(b"so far"), set_long_lived(request)],
    "events that are said to be long-lived": lambda request: [set_long_lived(request), begin_events(request)],
    "a long poll, said twice": lambda request: [set_long_lived(request), set_long_lived(request)],
}

ENDS: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "the server finishes": (lambda wire, request: request.finish(), "2xx"),
    "the client is gone": (lambda wire, request: wire.lose(), "aborted"),
    "the client is gone, and the server finishes": (
        lambda wire, request: [wire.lose(), finish_in_vain(request)],
        "aborted",
    ),
    "the server fails": (lambda wire, request: [request.setResponseCode(500), request.finish()], "5xx"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_its_time_is_not_a_requests_time(site: Waiting, beginning: str, later: bool, end: str) -> None:
    """It is active as what it is, and counted as what it was, whether that shows in ``render`` or later."""
    begin = BEGINNINGS[beginning]
    wire = site.connect(Page(site.keep if later else first(begin, site.keep)))
    wire.send(request(close=False))
    if later:
        assert site.active == (1, 0)
        site.reactor.advance(1)
        begin(site.kept[0])
    assert site.active == (0, 1)
    site.reactor.advance(60)
    finish, outcome = ENDS[end]
    finish(wire, site.kept[0])
    assert site.active == (0, 0)
    assert (site.requests, site.long_lived) == ([], [60 + later])
    numbers = counted(site.registry)
    numbers.pop("bytes_sent", None)
    assert numbers == {"long_lived": 1, "blocking": 1, outcome: 1}
    check_sums(site.registry)


def test_all_requests_are_one_or_the_other(site: Waiting) -> None:
    """Plain ones and long-lived ones add up to all, on one route as on the Site."""
    pages = [Page(first(begin, site.keep)) for begin in BEGINNINGS.values()] + [Page(site.page()), Page(site.keep)]
    wire = site.connect(Branch(lambda name: pages[int(name)]))
    for number in range(len(pages)):
        wire.connect()
        wire.send(request(f"/{number}"))
    assert site.active == (1, len(BEGINNINGS))
    for each in site.kept:
        each.finish()
    assert site.active == (0, 0)
    numbers = counted(site.registry)
    assert (numbers["requests"], numbers["long_lived"]) == (2, len(BEGINNINGS))
    assert routes(site.registry) == {"GET-_": len(pages)}
    check_sums(site.registry)


# What is a stream of events


@pytest.mark.parametrize(
    "kind", [b"text/event-stream", b"text/event-stream; charset=utf-8", b"Text/Event-Stream;charset=utf-8"]
)
def test_events_are_known_by_their_type(site: Waiting, kind: bytes) -> None:
    """In any letters, with any parameters."""
    site.connect(Page(first(lambda request: request.setHeader(b"Content-Type", kind), site.keep))).send(request())
    assert site.active == (1, 0)
    write_event(site.kept[0])
    assert site.active == (0, 1)


@pytest.mark.parametrize("kind", [b"text/html", b"application/x-text/event-stream", b""])
def test_other_streams_are_plain_requests(site: Waiting, kind: bytes) -> None:
    """A long download is waited for."""
    site.connect(Page(first(lambda request: request.setHeader(b"Content-Type", kind), site.keep))).send(request())
    write_event(site.kept[0])
    assert site.active == (1, 0)
    site.reactor.advance(3)
    site.kept[0].finish()
    assert site.requests == [3]


@pytest.mark.parametrize("wrap", [lambda page: page, lambda page: tree(a=page), gzipped])
def test_events_that_are_over_at_once_are_plain(site: Waiting, wrap: Callable[[Any], Any]) -> None:
    """What is answered in one go has kept nobody waiting on purpose."""
    site.connect(wrap(Page(first(send_events, site.page(held=0.5))))).send(request("/a"))
    assert (site.requests, site.long_lived) == ([0.5], [])


def test_events_of_a_resource_that_is_found_later(site: Waiting) -> None:
    """They begin in another turn than their request."""
    found: Deferred[Any] = Deferred()
    site.connect(Branch(lambda name: DeferredResource(found))).send(request("/a"))
    assert site.active == (1, 0)
    found.callback(Page(first(begin_events, site.keep)))
    assert site.active == (0, 1)
    site.kept[0].finish()
    assert site.active == (0, 0)


def test_an_error_before_the_events_is_a_plain_request(site: Waiting, logged: Logged) -> None:
    """Its answer is the page that tells of it."""
    site.connect(Page(first(send_events, raise_error))).send(request())
    assert len(logged.flush(ArithmeticError)) == 1
    assert counted(site.registry)["requests"] == 1


# set_long_lived where there is nothing to say


def test_what_has_ended_cannot_become_long_lived(site: Waiting) -> None:
    """It is counted already."""
    wire = site.connect(Page(site.keep))
    wire.send(request(close=False))
    site.kept[0].finish()
    set_long_lived(site.kept[0])
    wire.send(request())
    wire.lose()
    set_long_lived(site.kept[1])
    assert site.active == (0, 0)
    assert counted(site.registry) == {"requests": 2, "blocking": 2, "2xx": 1, "aborted": 1}


def test_a_request_that_nobody_measures_can_be_called_anything() -> None:
    """Libraries may call it wherever they are used."""
    site = Waiting(measure=False)
    site.connect(Page(site.page())).site.resource = Page(first(set_long_lived, site.page()))
    set_long_lived(object())


# Websockets


def test_a_websocket_is_an_upgrade_and_no_long_lived_request(site: Waiting) -> None:
    """Its request is over with the handshake, and counted once, whatever comes after."""
    wire = site.connect(tree(a=twisted_socket()))
    wire.send(handshake("/a"))
    assert site.active == (0, 0)
    site.reactor.advance(60)
    wire.send(HELLO)
    wire.lose()
    assert site.active == (0, 0)
    assert (site.requests, site.long_lived) == ([0], [])
    assert counted(site.registry) == {"requests": 1, "blocking": 1, "upgrades": 1}
    check_sums(site.registry)


def test_a_request_that_is_finished_after_its_upgrade_was_counted(site: Waiting) -> None:
    """Twisted Web lets a page do so; the upgrade was the end of it."""
    socket = twisted_socket()
    wire = site.connect(Page(lambda request: [site.keep(request), socket.render(request)][-1]))
    wire.send(handshake())
    site.kept[0].finish()
    assert counted(site.registry) == {"requests": 1, "blocking": 1, "upgrades": 1}


@pytest.mark.parametrize("socket", [twisted_socket, autobahn_socket])
@pytest_twisted.ensureDeferred
async def test_a_websocket_whose_client_hangs_up_was_counted_once(stage: Stage, socket: Callable[[], Any]) -> None:
    """Of both implementations, over a real connection that is aborted in the middle."""
    registry = MetricsRegistry()
    client = await stage.connect(stage.serve(TimedResource(tree(a=socket()), registry)))
    client.send(handshake("/a"))
    await client.until(b"\r\n\r\n")
    client.send(HELLO)
    await client.until(b"hello")
    client.hang_up()
    await client.closed()
    await deferLater(the_reactor(), 0.02)  # so that the server knows as well
    assert counted(registry) == {"requests": 1, "blocking": 1, "upgrades": 1}
    assert registry.timer("http.requests").sum < 5
