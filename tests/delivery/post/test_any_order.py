"""Any order of chunks, answers and faults: no point goes missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from tests.delivery.network import check_books
from tests.delivery.post.net import Asked, Net, lines, with_status

STEPS = st.one_of(
    st.sampled_from(["deliver", "accept", "refuse", "too large", "fail", "lose", "hang", "half"]),
    st.floats(0, 40).map(lambda seconds: round(seconds, 1)),
)


@given(st.lists(STEPS, max_size=40), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_point_goes_missing(steps: list[Any], stop: bool) -> None:
    """The books balance at every step of any order, and in the end everything was accepted or counted."""
    net = Net()
    net.post.start()
    accepted: list[bytes] = []
    made = 0

    def accept(asked: Asked, ends: bool = True) -> None:
        accepted.extend(asked.data.splitlines())
        asked.answer(202, ends)

    acts: dict[str, Callable[[Asked], object]] = {
        "accept": accept,
        "half": lambda asked: accept(asked, False),
        "refuse": with_status(400),
        "too large": with_status(413),
        "fail": with_status(503, retry_after="7"),
        "lose": lambda asked: asked.lose(ConnectionLost()),
        "hang": lambda asked: net.reactor.advance(31),
    }
    for step in steps:
        if step == "deliver":
            net.post.deliver(lines(made, made + 3))
            made += 3
        elif isinstance(step, float):
            net.reactor.advance(step)
        elif net.agent.asked and net.agent.latest.waits:
            acts[step](net.agent.latest)
        check_books(net.post)
    if stop:
        stopped = net.stop(400)
        net.pass_time(401, accept)
        assert stopped == [None]
    else:
        net.pass_time(400, accept)
    check_books(net.post)
    ledger = net.post.ledger
    assert ledger.collected == made
    assert ledger.delivered == len(accepted) == len(set(accepted))
    assert made - ledger.delivered == ledger.dropped.get("refused", 0)
    net.stop(0)
    net.reactor.advance(0)
    assert net.reactor.getDelayedCalls() == []
