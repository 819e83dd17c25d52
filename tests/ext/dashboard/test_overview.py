"""The state: the first numbers, the routes, what was slow, what blocked, and how the reporters are."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from tests.ext.dashboard.stand import BEGIN, Stand, answer
from tests.strict import Logged
from txmetrics.instrument.reactor import Block
from txmetrics.instrument.web._slowest import SlowRequest

FOLDER = "/home/somebody/secret/project"


def state(stand: Stand) -> Any:
    return stand.ask("/state").json


def big(stand: Stand) -> dict[str, Any]:
    """The first numbers, by their keys."""
    return {each["key"]: each for each in state(stand)["big"]}


def route(stand: Stand, name: str, requests: int = 0, failed: int = 0, seconds: float = 0.25) -> None:
    """What a TimedResource counts of a route, and of its Site."""
    for scope in ("http", f"http.routes.{name}"):
        for family, count in ((2, requests - failed), (3, 0), (4, 0), (5, failed)):
            stand.registry.counter(f"{scope}.status.{family}xx").inc(count)
        stand.registry.timer(f"{scope}.requests").take_in([seconds] * requests)


def test_who_tells_it() -> None:
    """The process that runs, not the one that built it; and since when."""
    stand = Stand()
    stand.reactor.advance(3)
    told = state(stand.run())
    assert (told["host"], told["pid"], told["started"]) == (socket.gethostname(), os.getpid(), BEGIN + 3)
    assert told["time"] == pytest.approx(BEGIN + 3, abs=0.1)
    stand.close()


def test_without_metrics_there_is_nothing_first() -> None:
    """Numbers of metrics that do not exist are left out, and what nobody was given for is null."""
    stand = Stand().run()
    told = state(stand)
    assert {name: told[name] for name in ("big", "routes", "slowest", "blocked", "reporters")} == {
        "big": [],
        "routes": [],
        "slowest": None,
        "blocked": None,
        "reporters": [],
    }
    assert (told["series"], told["series_not_kept"]) == (0, 0)
    stand.close()


def test_the_first_numbers() -> None:
    """In the order of sight, each with its unit, its health in a word, and the series that it is of."""
    stand = Stand()
    stand.registry.gauge("http.active").set(3)
    stand.registry.gauge("reactor.busy").set(0.1)
    route(stand, "GET-_root")
    stand.run()
    stand.seconds(9)
    stand.registry.gauge("reactor.busy").set(0.75)
    route(stand, "GET-_root", 20, failed=1)
    stand.seconds()
    shown = [(each["key"], each["value"], each["unit"], each["health"], each["series"]) for each in state(stand)["big"]]
    assert shown == [
        ("requests", 2.0, "1/s", "none", "http.requests.rate"),
        ("errors", 0.05, "share", "bad", "http.status.5xx.rate"),
        ("p50", 0.25, "seconds", "none", "http.requests.p50"),
        ("p99", 0.25, "seconds", "none", "http.requests.p99"),
        ("active", 3.0, "", "none", "http.active"),
        ("busy", 0.75, "share", "warn", "reactor.busy"),
        ("total", 20, "", "none", None),
    ]
    stand.close()


def test_the_first_numbers_are_not_those_before_a_pause() -> None:
    """A process that stood still for a minute knows nothing of the last ten seconds but their one row."""
    stand = Stand()
    route(stand, "GET-_root")
    stand.run()
    route(stand, "GET-_root", 5)
    stand.seconds(2)
    stand.reactor.advance(60)
    stand.turns()
    numbers = big(stand)
    assert [numbers[key]["value"] for key in ("requests", "errors", "p50")] == [0, None, None]
    stand.close()


def test_the_first_numbers_forget_after_ten_seconds() -> None:
    """Then there were no requests lately, and nothing is known of their times; the total stays."""
    stand = Stand()
    route(stand, "GET-_root")
    stand.run()
    route(stand, "GET-_root", 5)
    stand.seconds(10)
    assert big(stand)["p50"]["value"] == 0.25
    stand.seconds()
    numbers = big(stand)
    assert [numbers[key]["value"] for key in ("requests", "errors", "p50", "p99", "total")] == [0, None, None, None, 5]
    assert numbers["errors"]["health"] == "none"
    stand.close()


@pytest.mark.parametrize(("failed", "health"), [(0, "good"), (9, "good"), (10, "warn"), (49, "warn"), (50, "bad")])
def test_the_health_of_errors(failed: int, health: str) -> None:
    """Good below one in a hundred, bad from five."""
    stand = Stand()
    route(stand, "GET-_root")
    stand.run()
    route(stand, "GET-_root", 1000, failed)
    stand.seconds(10)
    assert big(stand)["errors"]["health"] == health
    assert state(stand)["routes"][0]["health"] == health
    stand.close()


@pytest.mark.parametrize(("busy", "health"), [(0.0, "good"), (0.69, "good"), (0.7, "warn"), (0.9, "bad"), (1.0, "bad")])
def test_the_health_of_the_reactor(busy: float, health: str) -> None:
    """Good below 0.7, bad from 0.9."""
    stand = Stand()
    stand.registry.gauge("reactor.busy").set(busy)
    stand.run()
    stand.seconds()
    assert big(stand)["busy"]["health"] == health
    stand.close()


def test_a_route_is_told_of_its_last_ten_seconds() -> None:
    """Its rate and its percentiles; the count is of all requests until now."""
    stand = Stand()
    route(stand, "GET-users-_")
    route(stand, "POST-_root")
    stand.run()
    route(stand, "GET-users-_", 100, failed=2, seconds=0.5)
    stand.seconds(10)
    route(stand, "GET-users-_", 7)
    stand.seconds(2)
    busy, quiet = state(stand)["routes"]
    assert busy == {
        "route": "GET-users-_",
        "count": 107,
        "errors": 0.02,
        "rate": 10.0,
        "p50": 0.5,
        "p95": 0.5,
        "p99": 0.5,
        "max": 0.5,
        "health": "warn",
    }
    assert (quiet["route"], quiet["count"], quiet["rate"], quiet["errors"], quiet["p99"], quiet["health"]) == (
        ("POST-_root", 0, 0.0, None, None, "none")
    )
    stand.close()


def test_at_most_two_hundred_routes_are_told() -> None:
    """Those with most requests."""
    stand = Stand(max_series=50_000)
    for n in range(210):
        stand.registry.timer(f"http.routes.GET-{n}.requests")
    stand.run()
    for n in range(210):
        stand.registry.timer(f"http.routes.GET-{n}.requests").take_in([0.1] * n)
    stand.seconds()
    told = [each["route"] for each in state(stand)["routes"]]
    assert told == [f"GET-{n}" for n in range(209, 9, -1)]
    stand.close()


def test_the_slowest_requests_and_what_blocked() -> None:
    """As they were told, at most twenty each; of a stack's files not where they are."""
    slow = SlowRequest(1.5, BEGIN - 1.5, "GET /users/{}", "/users/<b>\u202e\x1b", None, None, 0.25, float("nan"))
    stack = f'  File "{FOLDER}/shop/views.py", line 3, in render\n    work()\n  File "<string>", line 1\n'
    block = Block("Shop_refresh", 0.3, BEGIN - 2.0, stack)
    stand = Stand(slowest=lambda: [slow] * 30, blocked=lambda: iter([block, block._replace(stack=None)])).run()
    told = state(stand)
    assert (
        told["slowest"]
        == [
            {
                "seconds": 1.5,
                "ended": BEGIN - 1.5,
                "route": "GET /users/{}",
                "path": "/users/<b>\u202e\x1b",
                "code": None,
                "body_wait": None,
                "blocking": 0.25,
                "first_byte": None,
            }
        ]
        * 20
    )
    assert told["blocked"][0] == {
        "name": "Shop_refresh",
        "seconds": 0.3,
        "time": BEGIN - 2.0,
        "stack": '  File "shop/views.py", line 3, in render\n    work()\n  File "<string>", line 1\n',
    }
    assert told["blocked"][1]["stack"] is None
    stand.close()


def test_who_cannot_tell_is_left_out(logged: Logged) -> None:
    """The rest is told as ever, and the log has one entry each, however often it is asked."""

    def fail() -> Any:
        raise ValueError("no idea")

    stand = Stand(slowest=fail, blocked=fail, reporters=fail).run()
    stand.seconds(25)
    for _ in range(2):
        stand.seconds()
        told = state(stand)
        assert (told["slowest"], told["blocked"], told["reporters"]) == (None, None, None)
        assert told["big"] == []
    assert len(logged.flush(ValueError)) == 3
    stand.close()


def test_a_state_is_written_down_once_a_second() -> None:
    """Whoever asks in the same second gets the same bytes."""
    calls = []
    stand = Stand(slowest=lambda: calls.append(1) or []).run()
    connections = [stand.connect() for _ in range(3)]
    for connection in connections:
        connection.send("/state", "Connection: close")
    stand.turns()
    answers = {stand.ask("/state").body for _ in range(5)}
    assert (len(calls), len(answers)) == (1, 1)
    assert {answer(connection.received).body for connection in connections} == answers
    stand.seconds(3)
    assert len(calls) == 1, "nobody has looked"
    assert stand.ask("/state").body not in answers
    stand.close()
