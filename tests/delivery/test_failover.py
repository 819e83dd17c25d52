"""Several endpoints for one connection: the first while it can be had, and again when it is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, TimeoutError

from tests.delivery.network import Endpoint, check_books, waits
from tests.delivery.stream.net import network_log, numbers
from tests.strict import Logged
from txmetrics.delivery import Failover, Stream, _kernel
from txmetrics.delivery._connection import StalledError
from txmetrics.delivery._connector import AWAY, HEALTHY, LEAVING_TIMEOUT, OPENING_TIMEOUT
from txmetrics.interfaces import Chunk
from txmetrics.testing import FakeReactor


class Relays:
    """A stream to relays in memory, each of which is ``up``, refuses (``down``), or does not answer (``gone``)."""

    def __init__(self, count: int = 2, **settings: Any) -> None:
        self.reactor = FakeReactor()
        self.endpoints = {f"tcp:relay{number + 1}:2003": Endpoint(self.reactor) for number in range(count)}
        self.states = ["up"] * count
        self.pipes: list[list[Any]] = [[] for _ in range(count)]
        settings = {"random": lambda: 0.0, **settings}
        self.stream = Stream(self.reactor, Failover(self.endpoints), ",".join(self.endpoints), **settings)
        self._number = 0

    def start(self) -> Relays:
        self.stream.start()
        self.pass_time(0)
        return self

    @property
    def connected(self) -> float:
        return self.stream.levels["connected"]

    @property
    def attempts(self) -> list[list[float]]:
        """By relay when it was tried."""
        return [[attempt.at for attempt in endpoint.attempts] for endpoint in self.endpoints.values()]

    def pass_time(self, seconds: float, step: float = 0.125) -> None:
        for _ in range(int(seconds / step) + 1):
            self._answer()
            self.reactor.advance(step if seconds else 0)
        self._answer()
        check_books(self.stream)

    def _answer(self) -> None:
        for state, endpoint, pipes in zip(self.states, self.endpoints.values(), self.pipes, strict=True):
            if endpoint.attempts and endpoint.latest.waits and not endpoint.latest.cancelled:
                if state == "up":
                    pipes.append(endpoint.latest.accept())
                elif state == "down":
                    endpoint.latest.refuse()

    def break_down(self, relay: int, state: str = "down", error: Exception | None = None) -> None:
        """A relay ends, and with it the connection to it."""
        self.states[relay] = state
        for pipe in self.pipes[relay]:
            pipe.lose(error)

    def deliver(self) -> int:
        """One more chunk; its number."""
        self._number += 1
        self.stream.deliver(Chunk(f"{self._number:08d}\n".encode(), 1, self._number))
        return self._number

    def read(self, relay: int) -> list[int]:
        """The numbers of the chunks that a relay has read, from all connections."""
        return [number for pipe in self.pipes[relay] for number in numbers(pipe)]

    def stop(self, seconds: float = 5.0) -> list[None]:
        answers: list[None] = []
        self.stream.stop(seconds).addCallback(answers.append)
        return answers


Make = Callable[..., Relays]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes relays and their stream, which is stopped when the test is over and may leave nothing waiting."""
    monkeypatch.setattr(_kernel, "unacknowledged", lambda pipe: pipe.unacknowledged)
    made: list[Relays] = []

    def make_one(*args: Any, **kwargs: Any) -> Relays:
        made.append(Relays(*args, **kwargs))
        return made[-1]

    yield make_one
    for relays in made:
        relays.stop(0)
        relays.reactor.advance(0)
        assert relays.reactor.getDelayedCalls() == []
        check_books(relays.stream)


def test_the_first_is_connected_to(make: Make) -> None:
    """And nobody knocks at the second, however long the first is there."""
    relays = make().start()
    relays.deliver()
    relays.pass_time(2 * AWAY, step=5)
    assert relays.connected == 1
    assert relays.attempts[1] == []
    assert relays.read(0) == [1]


@pytest.mark.parametrize(("state", "seconds"), [("down", 0.0), ("gone", OPENING_TIMEOUT)])
def test_where_the_first_cannot_be_had_the_second_is_tried_at_once(make: Make, state: str, seconds: float) -> None:
    """Which is when it has refused, or has not answered in time."""
    relays = make()
    relays.states[0] = state
    relays.deliver()
    relays.start().pass_time(seconds)
    assert relays.connected == 2
    [[first], [second]] = relays.attempts
    assert second - first == seconds
    assert relays.read(1) == [1]


