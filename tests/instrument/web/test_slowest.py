"""The slowest recent requests: which ones, for how long, and what is told of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.instrument.web.applications import Branch, Never, Page, first, raise_error, tree
from tests.instrument.web.loopback import request
from tests.instrument.web.wire import Times, Wire
from tests.strict import Logged
from txmetrics import TimedResource
from txmetrics.instrument.web import SlowRequest, set_long_lived, set_route
from txmetrics.instrument.web._slowest import KEEP, RECENT, Slowest
from txmetrics.testing import FakeReactor


def slow(seconds: float, path: str = "/") -> SlowRequest:
    return SlowRequest(seconds, 0.0, "GET /", path, 200, None, None, None)


class Ring:
    """A ring, and the time that passes for it; asked before each request whether it wants to hear of it."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.slowest = Slowest(self.reactor.clock)

    def add(self, seconds: float, path: str = "/") -> None:
        if seconds > self.slowest.floor or self.reactor.seconds() >= self.slowest.until:
            self.slowest.add(slow(seconds, path))

    def told(self) -> list[float]:
        return [each.seconds for each in self.slowest.told()]


# Which, and for how long


@given(st.lists(st.floats(0, 100) | st.sampled_from([0.0, 1.0, 2.0]), max_size=3 * KEEP))
def test_the_slowest_are_told_and_the_slowest_first(seconds: list[float]) -> None:
    """As many as there is room for; equal times are as good as others."""
    ring = Ring()
    for each in seconds:
        ring.add(each)
    assert ring.told() == sorted(seconds, reverse=True)[:KEEP]


def test_of_equally_slow_ones_the_first_stay() -> None:
    """A stream of equal requests does not cost anything."""
    ring = Ring()
    for number in range(2 * KEEP):
        ring.add(1.0, f"/{number}")
    assert [each.path for each in ring.slowest.told()] == [f"/{number}" for number in range(KEEP)]


def test_looking_changes_nothing() -> None:
    """Whoever looks next sees the same."""
    ring = Ring()
    for each in (1.0, 3.0, 2.0):
        ring.add(each)
    assert ring.told() == ring.told() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("before", [0.0, 1.0, RECENT / 2, RECENT - 1])
def test_a_request_is_told_for_five_to_ten_minutes(before: float) -> None:
    """Wherever in the five minutes it ended, whether others come meanwhile or not."""
    for others in (False, True):
        ring = Ring()
        ring.add(0.5)
        ring.reactor.advance(before)
        ring.add(9.0)
        gone = 0.0
        while 9.0 in ring.told() and gone < 3 * RECENT:
            ring.reactor.advance(10)
            gone += 10
            if others:
                ring.add(1.0)
        assert RECENT <= gone <= 2 * RECENT


def test_the_slowest_of_before_do_not_hide_those_of_now() -> None:
    """A slow five minutes are forgotten with their bar."""
    ring = Ring()
    for _ in range(KEEP):
        ring.add(9.0)
    ring.reactor.advance(2 * RECENT)
    ring.add(0.1)
    ring.add(0.2)
    assert ring.told() == [0.2, 0.1]


def test_a_long_silence_leaves_nothing() -> None:
    """However long it was."""
    ring = Ring()
    ring.add(1.0)
    ring.reactor.advance(1000 * RECENT + 1)
    assert ring.told() == []
    ring.add(2.0)
    assert ring.told() == [2.0]


def test_memory_is_bounded() -> None:
    """Twice what is told is kept, at most."""
    ring = Ring()
    for number in range(10 * KEEP):
        ring.add(float(number))
        ring.reactor.advance(RECENT / KEEP / 2)
    assert len(ring.slowest._now) + len(ring.slowest._before) <= 2 * KEEP
    assert len(ring.told()) == KEEP


# What is told


class Told(Times):
    """A Site and its ring."""

    def connect(self, root: Any, **options: Any) -> Wire:
        wire = super().connect(root, **options)
        self.timed: TimedResource = wire.site.resource
        return wire

    @property
    def told(self) -> list[SlowRequest]:
        return self.timed.slowest()


@pytest.fixture
def site() -> Told:
    return Told(measure=True)


