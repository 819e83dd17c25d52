"""The books balance, what is written is in order, and a turn of the reactor is short, whatever the target does."""

from __future__ import annotations

import errno
from itertools import takewhile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from tests.delivery.log.rig import Rig, lines
from tests.delivery.network import check_books
from txmetrics.interfaces import IDelivery


class Target:
    """Has room for so many bytes, or fails; keeps what it has taken."""

    where = "log"
    burst = 100

    def __init__(self) -> None:
        self.is_open = False
        self.taken = b""
        self.room = 0
        self.works = True

    def open(self) -> None:
        self._check()
        self.is_open = True

    def write(self, data: bytes) -> int:
        assert self.is_open
        self._check()
        part = data[: min(self.room, 60)]
        self.room -= len(part)
        self.taken += part
        return len(part)

    def close(self) -> None:
        self.is_open = False

    def filenos(self) -> list[int]:
        return []

    def _check(self) -> None:
        if not self.works:
            raise OSError(errno.ENOSPC, "No space left on device")


steps = st.one_of(
    st.tuples(st.just("deliver"), st.integers(1, 20)),
    st.tuples(st.just("room"), st.integers(0, 2000)),
    st.tuples(st.just("works"), st.booleans()),
    st.tuples(st.just("advance"), st.integers(1, 8)),
)


def common(one: bytes, other: bytes) -> bytes:
    """What both begin with."""
    return bytes(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@settings(deadline=None, max_examples=200)
@given(st.lists(steps, max_size=40))
def test_every_point_is_in_one_place_whatever_happens(steps: list[tuple[str, int]]) -> None:
    """The books balance after each step and after the stop; what counts as delivered is there, once and in order."""
    target = Target()
    rig = Rig(target=target, max_bytes=4000)
    sent = []
    for number, (step, amount) in enumerate(steps):
        if step == "deliver":
            sent.append(lines(number, amount))
            rig.deliver(sent[-1])
        elif step == "advance":
            rig.advance(amount / 8)
        else:
            setattr(target, step, amount)
        check_books(rig.log)
        assert rig.log.ledger.queued * 40 <= 4000 + 20 * 40
    stopped = rig.stop(2.0)
    rig.advance(2.5)
    check_books(rig.log)
    assert stopped == [None]
    assert rig.reactor.getDelayedCalls() == []
    assert rig.log.ledger.queued == 0
    assert not target.is_open
    rest, whole = target.taken, 0
    for chunk in sent:
        part = common(rest, chunk.data)  # no two chunks begin with the same byte
        rest = rest[len(part) :]
        whole += chunk.points if part == chunk.data else 0
    assert rest == b""
    assert rig.log.ledger.delivered <= whole


def test_a_log_is_a_delivery(tmp_path: Path) -> None:
    """All that the seam asks for is there, and each number has a name that a report can carry."""
    rig = Rig(tmp_path / "a.log")
    assert verifyObject(IDelivery, rig.log)
    rig.deliver(lines(1))
    assert (rig.log.counts["bytes_sent"], rig.log.counts["errors"], rig.log.levels["connected"]) == (120, 0, 1)
    assert rig.ended()
    assert rig.log.levels["connected"] == 0


def test_a_burst_is_all_that_one_turn_writes() -> None:
    """The rest is written in the turns that follow, with other work in between."""
    target = Target()
    target.room = 10_000
    rig = Rig(target=target)
    rig.deliver(lines(1, 10))
    assert len(target.taken) == 120
    rig.deliver(lines(2, 10))
    assert len(target.taken) == 120
    rig.advance(1)
    assert target.taken == lines(1, 10).data + lines(2, 10).data
    assert rig.ended()


def test_a_target_without_room_is_asked_less_and_less_often() -> None:
    """Four times a second in the end, and often again once it has taken something."""
    target = Target()
    rig = Rig(target=target)
    rig.deliver(lines(1, 10))
    asked = []
    for _ in range(8):
        (call,) = rig.reactor.getDelayedCalls()
        asked.append(call.getTime() - rig.reactor.seconds())
        rig.reactor.advance(asked[-1])
    assert asked == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25, 0.25], abs=1e-6)
    target.room = 50
    rig.reactor.advance(0.25)
    (call,) = rig.reactor.getDelayedCalls()
    assert call.getTime() - rig.reactor.seconds() == pytest.approx(0.01, abs=1e-6)
    target.room = 1000
    rig.advance(1)
    assert target.taken == lines(1, 10).data
    assert rig.ended()


def test_what_comes_after_the_stop_is_dropped() -> None:
    """Nothing is opened for it."""
    target = Target()
    rig = Rig(target=target)
    assert rig.ended()
    rig.deliver(lines(1))
    assert rig.books == (0, 0, {"stopped": 3})
    assert not target.is_open
