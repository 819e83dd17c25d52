"""The outbox: one queue whose books balance after every step."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.delivery.network import chunk
from txmetrics.delivery._outbox import Outbox
from txmetrics.interfaces import Chunk

MAX_BYTES = 100


class Books(RuleBasedStateMachine):
    """Every sequence of calls, against lists of what must be where."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(MAX_BYTES)
        self.made = 0
        self.unsent: list[Chunk] = []
        self.in_flight: list[Chunk] = []
        self.written: list[Chunk] = []
        self.gone: list[Chunk] = []

    @rule(size=st.integers(10, 2 * MAX_BYTES), points=st.integers(1, 1000))
    def put(self, size: int, points: int) -> None:
        before = self.outbox.dropped["overflow"]
        self.unsent.append(chunk(self.made, size, points))
        self.made += 1
        self.outbox.put(self.unsent[-1])
        lost = self.outbox.dropped["overflow"] - before
        while lost:  # the oldest, no more of them than needed, never the newest
            assert self.held_bytes() > MAX_BYTES
            lost -= self.drop(self.unsent)
            assert lost >= 0
            assert self.unsent
        assert self.held_bytes() <= MAX_BYTES or len(self.unsent) == 1  # memory is bounded

    @rule()
    def take(self) -> None:
        expected = self.unsent.pop(0) if self.unsent else None
        assert self.outbox.take() is expected
        if expected is not None:
            self.in_flight.append(expected)

    @rule()
    def settle(self) -> None:
        self.outbox.settle()
        self.written += self.in_flight
        self.in_flight = []

    @rule()
    def take_back(self) -> None:
        self.outbox.take_back()
        self.unsent = self.in_flight + self.unsent
        self.in_flight = []

    @rule()
    def drop_in_flight(self) -> None:
        before = self.outbox.dropped["cut_off"]
        self.outbox.drop_in_flight("cut_off")
        assert self.outbox.dropped["cut_off"] - before == sum(self.drop(self.in_flight) for _ in self.in_flight[:])

    @rule()
    def drop_all(self) -> None:
        before = self.outbox.dropped["stopped"]
        points = self.outbox.drop_all("stopped")
        everything = [*self.in_flight, *self.unsent]
        assert points == sum(one.points for one in everything)
        assert self.outbox.dropped["stopped"] - before == points
        self.gone += everything
        self.in_flight, self.unsent = [], []
        assert self.outbox.empty

    def drop(self, chunks: list[Chunk]) -> int:
        """The oldest of `chunks` is gone; how many points that were."""
        self.gone.append(chunks.pop(0))
        return self.gone[-1].points

    def held_bytes(self) -> int:
        return sum(len(one.data) for one in [*self.in_flight, *self.unsent])

    @invariant()
    def nothing_vanishes(self) -> None:
        """Accepted = written + in flight + unsent + dropped, in points."""
        outbox = self.outbox
        assert outbox.written == sum(one.points for one in self.written)
        assert outbox.points == sum(one.points for one in [*self.in_flight, *self.unsent])
        assert outbox.dropped.total() == sum(one.points for one in self.gone)
        assert outbox.accepted == outbox.written + outbox.points + outbox.dropped.total()
        assert outbox.empty == (not self.in_flight and not self.unsent)

    @invariant()
    def bytes_are_exact(self) -> None:
        """What the outbox says it holds is what it holds."""
        assert self.outbox.bytes == self.held_bytes()

    def teardown(self) -> None:
        """The order in which they came was kept."""
        assert [one.timestamp for one in self.written] == sorted(one.timestamp for one in self.written)
        held = [*self.in_flight, *self.unsent]
        assert [one.timestamp for one in held] == sorted(one.timestamp for one in held)
        while (one := self.outbox.take()) is not None:
            assert one is self.unsent.pop(0)
        assert not self.unsent


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_what_is_taken_back_makes_room_for_the_next_chunk() -> None:
    """A connection that is lost does not make the queue forget its limit: the oldest go first, the cut-off one too."""
    outbox = Outbox(60)
    for number in range(3):
        outbox.put(chunk(number, 20))
    outbox.take()
    outbox.take_back()
    outbox.put(chunk(3, 20))
    assert [one.timestamp for one in iter(outbox.take, None)] == [1, 2, 3]
    assert outbox.dropped == {"overflow": 1}


def test_a_chunk_larger_than_the_outbox_is_kept_alone() -> None:
    """There is always room for one chunk, or a small limit would silence the reporter for ever."""
    outbox = Outbox(10)
    outbox.put(chunk(0, 20))
    outbox.put(chunk(1, 50))
    assert outbox.dropped == {"overflow": 1}
    assert outbox.take() == chunk(1, 50)
