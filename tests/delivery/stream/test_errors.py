"""Transports and frames that raise cost a connection or a chunk, and never more."""

from __future__ import annotations

from tests.delivery.network import chunk, dropped
from tests.delivery.stream.net import Net, numbers
from tests.strict import Logged


def test_a_transport_that_raises_costs_the_connection(net: Net, logged: Logged) -> None:
    """Nobody sees the exception; the next connection gets everything."""
    pipe = net.connect()
    pipe.write = lambda data: 1 / 0
    net.deliver(1, 2)
    net.pass_time(1)
    assert pipe.ended == "ConnectionAborted"
    assert numbers(net.endpoint.latest.accept()) == [1, 2]
    assert dropped(net.stream) == {}
    assert logged.flush_text("writing to tcp:graphite:2003 failed (ZeroDivisionError)")


def test_a_frame_that_raises_costs_its_chunk(net: Net, logged: Logged) -> None:
    """The poisoned chunk is dropped and counted instead of being tried for ever; its neighbours are not harmed."""

    def frame(data: bytes) -> bytes:
        if data == chunk(1).data:
            raise ValueError(data)
        return data

    net.make(frame=frame)
    net.deliver(0, 1, 2)
    pipe = net.connect()
    assert numbers(pipe) == [0, 2]
    assert dropped(net.stream) == {"unwritable": 1}
    net.pass_time(2)
    assert net.stream.ledger.retained == 2
    pipe.lose()
    net.pass_time(1)
    assert numbers(net.endpoint.latest.accept()) == [0, 2]
    assert logged.flush_text("writing to tcp:graphite:2003 failed (ValueError)")
    assert "00000001" not in "".join(logged.texts())


def test_a_stream_that_cannot_write_still_stops(net: Net, logged: Logged) -> None:
    """The exception may come during the last attempt."""
    net.make(frame=lambda data: 1 / 0)
    net.deliver(1, 2)
    net.stream.start()
    stopped = net.stop()
    net.endpoint.latest.accept()
    net.pass_time(6)
    assert stopped == [None]
    assert dropped(net.stream) == {"unwritable": 2}
    assert logged.flush_text("failed (ZeroDivisionError)")
