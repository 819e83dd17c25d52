"""``txmetrics spool``: what a real reporter has left on disk, looked at without a touch, and delivered."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.carbon import Carbon
from tests.console.listening import HOST, Listening, Talkers, unused_port
from tests.delivery.certificates import Authority
from tests.processes import check_stored, run
from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, backends
from txmetrics.console import main
from txmetrics.console._endpoint import Where
from txmetrics.console._replay import Progress, replay
from txmetrics.console._seam import Trouble
from txmetrics.delivery import Secret, Spool, survey
from txmetrics.interfaces import Chunk
from txmetrics.testing import GraphiteReceiver


async def left_by_a_reporter(directory: Path, prefix: str = "web", jobs: int = 7) -> int:
    """Let a reporter whose Graphite is away keep its last report in ``directory``; returns the points."""
    registry = MetricsRegistry()
    registry.counter("jobs").inc(jobs)
    reporter = backends.graphite(
        registry, f"tcp:{HOST}:{unused_port()}", prefix=prefix, spool=directory, reactor=the_reactor()
    )
    reporter.startService()
    await reporter.stopService()
    spooled = reporter.ledger()["spooled"]
    assert isinstance(spooled, int)
    assert spooled > 10
    return spooled


def chunk(number: int, points: int = 5) -> Chunk:
    timestamp = 1_700_000_000 + 10 * number
    lines = "".join(f"spooled.{each} {number} {timestamp}\n" for each in range(points))
    return Chunk(lines.encode(), points, timestamp)


def spool_of(directory: Path, chunks: int) -> Path:
    """A spool with so many chunks, five points each."""
    spool = Spool(directory)
    spool.open()
    for number in range(chunks):
        assert spool.append(chunk(number))
    spool.close()
    return directory


def shown(*directories: Path | str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    main(["spool", "show", *map(str, directories)])
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def refused(*arguments: Path | str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["spool", *map(str, arguments)])
    assert ended.value.code == 1
    return capsys.readouterr().err


def contents(directory: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}


async def replayed(folder: Path, endpoint: str, patience: float = 20.0, key: Secret | None = None) -> str:
    frame, window = (bytes, 60.0) if key is None else (key.before_each_line, 0.0)
    progress = Progress(io.StringIO())
    return await replay(the_reactor(), folder, Where.parse(endpoint), frame, window, progress, patience)


@pytest_twisted.ensureDeferred
async def test_what_a_reporter_has_left_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By backend, to the point; and everything is left as it was."""
    points = await left_by_a_reporter(tmp_path)
    before = contents(tmp_path)
    folder, what, where, when = shown(tmp_path, capsys=capsys)
    assert folder.startswith("plaintext_tcp:127_0_0_1:")
    assert what == f"{points} points in 1 chunk"
    assert where.startswith("1 segment, ")
    assert when.startswith("from 20")
    assert when.endswith(" UTC")
    assert contents(tmp_path) == before
    assert shown(tmp_path / folder, capsys=capsys) == [folder, what, where, when]


def test_a_spool_in_use_is_told_and_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its owner can go on, and it has everything still."""
    spool = Spool(tmp_path / "mine")
    spool.open()
    for number in range(4):
        spool.append(chunk(number))
    assert spool.take() is not None
    spool.settle()
    assert spool.take() is not None
    try:
        assert shown(tmp_path, capsys=capsys) == [
            "mine",
            "15 points in 3 chunks",
            f"1 segment, {spool.bytes / 1024:.1f} KiB on disk",
            "from 2023-11-14 22:13:30 to 2023-11-14 22:13:50 UTC",
            f"in use by process {os.getpid()}",
        ]
        spool.rewind()
        assert spool.append(chunk(9))
        assert [spool.take() for _ in range(5)] == [chunk(1), chunk(2), chunk(3), chunk(9), None]
    finally:
        spool.close()


def test_damage_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One chunk with a wrong byte, and a torn end."""
    folder = spool_of(tmp_path / "damaged", 3)
    (segment,) = folder.glob("*.spool")
    data = segment.read_bytes()
    middle = data.index(chunk(1).data)
    segment.write_bytes(data[:middle] + b"X" + data[middle + 1 :] + data[:7])
    assert shown(folder, capsys=capsys)[1:] == [
        "10 points in 2 chunks",
        f"1 segment, {len(data + data[:7]) / 1024:.1f} KiB on disk",
        "from 2023-11-14 22:13:20 to 2023-11-14 22:13:40 UTC",
        "2 damaged places, which cannot be read",
    ]


