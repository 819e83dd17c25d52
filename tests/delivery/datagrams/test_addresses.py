"""Where datagrams are sent to: addresses, names that move, and name services that fail or hang."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.delivery.datagrams.net import HERE, THERE, V6, Net, Network, network_log, numbers
from tests.strict import Logged
from txmetrics.delivery._datagrams import Datagrams


@pytest.mark.parametrize("host", ["", "a..b", "x" * 64, "a\0b", "\u00e4" * 64])
def test_a_host_that_can_be_none_is_refused(host: str) -> None:
    """Twisted's resolver would never answer, and log an error each time."""
    with pytest.raises(ValueError, match="neither a name nor an address"):
        Datagrams(Network(), host, 2003, "udp")


def test_an_address_is_not_looked_up(net: Net) -> None:
    """Of either family."""
    net.reactor.names.hangs = True
    net.start(V6)
    net.deliver(1)
    net.pass_time(200)
    assert [arrival.address for arrival in net.reactor.arrived] == [V6]
    net.end()
    net.start(HERE)
    net.deliver(2)
    net.pass_time(200)
    assert net.reactor.names.asked == []
    assert net.numbers == [1, 2]


def test_the_next_address_is_tried_at_once(net: Net, logged: Logged) -> None:
    """As with a localhost that is ::1 first, where carbon does not listen: nothing is lost and nobody is alarmed."""
    net.reactor.names.addresses = ["::1", "127.0.0.1"]
    net.reactor.listening = {"127.0.0.1"}
    net.start("graphite")
    net.deliver(*range(10), size=1000)
    net.pass_time(1)
    assert net.numbers == list(range(10))
    assert numbers(net.reactor.lost) == [0]
    assert network_log(logged) == []


def test_an_address_without_a_route_is_passed_over(net: Net) -> None:
    """As IPv6 ones are on a machine without IPv6."""
    net.reactor.names.addresses = [V6, HERE]
    net.reactor.unreachable = {V6}
    net.start("graphite")
    net.deliver(1)
    net.pass_time(1)
    assert net.numbers == [1]
    assert net.delivery.counts["errors"] == 1


