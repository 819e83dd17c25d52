"""``txmetrics check``: every way a backend can be wrong is told in words, and in time."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from zope.interface import implementer

from tests.carbon import Carbon
from tests.console.listening import HOST, BlackHole, Listening, Talkers, unused_port
from tests.processes import check_stored, run
from tests.strict import the_reactor
from txmetrics.console import _check
from txmetrics.console._check import check
from txmetrics.console._endpoint import Where
from txmetrics.console._seam import Trouble
from txmetrics.testing import GraphiteReceiver, Point

LINE = b"txmetrics.check 1 1700000000\n"


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback, what comes at all comes at once."""
    monkeypatch.setattr(_check, "QUIET", 0.2)


class Checked:
    """What a check has said: its steps, and its conclusion, which is wrong or not."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.conclusion = ""
        self.wrong = False

    def say(self, step: str, text: str) -> None:
        self.steps.append(f"{step}: {text}")


async def checked(endpoint: str, seconds: float = 8.0, line: bytes = LINE, secret: bool = False) -> Checked:
    told = Checked()
    try:
        told.conclusion = await check(the_reactor(), Where.parse(endpoint), line, seconds, told.say, secret)
    except Trouble as trouble:
        told.conclusion, told.wrong = str(trouble), True
    return told


@pytest.mark.parametrize(
    ("text", "kind", "host", "port"),
    [
        ("tcp:graphite:2003", "tcp", "graphite", 2003),
        ("TCP:graphite:2003", "tcp", "graphite", 2003),
        ("tcp:\\:\\:1:2003", "tcp", "::1", 2003),
        ("udp:\\:\\:1:2003", "udp", "::1", 2003),
        ("tcp:port=2003:host=graphite", "tcp", "graphite", 2003),
        ("tcp:graphite:port=2003:timeout=3", "tcp", "graphite", 2003),
        ("tls:graphite:20030:bindAddress=127.0.0.1", "tls", "graphite", 20030),
        ("unix:/run/carbon.sock", "unix", "", 0),
    ],
)
def test_where_an_endpoint_is(text: str, kind: str, host: str, port: int) -> None:
    """However Twisted lets it be written."""
    assert Where.parse(text) == (text, kind, host, port)


def program(*arguments: str, cwd: Path) -> tuple[int, str]:
    done = run(sys.executable, "-m", "txmetrics", "check", *arguments, cwd=cwd)
    return done.returncode, done.stdout


def test_a_real_carbon_has_read_the_point(carbon: Carbon, prefix: str, tmp_path: Path) -> None:
    """Each step is told; the point is stored under the name that was asked for; the status is 0."""
    status, said = program(f"tcp:localhost:{carbon.line_port}", "--name", prefix, cwd=tmp_path)
    assert status == 0, said
    resolve, *connect, send, conclusion = said.splitlines()
    assert resolve.startswith("resolve  localhost is ")
    assert f"127.0.0.1:{carbon.line_port}: connected in " in "".join(connect)
    assert send == "send     the point was read"
    assert conclusion == "all is well: the point was sent, and read there"
    check_stored(carbon, prefix, 1.0)


@pytest_twisted.ensureDeferred
async def test_carbons_pickle_port_is_found_out(carbon: Carbon, monkeypatch: pytest.MonkeyPatch) -> None:
    """It closes the connection in order when a line comes, which is no sign that it was read."""
    monkeypatch.setattr(_check, "QUIET", 5.0)
    told = await checked(f"tcp:{HOST}:{carbon.pickle_port}")
    assert told.wrong
    assert told.steps[-1] == "send: it closed the connection when the point came"
    assert "pickle port" in told.conclusion


@pytest_twisted.ensureDeferred
async def test_tls_to_a_port_without_it(carbon: Carbon) -> None:
    """A plain carbon takes a handshake for a line that is no line."""
    told = await checked(f"tls:{HOST}:{carbon.line_port}", 4)
    assert told.wrong
    assert "that port does not speak TLS" in told.conclusion


@pytest_twisted.ensureDeferred
async def test_datagrams_to_a_real_carbon(carbon: Carbon, prefix: str) -> None:
    """Nothing comes back, and more than that is not claimed."""
    line = f"{prefix} 1 {int(time.time())}\n".encode()
    told = await checked(f"udp:{HOST}:{carbon.udp_port}", line=line)
    assert not told.wrong
    assert told.steps == [f"send: {HOST}:{carbon.udp_port}: the point is sent, and nothing came back"]
    assert "over UDP nobody says that a point has arrived" in told.conclusion
    check_stored(carbon, prefix, 1.0)


@pytest_twisted.ensureDeferred
async def test_datagrams_to_nobody() -> None:
    """The kernel there refuses them, and says so a moment later."""
    told = await checked(f"udp:{HOST}:{unused_port(socket.SOCK_DGRAM)}")
    assert told.wrong
    assert told.steps[0].endswith(": refused")
    assert "ENABLE_UDP_LISTENER" in told.conclusion


class Echo(DatagramProtocol):
    """Answers, as no carbon does."""

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        self.transport.write(datagram, addr)


@pytest_twisted.ensureDeferred
async def test_datagrams_that_are_answered() -> None:
    """By whatever it is."""
    port = the_reactor().listenUDP(0, Echo(), interface=HOST)
    try:
        told = await checked(f"udp:{HOST}:{port.getHost().port}")
    finally:
        await port.stopListening()
    assert told.steps[0].endswith("the point is sent, and something came back")


def test_a_port_where_nobody_listens(tmp_path: Path) -> None:
    """One sentence with the remedy on stderr, and the status 1."""
    port = unused_port()
    status, said = program(f"tcp:{HOST}:{port}", cwd=tmp_path)
    assert status == 1
    assert said.splitlines() == [
        f"connect  {HOST}:{port}: refused",
        "txmetrics: nothing listens there: is carbon running, is the port right? carbon's plaintext port is 2003",
    ]


@pytest_twisted.ensureDeferred
async def test_a_name_without_an_address() -> None:
    """The first step fails, and there is no other."""
    told = await checked("tcp:nowhere.invalid:2003")
    assert told.wrong
    assert told.steps == ["resolve: nowhere.invalid: no address"]
    assert told.conclusion.startswith("nowhere.invalid has no address")


@pytest.mark.parametrize("kind", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_a_host_that_does_not_answer(kind: str) -> None:
    """The attempt is given up in time for the words."""
    with BlackHole() as hole:
        told = await checked(f"{kind}:{HOST}:{hole.port}", 1.0)
    assert told.wrong
    assert told.steps == [f"connect: {HOST}:{hole.port}: no answer"]
    assert told.conclusion.startswith("nobody answers: is the address right, is a firewall on the way?")


@pytest_twisted.ensureDeferred
async def test_another_program_that_answers(listening: Listening) -> None:
    """Graphite never does; what it says is shown, on one line and harmless."""
    port = await listening.serve(Talkers(answer=b"HTTP/1.1 400 Bad\r\n\x1b[31m\xff"))
    told = await checked(f"tcp:{HOST}:{port}")
    assert told.wrong
    assert told.steps[-1] == "send: it answered: HTTP/1.1 400 Bad\\r\\n\\x1b[31m\N{REPLACEMENT CHARACTER}"
    assert "another program has that port" in told.conclusion


@pytest_twisted.ensureDeferred
async def test_a_program_that_takes_connections_and_reads_nothing(listening: Listening) -> None:
    """A carbon that is stopped looks like this."""
    port = await listening.serve(Talkers(deaf=True))
    told = await checked(f"tcp:{HOST}:{port}", 1.5)
    assert told.wrong
    assert told.steps[-1] == "send: nobody has read the point"
    assert "is it stopped, or overloaded?" in told.conclusion


@implementer(IHalfCloseableProtocol)
class Breaker(Protocol):
    """Answers the end of the stream with a reset, as the kernel does for a program that died with something unread."""

    def readConnectionLost(self) -> None:
        self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Its own end is never sent in order."""


