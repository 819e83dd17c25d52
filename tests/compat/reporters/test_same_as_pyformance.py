"""The layer's reporters and pyformance 0.4's own, side by side: of the same registry the same bytes."""

from __future__ import annotations

import base64
import io
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.protocol import DatagramProtocol

from tests.compat.clocks import Clock
from tests.compat.original import sources
from tests.compat.reporters import original_child
from tests.compat.reporters.plans import TIMESTAMP, carry_out, example
from tests.compat.reporters.reactors import no_reactor
from tests.delivery.network import until
from tests.processes import ROOT, environment
from tests.strict import the_reactor
from txmetrics.compat.pyformance import MetricsRegistry
from txmetrics.compat.pyformance.reporters import CarbonReporter, ConsoleReporter, CsvReporter, SysLogReporter

Ask = Callable[..., dict[str, Any]]

KINDS = ("counter", "histogram", "meter", "timer", "gauge")
# Of each kind its own names; white space in a name is where the layer is right.
named = st.sampled_from(KINDS).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.sampled_from(["a", "b.c", "d/é", "<e>"]).map(lambda name: f"{kind}.{name}"),
        st.integers(0, 10**9) if kind == "timer" else st.one_of(st.integers(0, 10**9), st.floats(0, 1e9)),
    )
)
waits = st.tuples(st.just("wait"), st.just(""), st.integers(0, 4000))
plans = st.lists(st.one_of(named, waits), max_size=30)


@pytest.fixture(scope="module")
def pyformance() -> Iterator[Ask]:
    """What its reporters make of a plan."""
    child = subprocess.Popen(
        [sys.executable, original_child.__file__],
        env=environment(PYTHONPATH=f"{ROOT}:{sources()}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None

    def ask(operations: list[Any], prefix: str = "") -> dict[str, Any]:
        print(json.dumps({"operations": operations, "prefix": prefix}), file=child.stdin, flush=True)
        answer: dict[str, Any] = json.loads(child.stdout.readline())
        return answer

    try:
        yield ask
    finally:
        child.kill()
        child.communicate()


def registry_of(operations: list[Any]) -> MetricsRegistry:
    clock = Clock(1_500_000_000)
    registry = MetricsRegistry(clock)
    carry_out(operations, registry, clock)
    return registry


class Socket:
    """Keeps what is sent to it."""

    def __init__(self) -> None:
        self.data = b""
        self.address: Any = None
        self.closed = False

    def connect(self, address: Any) -> None:
        self.address = address

    def sendall(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.closed = True


def sent(registry: MetricsRegistry, prefix: str, **settings: Any) -> bytes:
    """What a CarbonReporter sends where no reactor runs."""
    socket = Socket()
    reporter = CarbonReporter(registry, 10, prefix, "carbon.example", 2003, lambda: socket, **settings)
    with no_reactor():
        reporter.report_now(timestamp=TIMESTAMP)
    assert not socket.data or (socket.address == ("carbon.example", 2003) and socket.closed)
    return socket.data


@settings(deadline=None, max_examples=60)
@given(operations=plans, prefix=st.sampled_from(["", "web", "web1."]))
def test_every_reporter_writes_the_same(pyformance: Ask, operations: list[Any], prefix: str) -> None:
    """Lines, points, the page and the files, whatever happened to the registry."""
    theirs, registry = pyformance(operations, prefix), registry_of(operations)
    assert sent(registry, prefix).decode() == theirs["lines"]
    check_points(registry, prefix, theirs)
    page = io.StringIO()
    with no_reactor():
        ConsoleReporter(registry, 10, page).report_now(timestamp=TIMESTAMP)
    assert page.getvalue() == theirs["page"]
    if theirs["rows"]:
        assert rows(registry) == theirs["rows"]


def check_points(registry: MetricsRegistry, prefix: str, theirs: dict[str, Any]) -> None:
    """The frames of the pickle protocol hold the same points, of the same types."""
    frames, points = sent(registry, prefix, pickle_protocol=True), []
    while frames:
        size = int.from_bytes(frames[:4], "big")
        points += pickle.loads(frames[4 : 4 + size])
        frames = frames[4 + size :]
    assert repr([[name, list(point)] for name, point in points]) == repr(theirs["points"])


def rows(registry: MetricsRegistry) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        with no_reactor(), CsvReporter(registry, 10, folder, ";") as reporter:
            reporter.report_now(timestamp=TIMESTAMP)
            reporter.report_now(timestamp=TIMESTAMP + 10)
        return {file.name: file.read_text("utf-8") for file in Path(folder).iterdir()}


def test_the_awkward_example_is_written_the_same(pyformance: Ask) -> None:
    """One of everything, among it NaN and infinity, a slash and a letter that is not ASCII."""
    theirs, registry = pyformance(example(), "web."), registry_of(example())
    assert sent(registry, "web.").decode() == theirs["lines"]
    assert "web.world_size.std_dev 6.928203230275509 1500000007\n" in theirs["lines"]
    assert "web.users/édit.value nan 1500000007\n" in theirs["lines"]
    check_points(registry, "web.", theirs)


def test_many_metrics_are_the_same_lines_in_more_than_one_chunk(pyformance: Ask) -> None:
    """And frames that a carbon takes, each of its own length."""
    operations = [["timer", f"calls.{number}", number] for number in range(200)]
    theirs, registry = pyformance(operations), registry_of(operations)
    assert len(theirs["lines"]) > 100_000
    assert sent(registry, "").decode() == theirs["lines"]
    check_points(registry, "", theirs)


class _Log(DatagramProtocol):
    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        self.messages.append(datagram)


@pytest_twisted.ensureDeferred
async def test_a_system_log_gets_the_same_message(pyformance: Ask) -> None:
    """Priority, tag and JSON, in one datagram."""
    log = _Log()
    port = the_reactor().listenUDP(0, log, interface="127.0.0.1")
    reporter = SysLogReporter(registry_of(example()), 10, "web", address=("127.0.0.1", port.getHost().port))
    await reporter.report_now(timestamp=TIMESTAMP)
    await until(lambda: log.messages)
    await port.stopListening()
    assert log.messages == [base64.b64decode(pyformance(example())["message"])]
