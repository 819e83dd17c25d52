"""How chunks become datagrams: every line whole, once, in order, and no datagram too long."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from tests.delivery.datagrams.net import HERE, Net, Network
from tests.delivery.network import dropped
from txmetrics.delivery._datagrams import Datagrams
from txmetrics.delivery._packer import LARGEST
from txmetrics.interfaces import IDelivery


def test_it_is_a_delivery(net: Net) -> None:
    """It has everything that IDelivery promises."""
    assert verifyObject(IDelivery, net.delivery)


@pytest.mark.parametrize("size", [0, 511, 8193, 65_536])
def test_a_size_out_of_reason_is_refused(size: int) -> None:
    """Smaller ones would be a line each, carbon reads no longer ones."""
    with pytest.raises(ValueError, match="512 to 8192"):
        Datagrams(Network(), HERE, 2003, "udp", size=size)


@st.composite
def reports(draw: st.DrawFn) -> list[list[bytes]]:
    """Chunks of lines, which are short, or about as long as a datagram, or longer than any."""
    lengths = st.one_of(st.integers(9, 60), st.integers(9, 1500), st.integers(8180, 8200))
    chunks = draw(st.lists(st.lists(lengths, min_size=1, max_size=40), min_size=1, max_size=5))
    count = iter(range(10_000))
    return [[b"%08d" % next(count) + b"." * (length - 9) + b"\n" for length in lengths] for lengths in chunks]


@given(reports(), st.integers(512, 8192))
def test_every_line_arrives_whole_once_and_in_order(chunks: list[list[bytes]], size: int) -> None:
    """Whatever the lengths: but for lines longer than any datagram, which are counted."""
    net = Net()
    net.start(size=size)
    for lines in chunks:
        net.deliver_lines(*lines)
    net.pass_time(4)
    fitting = [line for lines in chunks for line in lines if len(line) <= LARGEST]
    too_long = sum(map(len, chunks)) - len(fitting)
    datagrams = [arrival.data for arrival in net.reactor.arrived]
    assert b"".join(datagrams) == b"".join(fitting)
    for data in datagrams:
        assert data.endswith(b"\n")
        assert len(data) <= size or (data.count(b"\n") == 1 and len(data) <= LARGEST)
    assert dropped(net.delivery) == ({"refused": too_long} if too_long else {})
    assert net.delivery.ledger.delivered == len(fitting)
    net.end()


@given(st.lists(st.integers(9, 900), min_size=1, max_size=100))
def test_a_datagram_is_as_full_as_it_can_be(lengths: list[int]) -> None:
    """The next line of the chunk would not have fitted."""
    net = Net()
    net.start(size=1000)
    net.deliver_lines(*(b"." * (length - 1) + b"\n" for length in lengths))
    net.pass_time(2)
    for data, following in pairwise(arrival.data for arrival in net.reactor.arrived):
        assert len(data) + following.index(b"\n") + 1 > 1000
    net.end()


def test_a_full_datagram_is_not_longer_than_it_may_be(net: Net) -> None:
    """Two lines that fill it to the last byte go together, with one byte more they do not."""
    net.start(size=1000)
    net.deliver_lines(b"a" * 499 + b"\n", b"b" * 499 + b"\n")
    net.deliver_lines(b"a" * 499 + b"\n", b"b" * 500 + b"\n")
    net.pass_time(1)
    assert [len(arrival.data) for arrival in net.reactor.arrived] == [1000, 500, 501]


def test_a_chunk_whose_last_line_has_no_end_arrives_all_the_same(net: Net) -> None:
    """Chunks are whole records; one that is not costs no point, and no endless loop."""
    net.start()
    net.deliver_lines(b"a" * 1000, b"\n", b"b" * 1000)
    net.deliver_lines(b"")
    net.pass_time(1)
    assert [arrival.data for arrival in net.reactor.arrived] == [b"a" * 1000 + b"\n", b"b" * 1000]
    assert net.delivery.levels["queue_points"] == 0


def test_the_numbers(net: Net) -> None:
    """What the reporter sends of a delivery."""
    net.start()
    net.deliver(1, 2)
    assert net.delivery.levels["connected"] == 1
    net.pass_time(1)
    counts = net.delivery.counts
    assert counts["points_collected"] == counts["points_sent"] == counts["points_delivered"] == 2
    assert (counts["datagrams"], counts["bytes_sent"], counts["refusals"], counts["errors"]) == (2, 40, 0, 0)
