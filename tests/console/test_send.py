"""``txmetrics send``: one point, and the truth about what became of it."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
import pytest_twisted

from tests.carbon import Carbon
from tests.console.listening import HOST, BlackHole, Listening, Talkers, unused_port
from tests.delivery.certificates import Authority
from tests.processes import SECONDS, check_stored, run
from tests.strict import the_reactor
from txmetrics.console import main
from txmetrics.console._endpoint import Where
from txmetrics.console._point import point
from txmetrics.console._seam import Trouble
from txmetrics.console._send import send
from txmetrics.testing import GraphiteReceiver, Point

POINT = point("deploys.web", 1, 1_700_000_000)


def test_a_point_reaches_a_real_carbon(carbon: Carbon, prefix: str, tmp_path: Path) -> None:
    """With its value and its timestamp; the answer says that it was read."""
    graphite = f"--graphite=tcp:{HOST}:{carbon.line_port}"
    done = run(sys.executable, "-m", "txmetrics", "send", prefix, "-2.5", graphite, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "sent, and read there\n")
    check_stored(carbon, prefix, -2.5)


@pytest_twisted.ensureDeferred
async def test_the_timestamp_is_the_one_that_was_given(listening: Listening) -> None:
    """The name stands as it is, without a prefix."""
    receiver = GraphiteReceiver()
    where = Where.parse(f"tcp:{HOST}:{await listening.serve(receiver)}")
    assert await send(the_reactor(), where, POINT) == "sent, and read there"
    assert receiver.points == [Point("deploys.web", 1.0, 1_700_000_000)]


@pytest_twisted.ensureDeferred
async def test_over_udp_no_more_is_claimed_than_is_known(carbon: Carbon, prefix: str) -> None:
    """It is sent, and it does arrive."""
    where = Where.parse(f"udp:{HOST}:{carbon.udp_port}")
    told = await send(the_reactor(), where, point(prefix, 7, 1_700_000_000))
    assert told == "sent; over UDP nobody knows whether it arrived"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest_twisted.ensureDeferred
async def test_nobody_listens(kind: str) -> None:
    """What is wrong is told at once, and what may help."""
    port = unused_port(socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    with pytest.raises(Trouble, match=r"was not sent to .*: nothing listens there: is carbon running"):
        await send(the_reactor(), Where.parse(f"{kind}:{HOST}:{port}"), POINT)


@pytest_twisted.ensureDeferred
async def test_nobody_answers() -> None:
    """It is given up in the end."""
    with BlackHole() as hole, pytest.raises(Trouble, match=r"was not sent to .*: nobody answers"):
        await send(the_reactor(), Where.parse(f"tcp:{HOST}:{hole.port}"), POINT, 0.5)


@pytest_twisted.ensureDeferred
async def test_nobody_reads(listening: Listening) -> None:
    """A point that was written and not read is not called sent."""
    where = Where.parse(f"tcp:{HOST}:{await listening.serve(Talkers(deaf=True))}")
    with pytest.raises(Trouble, match=r"the point was written to .*, and nobody has read it"):
        await send(the_reactor(), where, POINT, 0.5)


@contextmanager
def taciturn(context: ssl.SSLContext) -> Iterator[tuple[int, list[bytes]]]:
    """A TLS server, in a thread, that reads to the end and does not answer it: its port, and what it has read."""
    read: list[bytes] = []
    over = Event()

    def serve(listener: socket.socket) -> None:
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            while data := connection.recv(1000):
                read.append(data)
            over.wait(SECONDS)

    with socket.create_server((HOST, 0)) as listener:
        thread = Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], read
        finally:
            over.set()
            thread.join(SECONDS)


@pytest_twisted.ensureDeferred
async def test_nobody_says_over_tls(authority: Authority) -> None:
    """Not everybody answers the end of a TLS connection: then it is sent, and no more is claimed."""
    authority.server(HOST)  # which writes its certificate into the directory
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.directory / f"{HOST}.crt", authority.directory / f"{HOST}.key")
    with taciturn(context) as (port, read):
        where = Where.parse(f"tls:{HOST}:{port}:trustRoots={authority.directory}")
        told = await send(the_reactor(), where, POINT, 1.5)
    assert told == "sent; the other side has not said whether it has read it"
    assert b"".join(read) == POINT.data


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a..b", "1"], "metric name 'a..b' has an empty part"),
        (["a b", "1"], "metric name 'a b' contains ' '"),
        (["a\x1b[31mb", "1"], "metric name 'a\\x1b[31mb' contains '\\x1b'"),
        (["a", "one"], "the value 'one' is no number"),
        (["a", "nan"], "the value nan is none that Graphite keeps; give a finite number"),
        (["a", "1e999"], "the value inf is none that Graphite keeps"),
        (["a", "1", "--timestamp", "now"], "the timestamp 'now' is no whole number of seconds"),
        (["a", "1", "--timestamp", "0"], "the timestamp 0 is out of reach of Graphite"),
        (["a", "1", "--timestamp", "1700000000000"], "the timestamp 1700000000000 is out of reach of Graphite"),
        (["a", "1", "--graphite", "graphite:2003"], "'graphite:2003' is no endpoint such as tcp:127.0.0.1:2003"),
        (["a", "1", "--graphite", "https://graphite/"], "is a URL; Graphite takes an endpoint"),
    ],
)
def test_what_cannot_be_sent(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence that names it, before any connection is made."""
    with pytest.raises(SystemExit) as ended:
        main(["send", *arguments])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("txmetrics: ")
    assert sentence in said.err
    assert said.err.count("\n") == 1
