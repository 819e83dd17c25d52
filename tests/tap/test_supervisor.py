"""The supervisor and what a worker's process is changed in, without processes; and what ``--workers`` refuses."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.internet import StreamServerEndpointService
from twisted.internet import reactor as _reactor
from twisted.internet import tcp, udp, unix
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ProcessDone, ProcessTerminated
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.strict import Logged
from tests.tap.harness import GRAPHITE, parsed, refusal
from tests.tap.workers import free_ports
from txmetrics.tap import KEY_VARIABLE, makeService
from txmetrics.tap._shared_ports import share_ports, unshared
from txmetrics.tap._worker_options import commands, take_over
from txmetrics.tap._workers import KILL_TIME, LINGER, LONGEST_DELAY, Workers

reactor: Any = _reactor


class Process:
    """A process in memory."""

    def __init__(self, protocol: Any, environment: dict[str, str]) -> None:
        self.protocol = protocol
        self.environment = environment
        self.signals: list[str] = []
        self.closed = False
        protocol.makeConnection(self)

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def loseConnection(self) -> None:
        self.closed = True

    def end(self, signal: int | None = None) -> None:
        reason = Failure(ProcessDone(0) if signal is None else ProcessTerminated(signal=signal))
        self.protocol.processExited(reason)
        self.protocol.processEnded(reason)


class Processes(Clock):
    """A reactor whose processes end when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Process] = []

    def spawnProcess(self, protocol: Any, executable: str, args: Any, env: Any, path: Any, **ignored: Any) -> Process:
        self.all.append(Process(protocol, env))
        return self.all[-1]


def supervisor(processes: Processes, *names: str) -> Workers:
    service = Workers({name: ["run", name] for name in names}, lambda name: {"NAME": name}, None, processes)
    service.startService()
    return service


def test_what_ends_at_once_is_tried_again_ever_later(logged: Logged) -> None:
    """A broken application costs no processor: the pauses double, up to a minute; a life that was long resets them."""
    processes = Processes()
    service = supervisor(processes, "w0")
    pauses = []
    for _ in range(9):
        processes.all[-1].end(11)
        (call,) = processes.getDelayedCalls()
        pauses.append(call.getTime() - processes.seconds())
        processes.advance(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY]
    processes.advance(20)
    processes.all[-1].end()
    processes.advance(0)
    assert len(processes.all) == 11
    assert {process.environment["NAME"] for process in processes.all} == {"w0"}
    assert "worker w0 ended (signal 11) and is started again" in logged.texts()
    assert "worker w0 ended (exit status 0) and is started again" in logged.texts()
    stopped = service.stopService()
    processes.all[-1].end(15)
    assert stopped.called
    assert processes.getDelayedCalls() == []


def test_a_stop_waits_for_the_last_and_kills_who_does_not_stop(logged: Logged) -> None:
    """TERM first; KILL after eight seconds; nobody is started again."""
    processes = Processes()
    service = supervisor(processes, "w0", "w1")
    first, second = processes.all
    stopped = service.stopService()
    assert first.signals == second.signals == ["TERM"]
    first.end(15)
    assert not stopped.called
    processes.advance(KILL_TIME)
    assert (first.signals, second.signals) == (["TERM"], ["TERM", "KILL"])
    second.end(9)
    assert stopped.called
    processes.advance(100)
    assert len(processes.all) == 2
    assert "worker w1 did not stop and was killed" in logged.texts()


def test_a_stop_ends_also_when_a_worker_cannot_even_be_killed(logged: Logged) -> None:
    """What hangs in the kernel is named, and left."""
    processes = Processes()
    stopped = supervisor(processes, "w0", "w1").stopService()
    processes.all[0].end(15)
    processes.advance(KILL_TIME)
    processes.advance(2 * LINGER)
    assert stopped.called
    assert logged.flush_text("there is still w1")


def test_a_stop_while_a_restart_is_waited_for_is_over_at_once() -> None:
    """There is nobody to wait for."""
    processes = Processes()
    service = supervisor(processes, "w0")
    processes.all[0].end(11)
    assert service.stopService().called
    processes.advance(100)
    assert len(processes.all) == 1


def test_what_a_worker_leaves_behind_does_not_keep_it_from_being_started_again() -> None:
    """A process that it has started holds its output; a second after its end that is closed."""
    processes = Processes()
    service = supervisor(processes, "w0")
    (process,) = processes.all
    process.protocol.processExited(Failure(ProcessTerminated(signal=9)))
    processes.advance(LINGER)
    assert process.closed
    process.protocol.processEnded(Failure(ProcessTerminated(signal=9)))
    processes.advance(1)
    assert len(processes.all) == 2
    service.stopService()
    processes.all[1].end()


