"""The stream of events: a state a second, the same for all who look, and nothing for whoever does not read."""

from __future__ import annotations

import json
from typing import Any

from tests.ext.dashboard.stand import BEGIN, Connection, Stand
from tests.strict import Logged
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.ext.dashboard._events import VIEWERS


def watch(stand: Stand) -> Connection:
    connection = stand.connect()
    connection.send("/events")
    stand.turns()
    return connection


def states(connection: Connection) -> list[dict[str, Any]]:
    """The states that a viewer got."""
    lines = [line.rstrip(b"\r\n") for line in connection.received.splitlines()]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


def test_a_state_at_once_and_one_each_second() -> None:
    """The stream begins with when to come back."""
    stand = Stand().run()
    viewer = watch(stand)
    assert b"Content-Type: text/event-stream; charset=utf-8\r\n" in viewer.received
    assert b"retry: 2000\n: a state each second\n\n" in viewer.received
    stand.seconds(3)
    assert [round(state["time"]) - BEGIN for state in states(viewer)] == [0, 1, 2, 3]
    viewer.lose()
    stand.close()


def test_it_is_what_the_state_is() -> None:
    """The same JSON, on one line."""
    stand = Stand()
    stand.registry.timer("http.requests")
    stand.run()
    viewer = watch(stand)
    stand.seconds()
    assert states(viewer)[-1] == stand.ask("/state").json
    assert stand.ask("/state").body.count(b"\n") == 0
    viewer.lose()
    stand.close()


def test_it_is_written_down_once_for_all() -> None:
    """However many look; and not at all when nobody does."""
    calls: list[int] = []
    stand = Stand(slowest=lambda: calls.append(1) or []).run()
    stand.seconds(5)
    assert calls == []
    viewers = [watch(stand) for _ in range(10)]
    calls.clear()
    stand.seconds(3)
    assert len(calls) == 3
    for viewer in viewers:
        assert states(viewer)[-3:] == states(viewers[0])[-3:]
        viewer.lose()
    stand.seconds(3)
    assert len(calls) == 3
    stand.close()


def test_who_does_not_read_is_left_out() -> None:
    """What is not read is not kept for it; later it gets what is new then."""
    stand = Stand().run()
    slow, other = watch(stand), watch(stand)
    stand.seconds()
    slow.transport.producer.pauseProducing()
    stand.seconds(100)
    assert len(states(slow)) == 2
    assert len(states(other)) == 102
    slow.transport.producer.resumeProducing()
    stand.seconds()
    assert [round(state["time"]) - BEGIN for state in states(slow)] == [0, 1, 102]
    for viewer in (slow, other):
        viewer.lose()
    stand.close()


def test_so_many_may_look_and_no_more() -> None:
    """One that leaves makes room."""
    stand = Stand().run()
    viewers = [watch(stand) for _ in range(VIEWERS)]
    answer = stand.ask("/events")
    assert (answer.code, answer.body[:18]) == (503, b"There are 50 who l")
    assert stand.ask("/state").code == 200
    viewers.pop().lose()
    viewers.append(watch(stand))
    assert len(states(viewers[-1])) == 1
    for viewer in viewers:
        viewer.lose()
    stand.close()


def test_who_leaves_is_forgotten(logged: Logged) -> None:
    """At whatever moment, and nothing is written to it any more."""
    stand = Stand().run()
    at_once = stand.connect()
    at_once.send("/events")
    at_once.lose()
    paused = watch(stand)
    paused.transport.producer.pauseProducing()
    paused.lose()
    later = watch(stand)
    stand.seconds()
    later.lose()
    before = [viewer.received for viewer in (at_once, paused, later)]
    stand.seconds(2)
    assert [viewer.received for viewer in (at_once, paused, later)] == before
    assert len(stand.dashboard._viewers) == 0
    stand.close()


def test_close_ends_the_streams() -> None:
    """In order: the last chunk is there, also for one that does not read."""
    stand = Stand().run()
    viewers = [watch(stand), watch(stand)]
    viewers[1].transport.producer.pauseProducing()
    stand.dashboard.close()
    assert all(viewer.received.endswith(b"\r\n0\r\n\r\n") for viewer in viewers)
    for viewer in viewers:
        viewer.lose()
    stand.close()


def test_a_stream_is_long_lived_for_whoever_measures_the_site() -> None:
    """Its hours are in no percentile of the requests."""
    stand = Stand()
    registry = MetricsRegistry(stand.reactor.clock)
    stand.site.resource = TimedResource(stand.dashboard, registry)
    stand.run()
    viewer = watch(stand)
    stand.seconds(60)
    viewer.lose()
    assert registry.timer("http.requests").count == 0
    assert registry.timer("http.long_lived").count == 1
    stand.close()


def test_a_second_that_takes_longer_is_left_out_and_the_next_one_comes(logged: Logged) -> None:
    """A walk that breaks off is logged once; the stream goes on with what is known."""
    stand = Stand()
    bomb = stand.registry.gauge("bomb")
    stand.run()
    viewer = watch(stand)
    bomb._tell = _exit
    stand.seconds(3)
    assert len(states(viewer)) == 1
    bomb.set(1)
    stand.seconds(2)
    assert len(states(viewer)) == 3
    assert len(logged.flush(SystemExit)) == 1
    viewer.lose()
    stand.close()


def _exit() -> object:
    raise SystemExit
