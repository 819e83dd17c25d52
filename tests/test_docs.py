"""What the README and the pages in docs name is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from importlib.util import find_spec
from pathlib import Path

import pytest
from twisted.enterprise import adbapi
from twisted.internet.defer import inlineCallbacks
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.web.client import Agent
from twisted.web.resource import Resource

from tests.instrument.web.applications import Page, raise_error
from tests.instrument.web.loopback import request
from tests.instrument.web.wire import Wire
from tests.strict import Logged
from txmetrics import (
    MeasuredConnectionPool,
    MeasuredLog,
    MeasuredProcess,
    MeasuredReactor,
    MeasuredThreadPool,
    MetricsRegistry,
    Reporter,
    ShedLoad,
    Tasks,
    TimedAgent,
    TimedEndpoint,
    TimedResource,
    measure_connections,
    measure_loop,
    timed,
)
from txmetrics.delivery import Datagrams, Post, Secret, Spool, Stream
from txmetrics.instrument import BlockingCalls, DeferredRadar, Lag
from txmetrics.interfaces import IDelivery
from txmetrics.reporter import Backend
from txmetrics.testing import FakeReactor
from txmetrics.wire import Graphite

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_program_and_link_exists(page: Path) -> None:
    """A reader who follows the page comes somewhere."""
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link
    for file in re.findall(r"\b(?:tests|benchmarks|examples|txmetrics|docs)/[\w/-]+(?:\.py|\.md|\.txt|\.png)?", text):
        assert (ROOT / file).exists(), file
    for module in re.findall(r"python -m ((?:tests|txmetrics)[\w.]*)", text):
        assert find_spec(module), module


def _fetch() -> Generator[None, None, None]:
    yield


MADE: dict[str, Callable[[MetricsRegistry], object]] = {
    "http": lambda registry: TimedResource(ShedLoad(Resource(), registry, lag=Lag(lambda: 0.0)), registry),
    "reactor": lambda registry: (MeasuredReactor(registry, FakeReactor()), BlockingCalls(registry, FakeReactor())),
    "process": MeasuredProcess,
    "log": MeasuredLog,
    "fetch": lambda registry: timed(registry, "fetch")(inlineCallbacks(_fetch)),
    "tasks": lambda registry: Tasks(registry).run("import").end(),
    "loop": lambda registry: measure_loop(LoopingCall(print), registry, "loop"),
    "deferreds": DeferredRadar,
    "http_client": lambda registry: TimedAgent(Agent(FakeReactor()), registry),
    "client": lambda registry: TimedEndpoint(object(), registry),
    "connections": lambda registry: measure_connections(Factory(), registry, "connections.8080"),
    "threadpool": MeasuredThreadPool,
    "db": lambda registry: MeasuredConnectionPool(adbapi.ConnectionPool("sqlite3"), registry),
}
"""By the first part of its metrics' names, what makes them."""


@pytest.mark.parametrize("first", MADE)
def test_every_metric_of_the_instruments_is_in_the_tables(first: str) -> None:
    """And none in the tables that nothing makes, but for those that are named after something from outside."""
    registry = MetricsRegistry(FakeReactor().clock)
    MADE[first](registry)
    made = {reading.name for reading in registry.snapshot()}
    page = (ROOT / "docs" / "measuring.md").read_text("utf-8")
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row) if name.split(".")[0] == first}
    assert made == {name for name in told if "<" not in name} - {"client.tls_handshake"}  # made at the first of them


def test_every_metric_of_a_route_is_in_its_table(logged: Logged) -> None:
    """What a request leaves that has a body and fails, all there is under ``http.routes``."""
    reactor = FakeReactor()
    registry = MetricsRegistry(reactor.clock)
    Wire(reactor, TimedResource(Page(raise_error), registry, exact_codes=True)).send(request(method="POST", body=b"x"))
    assert len(logged.flush(ArithmeticError)) == 1
    made = {reading.name for reading in registry.snapshot() if reading.name.startswith("http.routes.")}
    page = (ROOT / "docs" / "measuring.md").read_text("utf-8")
    table = page.split("Each has its own numbers")[1].split("A route is what")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert {name.removeprefix("http.routes.POST-_root.") for name in made} == {
        name.replace("<type>", "ArithmeticError").replace("<code>", "500") for name in told
    }


def test_every_number_of_the_reporters_own_is_on_the_page(tmp_path: Path) -> None:
    """And no other: whatever the delivery, what arrives under ``txmetrics.`` is what the page says."""
    reactor = FakeReactor()
    spool = Spool(tmp_path)
    deliveries: list[IDelivery] = [
        Stream(reactor, None, "tcp:graphite:2003", spool=spool),
        Post(reactor, "https://graphite.example/sink", "the sink", Secret("key"), agent=object(), spool=spool),
        Datagrams(reactor, "127.0.0.1", 2003, "udp:127.0.0.1:2003"),
    ]
    sent = set()
    for delivery in deliveries:
        reporter = Reporter(MetricsRegistry(reactor.clock), lambda _, delivery=delivery: Backend(Graphite(), delivery))
        reporter._delivery = delivery
        sent |= {reading.name.removeprefix("txmetrics.") for reading in reporter._own_readings()}
    page = (ROOT / "docs" / "delivery.md").read_text("utf-8")
    section = page.split("## The reporter's own numbers")[1].split("\n## ")[0]
    section = re.sub(r"by reason \(.*?\)", "", section, flags=re.DOTALL)
    described = set(re.findall(r"`([a-z_]+(?:\.\*)?)`", section))
    assert sent == {name for name in described if not name.endswith(".*")}
