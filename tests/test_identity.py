"""Who a process is: no two that live have one name, and whoever comes next has the lowest that is free."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.carbon import Carbon
from tests.processes import SCRIPTS, Child, check_stored, environment, get, run
from tests.waiting import wait_until
from txmetrics import MetricsRegistry, backends, identity
from txmetrics.identity import Identity
from txmetrics.testing import FakeReactor

PROGRAM = Path(__file__).with_name("identity_child.py")
PID = f"p{os.getpid()}"
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No slot of this process outlives the test, and none is taken where others look for theirs."""
    leases: dict[object, identity._Lease | None] = {}
    monkeypatch.setattr(identity, "_leases", leases)
    monkeypatch.setattr(identity, "PLACES", [str(tmp_path)])
    monkeypatch.delenv(identity.WORKER_VARIABLE, raising=False)
    yield
    for lease in leases.values():
        if lease is not None:
            lease.forget()


def worker(**how: object) -> str:
    return Identity.resolve(**{"service": "web", **how}).worker


# Names


def test_the_argument_goes_before_the_variable_and_that_before_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable says nothing."""
    assert worker() == "w0"
    monkeypatch.setenv(identity.WORKER_VARIABLE, "blue-2")
    assert worker() == "blue-2"
    assert worker(worker="green") == "green"
    monkeypatch.setenv(identity.WORKER_VARIABLE, "")
    assert worker() == "w0"


@pytest.mark.parametrize("wrong", ["a.b", "a b", "wörker", "a;b", "x" * 121, "a\n"])
def test_a_worker_that_cannot_be_a_part_of_a_name_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """In one sentence with the remedy, wherever the name comes from; and when a prefix asks for it, at once."""
    with pytest.raises(ValueError, match=f"^worker {re.escape(repr(wrong))} cannot be a part of a name; give at most"):
        worker(worker=wrong)
    monkeypatch.setenv(identity.WORKER_VARIABLE, wrong)
    for ask in (worker, lambda: backends.check_prefix("web.{worker}")):
        with pytest.raises(ValueError, match=f"^TXMETRICS_WORKER {re.escape(repr(wrong))} cannot be a part of a name"):
            ask()
    assert backends.check_prefix("web.{host}") == "web.{host}"


def test_an_empty_argument_is_refused() -> None:
    """Unlike an empty variable it was meant."""
    with pytest.raises(ValueError, match="worker '' cannot be a part of a name"):
        worker(worker="")


def test_service_and_host_are_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a part of a name cannot carry is replaced, dots included; a service without a name stays so."""
    monkeypatch.setattr(socket, "gethostname", lambda: "db-1.example")
    assert Identity.resolve("my shop", "w7") == Identity(
        "my_shop", "db-1_example", "w7", identity._generation(os.getpid())
    )
    assert Identity.resolve(worker="w7").service == ""


def test_the_generation_is_the_second_of_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """And stays so for as long as the process lives."""
    identity._generation.cache_clear()
    monkeypatch.setattr(identity.time, "time", lambda: 1_764_380_000.9)
    assert Identity.resolve(worker="a").generation == 1_764_380_000
    monkeypatch.setattr(identity.time, "time", lambda: 1_764_380_017.0)
    assert Identity.resolve(worker="b").generation == 1_764_380_000
    identity._generation.cache_clear()


# Slots, in one process


def test_who_asks_again_has_the_same_slot_and_each_service_its_own(tmp_path: Path) -> None:
    """Two reporters of one process share one; w0 of another service or directory is another slot."""
    (tmp_path / "elsewhere").mkdir(0o700)
    assert [worker(), worker(), worker(service="mail"), worker(directory=tmp_path / "elsewhere")] == ["w0"] * 4


def _hold(directory: Path, *slots: str) -> list[int]:
    """Lock these slots as another process would."""
    directory.mkdir(0o700, exist_ok=True)
    files = [os.open(directory / f"web.{slot}", os.O_RDWR | os.O_CREAT, 0o600) for slot in slots]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    return files