@pytest_twisted.ensureDeferred
async def test_a_program_that_breaks_the_connection_off(listening: Listening) -> None:
    """That is no sign that it has read the point."""
    port = await listening.serve(Factory.forProtocol(Breaker))
    told = await checked(f"tcp:{HOST}:{port}")
    assert told.wrong
    assert told.steps[-1].startswith("send: the connection broke: ")
    assert told.conclusion == f"tcp:{HOST}:{port} broke the connection off: look into its log"


@pytest_twisted.ensureDeferred
async def test_a_program_that_never_shakes_hands(listening: Listening) -> None:
    """It waits for something else, and the check does not wait for it."""
    port = await listening.serve(Talkers())
    told = await checked(f"tls:{HOST}:{port}", 1.5)
    assert told.wrong
    assert told.steps[-1] == "TLS: it does not answer the handshake"


@pytest_twisted.ensureDeferred
async def test_one_address_of_several_is_enough(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a reporter, which tries them all; those that do not answer are told."""
    receiver = GraphiteReceiver()
    port = await listening.serve(receiver)
    both = [(socket.AF_INET, 1, 6, "", (address, 0)) for address in ("127.0.0.2", HOST)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: both)
    told = await checked(f"tcp:two.example:{port}")
    assert not told.wrong
    assert told.steps[0] == f"resolve: two.example is 127.0.0.2 and {HOST}"
    assert f"connect: 127.0.0.2:{port}: refused" in told.steps
    assert receiver.points == [Point("txmetrics.check", 1.0, 1_700_000_000)]


@pytest_twisted.ensureDeferred
async def test_a_socket_of_the_file_system(tmp_path: Path) -> None:
    """It has no name to look up, and is tried all the same."""
    told = await checked(f"unix:{tmp_path}/nobody")
    assert told.wrong
    assert told.steps == ["connect: No such file or directory"]
    receiver = GraphiteReceiver()
    port = the_reactor().listenUNIX(str(tmp_path / "socket"), receiver)
    try:
        told = await checked(f"unix:{tmp_path}/socket")
    finally:
        await port.stopListening()
    assert not told.wrong
    assert len(receiver.points) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tcp:graphite:99999"], "'tcp:graphite:99999' has no host or a port that is none"),
        (["tcp::2003"], "'tcp::2003' has no host or a port that is none"),
        (["http://graphite:2003"], "is no endpoint such as tcp:127.0.0.1:2003"),
        (["https://www.hostedgraphite.com/api/v1/sink"], "check sends lines, and a URL takes requests"),
        (["tcp:graphite:2003", "--timeout", "0"], "a timeout of 0 seconds makes no sense"),
        (["tcp:graphite:2003", "--timeout", "nan"], "a timeout of nan seconds makes no sense"),
        (["tcp:graphite:2003", "--name", "a b"], "metric name 'a b' contains ' '"),
        (["tls:graphite:20030", "--key-file", "nowhere"], "the key file nowhere cannot be read: No such file"),
        (["tcp:graphite:2003", "--key-file", "key"], "over tcp:graphite:2003 everybody on the way could read the API"),
        (["tls:graphite:20030", "--key-file", "bad-key"], "the API key is empty or no key"),
    ],
)
def test_what_cannot_be_checked(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One sentence, before anything is sent; and nothing of a key in it."""
    from txmetrics.console import main

    (tmp_path / "key").write_text("k3y-k3y-k3y\n")
    (tmp_path / "bad-key").write_text("k3y k3y k3y\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["check", *arguments])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert "k3y" not in said.err