def test_nothing_to_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty spool is one; a directory without any is none, and is not made into one."""
    spool_of(tmp_path / "spools" / "empty", 0)
    assert shown(tmp_path / "spools", capsys=capsys) == ["empty", "nothing waits; 0 segments, 0.0 KiB on disk"]
    (tmp_path / "other").mkdir()
    assert f"{tmp_path}/other holds no spool; give the directory" in refused("show", tmp_path / "other", capsys=capsys)
    assert "No such file or directory" in refused("show", tmp_path / "nowhere", capsys=capsys)
    assert "Not a directory" in refused("show", __file__, capsys=capsys)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other", "spools"]


@pytest_twisted.ensureDeferred
async def test_a_real_carbon_gets_it_all(carbon: Carbon, prefix: str, tmp_path: Path) -> None:
    """With the old names, values and timestamps; then the disk is empty, and a second time there is nothing to do."""
    points = await left_by_a_reporter(tmp_path, prefix, 11)
    command = [sys.executable, "-m", "txmetrics", "spool", "replay", tmp_path]
    command.append(f"--graphite=tcp:{HOST}:{carbon.line_port}")
    done = await deferToThread(run, *command, cwd=tmp_path)
    endpoint = f"tcp:{HOST}:{carbon.line_port}"
    assert (done.returncode, done.stdout) == (0, f"{points} of {points} points are delivered to {endpoint}\n")
    check_stored(carbon, f"{prefix}.jobs.count", 11)
    again = await deferToThread(run, *command, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, f"nothing waits in {tmp_path}\n")


@pytest_twisted.ensureDeferred
async def test_the_order_is_kept(tmp_path: Path, listening: Listening) -> None:
    """Over several segments, and each point once."""
    receiver = GraphiteReceiver()
    port = await listening.serve(receiver)
    folder = spool_of(tmp_path / "spool", 40)
    spool_of(folder, 2)
    told = await replayed(folder, f"tcp:{HOST}:{port}")
    assert told == f"210 of 210 points are delivered to tcp:{HOST}:{port}"
    assert [point.value for point in receiver.points[::5]] == [*range(40), 0, 1]
    assert survey(folder).segments == 0


@pytest_twisted.ensureDeferred
async def test_nobody_listens(tmp_path: Path) -> None:
    """That is told at once, and nothing is lost."""
    folder = spool_of(tmp_path / "spool", 3)
    with pytest.raises(Trouble, match=r"^0 of 15 points are delivered to .*, 15 stay in .*: nothing listens there"):
        await replayed(folder, f"tcp:{HOST}:{unused_port()}")
    assert survey(folder).points == 15


@pytest_twisted.ensureDeferred
async def test_nobody_reads(tmp_path: Path, listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written and not read is still there."""
    monkeypatch.setattr("txmetrics.console._replay.STOP", 0.5)
    folder = spool_of(tmp_path / "spool", 3)
    port = await listening.serve(Talkers(deaf=True))
    with pytest.raises(Trouble, match=r"15 stay in .*: it took the connection, and did not say that it has read"):
        await replayed(folder, f"tcp:{HOST}:{port}", 0.5)
    assert survey(folder).points == 15