def test_the_lowest_slot_that_is_free_is_taken(tmp_path: Path) -> None:
    """A file that is there is not yet a slot that is taken."""
    os.close(_hold(tmp_path / "slots", "w1").pop())
    held = _hold(tmp_path / "slots", "w0", "w2")
    assert worker(directory=tmp_path / "slots") == "w1"
    for file in held:
        os.close(file)


def test_without_a_free_slot_the_pid_has_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not looked for in another place, where the slots of the same names are free; and that does not change."""
    monkeypatch.setattr(identity, "SLOTS", 2)
    monkeypatch.setattr(identity, "PLACES", [str(tmp_path), str(tmp_path / "other")])
    (tmp_path / "other").mkdir()
    held = _hold(tmp_path / f"txmetrics-{os.geteuid()}", "w0", "w1")
    assert worker() == PID
    for file in held:
        os.close(file)
    assert worker() == PID


def test_the_place_is_this_users_alone_and_the_first_that_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made with the mode 0700, whatever the umask."""
    monkeypatch.setattr(identity, "PLACES", [str(tmp_path / "missing"), str(tmp_path)])
    before = os.umask(0)
    try:
        assert worker() == "w0"
    finally:
        os.umask(before)
    place = tmp_path / f"txmetrics-{os.geteuid()}"
    assert [path.name for path in tmp_path.iterdir()] == [place.name]
    assert [path.name for path in place.iterdir()] == ["web.w0"]
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "web.w0").stat().st_mode & 0o777 == 0o600


def _open_to_others(place: Path) -> None:
    place.mkdir(0o755)


def _link(place: Path) -> None:
    place.with_name("target").mkdir(0o700)
    place.symlink_to(place.with_name("target"))


def _file(place: Path) -> None:
    place.touch()


def _foreign(place: Path) -> None:
    place.mkdir(0o700)
    os.chown(place, 65534, 65534)


@pytest.mark.parametrize("make", [_open_to_others, _link, _file, pytest.param(_foreign, marks=as_root)])
def test_a_place_that_others_may_have_prepared_is_not_used(tmp_path: Path, make: object) -> None:
    """One that is not this user's alone, a symbolic link, a file: nothing is made in it, and the pid has to do."""
    place = tmp_path / "place"
    make(place)
    assert worker(directory=place) == PID
    assert place.is_file() or list(place.iterdir()) == []


def test_a_slot_that_is_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """Whoever put it there."""
    place = tmp_path / "place"
    place.mkdir(0o700)
    (place / "web.w0").symlink_to(tmp_path / "precious")
    assert worker(directory=place) == PID
    assert not (tmp_path / "precious").exists()


def test_the_files_of_a_slot_are_for_no_program_that_is_run(tmp_path: Path) -> None:
    """They are closed on exec, or the slot would be held by whatever this process runs."""
    assert worker() == "w0"
    [lease] = identity._leases.values()
    assert lease is not None
    assert [os.get_inheritable(file) for file in lease.filenos()] == [False, False]


# Slots, among many processes