def test_the_phases_of_a_slow_request_are_told(site: Told) -> None:
    """With its route, its path, its outcome, and when it ended."""

    def write(request: Any) -> None:
        site.reactor.callLater(1, request.write, b"now")

    wire = site.connect(tree(a=Page(first(write, site.page(held=0.25, later=3)))))
    whole = request("/a?password=secret", method="POST", body=b"abc")
    wire.send(whole[:-1])
    site.reactor.advance(2)
    wire.send(whole[-1:])
    site.reactor.advance(1)
    site.reactor.advance(2)
    assert site.told == [SlowRequest(3.25, site.reactor.seconds(), "POST /a", "/a", 200, 2.0, 0.25, 1.25)]


def test_what_did_not_happen_is_none(site: Told) -> None:
    """A client that goes away early has no code, no body and no first byte."""
    wire = site.connect(Page(site.page(later=60)))
    wire.send(request())
    site.reactor.advance(5)
    wire.lose()
    (told,) = site.told
    assert (told.seconds, told.code, told.body_wait, told.blocking, told.first_byte) == (5, None, None, 0, None)
    with pytest.raises(RuntimeError, match="after its connection was lost"):
        site.reactor.advance(60)


def test_the_slowest_request_of_a_site_is_the_first_told(site: Told) -> None:
    """Of many, in the order of their times."""
    wire = site.connect(Branch(lambda name: Page(site.page(held=float(name)))))
    for seconds in (1, 30, 2, *[0.5] * KEEP):
        wire.send(request(f"/{seconds}", close=False))
    assert [each.path for each in site.told] == ["/30", "/2", "/1", *["/0.5"] * (KEEP - 3)]
    assert {each.route for each in site.told} == {"GET /{}"}


def test_a_site_tells_of_quick_requests_when_the_slow_ones_are_forgotten(site: Told) -> None:
    """Slow is what was slowest of late."""
    wire = site.connect(Branch(lambda name: Page(site.page(held=float(name)))))
    for _ in range(KEEP + 1):
        wire.send(request("/9", close=False))
    site.reactor.advance(2 * RECENT)
    wire.connect()  # for the old connection has timed out
    wire.send(request("/0.5"))
    assert [each.seconds for each in site.told] == [0.5]


def test_what_waits_on_purpose_is_not_slow(site: Told) -> None:
    """A day of events would hide everything else."""
    wire = site.connect(Never(before=set_long_lived))
    wire.send(request())
    site.reactor.advance(86_400)
    wire.lose()
    assert site.told == []


def test_a_route_with_a_name_is_told_by_it(site: Told) -> None:
    """As its author has called it."""
    site.connect(Page(first(lambda request: set_route(request, "/users/{id}"), site.page()))).send(request("/a"))
    assert site.told[0].route == "GET /users/{id}"


def test_errors_are_told_as_well(site: Told, logged: Logged) -> None:
    """With the code that the client saw."""
    site.connect(Page(first(site.page(held=2), raise_error))).send(request())
    assert len(logged.flush(ArithmeticError)) == 1
    assert (site.told[0].seconds, site.told[0].code) == (2, 500)


@pytest.mark.parametrize(
    ("sent", "told"),
    [("/a?b=c?d", "/a"), ("/" + 500 * "a", "/" + 199 * "a"), ("/%0a%00", "/%0a%00"), ("/a;b&c?", "/a;b&c")],
)
def test_a_path_is_told_as_it_was_sent(site: Told, sent: str, told: str) -> None:
    """Not much of it, and without the query, which may hold a secret."""
    site.connect(Page(site.page())).send(request(sent))
    assert site.told[0].path == told


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/ü".encode(), "/ü"),
        ("/ü".encode("latin-1"), "/\N{REPLACEMENT CHARACTER}"),
        (b"/" + 198 * b"a" + "ü".encode(), "/" + 198 * "a" + "\N{REPLACEMENT CHARACTER}"),
        (b"/\xff\xfe\x00", "/" + 2 * "\N{REPLACEMENT CHARACTER}" + "\0"),
    ],
)
def test_a_path_of_any_bytes_is_text(site: Told, path: bytes, told: str) -> None:
    """Not every Twisted refuses such a path, and a page may put another one there."""
    site.connect(Page(first(lambda request: setattr(request, "path", path), site.page()))).send(request())
    assert site.told[0].path == told


def test_sites_have_rings_of_their_own(site: Told) -> None:
    """Each TimedResource tells of its own requests."""
    wire = site.connect(Page(site.page(held=1)))
    first_one = site.timed
    wire.send(request())
    site.connect(Page(site.page(held=2)), name="other").send(request())
    assert [each.seconds for each in first_one.slowest()] == [1]
    assert [each.seconds for each in site.told] == [2]