def test_what_a_worker_writes_is_logged_line_by_line(logged: Logged) -> None:
    """In a namespace of its name: torn lines, endless ones, what is no text, and the last without an end."""
    processes = Processes()
    service = supervisor(processes, "w3")
    protocol = processes.all[0].protocol
    protocol.childDataReceived(1, b"one\ntw")
    protocol.childDataReceived(2, b"err\xff{braces}\n")
    protocol.childDataReceived(1, b"o\n" + b"x" * 40_000)
    protocol.childDataReceived(1, b"\nlast")
    service.stopService()
    processes.all[0].end(15)
    said = [(event["line"], event["log_level"].name) for event in logged.events if event["log_namespace"] == "w3"]
    assert [line for line, _ in said] == ["one", "err\\xff{braces}", "two", "x" * 40_000, "", "last"]
    assert {level for _, level in said} == {"info"}


# Ports


@pytest.fixture
def sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as a worker's, until the end of the test."""
    for kind in (tcp.Port, udp.Port):
        monkeypatch.setattr(kind, "createInternetSocket", kind.createInternetSocket)
    monkeypatch.setattr(unix.Port, "startListening", unix.Port.startListening)
    share_ports()


@pytest.mark.parametrize("interface", ["127.0.0.1", "::1"])
@pytest_twisted.ensureDeferred
async def test_ports_are_shared_whatever_opens_them(sharing: None, interface: str) -> None:
    """TCP over both of IP's versions, and UDP; a port that was opened by others without sharing is not taken."""
    port = free_ports()
    opened = [reactor.listenTCP(port, Factory(), interface=interface) for _ in range(2)]
    opened += [reactor.listenUDP(port, DatagramProtocol(), interface=interface) for _ in range(2)]
    for each in opened:
        await each.stopListening()
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    with socket.create_server((interface, port), family=family), pytest.raises(CannotListenError):
        reactor.listenTCP(port, Factory(), interface=interface)


@pytest_twisted.ensureDeferred
async def test_a_port_of_our_own_and_port_0_are_not_shared(sharing: None) -> None:
    """Each scrape has to reach the worker that it asks for."""
    port = free_ports()
    services = []
    for _ in range(2):
        endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
        services.append(unshared(StreamServerEndpointService(endpoint, Factory())))
        services[-1]._raiseSynchronously = True
    services[0].startService()
    with pytest.raises(CannotListenError):
        services[1].startService()
    await services[0].stopService()
    any_port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    assert not any_port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    await any_port.stopListening()


def test_a_unix_socket_is_refused(sharing: None, tmp_path: Path) -> None:
    """Nothing is left of it."""
    with pytest.raises(CannotListenError, match="several workers cannot share a UNIX socket; give a tcp: endpoint"):
        reactor.listenUNIX(str(tmp_path / "socket"), Factory())
    assert list(tmp_path.iterdir()) == []


# Command lines

WORKER = "--metrics-prefix=web.{host}.{worker}"
SCRAPE = "--metrics-prometheus=tcp:9100"


@pytest.fixture(autouse=True)
def _no_worker_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TXMETRICS_WORKER", raising=False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--workers=0", SCRAPE], "--workers takes a number from 1 to 64, not '0'"),
        (["--workers=-1", SCRAPE], "a number from 1 to 64, not '-1'"),
        (["--workers=x", SCRAPE], "a number from 1 to 64, not 'x'"),
        (["--workers=", SCRAPE], "a number from 1 to 64, not ''"),
        (["--workers=65", SCRAPE], "a number from 1 to 64, not '65'"),
        (["--workers=\u0664", SCRAPE], "a number from 1 to 64"),
        (["--workers=2"], "nowhere to report to"),
        (
            ["--workers=2", GRAPHITE],
            "overwrite each other's numbers; give each its own, such as with --metrics-prefix=",
        ),
        (["--workers=2", GRAPHITE, "--metrics-prefix=web.{host}"], "overwrite each other's numbers"),
        (["--workers=2", GRAPHITE, "--metrics-graphite-tags=host={host}"], "overwrite each other's numbers"),
        (["--workers=2", "--metrics-log=log"], "overwrite each other's numbers"),
        (
            ["--workers=2", GRAPHITE, "--metrics-graphite-tags=worker={worker}", "--metrics-log=log"],
            "overwrite each other's numbers",
        ),
        (
            ["--workers=1", "--metrics-log=-"],
            "standard output is the supervisor's log; give --metrics-log=FILE, or log",
        ),
        (["--workers=2", "--metrics-prometheus=unix:a"], "give --metrics-prometheus=tcp:PORT, not unix:a"),
        (["--workers=2", "--metrics-dashboard=unix:a"], "give --metrics-dashboard=tcp:PORT, not unix:a"),
        (["--workers=3", "--metrics-prometheus=65534"], "leaves no ports for worker 2; give a lower one"),
        (["--workers=3", SCRAPE, "--metrics-dashboard=9102"], "would be at port 9102, as is another one's"),
        (["--metrics-prometheus=tcp:http"], "is no endpoint for Prometheus, such as tcp:9100"),
    ],
)
def test_what_workers_cannot_do_is_one_line_that_says_why(arguments: list[str], told: str) -> None:
    """Before anything runs."""
    assert told in str(refusal(*arguments, "web"))


