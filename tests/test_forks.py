"""Forked children: whatever one does with what it has inherited, the parent's backend hears the parent only."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol

from tests.carbon import reserve
from tests.delivery.certificates import Authority
from tests.delivery.network import until
from tests.processes import Child
from tests.strict import the_reactor

LINES = b"".join(b"parent %d 1000000000\n" % number for number in range(10))
"""What the program delivers, in the end."""

PROGRAM = Path(__file__).with_name("fork_child.py")


class Server(Factory):
    """What came over all connections, and how they ended."""

    noisy = False

    def __init__(self) -> None:
        self.received = b""
        self.connections = 0
        self.ends: list[Any] = []

    def buildProtocol(self, addr: object) -> Protocol:
        self.connections += 1
        protocol = Protocol()
        protocol.dataReceived = self.read
        protocol.connectionLost = self.ends.append
        return protocol

    def read(self, data: bytes) -> None:
        self.received += data


@pytest_twisted.async_yield_fixture
async def ports() -> AsyncIterator[list[Any]]:
    ports: list[Any] = []
    yield ports
    for port in ports:
        await port.stopListening()


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is nobody's until somebody listens on it."""
    with reserve() as held:
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("kind", "moment"),
    [("tcp", "writing"), ("tcp", "idle"), ("tcp", "waiting"), ("tls", "writing"), ("unix", "writing")],
)
@pytest_twisted.ensureDeferred
async def test_a_backend_hears_the_parent_only(
    ports: list[Any], port: int, tmp_path: Path, kind: str, moment: str
) -> None:
    """Children write, stop, start, close and abort, and run the reactor on: one connection, and not a byte too many."""
    reactor, server = the_reactor(), Server()
    if kind == "unix":
        endpoint: Any = UNIXServerEndpoint(reactor, str(tmp_path / "socket"))
        where = f"unix:{tmp_path}/socket"
    elif kind == "tls":
        authority = Authority(tmp_path / "tls")
        endpoint = SSL4ServerEndpoint(reactor, 0, authority.server("127.0.0.1"), interface="127.0.0.1")
    else:
        endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
        where = f"tcp:127.0.0.1:{port}"
    if moment != "waiting":
        ports.append(await endpoint.listen(server))
    if kind == "tls":
        where = f"tls:127.0.0.1:{ports[0].getHost().port}:trustRoots={authority.directory}"
    with Child(sys.executable, PROGRAM, where, moment, cwd=tmp_path) as child:
        await until(lambda: "forked" in child.output())
        if moment == "waiting":
            ports.append(await endpoint.listen(server))
        await until(lambda: "delivered" in child.output(), 20)
        assert "delivered 10 connections 1" in child.output()
    await until(lambda: server.ends)
    assert server.received == LINES
    assert server.connections == 1
    assert [end.type for end in server.ends] == [ConnectionDone]


@pytest_twisted.ensureDeferred
async def test_a_child_that_takes_over_an_attempt_to_connect_says_nothing(ports: list[Any], tmp_path: Path) -> None:
    """It runs its parent's reactor on, and is the one that gets the connection: it does not use it.

    The parent tries again when its own attempt has had its ten seconds; this test does not wait for that.
    """
    server = Server()
    ports.append(await TCP4ServerEndpoint(the_reactor(), 0, interface="127.0.0.1").listen(server))
    where = f"tcp:127.0.0.1:{ports[0].getHost().port}"
    with Child(sys.executable, PROGRAM, where, "opening", cwd=tmp_path) as child:
        await until(lambda: "alone again" in child.output())
    await until(lambda: len(server.ends) == server.connections > 0)
    assert set(server.received.splitlines()) <= set(LINES.splitlines())
