"""Over TLS: which connections are made, trusted, kept and given up."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from tests import sink as answers
from tests.delivery.certificates import Authority
from tests.delivery.network import until
from tests.delivery.post.loopback import Loopback, ends
from tests.delivery.post.net import failures, lines
from tests.strict import Logged, the_reactor


@pytest.mark.parametrize("answer", [answers.hang, answers.accept_and_hang], ids=lambda answer: answer.__name__)
@pytest_twisted.ensureDeferred
async def test_a_hanging_server_does_not_hold_up_the_end_over_the_wire(loopback: Loopback, answer: Any) -> None:
    """At the deadline the connection is gone, too."""
    server = await loopback.serve()
    server.sink.answers.append(answer)
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await until(lambda: server.sink.requests)
    stopped = post.stop(5)
    loopback.time.advance(4.9)
    await deferLater(the_reactor(), 0.05)
    assert not stopped.called
    loopback.time.advance(0.2)
    assert stopped.called
    await until(lambda: not server.sink.transports[0].connected)


@pytest.mark.parametrize("answer", [answers.accept, answers.accept_and_hang], ids=lambda answer: answer.__name__)
@pytest_twisted.ensureDeferred
async def test_no_connection_to_a_frozen_server_stays(loopback: Loopback, answer: Any) -> None:
    """Idle or not, it is closed without the server's consent, which TLS would wait for."""
    server = await loopback.serve()
    server.sink.answers.append(answer)
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await until(lambda: post.ledger.delivered == 3)
    await deferLater(the_reactor(), 0.05)
    server.sink.transports[0].pauseProducing()
    assert len(ends(server)) == 1
    loopback.time.advance(31)
    await until(lambda: not ends(server))


@pytest.mark.parametrize("impostor", ["another authority", "another name"])
@pytest_twisted.ensureDeferred
async def test_an_impostor_sees_no_request(loopback: Loopback, tmp_path: Path, impostor: str) -> None:
    """A wrong certificate ends each attempt before anything is written, and the waits grow."""
    other = Authority(tmp_path / "unknown") if impostor == "another authority" else loopback.authority
    name = "127.0.0.1" if impostor == "another authority" else "sink.example"
    server = await loopback.serve(tls=other.server(name))
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await until(lambda: failures(post) == {"tls": 1})
    loopback.time.advance(0.49)
    assert post.counts["requests"] == 1
    loopback.time.advance(0.02)
    await until(lambda: failures(post) == {"tls": 2})
    loopback.time.advance(0.84)
    assert post.counts["requests"] == 2
    assert server.sink.requests == []
    assert post.levels["queue_points"] == 3


class Silent(Protocol):
    """Accepts, and keeps what it is sent."""

    def connectionMade(self) -> None:
        self.factory.transports.append(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.factory.received += data


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_never_ends_is_given_up(loopback: Loopback) -> None:
    """After ten seconds; neither the key nor a line has left us by then, and no connection stays."""
    factory: Any = Factory.forProtocol(Silent)
    factory.noisy, factory.transports, factory.received = False, [], b""
    port = await TCP4ServerEndpoint(loopback.reactor, 0, interface="127.0.0.1").listen(factory)
    post = loopback.post(f"https://127.0.0.1:{port.getHost().port}/")
    post.deliver(lines(0, 3))
    await until(lambda: factory.received)
    loopback.time.advance(9.9)
    assert failures(post) == {}
    loopback.time.advance(0.2)
    assert failures(post) == {"timeout": 1}
    await until(lambda: not factory.transports[0].connected)
    assert b"post." not in factory.received
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_server_that_comes_back_gets_what_waited(loopback: Loopback, logged: Logged) -> None:
    """Nobody listens at first; and later it goes away and comes back once more."""
    server = await loopback.serve()
    await server.stop()
    post = loopback.post(server.url)
    post.deliver(lines(0, 3))
    await until(lambda: failures(post) == {"refused": 1})
    await server.start()
    await loopback.until(lambda: post.ledger.delivered == 3, seconds=0.1)
    await server.stop()
    await until(lambda: not server.sink.transports[0].connected)
    post.deliver(lines(3, 5))
    await until(lambda: failures(post)["refused"] == 2)
    await server.start()
    await loopback.until(lambda: post.ledger.delivered == 5, seconds=0.1)
    assert server.sink.lines == lines(0, 5).data.splitlines()
    assert len([text for text in logged.texts() if server.url in text]) == 4
    assert not [text for text in logged.texts() if "factory" in text and "QuietSite" not in text]


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_that_is_closed_is_no_trouble(loopback: Loopback, logged: Logged) -> None:
    """By the server at any time, by us after half a minute: the next chunk has a new one."""
    server = await loopback.serve()
    post = loopback.post(server.url)
    post.deliver(lines(0, 1))
    await loopback.until(lambda: post.ledger.delivered == 1)
    await deferLater(the_reactor(), 0.05)
    server.sink.close_idle()
    await until(lambda: not server.sink.transports[0].connected)
    await deferLater(the_reactor(), 0.05)
    post.deliver(lines(1, 2))
    await loopback.until(lambda: post.ledger.delivered == 2)
    await deferLater(the_reactor(), 0.05)
    loopback.time.advance(29)
    post.deliver(lines(2, 3))
    await loopback.until(lambda: post.ledger.delivered == 3)
    await deferLater(the_reactor(), 0.05)
    assert len(server.sink.transports) == 2
    loopback.time.advance(31)
    await until(lambda: not server.sink.transports[1].connected)
    post.deliver(lines(3, 4))
    await loopback.until(lambda: post.ledger.delivered == 4)
    assert len(server.sink.transports) == 3
    await deferLater(the_reactor(), 0.05)
    server.sink.close_idle()
    await until(lambda: not ends(server))
    loopback.time.advance(31)  # and nobody closes it again
    assert failures(post) == {}
    assert not [text for text in logged.texts() if server.url in text]


@pytest_twisted.ensureDeferred
async def test_a_forked_child_has_no_connection(loopback: Loopback) -> None:
    """What it inherits is /dev/null; the parent's connection goes on."""
    server = await loopback.serve()
    post = loopback.post(server.url)
    post.deliver(lines(0, 1))
    await loopback.until(lambda: post.ledger.delivered == 1)
    await deferLater(the_reactor(), 0.05)
    (fileno,) = [transport.fileno() for transport in ends(server)]
    assert os.fstat(fileno).st_rdev != os.stat(os.devnull).st_rdev
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of every fork in a process that has threads
        child = os.fork()
    if not child:
        os._exit(0 if os.fstat(fileno).st_rdev == os.stat(os.devnull).st_rdev else 1)
    assert os.waitpid(child, 0)[1] == 0
    post.deliver(lines(1, 2))
    await loopback.until(lambda: post.ledger.delivered == 2)
    assert len(server.sink.transports) == 1
