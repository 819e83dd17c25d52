"""Lookups: names are found as everywhere, and one that cannot be found keeps nobody else waiting."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IReactorPluggableNameResolver, IReactorTCP
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from zope.interface import directlyProvides

from tests.delivery.network import until
from tests.strict import the_reactor
from txmetrics.delivery import with_own_lookups
from txmetrics.testing import FakeReactor, GraphiteReceiver


class NameServer:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked: list[str] = []
        self._look_up = socket.getaddrinfo

    def getaddrinfo(self, host: str, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(host)
        self.answers.wait(60)
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self._look_up("127.0.0.1", *args, **kwargs)


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.answers.set()
    for thread in lookups():
        thread.join(10)


def lookups() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "txmetrics lookup"]


def connect(reactor: Any, host: str, port: int) -> Deferred[Any]:
    return HostnameEndpoint(reactor, host, port).connect(Factory.forProtocol(Protocol))


@pytest_twisted.ensureDeferred
async def test_a_name_is_found_and_connected_to(name_server: NameServer) -> None:
    """As with the reactor's own resolver."""
    name_server.answers.set()
    port = await TCP4ServerEndpoint(the_reactor(), 0, interface="127.0.0.1").listen(GraphiteReceiver())
    protocol = await connect(with_own_lookups(the_reactor()), "graphite", port.getHost().port)
    assert name_server.asked == ["graphite"]
    protocol.transport.loseConnection()
    await until(lambda: not protocol.transport.connected)
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_an_unknown_name_is_a_lookup_error(name_server: NameServer) -> None:
    """What the system does not know has no address."""
    name_server.answers.set()
    with pytest.raises(DNSLookupError):
        await connect(with_own_lookups(the_reactor()), "nowhere.invalid", 1)


@pytest_twisted.ensureDeferred
async def test_a_lookup_that_hangs_keeps_one_thread_and_none_of_the_applications(name_server: NameServer) -> None:
    """However often a name is asked for again; who asks meanwhile gets the one answer."""
    reactor = with_own_lookups(the_reactor())
    attempts = [connect(reactor, "nowhere.invalid", 1) for _ in range(30)]
    for attempt in attempts[:10]:
        attempt.cancel()
        attempt.addErrback(lambda failure: None)
    await until(lambda: name_server.asked)
    assert await deferToThread(lambda: 5) == 5
    assert len(lookups()) == 1
    name_server.answers.set()
    for attempt in attempts[10:]:
        with pytest.raises(DNSLookupError):
            await attempt
    assert name_server.asked == ["nowhere.invalid"]


@pytest_twisted.ensureDeferred
async def test_names_are_looked_up_one_after_the_other(name_server: NameServer) -> None:
    """The second waits for the first."""
    reactor = with_own_lookups(the_reactor())
    attempts = [connect(reactor, f"{name}.invalid", 1) for name in "abc"]
    await until(lambda: name_server.asked)
    assert name_server.asked == ["a.invalid"]
    name_server.answers.set()
    for attempt in attempts:
        with pytest.raises(DNSLookupError):
            await attempt
    assert name_server.asked == ["a.invalid", "b.invalid", "c.invalid"]


def test_a_reactor_is_otherwise_what_it_was() -> None:
    """It provides the same interfaces and has the same time."""
    reactor = with_own_lookups(the_reactor())
    assert reactor is not the_reactor()
    assert IReactorTCP.providedBy(reactor)
    assert IReactorPluggableNameResolver.providedBy(reactor)
    assert reactor.seconds is the_reactor().seconds


def test_somebody_elses_resolver_stays() -> None:
    """Whoever has installed one, or has a reactor that cannot have one, knows why."""
    fake = FakeReactor()
    assert with_own_lookups(fake) is fake
    fake.nameResolver = object()
    directlyProvides(fake, IReactorPluggableNameResolver)
    assert with_own_lookups(fake) is fake


@pytest_twisted.ensureDeferred
async def test_an_answer_may_lead_to_the_same_question(name_server: NameServer) -> None:
    """Such as that of a last attempt at a stop: each question has its own answer, and the log stays quiet."""
    name_server.answers.set()
    reactor = with_own_lookups(the_reactor())
    again = connect(reactor, "nowhere.invalid", 1).addErrback(lambda _: connect(reactor, "nowhere.invalid", 1))
    with pytest.raises(DNSLookupError):
        await again
    assert name_server.asked == ["nowhere.invalid"] * 2
