"""How long a request took and how long it held the reactor, to the second of a clock that only moves when told to."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.util import DeferredResource

from tests.instrument.web.applications import Branch, Never, OnlyGet, Page, tree, twisted_socket
from tests.instrument.web.loopback import handshake, request
from tests.instrument.web.wire import Times, Wire
from tests.strict import Logged
from txmetrics import TimedResource


@pytest.fixture(params=["TimedResource", "measure_site"])
def times(request: pytest.FixtureRequest) -> Times:
    return Times(measure=request.param == "measure_site")


def test_a_synchronous_request_takes_as_long_as_it_holds_the_reactor(times: Times) -> None:
    """Finding and rendering count for both times."""

    def find(name: bytes) -> Resource:
        times.reactor.advance(0.5)
        return Page(times.page(held=0.25))

    times.connect(Branch(find)).send(request("/a"))
    assert times.requests == times.blocking == [0.75]


def test_a_leaf_as_root_is_timed_like_any_other(times: Times) -> None:
    """A root that Twisted Web never asks for a child is timed from its render on."""
    times.connect(Page(times.page(held=0.25))).send(request())
    assert times.requests == times.blocking == [0.25]


@pytest.mark.parametrize("path", ["/", "/a"])
def test_an_asynchronous_request_holds_the_reactor_only_in_render(times: Times, path: str) -> None:
    """The total lasts until finish, however soon render has returned."""
    page = Page(times.page(held=0.25, later=3))
    times.connect(page if path == "/" else tree(a=page)).send(request(path))
    assert times.blocking == [0.25]
    assert times.requests == []
    times.reactor.advance(3)
    assert times.requests == [3.25]
    assert times.blocking == [0.25]


def test_finish_ends_both_times(times: Times) -> None:
    """What a page does after its finish is not the request's time any more."""

    def answer(request: Any) -> int:
        times.reactor.advance(0.25)
        request.finish()
        times.reactor.advance(8)
        return NOT_DONE_YET

    times.connect(tree(a=Page(answer))).send(request("/a"))
    assert times.requests == times.blocking == [0.25]


def test_an_upload_is_not_the_servers_time(times: Times) -> None:
    """The times begin when the whole body is there."""
    wire = times.connect(Page(times.page(held=0.25)))
    whole = request("/", method="POST", body=b"abc")
    wire.send(whole[:-1])
    times.reactor.advance(5)
    wire.send(whole[-1:])
    assert times.requests == times.blocking == [0.25]


@pytest.mark.parametrize("leaf", [True, False])
def test_a_pipelined_request_does_not_pay_for_the_next_one(times: Times, leaf: bool) -> None:
    """Twisted Web serves the next request inside the finish of this one, and that is not this one's time."""

    def answer(request: Any) -> bytes:
        times.reactor.advance(0.25 if request.uri == b"/1" else 2)
        return b"now"

    root = Page(answer) if leaf else Branch(lambda name: Page(answer))
    times.connect(root).send(request("/1", close=False), request("/2"))
    assert times.requests == times.blocking == [0.25, 2]


def test_a_slow_pipelined_request_does_not_pay_for_the_next_one(times: Times) -> None:
    """The same where both answers come later."""
    root = tree(a=Page(times.page(later=1)), b=Page(times.page(held=3)))
    times.connect(root).send(request("/a", close=False), request("/b"))
    times.reactor.advance(1)
    assert times.requests == [1, 3]
    assert times.blocking == [0, 3]


@pytest.mark.parametrize("leaf", [True, False])
def test_a_pipelined_error_does_not_pay_for_the_next_request(times: Times, logged: Logged, leaf: bool) -> None:
    """The same where there is no answer but an error, in getChild or in render."""

    def fail() -> None:
        times.reactor.advance(0.25)
        raise ArithmeticError("on purpose")

    good = Page(times.page(held=2))
    if leaf:
        root: Resource = Page(lambda request: fail() if request.uri == b"/bad" else good.render_GET(request))
    else:
        root = Branch(lambda name: fail() if name == b"bad" else good)
    times.connect(root).send(request("/bad", close=False), request("/good"))
    assert len(logged.flush(ArithmeticError)) == 1
    assert times.requests == times.blocking == [0.25, 2]


@pytest.mark.parametrize("leaf", [True, False])
def test_a_faked_head_is_timed_whole(times: Times, leaf: bool) -> None:
    """Twisted Web renders twice to fake a HEAD, and the second time is the one that costs."""
    resource = OnlyGet(times.page(held=0.25))
    times.connect(resource if leaf else tree(a=resource)).send(request("/a", method="HEAD"))
    assert times.requests == times.blocking == [0.25]


def test_a_lost_client_ends_the_request(times: Times) -> None:
    """The total lasts until the connection is lost, and what is finished later changes nothing."""
    wire = times.connect(Page(times.page(held=0.25, later=100)))
    wire.send(request())
    times.reactor.advance(5)
    wire.lose()
    assert times.requests == [5.25]
    assert times.blocking == [0.25]
    with pytest.raises(RuntimeError, match="after its connection was lost"):
        times.reactor.advance(100)
    assert times.requests == [5.25]


def test_a_resource_found_later_holds_the_reactor_at_first_only(times: Times) -> None:
    """What is rendered in a later turn counts for the total; blocking is about the first."""
    found: Deferred[Resource] = Deferred()
    times.connect(Branch(lambda name: DeferredResource(found))).send(request("/a"))
    times.reactor.advance(4)
    found.callback(Page(times.page(held=0.25)))
    assert times.blocking == [0]
    assert times.requests == [4.25]


def test_a_resource_that_renders_another_one_is_timed_to_its_own_end(times: Times) -> None:
    """Blocking ends with the outermost render."""

    def answer(request: Any) -> int:
        request.render(getChildForRequest(Page(times.page(held=0.25, later=1)), request))
        times.reactor.advance(0.5)
        return NOT_DONE_YET

    times.connect(tree(a=Page(answer))).send(request("/a"))
    times.reactor.advance(0.5)
    assert times.blocking == [0.75]
    assert times.requests == [1.25]


def test_a_websocket_request_is_its_handshake(times: Times) -> None:
    """The request is over when the websocket takes the connection, not when it closes."""

    def find(name: bytes) -> Any:
        times.reactor.advance(0.25)
        return twisted_socket()

    wire = times.connect(Branch(find))
    wire.send(handshake("/socket"))
    assert wire.received.startswith(b"HTTP/1.1 101")
    assert times.requests == times.blocking == [0.25]


def test_active_requests_are_those_not_finished(times: Times) -> None:
    """The gauge rises with each request that waits, and comes back to zero."""
    active = times.registry.gauge("http.active")
    root = TimedResource(tree(slow=Page(times.page(later=3)), endless=Never()), times.registry)
    first, second = Wire(times.reactor, root), Wire(times.reactor, root)
    first.send(request("/slow", close=False))
    assert active.value == 1
    second.send(request("/endless"))
    assert active.value == 2
    times.reactor.advance(3)
    assert active.value == 1
    second.lose()
    assert active.value == 0
    first.send(request("/slow"))
    assert active.value == 1
    times.reactor.advance(3)
    assert active.value == 0