def test_one_that_accepts_and_closes_has_failed(make: Make) -> None:
    """A balancer without a relay behind it: the next is tried after a connection that was short."""
    relays = make().start()
    relays.pass_time(HEALTHY - 1)
    relays.pipes[0][0].lose(ConnectionDone())
    relays.pass_time(0)
    assert relays.connected == 2


@pytest.mark.parametrize("error", [None, ConnectionDone()])
def test_one_that_was_good_is_tried_once_more(make: Make, error: Exception | None) -> None:
    """A relay that is restarted, and one that closes idle connections, is not left for that."""
    relays = make().start()
    relays.pass_time(HEALTHY + 1)
    relays.pipes[0][0].lose(error)
    relays.pass_time(1)
    assert relays.connected == 1
    assert relays.attempts[1] == []


@pytest.mark.parametrize("error", [StalledError(), TimeoutError()])
def test_one_that_has_fallen_silent_is_left_at_once(make: Make, error: Exception) -> None:
    """To try it once more would take ten seconds."""
    relays = make().start()
    relays.pass_time(HEALTHY + 1)
    relays.pipes[0][0].lose(error)
    relays.pass_time(0)
    assert relays.connected == 2


def test_what_one_had_the_other_gets_as_well(make: Make) -> None:
    """What was written in the last minute may be lost in the relay that ended: it is written again, in its order."""
    relays = make().start()
    for _ in range(3):
        relays.deliver()
        relays.pass_time(10)
    relays.break_down(0)
    relays.deliver()
    relays.pass_time(1)
    assert relays.read(0) == [1, 2, 3]
    assert relays.read(1) == [1, 2, 3, 4]


def test_the_wait_is_after_the_last_and_grows(make: Make) -> None:
    """Nobody is knocked at more often than if it were alone."""
    relays = make(3)
    relays.states = ["down"] * 3
    relays.start().pass_time(60)
    schedule = [0.5 * 1.7**n for n in range(8)]
    assert waits(relays.endpoints["tcp:relay1:2003"].attempts) == pytest.approx(schedule, abs=0.4)
    first, second, third = relays.attempts
    assert second == pytest.approx(first, abs=0.26)
    assert third == pytest.approx(second, abs=0.26)
    assert relays.stream.counts["connection_failures.refused"] == sum(map(len, relays.attempts))


def test_a_while_later_the_first_is_used_again(make: Make) -> None:
    """Silently if that fails, and the second is used on; nothing is lost and nothing waits on the way."""
    relays = make().start()
    relays.break_down(0)
    relays.pass_time(HEALTHY + AWAY + 2)
    assert relays.connected == 2
    assert len(relays.attempts[1]) == 2
    relays.states[0] = "up"
    relays.pass_time(AWAY - 5)
    sent = [relays.deliver(), relays.deliver()]
    assert relays.read(1) == sent
    relays.pass_time(HEALTHY + 5)
    assert relays.connected == 1
    assert relays.read(0) == sent
    assert [pipe.ended for pipe in relays.pipes[1]] == ["ConnectionDone"] * 2


def test_a_fleet_does_not_come_back_as_one(make: Make) -> None:
    """Half of the time is up to chance."""
    first, last = make(random=lambda: 0.999), make()
    for relays in (first, last):
        relays.states[0] = "down"
        relays.start()
        relays.states[0] = "up"
        relays.pass_time(HEALTHY + AWAY / 2 + 1, step=1)
    assert (first.connected, last.connected) == (1, 2)


def test_without_a_replay_window_nothing_is_dropped_or_sent_twice_on_the_way_back(make: Make) -> None:
    """The second has confirmed that it has everything, in the end of the stream."""
    relays = make(replay_window=0)
    relays.states[0] = "down"
    relays.start()
    relays.states[0] = "up"
    relays.pass_time(HEALTHY + AWAY - 0.5)
    relays.deliver()  # too late to be known as acknowledged
    relays.pass_time(5)
    relays.deliver()
    assert relays.connected == 1
    assert (relays.read(1), relays.read(0)) == ([1], [2])
    assert relays.stream.ledger.dropped == {}


