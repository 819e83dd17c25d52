"""The outbox: one queue whose books balance after every step."""

from __future__ import annotations

import tempfile
from collections import Counter as Tally
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.delivery.network import chunk
from txmetrics.delivery._outbox import WARM, Outbox
from txmetrics.delivery._queue import OVERHEAD
from txmetrics.delivery._spool import Spool
from txmetrics.interfaces import Chunk

SMALL = 6 * (OVERHEAD + 60)
"""An outbox of so many bytes has room for a few chunks, and compresses nothing."""


GIVEN_UP = Chunk(b"", 0, 0)
"""What is left of a chunk that was written, and then dropped to make room."""


class Held(NamedTuple):
    """A chunk that the model thinks is in the outbox."""

    chunk: Chunk
    written: float = -1.0
    spooled: bool = False


class Books(RuleBasedStateMachine):
    """Every sequence of calls, against lists of what must be where."""

    max_bytes = SMALL
    largest = 400
    window = 0.0
    resend = True

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.made = self.collected = self.delivered = self.sent = self.replayed = 0
        self.unsent: list[Held] = []
        self.in_flight: list[Held] = []
        self.retained: list[Held] = []
        self.spooled: list[Held] = []  # and waiting there
        self.dropped: Tally[str] = Tally()
        self.outbox = self.make()

    def make(self) -> Outbox:
        return Outbox(lambda: self.now, self.max_bytes, window=self.window, resend=self.resend)

    # What may happen to an outbox

    @rule(size=st.floats(0, 1), lines=st.integers(1, 5))
    def put(self, size: float, lines: int) -> None:
        made = self.make_chunk(lines, 30 + int(size * (self.largest - 30)))
        self.collected += made.points
        self.unsent.append(Held(made))
        self.outbox.put(made)
        self.follow_the_shedding()

    @rule()
    def take(self) -> None:
        source = self.spooled or self.unsent
        expected = source.pop(0) if source else None
        assert self.outbox.take() == (expected.chunk if expected else None)
        if expected is not None:
            spooled = source is self.spooled and self.resend
            self.in_flight.append(Held(expected.chunk, self.now, spooled))
            self.sent += expected.chunk.points

    @rule(share=st.floats(0, 1))
    def acknowledge(self, share: float) -> None:
        count = round(share * len(self.in_flight))
        self.outbox.acknowledge(count)
        self.retained += self.in_flight[:count]
        del self.in_flight[:count]
        self.pass_the_window()
        assert self.outbox.levels["seconds_since_acknowledged"] == 0

    @rule(seconds=st.sampled_from([0.0, 0.5, 29.5, 60.0, 3600.0]))
    def release(self, seconds: float) -> None:
        self.now += seconds
        self.outbox.acknowledge(0)
        self.pass_the_window()

    @rule()
    def lose(self) -> None:
        if self.resend:
            self.expect_taken_back()
        else:
            self.expect_dropped("unconfirmed")
        self.outbox.lose()
        self.follow_the_shedding()

    @precondition(lambda self: self.resend)
    @rule()
    def take_back(self) -> None:
        self.expect_taken_back()
        self.outbox.take_back()
        self.follow_the_shedding()

    @precondition(lambda self: self.in_flight)
    @rule()
    def give_up_last(self) -> None:
        held = self.in_flight[-1]
        assert self.outbox.give_up_last() == (not held.spooled)
        if not held.spooled:
            self.dropped["unwritable"] += held.chunk.points
            self.in_flight[-1] = held._replace(chunk=GIVEN_UP)

    @precondition(lambda self: len(self.in_flight) == 1 and not self.retained)
    @rule()
    def refuse(self) -> None:
        self.outbox.refuse()
        self.dropped["refused"] += self.in_flight.pop().chunk.points

    @precondition(lambda self: len(self.in_flight) == 1 and not self.retained)
    @rule()
    def split(self) -> None:
        data, points, timestamp = self.in_flight[0].chunk
        lines = data.splitlines(keepends=True)
        assert self.outbox.split() == (points > 1)  # never what was given up meanwhile
        if points > 1:
            self.in_flight.clear()
            middle = points // 2
            self.unsent[:0] = [
                Held(Chunk(b"".join(half), len(half), timestamp)) for half in (lines[:middle], lines[middle:])
            ]
            self.follow_the_shedding()

    @rule()
    def confirm(self) -> None:
        self.outbox.confirm()
        self.delivered += points(self.retained) + points(self.in_flight)
        self.retained, self.in_flight = [], []

    @rule()
    def to_spool(self) -> None:
        assert not self.outbox.to_spool()

    @rule()
    def close(self) -> None:
        lost = points(self.unsent) + points(self.in_flight) + points(self.retained)
        self.expect_dropped("unconfirmed")
        for held in self.unsent:
            self.dropped["stopped" if held.written < 0 else "unconfirmed"] += held.chunk.points
        self.unsent = []
        assert self.outbox.close() == lost
        assert self.outbox.empty
        assert self.outbox.bytes == 0

    # What must be so

    @invariant()
    def the_ledger_is_exact(self) -> None:
        """Collected = delivered + retained + queued + spooled + dropped, and each of them is what it should be."""
        ledger = self.outbox.ledger
        assert ledger.collected == self.collected
        assert ledger.delivered == self.delivered
        assert ledger.retained == points(self.retained)
        assert ledger.queued == points(self.unsent) + points(self.in_flight)
        assert ledger.spooled == points(self.spooled)
        assert Tally(ledger.dropped) == self.dropped
        somewhere = ledger.delivered + ledger.retained + ledger.queued + ledger.spooled
        assert ledger.collected == somewhere + sum(ledger.dropped.values())

    @invariant()
    def counts_and_levels_say_the_same(self) -> None:
        counts, levels = self.outbox.counts, self.outbox.levels
        assert counts["points_collected"] == self.collected
        assert counts["points_sent"] == self.sent
        assert counts["points_replayed"] == self.replayed
        assert counts["points_delivered"] == self.delivered
        assert levels["queue_points"] == points(self.unsent) + points(self.in_flight)
        assert levels["retained_points"] == points(self.retained)
        assert levels["buffer_bytes"] == self.outbox.bytes
        assert len(self.retained) * OVERHEAD <= levels["retained_bytes"] <= self.outbox.bytes
        assert self.outbox.unsent == bool(self.unsent)
        assert self.outbox.nothing_to_write == (not self.unsent and not self.spooled)
        assert self.outbox.empty == (not self.unsent and not self.in_flight and not self.retained)

    @invariant()
    def memory_is_bounded(self) -> None:
        """One chunk more than the limit, at most, and the places of those whose data is elsewhere, or given up."""
        places = sum(held.spooled or not held.chunk.points for held in self.retained + self.in_flight)
        limit = self.max_bytes + self.largest + OVERHEAD + places * OVERHEAD
        assert self.outbox.bytes <= limit
        assert 0 <= self.outbox.bytes <= self.held_bytes()

    def teardown(self) -> None:
        """All that is unsent comes out whole, in the order in which it came."""
        while self.unsent or self.spooled:
            self.take()
        self.take()

    # The model

    def make_chunk(self, lines: int, size: int) -> Chunk:
        self.made += 1
        line = chunk(self.made, max(10, size // lines)).data
        return Chunk(line * lines, lines, self.made)

    def expect_taken_back(self) -> None:
        written = self.retained + self.in_flight
        self.replayed += points(written)
        self.spooled[:0] = [held for held in written if held.spooled]
        self.unsent[:0] = [held for held in written if held.chunk.points and not held.spooled]
        self.retained, self.in_flight = [], []

    def expect_dropped(self, reason: str) -> None:
        self.dropped[reason] += points(self.retained) + points(self.in_flight)
        self.retained, self.in_flight = [], []

    def pass_the_window(self) -> None:
        while self.retained and self.retained[0].written <= self.now - self.window:
            self.delivered += self.retained.pop(0).chunk.points

    def follow_the_shedding(self) -> None:
        """What was written is given up first, then the oldest unsent: no more than needed, never the newest."""
        dropped = self.outbox.ledger.dropped
        for written in (self.retained, self.in_flight):
            for place, held in enumerate(written):
                if (
                    held.chunk.points
                    and not held.spooled
                    and dropped.get("unconfirmed", 0) > self.dropped["unconfirmed"]
                ):
                    assert not self.exact or self.held_bytes() > self.max_bytes
                    self.dropped["unconfirmed"] += held.chunk.points
                    written[place] = held._replace(chunk=GIVEN_UP)
        while dropped.get("overflow", 0) > self.dropped["overflow"]:
            assert not self.exact or self.held_bytes() > self.max_bytes
            assert len(self.unsent) > 1
            self.dropped["overflow"] += self.unsent.pop(0).chunk.points
        if self.outbox.bytes > self.max_bytes:
            assert len(self.unsent) <= 1
            assert all(held.spooled or not held.chunk.points for held in self.retained + self.in_flight)
        if self.exact:
            assert self.outbox.bytes == self.held_bytes()

    @property
    def exact(self) -> bool:
        """Whether the outbox never compresses, so that its bytes are known to the last one."""
        return self.max_bytes + 2 * self.largest < WARM

    def held_bytes(self) -> int:
        every = self.unsent + self.in_flight + self.retained
        return sum(OVERHEAD + len(held.chunk.data) for held in every)


class ReplayingBooks(Books):
    """The same with a replay window."""

    window = 60.0


class OnceOnlyBooks(Books):
    """Nothing is ever sent twice."""

    resend = False


class ColdBooks(Books):
    """So much data that it is compressed: half of the chunks cannot be, and the limit is met now and then."""

    max_bytes = 2 * WARM
    largest = WARM // 2
    window = 60.0

    def make_chunk(self, lines: int, size: int) -> Chunk:
        made = super().make_chunk(lines, size)
        if self.made % 2:
            return made
        line = Random(self.made).randbytes(len(made.data) // lines - 1).replace(b"\n", b"|").replace(b"\r", b"|")
        return Chunk((line + b"\n") * lines, lines, self.made)


class SpoolingBooks(Books):
    """With a real spool in front, that outlives the outbox."""

    window = 60.0

    def make(self) -> Outbox:
        self._directory = tempfile.TemporaryDirectory()
        return self.reopen()

    def reopen(self) -> Outbox:
        spool = Spool(Path(self._directory.name) / "spool")
        spool.open()
        return Outbox(lambda: self.now, self.max_bytes, window=self.window, resend=self.resend, spool=spool)

    @rule()
    def to_spool(self) -> None:
        assert self.outbox.to_spool() == bool(self.unsent)
        if self.unsent:
            self.spooled.append(self.unsent.pop(0))

    @rule()
    def close(self) -> None:
        """The end, and the next life: it finds what was not delivered."""
        if self.resend:
            self.expect_taken_back()
            self.replayed = 0
        lost = points(self.retained) + points(self.in_flight)
        self.spooled += self.unsent
        self.unsent, self.retained, self.in_flight = [], [], []
        assert self.outbox.close() == lost
        self.outbox = self.reopen()
        self.collected, self.delivered, self.sent = points(self.spooled), 0, 0
        self.replayed = 0
        self.dropped.clear()

    def follow_the_shedding(self) -> None:
        while self.outbox.ledger.spooled > points(self.spooled):
            assert self.held_bytes() > self.max_bytes
            assert len(self.unsent) > 1
            self.spooled.append(self.unsent.pop(0))
        super().follow_the_shedding()

    def held_bytes(self) -> int:
        """What the spool has besides costs next to nothing here."""
        from_spool = [held for held in self.in_flight + self.retained if held.spooled]
        return super().held_bytes() - sum(len(held.chunk.data) for held in from_spool)

    def teardown(self) -> None:
        super().teardown()
        self.outbox.close()
        self._directory.cleanup()


def points(held: list[Held]) -> int:
    return sum(one.chunk.points for one in held)


TestBooks = Books.TestCase
TestReplayingBooks = ReplayingBooks.TestCase
TestOnceOnlyBooks = OnceOnlyBooks.TestCase
TestColdBooks = ColdBooks.TestCase
TestSpoolingBooks = SpoolingBooks.TestCase
TestBooks.settings = TestReplayingBooks.settings = TestOnceOnlyBooks.settings = settings(
    max_examples=75, stateful_step_count=40, deadline=None
)
TestColdBooks.settings = TestSpoolingBooks.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def make(max_bytes: int, **settings: object) -> Outbox:
    return Outbox(lambda: 0.0, max_bytes, **settings)


def numbers(outbox: Outbox) -> list[int]:
    """Which chunks are unsent, in their order; they are in flight then."""
    return [one.timestamp for one in iter(outbox.take, None)]


def test_what_is_taken_back_makes_room_for_the_next_chunk() -> None:
    """A connection that is lost does not make the queue forget its limit: the oldest go first, the cut-off one too."""
    outbox = make(3 * (20 + OVERHEAD))
    for number in range(3):
        outbox.put(chunk(number, 20))
    outbox.take()
    outbox.take_back()
    outbox.put(chunk(3, 20))
    assert numbers(outbox) == [1, 2, 3]
    assert outbox.ledger.dropped == {"overflow": 1}


def test_a_chunk_larger_than_the_outbox_is_kept_alone() -> None:
    """There is always room for one chunk, or a small limit would silence the reporter for ever."""
    outbox = make(10)
    outbox.put(chunk(0, 20))
    outbox.put(chunk(1, 50))
    assert outbox.ledger.dropped == {"overflow": 1}
    assert outbox.take() == chunk(1, 50)


@pytest.mark.parametrize("acknowledged", [0, 1])
def test_what_was_written_goes_before_what_was_never_sent(acknowledged: int) -> None:
    """It has arrived in all probability, and the other has not; later acknowledgements still count the right ones."""
    outbox = make(3 * 2000, window=60.0)
    for number in range(2):
        outbox.put(chunk(number, 1000))
    outbox.take()
    outbox.acknowledge(acknowledged)
    for number in range(2, 5):
        outbox.put(chunk(number, 1000))
    assert outbox.ledger.dropped == {"unconfirmed": 1}
    outbox.acknowledge(1 - acknowledged)
    assert outbox.ledger.retained == 0
    assert outbox.ledger.queued == 4
    outbox.lose()
    assert numbers(outbox) == [1, 2, 3, 4]


def test_what_was_given_up_is_not_split() -> None:
    """A chunk that made room while it was on its way is over, whatever the backend says of it."""
    outbox = make(3000)
    line = b"x" * 499 + b"\n"
    outbox.put(Chunk(line * 4, 4, 0))
    outbox.take()
    outbox.put(Chunk(line * 4, 4, 1))
    assert outbox.ledger.dropped == {"unconfirmed": 4}
    assert not outbox.split()
    outbox.refuse()
    assert outbox.ledger.collected == 8
    assert outbox.ledger.queued == 4
    assert sum(outbox.ledger.dropped.values()) == 4


def test_an_hour_without_a_backend_costs_four_megabytes() -> None:
    """A thousand series every ten seconds, 26 MB of lines in all, none of them dropped."""
    random = Random(1)
    outbox = make(4 * 2**20)
    paths = [f"servers.web{n % 20}.requests.latency.p{n}" for n in range(1000)]
    collected = 0
    for second in range(1_700_000_000, 1_700_003_600, 10):
        for first in range(0, 1000, 500):
            lines = [f"{path} {random.randrange(10**4) / 1000} {second}\n" for path in paths[first : first + 500]]
            outbox.put(Chunk("".join(lines).encode(), len(lines), second))
            collected += sum(map(len, lines))
    assert collected > 15 * 2**20
    assert outbox.bytes < 4 * 2**20
    assert outbox.ledger.dropped == {}
    assert sum(one.points for one in iter(outbox.take, None)) == 360_000


def test_what_comes_from_the_spool_costs_no_memory(tmp_path: Path) -> None:
    """However fast a full spool is drained, and however long its chunks are retained: the spool still has them."""
    spool = Spool(tmp_path / "spool")
    spool.open()
    outbox = make(10_000, window=60.0, spool=spool)
    for number in range(100):
        outbox.put(chunk(number, 4000))
        while outbox.to_spool():
            pass
    assert numbers(outbox) == list(range(100))
    assert outbox.bytes <= 100 * OVERHEAD
    outbox.acknowledge(100)
    assert outbox.ledger.retained == 100
    assert outbox.bytes <= 100 * OVERHEAD
    outbox.lose()
    assert outbox.bytes == 0
    assert numbers(outbox) == list(range(100))
    outbox.close()


@pytest.mark.parametrize("resend", [True, False])
def test_a_chunk_from_the_spool_that_is_never_sent_again_is_settled_at_once(tmp_path: Path, resend: bool) -> None:
    """Else a crash would bring it back, and a backend that adds would have it twice."""
    spool = Spool(tmp_path / "spool")
    spool.open()
    outbox = make(10_000, resend=resend, spool=spool)
    outbox.put(chunk(1))
    outbox.to_spool()
    outbox.take()
    spool.close()
    again = Spool(tmp_path / "spool")
    again.open()
    assert again.waiting_points == resend
    again.close()
