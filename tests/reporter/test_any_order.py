"""Any order of starts, stops, waits and faults of the network."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.delivery.network import check_books
from tests.reporter.rig import Rig


class Life(RuleBasedStateMachine):
    """Any order of starts, stops, waits and faults of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(2)
        self.rig.registry.gauge("now", self.rig.reactor.seconds)
        self.answers: list[list[None]] = []
        self.starts = 0

    @rule()
    def start(self) -> None:
        self.rig.reporter.startService()
        self.starts += 1

    @rule()
    def stop(self) -> None:
        self.answers.append(self.rig.stop())

    @rule(seconds=st.sampled_from([0, 0.3, 1, 2, 7, 37]))
    def wait(self, seconds: float) -> None:
        self.rig.reactor.advance(seconds)

    @precondition(lambda self: self.rig.endpoint.attempts and self.rig.endpoint.latest.waits)
    @rule(full=st.booleans())
    def accept(self, full: bool) -> None:
        self.rig.accept()
        self.rig.pipe.full = full

    @precondition(lambda self: self.rig.endpoint.attempts and self.rig.endpoint.latest.waits)
    @rule()
    def refuse(self) -> None:
        self.rig.endpoint.latest.refuse()

    @precondition(lambda self: self.rig.pipe is not None and self.rig.pipe.ended is None)
    @rule()
    def lose(self) -> None:
        self.rig.pipe.lose()

    @precondition(lambda self: self.rig.pipe is not None and self.rig.pipe.ended is None)
    @rule()
    def read(self) -> None:
        self.rig.pipe.read()

    @precondition(lambda self: self.rig.pipe is not None and self.rig.pipe.ended is None)
    @rule()
    def stop_reading(self) -> None:
        self.rig.pipe.full = True

    @invariant()
    def the_books_balance(self) -> None:
        for stream in self.rig.streams:
            check_books(stream)

    @invariant()
    def no_second_has_two_values(self) -> None:
        told: dict[tuple[str, int], float] = {}
        for name, value, timestamp in self.rig.graphite.points:
            assert told.setdefault((name, timestamp), value) == value

    @invariant()
    def one_run_at_a_time(self) -> None:
        assert len(self.rig.streams) <= self.starts
        assert sum(bool(stream.levels["connected"]) for stream in self.rig.streams) <= 1

    def teardown(self) -> None:
        """After a last stop everything ends in time: each answer is there, and nothing waits in the reactor."""
        self.stop()
        for _ in range(60):
            self.rig.reactor.advance(0.1)
        assert self.answers == [[None]] * len(self.answers)
        assert not self.rig.reporter.running
        assert self.rig.reactor.getDelayedCalls() == []
        assert all(stream.levels["queue_points"] == 0 for stream in self.rig.streams)
        assert self.rig.graphite.wrong == []


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
