"""More than there is room for: memory stays bounded, and a spool takes what has to wait."""

from __future__ import annotations

from pathlib import Path

from tests.delivery.network import dropped
from tests.delivery.post.net import Net, numbers, refuse, with_status
from txmetrics.delivery import Spool


def test_an_outage_costs_bounded_memory_and_keeps_the_latest(net: Net) -> None:
    """The oldest are dropped, and counted."""
    net.make(max_bytes=10_000)
    net.post.start()
    for number in range(500):
        net.deliver(number)
        net.pass_time(0.1, refuse)
        assert net.post.levels["buffer_bytes"] <= 10_000
    kept = net.post.ledger.queued
    assert sum(dropped(net.post).values()) == 500 - kept
    assert dropped(net.post)["overflow"] > 400
    net.pass_time(100, with_status(202))
    assert net.post.ledger.delivered == kept
    assert net.agent.latest.number == 499


def test_an_outage_fills_the_spool_and_then_empties_it(net: Net, tmp_path: Path) -> None:
    """Nothing is lost, and nothing but what is on its way waits in memory."""
    net.make(max_bytes=10_000, spool=Spool(tmp_path / "spool"))
    net.post.start()
    for number in range(500):
        net.deliver(number)
        net.pass_time(0.1, refuse)
    net.pass_time(3, refuse)
    assert net.post.ledger.spooled + net.post.ledger.queued == 500
    assert net.post.ledger.queued <= 1
    net.pass_time(100, with_status(202))
    assert net.post.ledger.delivered == 500
    assert sorted(set(numbers(net.agent.asked))) == list(range(500))


def test_a_server_that_hangs_fills_the_spool_too(net: Net, tmp_path: Path) -> None:
    """While the request waits for its answer, the others go to where a crash does not reach them."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.start(*range(10))
    net.pass_time(0.9)
    assert net.post.ledger.spooled == 0
    net.pass_time(1)
    assert net.post.ledger.spooled == 9
    net.answer(202)
    net.pass_time(2, with_status(202))
    assert net.post.ledger.delivered == 10


def test_a_server_that_is_quick_enough_needs_no_spool(net: Net, tmp_path: Path) -> None:
    """What waits for its turn behind others that are accepted is left where it is."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.start(*range(50))
    for _ in range(50):
        assert net.post.ledger.spooled == 0
        net.answer(202)
        net.pass_time(0.2)
    assert net.post.ledger.delivered == 50


def test_another_life_posts_what_this_one_could_not(net: Net, tmp_path: Path) -> None:
    """The chunk on its way included."""
    net.make(spool=Spool(tmp_path / "spool"))
    net.start(1, 2, 3)
    net.pass_time(5, with_status(500))
    net.pass_time(5)
    assert net.stop(1) == []
    net.reactor.advance(1)
    assert net.post.ledger.spooled == 3
    assert dropped(net.post) == {}
    net.make(spool=Spool(tmp_path / "spool"))
    net.post.start()
    net.pass_time(2, with_status(202))
    assert net.post.ledger.delivered == 3