def test_one_that_does_not_let_go_is_broken_with(make: Make) -> None:
    """The end of the stream is answered within ten seconds or not at all."""
    relays = make()
    relays.states[0] = "down"
    relays.start()
    relays.states[0] = "up"
    relays.pipes[1][0].answers = False
    relays.pass_time(HEALTHY + AWAY + 1)
    assert relays.connected == 0
    sent = relays.deliver()
    relays.pass_time(LEAVING_TIMEOUT)
    assert relays.connected == 1
    assert relays.read(0) == [sent]


def test_the_log_has_a_line_for_each_that_goes_and_comes(make: Make, logged: Logged) -> None:
    """It names which one; attempts that fail in between are not worth a word."""
    relays = make().start()
    relays.pass_time(HEALTHY + 1)
    relays.break_down(0)
    relays.pass_time(3 * AWAY, step=0.5)
    relays.states[0] = "up"
    relays.pass_time(AWAY + 2 * HEALTHY, step=0.5)
    assert relays.connected == 1
    why = "Connection to the other side was lost in a non-clean fashion."
    assert network_log(logged) == [
        f"no connection to tcp:relay1:2003 ({why}); trying again",
        "connected to tcp:relay2:2003",
        "connected to tcp:relay1:2003 again",
    ]


def test_where_both_are_away_the_log_names_both(make: Make, logged: Logged) -> None:
    """Once each."""
    relays = make()
    relays.states = ["down", "down"]
    relays.start().pass_time(120)
    assert network_log(logged) == [
        "no connection to tcp:relay1:2003 (Connection was refused by other side.); trying tcp:relay2:2003",
        "no connection to tcp:relay2:2003 (Connection was refused by other side.); trying tcp:relay1:2003",
    ]


@pytest.mark.parametrize("waited", [0.0, 0.25, HEALTHY])
def test_a_stop_while_the_first_is_away_delivers_to_the_second(make: Make, waited: float) -> None:
    """Even if it comes in the very moment when the first has gone: each has its last chance."""
    relays = make().start()
    relays.pass_time(HEALTHY + 1)
    relays.break_down(0)
    relays.pass_time(waited)
    sent = relays.deliver()
    stopped = relays.stop()
    relays.pass_time(1)
    assert stopped == [None]
    assert relays.read(1) == [sent]
    assert relays.stream.ledger.delivered == 1


def test_a_stop_on_the_way_back_delivers(make: Make) -> None:
    """The second lets go, and what came meanwhile goes to the first."""
    relays = make()
    relays.states[0] = "down"
    relays.start()
    relays.states[0] = "up"
    relays.pipes[1][0].answers = False
    relays.pass_time(HEALTHY + AWAY)
    sent = relays.deliver()
    stopped = relays.stop()
    last = relays.deliver()
    relays.pass_time(1)
    assert stopped == []
    relays.pipes[1][0].end_of_stream()
    relays.pass_time(1)
    assert stopped == [None]
    assert relays.read(0) == [sent, last]


def test_with_nobody_there_a_stop_ends_all_the_same(make: Make) -> None:
    """When each has been tried for the last time."""
    relays = make(3)
    relays.states = ["down"] * 3
    relays.start()
    relays.pass_time(1)
    relays.deliver()
    tried = [len(attempts) for attempts in relays.attempts]
    stopped = relays.stop()
    relays.pass_time(1)
    assert stopped == [None]
    assert [len(attempts) for attempts in relays.attempts] == [number + 1 for number in tried]
    assert relays.stream.ledger.dropped == {"stopped": 1}


events = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["up", "down", "gone"]), st.sampled_from([0.5, 3, 12, 70, 400])),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(events)
def test_whatever_happens_to_either_everything_arrives(events: list[tuple[int, str, float]]) -> None:
    """A relay that ends is in order until then; once one is there for long enough, each chunk is in one of them."""
    relays = Relays(random=lambda: 0.5)
    relays.start()
    for relay, state, seconds in events:
        if state == "up":
            relays.states[relay] = state
        else:
            relays.break_down(relay, state)
        relays.deliver()
        relays.pass_time(seconds, step=0.5)
    relays.states = ["up", "up"]
    relays.pass_time(150, step=0.5)
    last = relays.deliver()
    relays.pass_time(1)
    assert set(relays.read(0)) | set(relays.read(1)) == set(range(1, last + 1))
    assert relays.stream.ledger.dropped == {}
    assert relays.connected in (1, 2)
    stopped = relays.stop()
    relays.pass_time(1)
    assert stopped == [None]
    assert relays.reactor.getDelayedCalls() == []