class Workers:
    """`identity_child.py`, which forks workers that look for slots in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(PYTHONPATH=str(PROGRAM.parent.parent)),
        )
        self.live: dict[int, str] = {}
        """By pid what a worker said of itself."""

    def tell(self, command: str) -> list[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().split()

    def start(self, service: str, number: int = 1) -> list[str]:
        """So many workers at once: who they are."""
        told = self.tell(f"start {service} {number}")
        workers = dict(zip(map(int, told[::2]), told[1::2], strict=True))
        self.live |= workers
        return list(workers.values())

    def end(self, pid: int, how: str) -> None:
        assert self.tell(f"{how} {pid}") == [str(pid)]
        del self.live[pid]

    def kill(self) -> None:
        """The program itself; those that it forked live on."""
        self._process.kill()
        self._process.wait(10)

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(10)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("slots") / "place"
    place.mkdir(0o700)
    return place


@pytest.fixture(scope="module")
def workers(directory: Path) -> Iterator[Workers]:
    workers = Workers(directory)
    yield workers
    workers.close()


steps = st.lists(st.sampled_from(["web", "mail", "end", "kill"]) | st.integers(2, 5), min_size=4, max_size=16)


@settings(max_examples=40, deadline=None)
@given(steps, st.randoms(use_true_random=False))
def test_no_two_that_live_share_a_slot_and_the_lowest_is_next(
    workers: Workers, steps: list[object], chance: object
) -> None:
    """Processes that come, alone or several at once, go and are killed, in any order."""
    for pid in list(workers.live):
        workers.end(pid, "end")
    services: dict[int, str] = {}
    for step in steps:
        if step in ("end", "kill"):
            if workers.live:
                pid = chance.choice(sorted(workers.live))
                workers.end(pid, str(step))
            continue
        service, number = ("web", step) if isinstance(step, int) else (str(step), 1)
        before = dict(workers.live)
        taken = {name for pid, name in before.items() if services[pid] == service}
        free = [f"w{slot}" for slot in range(100) if f"w{slot}" not in taken]
        assert sorted(workers.start(service, number)) == sorted(free[:number])
        services |= {pid: service for pid in workers.live.keys() - before.keys()}


def test_many_that_begin_at_once_have_a_slot_each(workers: Workers) -> None:
    """Twenty workers of a service that is new."""
    assert set(workers.start("rush", 20)) == {f"w{slot}" for slot in range(20)}
    for pid in list(workers.live):
        workers.end(pid, "kill")


def test_a_forked_child_is_somebody_else(tmp_path: Path) -> None:
    """It asks anew, and gets a slot of its own; what it inherited of its parent's does not hold that, and is closed."""
    parent, heir = Workers(tmp_path / "place"), Workers(tmp_path / "place")
    assert parent.tell("lease web")[1] == "w0"
    assert parent.start("web") == ["w1"]
    [child] = parent.live
    assert [str(each) for each in Path(f"/proc/{child}/fd").iterdir() if each.resolve() == Path(os.devnull)] == []
    assert parent.tell("lease web")[1] == "w0"
    idle = parent.tell("idle")[0]
    parent.kill()
    try:
        assert heir.tell("lease web")[1] == "w0"
    finally:
        os.kill(int(idle), signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        parent.close()
        heir.close()


# Prefixes


def test_a_backend_becomes_somebody_when_it_starts_and_not_before(tmp_path: Path) -> None:
    """Not when it is made, which may be before a fork; and two of one service are one worker."""
    registry, reactor = MetricsRegistry(), FakeReactor()
    made = [
        backends.graphite(registry, "tcp:h:2003", 10, "web.{worker}.{generation}", reactor=reactor),
        backends.log(registry, str(tmp_path / "log"), 10, "web.{worker}", reactor=reactor),
        backends.graphite(registry, "tcp:h:2003", 10, "web.{host}", reactor=reactor),
    ]
    assert list(tmp_path.iterdir()) == []
    wires = [reporter._make().wire for reporter in made]
    host = identity.names.clean(socket.gethostname())
    assert [wires[0]._names.prefix, wires[1]._prefix, wires[2]._names.prefix] == [
        f"web.w0.{identity._generation(os.getpid())}.",
        "web.w0.",
        f"web.{host}.",
    ]
    assert [path.name for path in (tmp_path / f"txmetrics-{os.geteuid()}").iterdir()] == ["web.w0"]


def test_a_prefix_without_a_worker_takes_no_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it mind a variable that it does not use."""
    monkeypatch.setenv(identity.WORKER_VARIABLE, "a.b")
    backends.graphite(MetricsRegistry(), "tcp:h:2003", 10, "web.{generation}", reactor=FakeReactor())._make()
    assert list(tmp_path.iterdir()) == []


TWISTD = [SCRIPTS / "twistd", "-n", "--pidfile=", "metrics", "--metrics-interval=60"]
WEB = ["web", "--listen=tcp:0:interface=127.0.0.1"]


@pytest.fixture
def slots(prefix: str) -> Iterator[str]:
    """A service that nobody else has; its files, which are left for ever otherwise, are removed."""
    yield prefix
    for place in ("/run/lock", "/tmp"):
        for file in Path(place, f"txmetrics-{os.geteuid()}").glob(f"{prefix}.w*"):
            file.unlink()


def test_workers_on_one_machine_report_side_by_side(carbon: Carbon, slots: str, tmp_path: Path) -> None:
    """Three twistd: the third comes when the first was killed with -9, and goes on under its name."""
    command = [*TWISTD, f"--metrics-graphite=tcp:127.0.0.1:{carbon.line_port}", f"--metrics-prefix={slots}.{{worker}}"]
    homes = [tmp_path / name for name in "abc"]
    for home in homes:
        home.mkdir()
    with Child(*command, *WEB, cwd=homes[0]) as first:
        first.port()
        with Child(*command, *WEB, cwd=homes[1]) as second:
            get(second.port(), times=5)
            first.__exit__()
            with Child(*command, *WEB, cwd=homes[2]) as third:
                get(third.port(), times=3)
                third.stop()
                second.stop()
    check_stored(carbon, f"{slots}.w0.http.requests.count", 3)
    check_stored(carbon, f"{slots}.w1.http.requests.count", 5)
    assert not [name for name in carbon.names() if name.startswith(f"{slots}.w2.")]


@contextmanager
def daemon(home: Path, *arguments: str) -> Iterator[int]:
    """A daemonised ``twistd metrics ... web``, ended by SIGTERM and waited for: its port."""
    home.mkdir()
    command = [SCRIPTS / "twistd", f"--pidfile={home}/pid", f"--logfile={home}/log", "metrics", *arguments, *WEB]
    started = run(*command, cwd=home)
    assert (started.returncode, started.stdout) == (0, "")
    log, pid = home / "log", int((home / "pid").read_text())
    try:
        found = re.search(r"Site starting on (\d+)", log.read_text())
        assert found is not None
        yield int(found[1])
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: "Server Shut Down." in log.read_text(), log.read_text)


def test_daemons_have_their_slots_after_the_fork(carbon: Carbon, slots: str, tmp_path: Path) -> None:
    """twistd forks twice when the service is made already; what reports has a slot, and frees it in the end."""
    options = [f"--metrics-graphite=tcp:127.0.0.1:{carbon.line_port}", f"--metrics-prefix={slots}.{{worker}}"]
    with daemon(tmp_path / "a", *options) as first:
        get(first, times=4)
        with daemon(tmp_path / "b", *options) as second:
            get(second, times=7)
    check_stored(carbon, f"{slots}.w0.http.requests.count", 4)
    check_stored(carbon, f"{slots}.w1.http.requests.count", 7)
    assert {name.split(".")[1] for name in carbon.names() if name.startswith(f"{slots}.")} == {"w0", "w1"}


def test_a_worker_that_is_given_its_name_has_it(carbon: Carbon, slots: str, tmp_path: Path) -> None:
    """TXMETRICS_WORKER, as a supervisor sets it, under twistd; one that cannot be is one line, and nothing runs."""
    command = [*TWISTD, f"--metrics-graphite=tcp:127.0.0.1:{carbon.line_port}", f"--metrics-prefix={slots}.{{worker}}"]
    with Child(*command, *WEB, cwd=tmp_path, TXMETRICS_WORKER="blue") as child:
        get(child.port(), times=2)
        child.stop()
    check_stored(carbon, f"{slots}.blue.http.requests.count", 2)
    with Child(*command, *WEB, cwd=tmp_path, TXMETRICS_WORKER="a.b") as child:
        child.says("TXMETRICS_WORKER 'a.b' cannot be a part of a name")