def test_a_worker_is_not_named_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would all have that name."""
    monkeypatch.setenv("TXMETRICS_WORKER", "w7")
    assert "TXMETRICS_WORKER names one process" in str(refusal("--workers=1", SCRAPE, "web"))


def test_hosted_graphite_needs_names_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its key is in the environment; the pid is as good as the worker, and one alone needs neither."""
    monkeypatch.setenv(KEY_VARIABLE, "0a1b2c3d-key")
    assert "overwrite" in str(refusal("--workers=2", "--metrics-hosted-graphite-transport=cleartext", "web"))
    for arguments in (["--workers=2", "--metrics-prefix={pid}"], ["--workers=2", WORKER], ["--workers=1"]):
        assert parsed(*arguments, "--metrics-hosted-graphite-transport=cleartext", "web").workers


def test_a_worker_gets_the_arguments_as_they_were_given(tmp_path: Path) -> None:
    """Less the number, in whatever way it was written, and with ports and a spool of its own; no key is among them."""
    (tmp_path / "key").write_text("0a1b2c3d-key")
    options = parsed(
        *("--wo", "2", "--metrics-hosted-graphite-key-file", str(tmp_path / "key"), WORKER),
        *("--metrics-hosted-graphite-transport=cleartext", f"--metrics-spool={tmp_path}", SCRAPE),
        *("--metrics-dash=tcp:port=8002:interface=\\:\\:1", "web", "--path=--workers=3", "--listen=tcp:80"),
    )
    given = commands(options)
    assert list(given) == ["w0", "w1"]
    assert given["w1"] == [
        *(sys.executable, "-P", "-m", "txmetrics.tap._worker", "2", "metrics"),
        *("--metrics-hosted-graphite-key-file", str(tmp_path / "key")),
        *("--metrics-prefix", "web.{host}.{worker}", "--metrics-hosted-graphite-transport", "cleartext"),
        *("--metrics-dashboard", "tcp:8003:interface=\\:\\:1"),
        *("--metrics-prometheus", "tcp:9101:interface=127.0.0.1", "--metrics-spool", f"{tmp_path}/w1"),
        *("web", "--path=--workers=3", "--listen=tcp:80"),
    ]
    assert "0a1b2c3d" not in str(given)


def test_any_free_port_is_one_for_each() -> None:
    """Port 0 is counted no further."""
    given = commands(parsed("--workers=3", "--metrics-prometheus=0", "--metrics-dashboard=0", "web"))
    assert [command.count("tcp:0:interface=127.0.0.1") for command in given.values()] == [2, 2, 2]


def test_what_twistd_does_for_a_process_the_workers_do_for_themselves(tmp_path: Path) -> None:
    """User, root and directory; the supervisor keeps its own."""
    options = parsed("--workers=1", SCRAPE, "web")
    options.parent = {"uid": 65534, "gid": 0, "chroot": "/srv", "euid": 1, "rundir": "sub", "reactor": "poll"}
    (command,) = commands(options).values()
    assert {"--uid=65534", "--gid=0", "--chroot=/srv", "--euid", "--rundir=sub", "--reactor=poll"} <= set(command)
    assert take_over(options.parent) == os.getcwd()
    assert options.parent["uid"] is options.parent["gid"] is options.parent["chroot"] is None
    assert not options.parent["euid"]
    assert take_over({"rundir": "."}) is None


def test_nothing_is_made_of_the_plugin_in_the_supervisor() -> None:
    """Its service is the workers, and nothing is measured."""
    assert isinstance(makeService(parsed("--workers=2", WORKER, GRAPHITE, "web")), Workers)