def test_when_every_address_refuses_all_are_tried_again(net: Net) -> None:
    """In rounds, which begin with a look-up and have the back-off between them."""
    net.reactor.names.addresses = [V6, HERE]
    net.reactor.listening = set()
    net.start("graphite")
    net.deliver(1)
    net.pass_time(600)
    tried = [arrival.address for arrival in net.reactor.lost]
    assert 20 <= len(tried) <= 40
    assert tried == [V6, HERE] * (len(tried) // 2)
    assert len(net.reactor.names.asked) == len(tried) // 2
    net.reactor.listening = {HERE}
    net.pass_time(62)
    assert net.numbers == [1]


def test_a_name_is_looked_up_every_minute_while_something_is_sent(net: Net) -> None:
    """And not while nothing is. The port is kept as long as its address is one of the name's."""
    net.start("graphite")
    for number in range(30):
        net.deliver(number)
        net.pass_time(10)
    assert 5 <= len(net.reactor.names.asked) <= 6
    assert min(later - earlier for earlier, later in pairwise(net.reactor.names.asked)) >= 60
    net.reactor.names.addresses = [THERE, HERE]
    asked = len(net.reactor.names.asked)
    net.pass_time(600)
    assert len(net.reactor.names.asked) == asked
    net.deliver(30, 31)
    net.pass_time(1)
    assert len(net.reactor.names.asked) == asked + 1
    assert len(net.reactor.ports) == 1
    assert net.numbers == list(range(32))


def test_a_name_that_moves_is_followed(net: Net) -> None:
    """To its new address, within a minute."""
    net.start("graphite")
    net.deliver(1)
    net.pass_time(30)
    net.reactor.names.addresses = [THERE]
    net.pass_time(31)
    net.deliver(2)
    net.pass_time(1)
    net.deliver(3)
    net.pass_time(1)
    assert [(one.address, numbers([one])) for one in net.reactor.arrived] == [(HERE, [1]), (HERE, [2]), (THERE, [3])]
    assert [port.open for port in net.reactor.ports] == [False, True]


def test_addresses_of_long_ago_are_not_tried(net: Net) -> None:
    """When one that was good for long is refused, the name is looked up anew."""
    net.reactor.names.addresses = [HERE, THERE]
    net.start("graphite")
    for number in range(3):
        net.deliver(number)
        net.pass_time(10)
    net.reactor.names.addresses = [HERE, V6]
    net.reactor.listening.remove(HERE)
    net.deliver(3, 4)
    net.pass_time(5)
    assert {arrival.address for arrival in net.reactor.arrived[3:]} == {V6}
    assert net.numbers == [0, 1, 2, 4]


def test_a_name_that_moves_while_the_first_datagram_is_on_its_way(net: Net) -> None:
    """It is sent to the new address, too: the old one has perhaps refused it, but nobody will hear that any more."""
    net.start("graphite")
    net.pass_time(70)
    net.reactor.names.addresses = [THERE]
    net.deliver(1, 2)
    net.pass_time(1)
    assert [(one.address, numbers([one])) for one in net.reactor.arrived if one.address == THERE] == [
        (THERE, [1]),
        (THERE, [2]),
    ]
    assert net.delivery.ledger.delivered == 2


@pytest.mark.parametrize("hangs", [False, True])
def test_a_name_service_that_fails_does_not_end_what_works(net: Net, hangs: bool) -> None:
    """The last address that was known is good until there is a better one, also after a refusal."""
    net.start("graphite")
    net.deliver(0)
    net.pass_time(1)
    net.reactor.names.addresses = []
    net.reactor.names.hangs = hangs
    for number in range(1, 20):
        net.deliver(number)
        net.pass_time(10)
    net.reactor.listening.clear()
    net.deliver(20)
    net.pass_time(10)
    net.deliver(21, 22)
    net.pass_time(10)
    net.reactor.listening.add(HERE)
    net.pass_time(40)
    assert net.numbers == [*range(20), 21, 22]
    assert numbers(net.reactor.lost)[0] == 20


def test_a_name_without_an_address_is_looked_up_again(net: Net, logged: Logged) -> None:
    """With growing waits between; one line in the log tells of it."""
    net.reactor.names.addresses = []
    net.start("graphite")
    net.deliver(1)
    net.pass_time(600)
    assert 10 <= len(net.reactor.names.asked) <= 20
    assert net.delivery.counts["errors"] == len(net.reactor.names.asked)
    assert network_log(logged) == ["no way to udp:graphite:2003 (DNS lookup failed: graphite.); trying again"]
    net.reactor.names.addresses = [HERE]
    net.pass_time(62)
    assert net.numbers == [1]


def test_a_look_up_that_hangs_is_waited_for_and_not_joined_by_others(net: Net, logged: Logged) -> None:
    """Each would hold one of the few threads of the program. After ten seconds it is told, and a late answer is one."""
    net.reactor.names.hangs = True
    net.start("graphite")
    net.deliver(1)
    net.pass_time(9)
    assert network_log(logged) == []
    net.pass_time(2)
    assert network_log(logged) == ["no way to udp:graphite:2003 (no address after 10 seconds); trying again"]
    net.pass_time(200)
    assert len(net.reactor.names.asked) == 1
    assert net.delivery.counts["errors"] >= 3
    net.reactor.names.answer()
    net.pass_time(61)
    assert net.numbers == [1]
    assert len(net.reactor.names.asked) == 1


def test_a_look_up_that_is_never_answered_is_made_again(net: Net) -> None:
    """After more than five minutes, in which any answer would have come; a later one of the first is not heard."""
    net.reactor.names.hangs = True
    net.start("graphite")
    net.deliver(1)
    net.pass_time(400)
    assert len(net.reactor.names.asked) == 2
    net.reactor.names.addresses = [THERE]
    net.reactor.names.answer(1)
    net.pass_time(61)
    assert net.numbers == []
    net.reactor.names.addresses = [HERE]
    net.reactor.names.answer()
    net.pass_time(61)
    assert [arrival.address for arrival in net.reactor.arrived] == [HERE]


def test_a_reactor_without_names_or_ports_is_an_outage_like_any_other(net: Net) -> None:
    """Nothing is raised; it is counted and tried again."""
    net.reactor.no_ports = True
    net.start()
    net.deliver(1)
    net.pass_time(2)
    assert net.delivery.counts["errors"] >= 2
    net.reactor.no_ports = False
    net.pass_time(3)
    assert net.numbers == [1]
    net.end()
    net.reactor.nameResolver = None
    net.start("graphite")
    net.deliver(2)
    net.pass_time(2)
    assert net.delivery.counts["errors"] >= 2
