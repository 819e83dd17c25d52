"""The reporters and what really listens: a carbon, and system logs of every kind."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from tests.carbon import Carbon
from tests.delivery.network import until
from tests.processes import check_stored
from tests.strict import Logged, the_reactor
from txmetrics.compat.pyformance import MetricsRegistry
from txmetrics.compat.pyformance.reporters import CarbonReporter, SysLogReporter, UdpCarbonReporter


def registry() -> MetricsRegistry:
    """A counter and a histogram, with the article's numbers."""
    made = MetricsRegistry()
    made.counter("hello_called").inc(3)
    for size in (3, 3, 15):
        made.histogram("world_size").add(size)
    return made


@pytest.mark.parametrize("way", ["lines", "pickle", "udp"])
@pytest_twisted.ensureDeferred
async def test_a_real_carbon_stores_what_is_reported(carbon: Carbon, prefix: str, way: str) -> None:
    """In every protocol; nobody has to start the reporter for that."""
    settings: dict[str, Any] = {"prefix": f"{prefix}.", "server": "127.0.0.1", "port": carbon.line_port}
    if way == "udp":
        reporter: CarbonReporter = UdpCarbonReporter(registry(), 10, **{**settings, "port": carbon.udp_port})
    elif way == "pickle":
        reporter = CarbonReporter(registry(), 10, **{**settings, "port": carbon.pickle_port}, pickle_protocol=True)
    else:
        reporter = CarbonReporter(registry(), 10, **settings)
    await reporter.report_now()
    check_stored(carbon, f"{prefix}.hello_called.count", 3)
    check_stored(carbon, f"{prefix}.world_size.std_dev", 6.928203230275509)
    check_stored(carbon, f"{prefix}.world_size.75_percentile", 15)


class Kept(Factory):
    """A server that keeps what it is sent."""

    noisy = False

    def __init__(self) -> None:
        self.data = b""

    def buildProtocol(self, addr: object) -> Protocol:
        protocol = Protocol()
        protocol.dataReceived = self.keep
        return protocol

    def keep(self, data: bytes) -> None:
        self.data += data


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest_twisted.ensureDeferred
async def test_a_system_log_over_a_stream_gets_a_message_a_line(tmp_path: Path, kind: str) -> None:
    """Over a UNIX socket and over TCP."""
    reactor, log = the_reactor(), Kept()
    if kind == "unix":
        port = await UNIXServerEndpoint(reactor, str(tmp_path / "log")).listen(log)
        address: Any = str(tmp_path / "log")
    else:
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(log)
        address = "127.0.0.1", port.getHost().port
    reporter = SysLogReporter(registry(), 10, None, address=address, socktype=socket.SOCK_STREAM, facility="local0")
    for _ in range(2):
        await reporter.report_now(timestamp=17)
    await until(lambda: log.data.count(b"\n") == 2)
    await port.stopListening()
    for line in log.data.decode().splitlines():
        assert line.startswith("<134>{")
        told = json.loads(line.removeprefix("<134>"))
        assert (told["timestamp"], told["hello_called.count"], told["world_size.max"]) == (17, 3, 15)


@contextmanager
def listening(family: int, address: Any) -> Iterator[socket.socket]:
    """A system log that nobody reads but the test."""
    with socket.socket(family, socket.SOCK_DGRAM) as log:
        log.bind(address)
        log.setblocking(False)
        yield log


@pytest_twisted.ensureDeferred
async def test_a_system_log_on_another_machine_is_looked_up(logged: Logged) -> None:
    """By its name, which does not block; a name that is none is logged, once."""
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as log:
        reporter = SysLogReporter(registry(), 10, address=("localhost", log.getsockname()[1]))
        await reporter.report_now(timestamp=17)
        await until(lambda: received(log))
    nobody = SysLogReporter(registry(), 10, address=("nobody.invalid", 514))
    await nobody.report_now()
    assert [text for text in logged.texts() if "gets no messages (no address is known)" in text]


def received(log: socket.socket) -> bytes:
    try:
        return log.recv(2**18)
    except BlockingIOError:
        return b""


@pytest_twisted.ensureDeferred
async def test_a_system_log_that_comes_and_goes_is_written_to_while_it_is_there(tmp_path: Path, logged: Logged) -> None:
    """Its absence is logged once, and nothing is raised."""
    path = tmp_path / "log"
    reporter = SysLogReporter(registry(), 3600, address=str(path))
    reporter.start()
    await reporter.report_now()
    await reporter.report_now()
    assert len([text for text in logged.texts() if "gets no messages" in text]) == 1
    for _ in range(2):
        path.unlink(missing_ok=True)
        with listening(socket.AF_UNIX, str(path)) as log:
            await reporter.report_now()
            assert received(log).startswith(b"<14>pyformance: {")
    path.unlink()
    await reporter.stop()
    assert len([text for text in logged.texts() if "gets no messages" in text]) == 2


@pytest_twisted.ensureDeferred
async def test_a_system_log_that_does_not_read_costs_nobody_time(tmp_path: Path, logged: Logged) -> None:
    """What its socket does not hold is dropped; once it reads, it gets messages again."""
    with listening(socket.AF_UNIX, str(tmp_path / "log")) as log:
        reporter = SysLogReporter(registry(), 3600, address=str(tmp_path / "log"))
        reporter.start()
        for _ in range(1000):
            await reporter.report_now()
            if logged.texts():
                break
        assert [text for text in logged.texts() if "gets no messages" in text]
        while received(log):
            pass
        await reporter.report_now()
        assert received(log)
        await reporter.stop()


@pytest_twisted.ensureDeferred
async def test_a_message_that_no_log_takes_is_not_even_written(tmp_path: Path, logged: Logged) -> None:
    """Of thousands of metrics; it is logged once."""
    big = MetricsRegistry()
    for number in range(800):
        big.timer(f"a.rather.long.name.{number}")
    with listening(socket.AF_UNIX, str(tmp_path / "log")) as log:
        reporter = SysLogReporter(big, 3600, address=str(tmp_path / "log"))
        reporter.start()
        await reporter.report_now()
        await reporter.stop()
        assert received(log) == b""
    assert logged.texts() == ["a message of more than 200000 characters is too long for a system log"]
