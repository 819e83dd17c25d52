"""Stopping: what waits is sent at the pace, by the deadline, and the rest is counted."""

from __future__ import annotations

import os

import pytest

from tests.delivery.datagrams.net import HERE, STEP, Net, lines, network_log
from tests.delivery.network import dropped
from tests.strict import Logged


def test_stop_with_nothing_to_send_ends_at_once(net: Net) -> None:
    """The port is closed by then."""
    net.start()
    net.deliver(1)
    net.pass_time(1)
    stopped = net.stop()
    net.reactor.advance(0)
    assert stopped == [None]
    assert not net.reactor.ports[0].open


def test_stop_sends_what_waits_at_the_pace(net: Net, logged: Logged) -> None:
    """And ends when that is done, however long it might have taken."""
    net.start()
    for number in range(0, 2000, 500):
        net.delivery.deliver(lines(number, number + 500))
    stopped = net.stop(5)
    net.pass_time(0.3)
    assert stopped == []
    net.pass_time(0.5)
    assert stopped == [None]
    assert net.numbers == list(range(2000))
    assert network_log(logged) == []


def test_what_is_not_sent_by_the_deadline_is_dropped_and_counted(net: Net, logged: Logged) -> None:
    """The chunk that was under way is unconfirmed, the rest was stopped."""
    net.start()
    for number in range(0, 40_000, 500):
        net.delivery.deliver(lines(number, number + 500))
    stopped = net.stop(2)
    net.pass_time(2 - STEP)
    assert stopped == []
    net.pass_time(2 * STEP)
    assert stopped == [None]
    ledger = net.delivery.ledger
    assert dict(ledger.dropped) == {"unconfirmed": 500, "stopped": 39_500 - ledger.delivered}
    assert ledger.delivered <= len(net.numbers) < ledger.delivered + 500
    assert network_log(logged) == [f"{40_000 - ledger.delivered} points may not have reached udp:{HERE}:2003"]


def test_stop_before_start_sends_what_is_there(net: Net) -> None:
    """Nothing opens if there is nothing."""
    assert net.stop() == [None]
    assert net.reactor.ports == []
    net.make()
    net.deliver(1)
    stopped = net.stop()
    net.pass_time(1)
    assert stopped == [None]
    assert net.numbers == [1]


@pytest.mark.parametrize("listening", [True, False])
def test_stop_during_the_back_off_makes_one_last_attempt(net: Net, listening: bool) -> None:
    """It may succeed; if it does not, there is nothing to wait for."""
    net.reactor.listening.clear()
    net.start()
    net.deliver(1, 2)
    net.pass_time(100)
    attempts = len(net.reactor.lost)
    if listening:
        net.reactor.listening.add(HERE)
    stopped = net.stop(5)
    net.pass_time(0.5)
    assert stopped == [None]
    if listening:
        assert net.numbers == [1, 2]
    else:
        assert len(net.reactor.lost) == attempts + 1
        assert net.delivery.ledger.dropped == {"unconfirmed": 1, "stopped": 1}


def test_stop_when_no_port_can_be_had_ends_at_once(net: Net) -> None:
    """The last attempt fails while stop is still being called."""
    net.reactor.no_ports = True
    net.start()
    net.deliver(1)
    net.pass_time(2)
    assert net.stop(5) == [None]
    assert dropped(net.delivery) == {"stopped": 1}


def test_stop_while_looking_up_waits_until_the_deadline(net: Net) -> None:
    """An answer may still come; one that comes after the end opens nothing."""
    net.reactor.names.hangs = True
    net.start("graphite")
    net.deliver(1)
    stopped = net.stop(3)
    net.pass_time(2.9)
    assert stopped == []
    net.pass_time(0.2)
    assert stopped == [None]
    net.reactor.names.answer()
    assert net.reactor.ports == []
    assert net.reactor.getDelayedCalls() == []


def test_every_stop_is_answered(net: Net) -> None:
    """Whenever it comes, and also when nobody waits for the first any more."""
    net.start()
    net.deliver(1)
    nobody = net.delivery.stop(5)
    nobody.addErrback(lambda cancelled: None)
    nobody.cancel()
    first = net.stop(5)
    net.pass_time(1)
    assert first == [None]
    assert net.stop(5) == [None]
    assert net.numbers == [1]


def test_what_is_delivered_while_stopping_is_sent_and_after_it_dropped(net: Net) -> None:
    """And counted; nor does a stopped one start again."""
    net.start()
    net.deliver(1)
    stopped = net.stop(5)
    net.deliver(2)
    net.pass_time(1)
    assert stopped == [None]
    assert net.numbers == [1, 2]
    net.delivery.start()
    net.deliver(3)
    net.pass_time(1)
    assert net.numbers == [1, 2]
    assert dropped(net.delivery) == {"stopped": 1}


def test_a_chunk_between_the_end_and_its_answer_is_dropped(net: Net) -> None:
    """The port takes a turn of the reactor to close."""
    net.start()
    stopped = net.stop(5)
    assert stopped == []
    net.deliver(1)
    assert dropped(net.delivery) == {"stopped": 1}


def test_a_forked_child_sends_nothing(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is the parent's to send, also if the child's reactor goes on."""
    net.start()
    net.deliver(1)
    net.pass_time(1)
    net.deliver(2)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    net.pass_time(1)
    net.deliver(3)
    net.pass_time(1)
    assert net.numbers == [1]
