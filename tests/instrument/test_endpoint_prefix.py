"""``metrics:tcp:8080``: an endpoint string by which a server measures its connections."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.application.strports import service as strports_service
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from zope.interface.verify import verifyObject

from tests.instrument.test_connections import counted, ended
from tests.instrument.web.loopback import HOST, Client, Stage
from tests.processes import ROOT, run
from tests.strict import Logged, the_reactor
from txmetrics.instrument import use_registry
from txmetrics.instrument.connections._endpoint import _care
from txmetrics.registry import MetricsRegistry
from txmetrics.testing import FakeReactor


class Echo(Protocol):
    """Sends back what it gets."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


@pytest.fixture
def registry() -> Iterator[MetricsRegistry]:
    """The registry in use for as long as a test."""
    registry = MetricsRegistry()
    use_registry(registry)
    yield registry
    use_registry(None)


@pytest.mark.parametrize(
    ("description", "name"),
    [
        (f"metrics:tcp:0:interface={HOST}", None),
        (f"metrics:as=echo:tcp:0:interface={HOST}", "connections.echo"),
        (f"metrics:tcp:0:interface={HOST}:as=echo.one", "connections.echo.one"),
        (f"metrics:tcp:port=0:as=echo:interface={HOST}", "connections.echo"),
        (f"METRICS:haproxy:tcp:0:interface={HOST}", None),
        (f"haproxy:metrics:as=outer:tcp:0:interface={HOST}", "connections.outer"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_factory_that_listens_is_measured(
    tmp_path: Path, registry: MetricsRegistry, description: str, name: str | None
) -> None:
    """Under the name in the string, or else under its port; before or behind another prefix."""
    stage = Stage(tmp_path)
    factory = Factory.forProtocol(Echo)
    endpoint = serverFromString(the_reactor(), description)
    verifyObject(IStreamServerEndpoint, endpoint)
    port = await endpoint.listen(factory)
    stage.at_end(port.stopListening)
    client = await stage.connect(port.getHost().port)
    header = b"PROXY TCP4 1.1.1.1 2.2.2.2 10 20\r\n" if "haproxy" in description.lower() else b""
    client.send(header + b"hello")
    await client.until(b"hello")
    client.hang_up()
    name = name or f"connections.{port.getHost().port}"
    await ended(registry, name)
    assert counted(registry, name) == {
        "accepted": 1,
        "bytes_received": len(header) + 5,
        "bytes_sent": 5,
        "life": 1,
        "lost.ConnectionLost": 1,
    }
    await stage.clear()


@pytest.mark.parametrize("odd", ["plain", "a:b", "a=b", "a\\b", "=:\\"])
@pytest_twisted.ensureDeferred
async def test_what_is_quoted_stays_quoted(tmp_path: Path, registry: MetricsRegistry, odd: str) -> None:
    """The inner endpoint gets the very strings that it would get without us: as one of its arguments or keywords."""
    path = tmp_path / odd
    quoted = str(path).replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")
    for inner in (f"unix:{quoted}", f"unix:address={quoted}:lockfile=0"):
        port = await serverFromString(the_reactor(), f"metrics:as=socket:{inner}").listen(Factory.forProtocol(Echo))
        assert path.exists()
        await port.stopListening()


def test_a_wrong_inner_endpoint_is_told_as_ever(registry: MetricsRegistry) -> None:
    """What is behind the prefix is checked when the string is read."""
    for wrong, match in (("metrics", "Unknown endpoint"), ("metrics:", "Unknown"), ("metrics:nonsense:1", "nonsense")):
        with pytest.raises(ValueError, match=match):
            serverFromString(FakeReactor(), wrong)


def test_a_wrong_name_is_told_at_once(registry: MetricsRegistry) -> None:
    """Not when the server is to listen."""
    with pytest.raises(ValueError, match="contains ' '"):
        serverFromString(FakeReactor(), "metrics:as=the web:tcp:80")


@pytest_twisted.ensureDeferred
async def test_without_a_registry_it_does_not_listen() -> None:
    """One sentence says what is missing; a service that would listen does not start."""
    endpoint = serverFromString(the_reactor(), "metrics:tcp:0")
    with pytest.raises(
        RuntimeError, match=r"nowhere to count: run the server by twistd metrics, or call .*use_registry"
    ):
        await endpoint.listen(Factory.forProtocol(Echo))
    service = strports_service("metrics:tcp:0", Factory.forProtocol(Echo), the_reactor())
    with pytest.raises(RuntimeError, match="nowhere to count"):
        service.startService()


@pytest.mark.parametrize("name", ["", "as=own:"])
@pytest_twisted.ensureDeferred
async def test_a_name_that_is_taken_does_not_keep_a_server_from_listening(
    tmp_path: Path, registry: MetricsRegistry, logged: Logged, name: str
) -> None:
    """It is logged, and the server runs unmeasured."""
    stage = Stage(tmp_path)
    registry.gauge("connections.own.accepted")
    path = tmp_path / "own"
    registry.gauge(f"connections.{str(path).strip('/').replace('/', '_').replace('.', '_')}.accepted")
    port = await serverFromString(the_reactor(), f"metrics:{name}unix:{path}").listen(Factory.forProtocol(Echo))
    stage.at_end(port.stopListening)
    client = await connectProtocol(UNIXClientEndpoint(the_reactor(), str(path)), Client())
    client.send(b"hello")
    await client.until(b"hello")
    client.hang_up()
    await stage.clear()
    assert logged.flush(ValueError) or _care.errors.count  # logged once in a process


PARSERS = """
import json, sys
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins
prefixes = [parser.prefix for parser in getPlugins(IStreamServerEndpointStringParser)]
loaded = [name for name in sys.modules if name.split(".")[0] == "txmetrics"]
json.dump([prefixes.count("metrics"), loaded], sys.stdout)
"""


def test_the_prefix_is_found_without_an_import_of_ours(tmp_path: Path) -> None:
    """Every program that reads an endpoint string looks at all plugins."""
    done = run(sys.executable, "-c", PARSERS, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert json.loads(done.stdout) == [1, []]
