"""What can be asked for: the metrics, the series, and their history."""

from __future__ import annotations

import pytest

from tests.ext.dashboard.stand import BEGIN, Stand
from tests.strict import Logged


def test_all_metrics_are_listed() -> None:
    """By name and kind, those as well of which no series is kept."""
    stand = Stand(max_series=1)
    for kind in ("counter", "gauge", "meter", "histogram", "timer"):
        getattr(stand.registry, kind)(f"a.{kind}")
    for n in range(200):
        stand.registry.counter(f"more.{n}")
    told = stand.run().ask("/metrics").json
    assert told[:5] == [
        {"name": f"a.{kind}", "kind": kind} for kind in ("counter", "gauge", "meter", "histogram", "timer")
    ]
    assert len(told) == 205
    assert [(each["name"], each["kind"]) for each in stand.ask("/series").json] == [("a.counter.rate", "counter")]
    assert (stand.ask("/state").json["series"], stand.ask("/state").json["series_not_kept"]) == (1, 212)
    stand.close()


def test_the_series_are_listed_with_their_units() -> None:
    """No name twice: a gauge hides another metric's series that has its name."""
    stand = Stand()
    stand.registry.counter("c")
    stand.registry.gauge("c.rate")
    stand.registry.timer("t")
    stand.registry.histogram("h")
    told = stand.run().ask("/series").json
    assert {each["name"]: (each["metric"], each["kind"], each["unit"]) for each in told} == {
        "c.rate": ("c.rate", "gauge", ""),
        "t.rate": ("t", "timer", "a second"),
        **{f"t.{field}": ("t", "timer", "seconds") for field in ("p50", "p95", "p99", "max")},
        "h.rate": ("h", "histogram", "a second"),
        **{f"h.{field}": ("h", "histogram", "") for field in ("p50", "p95", "p99", "max")},
    }
    assert len(told) == 11
    stand.close()


def test_the_history_of_some_series() -> None:
    """Oldest first; what is not known is null, and who is not known is left out."""
    stand = Stand()
    timer = stand.registry.timer("t")
    stand.registry.gauge("g", lambda: stand.reactor.seconds() - BEGIN)
    stand.registry.gauge("huge").set(1e300)
    stand.run()
    stand.seconds()
    timer.add(0.1)
    stand.seconds()
    names = "&".join(f"name={name}" for name in ("t.p99", "t.rate", "nobody.rate", "huge", "t.p99"))
    assert stand.ask(f"/history?range=5m&{names}").json == {
        "range": "5m",
        "step": 1,
        "times": [BEGIN + 1, BEGIN + 2],
        "series": {"t.p99": [None, 0.1], "t.rate": [0, pytest.approx(1, rel=0.1)], "huge": [None, None]},
    }
    assert stand.ask("/history?range=5m&name=t.p99&name=t.p99").body.count(b"t.p99") == 1
    stand.seconds(118)
    minute = stand.ask("/history?range=24h&name=t.p99").json
    assert (minute["step"], minute["times"], minute["series"]) == (
        (60, [BEGIN + 60, BEGIN + 120], {"t.p99": [0.1, None]})
    )
    assert len(stand.ask("/history?range=1h&name=t.p99").json["times"]) == 12
    assert stand.ask("/history?range=1h").json["series"] == {}
    stand.close()


def test_a_gap_in_the_history_has_one_moment_of_nulls() -> None:
    """So that a line breaks where the process stood still."""
    stand = Stand()
    stand.registry.gauge("g").set(1)
    stand.run()
    stand.seconds()
    stand.reactor.advance(20)
    stand.turns()
    stand.seconds()
    told = stand.ask("/history?range=5m&name=g").json
    assert told["times"] == [BEGIN + 1, BEGIN + 2, BEGIN + 21, BEGIN + 22]
    assert told["series"] == {"g": [1, None, 1, 1]}
    stand.close()


@pytest.mark.parametrize("query", ["", "?range=", "?range=7m", "?range=%3Cscript%3E", "?name=a", "?range=5M"])
def test_an_unknown_range_is_a_sentence(stand: Stand, query: str) -> None:
    """It says which there are, and nothing of what was asked for."""
    answer = stand.ask(f"/history{query}")
    assert (answer.code, answer.body.decode()) == (400, "There is no such range; ask for one of 5m, 1h, 24h.\n")


def test_at_most_fifty_series_at_a_time(stand: Stand) -> None:
    """More are refused in a sentence."""
    assert stand.ask("/history?range=5m" + "&name=a" * 50).code == 200
    answer = stand.ask("/history?range=5m" + "&name=a" * 51)
    assert (answer.code, answer.body[:20]) == (400, b"These are 51 series;")


def test_hostile_names_and_paths_stay_text(stand: Stand) -> None:
    """What is asked for is in no answer as it is; JSON is ASCII, and of its own type."""
    answer = stand.ask("/history?range=5m&name=%3Cscript%3E&name=%FF&name=%00&name=")
    assert answer.json["series"] == {}
    assert b"<script>" not in stand.ask("/<script>").body
    hostile = Stand(slowest=lambda: [_Hostile()]).run()
    told = hostile.ask("/state")
    assert told.body.isascii()
    assert told.json["slowest"][0]["path"] == _Hostile.path
    hostile.close()


def test_a_time_that_is_no_number_is_not_told(logged: Logged) -> None:
    """JSON has no word for it, and a word that is none would break the page."""
    request = _Hostile()
    request.ended = float("nan")
    stand = Stand(slowest=lambda: [request]).run()
    assert stand.ask("/state").json["slowest"] is None
    assert len(logged.flush(ValueError)) == 1
    stand.close()


class _Hostile:
    """A slow request as nobody would have it."""

    seconds = body_wait = blocking = first_byte = float("inf")
    ended = 1.0
    route = "</script><script>alert(1)</script>"
    path = "/<img src=x onerror=alert(1)>\r\n\r\ndata: {}\u2028\u202e\ud800\x00"
    code = 200
