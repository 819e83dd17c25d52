"""Datagrams over loopback, with the real reactor and resolver, and to a real carbon."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator
from socket import AF_INET6, SOCK_DGRAM, socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import DatagramProtocol

from tests.carbon import HOST, Carbon
from tests.delivery.datagrams.net import lines
from tests.delivery.network import check_books, until
from tests.strict import the_reactor
from txmetrics.delivery._datagrams import Datagrams
from txmetrics.interfaces import Chunk


class Receiver(DatagramProtocol):
    """Keeps what it is sent."""

    noisy = False

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def datagramReceived(self, data: bytes, address: object) -> None:
        self.datagrams.append(data)


class Loopback:
    """Receivers and deliveries that are closed when the test is over."""

    def __init__(self) -> None:
        self.ports: list[Any] = []
        self._deliveries: list[Datagrams] = []

    def receive(self, interface: str = HOST, port: int = 0) -> Receiver:
        receiver = Receiver()
        self.ports.append(the_reactor().listenUDP(port, receiver, interface=interface))
        return receiver

    @property
    def port(self) -> int:
        return int(self.ports[-1].getHost().port)

    def start(self, host: str, port: int, **settings: Any) -> Datagrams:
        delivery = Datagrams(the_reactor(), host, port, f"udp:{host}:{port}", **settings)
        delivery.start()
        self._deliveries.append(delivery)
        return delivery

    async def close(self) -> None:
        for delivery in self._deliveries:
            await delivery.stop(0)
            assert list(delivery.filenos()) == []
            check_books(delivery)
        for port in self.ports:
            await port.stopListening()


@pytest_twisted.async_yield_fixture
async def loopback() -> AsyncIterator[Loopback]:
    loopback = Loopback()
    yield loopback
    await loopback.close()


def has_ipv6() -> bool:
    try:
        with socket(AF_INET6, SOCK_DGRAM) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("interface", [HOST, "::1"])
@pytest_twisted.ensureDeferred
async def test_everything_arrives_in_order(loopback: Loopback, interface: str) -> None:
    """Over either family."""
    if interface == "::1" and not has_ipv6():
        pytest.skip("this machine has no ::1")
    receiver = loopback.receive(interface)
    delivery = loopback.start(interface, loopback.port)
    for number in range(0, 5000, 500):
        delivery.deliver(lines(number, number + 500))
        check_books(delivery)
    await until(lambda: delivery.ledger.delivered == 5000)
    await until(lambda: sum(map(len, receiver.datagrams)) == 250_000)
    assert b"".join(receiver.datagrams) == lines(0, 5000).data
    (descriptor,) = delivery.filenos()
    assert stat.S_ISSOCK(os.fstat(descriptor).st_mode)


@pytest_twisted.ensureDeferred
async def test_a_name_is_looked_up_by_the_real_resolver(loopback: Loopback) -> None:
    """Its IPv6 address, which may come first and where nobody listens, does not stand in the way."""
    receiver = loopback.receive(HOST)
    delivery = loopback.start("localhost", loopback.port)
    delivery.deliver(lines(0, 100))
    await until(lambda: len(receiver.datagrams) == 4)
    assert b"".join(receiver.datagrams) == lines(0, 100).data


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_comes_late_misses_nothing(loopback: Loopback) -> None:
    """The kernel's refusals keep everything back until it is there."""
    loopback.receive()
    port = loopback.port
    await loopback.ports.pop().stopListening()
    delivery = loopback.start(HOST, port, random=lambda: 0.0)
    for number in range(0, 2000, 500):
        delivery.deliver(lines(number, number + 500))
    await until(lambda: delivery.counts["refusals"] >= 2)
    assert delivery.ledger.queued == 2000
    receiver = loopback.receive(port=port)
    await until(lambda: delivery.ledger.delivered == 2000)
    await until(lambda: sum(map(len, receiver.datagrams)) == 100_000)
    assert b"".join(receiver.datagrams) == lines(0, 2000).data


@pytest_twisted.ensureDeferred
async def test_stop_before_a_port_where_nobody_listens_does_not_wait(loopback: Loopback) -> None:
    """Nor does it log anything but that points are lost."""
    loopback.receive()
    port = loopback.port
    await loopback.ports.pop().stopListening()
    delivery = loopback.start(HOST, port)
    delivery.deliver(lines(0, 100))
    began = time.monotonic()
    await delivery.stop(20)
    assert time.monotonic() - began < 10
    assert delivery.ledger.dropped == {"unconfirmed": 100}


@pytest.mark.seconds(120)
@pytest_twisted.ensureDeferred
async def test_carbon_stores_every_point(loopback: Loopback, carbon: Carbon, prefix: str) -> None:
    """20,000 points of 2,000 names, at the usual pace."""
    delivery = loopback.start(HOST, carbon.udp_port)
    names = [f"{prefix}.s{number}" for number in range(2000)]
    now = int(time.time())
    moments = range(now - 9, now + 1)
    for moment in moments:
        for first in range(0, 2000, 500):
            batch = names[first : first + 500]
            data = "".join(f"{name} {moment % 1000} {moment}\n" for name in batch).encode()
            delivery.deliver(Chunk(data, 500, moment))
            check_books(delivery)
    await until(lambda: delivery.ledger.delivered == 20_000, 60)
    expected = {moment: float(moment % 1000) for moment in moments}
    for name in names:
        await carbon.eventually(lambda name=name: carbon.stored(name, now) == expected, 60)
