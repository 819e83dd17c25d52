"""A dashboard on a real port, asked over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.web.server import Site

from tests.ext.dashboard.stand import answer
from tests.instrument.web.loopback import Client, Stage, request
from tests.strict import Logged, the_reactor
from tests.waiting import wait_gently
from txmetrics import MetricsRegistry, TimedResource, backends
from txmetrics.ext.dashboard import Dashboard, DashboardService, _assets
from txmetrics.instrument import MeasuredSites
from txmetrics.testing import FakeReactor

KEY = "3fb7a2d1-canary-4c0e-9d5e-a1b2c3d4e5f6"


@pytest_twisted.async_yield_fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """What listens during a test."""
    stage = Stage(tmp_path)
    yield stage
    await stage.clear()


async def ask(stage: Stage, port: int, path: str, *headers: str) -> Any:
    client = await stage.connect(port)
    client.send(request(path, *headers, host="localhost"))
    await client.closed()
    return answer(client.received)


def dashboard(stage: Stage, registry: MetricsRegistry, **options: Any) -> Dashboard:
    page = Dashboard(registry, reactor=the_reactor(), **options)
    stage.at_end(page.close)
    return page


@pytest_twisted.ensureDeferred
async def test_it_moves(stage: Stage) -> None:
    """A request is in the stream of events within a second or two, and in the history."""
    registry = MetricsRegistry()
    page = dashboard(stage, registry)
    timed = TimedResource(page, registry)
    port = stage.serve(timed)
    viewer = await stage.connect(port)
    viewer.send(request("/events", host="localhost"))
    await viewer.until(b"data: ")
    await ask(stage, port, "/")

    def total() -> int:
        last = viewer.received.rpartition(b"data: {")[2].partition(b"\n")[0]
        big = json.loads(b"{" + last)["big"] if last.endswith(b"}") else []
        return sum(each["value"] for each in big if each["key"] == "total")

    await wait_gently(total, lambda: repr(viewer.received[-500:]), 10.0, 0.05)
    told = (await ask(stage, port, "/history?range=5m&name=http.requests.rate")).json
    assert sum(told["series"]["http.requests.rate"]) > 0
    viewer.hang_up()


@pytest_twisted.ensureDeferred
async def test_plotly_s_file_as_it_is(stage: Stage) -> None:
    """For whoever does not take what is compressed."""
    port = stage.serve(dashboard(stage, MetricsRegistry()))
    told = await ask(stage, port, "/plotly.min.js")
    file = _assets.plotly()
    assert file is not None
    assert told.body == file.read_bytes()
    assert "content-encoding" not in told.headers


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_this_machine(stage: Stage) -> None:
    """With the name that the client says."""
    path = str(stage.path / "dashboard.sock")
    port = the_reactor().listenUNIX(path, Site(dashboard(stage, MetricsRegistry())))
    stage.at_end(port.stopListening)
    client = await connectProtocol(UNIXClientEndpoint(the_reactor(), path), Client())
    client.send(request("/state", host="localhost"))
    await client.closed()
    assert answer(client.received).code == 200


@pytest_twisted.ensureDeferred
async def test_a_port_of_its_own_is_not_the_application_s(stage: Stage, logged: Logged) -> None:
    """Whoever measures all Sites of the process does not count the dashboard's requests; they are not in the log."""
    registry = MetricsRegistry()
    service = DashboardService(dashboard(stage, registry), "tcp:0:interface=127.0.0.1", the_reactor())
    service.privilegedStartService()
    service.startService()
    stage.at_end(service.stopService)
    sites = MeasuredSites(registry, service, the_reactor())
    sites.privilegedStartService()
    sites.startService()
    stage.at_end(sites.stopService)
    listening = await _listening(service)
    assert (await ask(stage, listening, "/state")).code == 200
    assert (await ask(stage, listening, "/")).code == 200
    assert not [name for name in registry if name.startswith("http.") and registry.read(name).get("count")]
    assert not [text for text in logged.texts() if "GET /" in text]


async def _listening(service: DashboardService) -> int:
    port: Any = await wait_gently(lambda: service._waitingForPort.result, lambda: "it does not listen", 5.0, 0.01)
    return int(port.getHost().port)


@pytest_twisted.ensureDeferred
async def test_the_service_ends_with_its_streams_and_may_begin_again(stage: Stage) -> None:
    """A viewer is let go, nothing listens, and after another start it answers with new numbers."""
    service = DashboardService(dashboard(stage, MetricsRegistry()), "tcp:0:interface=127.0.0.1", the_reactor())
    for _ in range(2):
        service.privilegedStartService()
        service.startService()
        viewer = await stage.connect(await _listening(service))
        viewer.send(request("/events", host="localhost"))
        await viewer.until(b"data: ")
        await maybeDeferred(service.stopService)
        await viewer.closed()


@pytest.mark.parametrize("endpoint", ["", "8002", "tcp", "tcp:many", "nothing:8002", "tcp:8002:no=1"])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    """In a sentence that has it, and one that is."""
    page = Dashboard(MetricsRegistry(), reactor=FakeReactor())
    with pytest.raises(ValueError, match=r"is no endpoint such as tcp:8002:interface=127\.0\.0\.1") as raised:
        DashboardService(page, endpoint, the_reactor())
    assert repr(endpoint) in str(raised.value)


@pytest_twisted.ensureDeferred
async def test_no_secret_is_in_any_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No API key, no variable of the environment, no word of the command line, no folder."""
    monkeypatch.setenv("TXMETRICS_HOSTED_GRAPHITE_KEY", KEY)
    monkeypatch.setattr("sys.argv", ["twistd", f"--key={KEY}"])
    registry = MetricsRegistry()
    registry.counter("c").inc()
    spool = stage.path / "spool"
    endpoint = "tcp:127.0.0.1:9"
    reporters = [
        backends.hosted_graphite(registry, KEY, 1, endpoint=f"{endpoint}:timeout=7", transport="cleartext"),
        backends.graphite(registry, f"unix:{stage.path}/carbon.sock", 1, spool=spool),
    ]
    for reporter in reporters:
        reporter._reactor = the_reactor()
        reporter.startService()
        stage.at_end(reporter.stopService)
    port = stage.serve(dashboard(stage, registry, reporters=reporters))
    for path in ("state", "metrics", "series", "history?range=5m&name=c.rate", "nothing", "", "dashboard.js"):
        told = await ask(stage, port, f"/{path}")
        whole = repr((told.headers, told.body.decode()))
        for secret in (KEY, KEY[::-1], str(stage.path), "timeout=7", "twistd", "TXMETRICS", str(Path.cwd())):
            assert secret not in whole, path
    state = (await ask(stage, port, "/state")).json
    assert [each["where"] for each in state["reporters"]] == [endpoint, "unix"]