@pytest_twisted.ensureDeferred
async def test_damaged_chunks_are_told_and_the_others_delivered(
    tmp_path: Path, listening: Listening, logged: Logged
) -> None:
    """What cannot be read has no effect on what can."""
    receiver = GraphiteReceiver()
    port = await listening.serve(receiver)
    folder = spool_of(tmp_path / "spool", 3)
    (segment,) = folder.glob("*.spool")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(chunk(1).data, b"X" * len(chunk(1).data)))
    told = await replayed(folder, f"tcp:{HOST}:{port}")
    where = f"tcp:{HOST}:{port}"
    assert told == f"10 of 15 points are delivered to {where}, 1 damaged place could not be read, dropped: 5 damaged"
    assert len(receiver.points) == 10


@pytest_twisted.ensureDeferred
async def test_the_key_goes_before_each_name(tmp_path: Path, listening: Listening, authority: Authority) -> None:
    """What HostedGraphite did not get is kept without the key, which is put before it when it is sent."""
    receiver = GraphiteReceiver()
    port = await listening.serve(receiver, authority.server(HOST))
    folder = spool_of(tmp_path / "spool", 2)
    where = f"tls:{HOST}:{port}:trustRoots={authority.directory}"
    told = await replayed(folder, where, key=Secret("k3y-of-a-test"))
    assert told == f"10 of 10 points are delivered to {where}"
    assert receiver.names() == {f"k3y-of-a-test.spooled.{each}" for each in range(5)}


def test_a_spool_in_use_is_not_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its owner, who is named, would deliver it, too."""
    spool = Spool(tmp_path / "mine")
    spool.open()
    spool.append(chunk(1))
    try:
        endpoint = f"--graphite=tcp:{HOST}:{unused_port()}"
        done = run(sys.executable, "-m", "txmetrics", "spool", "replay", tmp_path, endpoint, cwd=tmp_path)
    finally:
        spool.close()
    assert done.returncode == 1
    assert done.stdout == (
        f"txmetrics: {tmp_path}/mine is in use by process {os.getpid()}, which delivers it by itself, or has to be "
        "ended first\n"
    )


@pytest_twisted.ensureDeferred
async def test_a_spool_that_others_may_enter(tmp_path: Path) -> None:
    """Its mode is told."""
    folder = spool_of(tmp_path / "spool", 1)
    folder.chmod(0o755)
    with pytest.raises(Trouble, match="it must be yours alone, with the mode 0700"):
        await replayed(folder, f"tcp:{HOST}:{unused_port()}")


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ("udp:127.0.0.1:2003", "udp:127.0.0.1:2003 cannot say what it has read; give an endpoint such as"),
        ("https://graphite/", "https://graphite/ cannot say what it has read"),
        ("graphite", "'graphite' is no endpoint such as tcp:127.0.0.1:2003"),
    ],
)
def test_where_nothing_can_be_replayed(
    tmp_path: Path, endpoint: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and the spool is as it was."""
    folder = spool_of(tmp_path / "spool", 1)
    before = contents(tmp_path)
    assert sentence in refused("replay", folder, "--graphite", endpoint, capsys=capsys)
    assert contents(tmp_path) == before


def test_which_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each backend may have another format, so that one has to be named."""
    for name, chunks in (("pickle_a", 1), ("plaintext_b", 2), ("plaintext_c", 0)):
        spool_of(tmp_path / name, chunks)
    sentence = refused("replay", tmp_path, "--graphite", "tcp:127.0.0.1:2003", capsys=capsys)
    assert f"give one of them: {tmp_path}/pickle_a or {tmp_path}/plaintext_b\n" in sentence


@pytest.mark.parametrize("kind", ["remote_write", "otlp"])
def test_requests_are_not_sent_as_lines(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They would be nonsense to a Graphite, and stay where they are."""
    folder = spool_of(tmp_path / f"{kind}_http", 2)
    with pytest.raises(SystemExit) as ended:
        main(["spool", "replay", str(tmp_path), f"--graphite=tcp:{HOST}:{unused_port()}"])
    assert ended.value.code == 1
    assert "holds no lines, but requests to be posted" in capsys.readouterr().err
    assert survey(folder).points == 10
