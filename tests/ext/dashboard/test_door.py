"""Who is answered: a browser on this machine that means this page, and whoever was allowed in words."""

from __future__ import annotations

import os
from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from tests.ext.dashboard.stand import ELSEWHERE, HERE, NAMES, Answer, Stand
from txmetrics import MetricsRegistry
from txmetrics.ext.dashboard import Dashboard
from txmetrics.testing import FakeReactor


def refused(answer: Answer, remedy: str) -> bool:
    return answer.code == 403 and remedy in answer.body.decode()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8002", "[::1]", "[::1]:8002"])
def test_this_machine_s_own_names_are_let_in(stand: Stand, host: str) -> None:
    """On any port."""
    assert stand.ask("/state", host=host).code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "evil.example:8002", "127.0.0.1.evil.example", "127.0.0.2", "0"),
        *("user@localhost", "localhost@evil.example", "localhost:80:80", "localhost:", "", "::1", "[::1", "localhost."),
        *("localhost,evil.example", "lo\u00e7alhost", "localhost/..", "*", None),
    ],
)
def test_other_names_are_refused(stand: Stand, host: str | None) -> None:
    """A page elsewhere, whose name was made to mean this machine, reads nothing; the remedy is told."""
    for name in NAMES:
        assert refused(stand.ask(f"/{name}", host=host), 'hosts=("name",)'), name


def test_two_host_headers_are_none(stand: Stand) -> None:
    """Nobody knows which one a proxy went by."""
    assert refused(stand.ask("/state", "Host: localhost"), "hosts=")


def test_a_name_that_was_told_is_let_in() -> None:
    """It and no other one; whether written large or small."""
    stand = Stand(hosts=("Metrics.example.org", "[2001:db8::1]")).run()
    assert stand.ask("/state", host="metrics.EXAMPLE.org:443").code == 200
    assert stand.ask("/state", host="[2001:db8::1]").code == 200
    assert stand.ask("/state", host="a.metrics.example.org").code == 403
    stand.close()


@pytest.mark.parametrize("host", ["*", "a b", "name:80", "http://name", "", "::1", 7])
def test_a_name_that_is_none_is_refused_when_it_is_given(host: Any) -> None:
    """With the part that is wrong."""
    with pytest.raises(ValueError, match="no name of a host"):
        Dashboard(MetricsRegistry(), hosts=(host,), reactor=FakeReactor())


def test_one_string_is_not_several_names() -> None:
    """A tuple without its comma is a string."""
    with pytest.raises(TypeError, match=r"hosts=\('web1',\)"):
        Dashboard(MetricsRegistry(), hosts=("web1"), reactor=FakeReactor())


@pytest.mark.parametrize(
    ("peer", "to"),
    [
        (ELSEWHERE, ELSEWHERE),
        (ELSEWHERE, HERE),
        (HERE, ELSEWHERE),
        (IPv6Address("TCP", "2001:db8::1", 1), IPv6Address("TCP", "::1", 1)),
        (IPv6Address("TCP", "fe80::1%eth0", 1), IPv6Address("TCP", "fe80::2%eth0", 1)),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 1), IPv6Address("TCP", "::1", 1)),
        (None, HERE),
    ],
)
def test_whoever_is_not_on_this_machine_is_refused(stand: Stand, peer: Any, to: Any) -> None:
    """Whichever end of the connection is elsewhere, and whatever name it uses."""
    for name in NAMES:
        assert refused(stand.ask(f"/{name}", peer=peer, to=to), "allow_public=True"), name


@pytest.mark.parametrize(
    "address",
    [
        IPv4Address("TCP", "127.9.9.9", 1),
        IPv6Address("TCP", "::1", 1),
        IPv6Address("TCP", "::ffff:127.0.0.1", 1),
        UNIXAddress(b"/run/dashboard.sock"),
        UNIXAddress(None),
    ],
)
def test_whoever_is_on_this_machine_is_let_in(stand: Stand, address: Any) -> None:
    """Over IPv4, IPv6, or a UNIX socket."""
    assert stand.ask("/state", peer=address, to=address).code == 200


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: localhost", "Forwarded: for=x", "X-Real-IP: ::1", "Via: x"],
)
def test_what_a_proxy_sends_on_is_refused(stand: Stand, header: str) -> None:
    """It comes from loopback, whoever has sent it."""
    assert refused(stand.ask("/state", header), "allow_public=True")


def test_a_plain_word_lets_everybody_in() -> None:
    """Through a proxy or not; but under the names that were told."""
    stand = Stand(allow_public=True, hosts=("metrics.example.org",)).run()
    host = "metrics.example.org"
    assert stand.ask("/state", peer=ELSEWHERE, to=ELSEWHERE, host=host).code == 200
    assert stand.ask("/state", "X-Forwarded-For: 192.0.2.1", host=host).code == 200
    assert refused(stand.ask("/state", peer=ELSEWHERE, to=ELSEWHERE, host="192.0.2.8"), "hosts=")
    stand.close()


@implementer(IRealm)
class Realm:
    """Everybody who is known may see ``page``."""

    page: Any

    def requestAvatar(self, avatar: object, mind: object, *interfaces: object) -> Any:
        return IResource, self.page, lambda: None


def test_a_login_may_stand_before_it() -> None:
    """Of Twisted's own kind; without it there is nothing, with it all is as ever."""
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    checker.addUser(b"ann", b"secret")
    realm, root = Realm(), Resource()
    root.putChild(b"dash", HTTPAuthSessionWrapper(Portal(realm, [checker]), [BasicCredentialFactory(b"metrics")]))
    stand = Stand(root, allow_public=True, hosts=("web1",))
    realm.page = stand.dashboard
    stand.run()
    who = {"peer": ELSEWHERE, "to": ELSEWHERE, "host": "web1"}
    assert stand.ask("/dash/state", **who).code == 401
    with_login = stand.ask("/dash/state", "Authorization: Basic YW5uOnNlY3JldA==", **who)
    assert with_login.json["pid"] == os.getpid()
    stand.close()
