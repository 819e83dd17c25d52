"""A stream with a spool: what has to wait goes to disk, and comes back in its order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.delivery.network import Endpoint, chunk, dropped
from tests.delivery.stream.net import BIG, Net, numbers, refuse
from tests.strict import Logged
from txmetrics.delivery import Spool, Stream


def on_disk(net: Net, path: Path, **settings: Any) -> Stream:
    net.endpoint = Endpoint(net.reactor)
    return net.make(spool=Spool(path / "spool"), **settings)


def test_what_has_to_wait_goes_to_disk_and_comes_back_in_its_order(net: Net, tmp_path: Path) -> None:
    """After a second of outage memory is empty; when the peer is back it gets the spool first, then what is new."""
    on_disk(net, tmp_path)
    net.stream.start()
    net.endpoint.latest.refuse()
    for number in range(20):
        net.deliver(number)
        net.pass_time(0.1)
    net.pass_time(2, refuse)
    assert net.stream.ledger.spooled == 20
    assert net.stream.levels["spool_points"] == 20
    assert net.stream.levels["buffer_bytes"] == 0
    net.deliver(20)
    net.pass_time(5)
    pipe = net.endpoint.latest.accept()
    assert numbers(pipe) == list(range(21))
    net.pass_time(2)
    assert net.stream.ledger.retained == 21
    pipe.lose()
    net.pass_time(10)
    assert sorted(numbers(net.endpoint.latest.accept())) == list(range(21))
    assert dropped(net.stream) == {}


def test_what_a_stop_cannot_deliver_is_there_in_the_next_life(net: Net, tmp_path: Path) -> None:
    """Also what was written and not confirmed; nothing is dropped."""
    on_disk(net, tmp_path)
    pipe = net.connect()
    pipe.answers = False
    net.deliver(1, 2)
    net.pass_time(2)
    pipe.full = True
    net.deliver(3)
    stopped = net.stop(3)
    net.pass_time(4)
    assert stopped == [None]
    assert net.stream.ledger.spooled == 3
    assert dropped(net.stream) == {}
    on_disk(net, tmp_path)
    pipe = net.connect()
    net.deliver(4)
    assert numbers(pipe) == [1, 2, 3, 4]
    assert net.stream.ledger.collected == 4


def test_where_nothing_is_sent_twice_the_spool_keeps_only_what_was_never_sent(net: Net, tmp_path: Path) -> None:
    """What was written and not confirmed is counted, and does not come back."""
    on_disk(net, tmp_path, replay_window=0)
    net.connect(full=True)
    net.deliver(1, 2, 3, size=BIG)
    stopped = net.stop(1)
    net.pass_time(2)
    assert stopped == [None]
    assert dropped(net.stream) == {"unconfirmed": 2}
    on_disk(net, tmp_path, replay_window=0)
    assert numbers(net.connect()) == [3]


def test_a_stop_drains_the_spool(net: Net, tmp_path: Path) -> None:
    """What an earlier life left is delivered in this one's last seconds, if that is all it has."""
    on_disk(net, tmp_path)
    net.deliver(*range(10))
    net.stream.start()
    net.stop(0)
    net.reactor.advance(0)
    assert net.stream.ledger.spooled == 10
    on_disk(net, tmp_path)
    pipe = net.connect(full=True)
    stopped = net.stop()
    pipe.read()
    net.reactor.advance(0)
    assert stopped == [None]
    assert net.stream.ledger.delivered == 10
    assert list((tmp_path / "spool").glob("*.spool")) == []


def test_a_spool_that_its_predecessor_still_has_is_tried_again(net: Net, tmp_path: Path, logged: Logged) -> None:
    """The old process may end a little later than the new one begins: what it left is found a minute later."""
    predecessor = Spool(tmp_path / "spool")
    predecessor.open()
    predecessor.append(chunk(1))
    on_disk(net, tmp_path)
    pipe = net.connect()
    net.deliver(2)
    net.pass_time(30)
    predecessor.close()
    net.deliver(3)
    assert numbers(pipe) == [2, 3]
    net.pass_time(30)
    net.deliver(4)
    assert numbers(pipe) == [2, 3, 4]
    net.deliver(5)
    assert numbers(pipe) == [2, 3, 4, 1, 5]
    assert net.stream.ledger.collected == 5
    assert [text for text in logged.texts() if "spool" in text] == [
        f"cannot use the spool {tmp_path / 'spool'} (another spool is using it)",
        f"can use the spool {tmp_path / 'spool'} again",
    ]


def test_after_the_end_the_spool_is_not_opened_again(net: Net, tmp_path: Path) -> None:
    """Whatever still comes then: another process may have it by now."""
    on_disk(net, tmp_path)
    net.connect()
    net.stop()
    net.pass_time(10)
    net.deliver(1)
    net.pass_time(120)
    net.deliver(2)
    successor = Spool(tmp_path / "spool")
    successor.open()
    assert successor.usable
    successor.close()
