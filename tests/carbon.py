"""A real carbon-cache on loopback: installed once, started in a temporary directory, read back."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import whisper

from tests.waiting import Waits

HOST = "127.0.0.1"
VERSION = "1.1.10"
REQUIREMENTS = [f"carbon=={VERSION}", f"whisper=={VERSION}"]
DEBIAN = Path("/usr/bin/carbon-cache")

CONFIG = """\
[cache]
STORAGE_DIR = {root}/storage
LOCAL_DATA_DIR = {root}/storage/whisper
CONF_DIR = {root}/conf
LOG_DIR = {root}/log
PID_DIR = {root}
USER =
LINE_RECEIVER_INTERFACE = {host}
LINE_RECEIVER_PORT = {line_port}
PICKLE_RECEIVER_INTERFACE = {host}
PICKLE_RECEIVER_PORT = {pickle_port}
ENABLE_UDP_LISTENER = True
UDP_RECEIVER_INTERFACE = {host}
UDP_RECEIVER_PORT = {udp_port}
CACHE_QUERY_INTERFACE = {host}
CACHE_QUERY_PORT = {query_port}
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
CACHE_WRITE_STRATEGY = naive
WHISPER_SPARSE_CREATE = True
ENABLE_LOGROTATION = False
ENABLE_TAGS = False
CARBON_METRIC_INTERVAL = 0
LOG_UPDATES = False
LOG_CREATES = False
LOG_CACHE_HITS = False
LOG_CACHE_QUEUE_SORTS = False
"""

SCHEMAS = """\
[all]
pattern = .*
retentions = {retentions}
"""

AGGREGATION = """\
[all]
pattern = .*
xFilesFactor = 0
aggregationMethod = last
"""


class CarbonUnavailableError(Exception):
    """No carbon-cache can be had on this machine; the text says why in one sentence."""


# Installing


def install() -> Path:
    """
    The path of a carbon-cache program, installed on first use (see `installed`); Debian's if that fails.

    Raises `CarbonUnavailableError` if there is nothing to run.
    """
    try:
        return installed(f"carbon-{VERSION}", REQUIREMENTS) / "bin" / "carbon-cache.py"
    except CarbonUnavailableError:
        if DEBIAN.exists():
            return DEBIAN
        raise


def cache() -> Path:
    """The directory ``$TXMETRICS_TEST_CACHE`` (default ``~/.cache/txmetrics-tests``), which all test runs share."""
    path = Path(os.environ.get("TXMETRICS_TEST_CACHE") or Path.home() / ".cache" / "txmetrics-tests")
    path.mkdir(parents=True, exist_ok=True)
    return path


def installed(name: str, requirements: list[str]) -> Path:
    """
    A virtual environment of that name with these requirements, made on first use.

    It is in `cache`: a file lock lets one test run install while the others wait, and an install that was
    interrupted is made anew. What is carbon's needs CPython 3.11, whatever Python runs the tests. Raises
    `CarbonUnavailableError`.
    """
    home = cache() / name
    with locked(cache() / f"{name}.lock"):
        if not _is_complete(home, requirements):
            _build(home, requirements)
    return home


def _is_complete(home: Path, requirements: list[str]) -> bool:
    marker, python = home / "complete", home / "bin" / "python"
    return python.exists() and marker.exists() and marker.read_text().split() == requirements


def _build(home: Path, requirements: list[str]) -> None:
    # Built in its final place, for the programs of a virtual environment know it by its full path. Nobody
    # uses it before it is marked complete, and what an interrupted install left there is thrown away.
    python = _python311()
    shutil.rmtree(home, ignore_errors=True)
    print(f"installing {' '.join(requirements)} for the tests into {home} (once) ...", flush=True)
    _run([python, "-m", "venv", home])
    pip = [home / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run([*pip, "install", *requirements])
    (home / "complete").write_text("\n".join(requirements) + "\n")
    print("... installed", flush=True)


def _run(command: list[Any]) -> None:
    env = clean_environment()
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired as late:
        raise CarbonUnavailableError("Installing Graphite's programs for the tests took over 5 minutes.") from late
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise CarbonUnavailableError(f"Installing Graphite's programs for the tests failed: {lines[-1]}")


def _python311() -> str:
    """A CPython 3.11 that can make virtual environments."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("3.11.*/bin/python3.11"), reverse=True)
    candidates = [sys.executable, shutil.which("python3.11"), *map(str, pyenv)]
    for candidate in candidates:
        if candidate and _is_python311(candidate):
            return candidate
    raise CarbonUnavailableError(
        "The tests need a real carbon-cache, which needs CPython 3.11 with venv and pip: "
        f"put python3.11 on the PATH, or install Debian's package graphite-carbon for {DEBIAN}."
    )


def _is_python311(python: str) -> bool:
    tell = "import ensurepip, sys; print(sys.implementation.name, *sys.version_info[:2])"
    env = clean_environment()
    try:
        told = subprocess.run([python, "-c", tell], env=env, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.stdout.split() == ["cpython", "3", "11"]


def clean_environment() -> dict[str, str]:
    """The environment without what would lead another Python, or carbon, astray."""
    astray = ("PYTHON", "GRAPHITE_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(astray)}


@contextmanager
def locked(path: Path, seconds: float = 600.0) -> Iterator[None]:
    with path.open("w") as file:
        end = time.monotonic() + seconds
        while not _try_lock(file.fileno()):
            if time.monotonic() > end:
                raise CarbonUnavailableError(f"Another test run has held {path} for over {seconds:g} s.")
            time.sleep(0.1)
        yield  # closing the file unlocks it


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# Running


class Carbon(Waits):
    """
    One carbon-cache daemon, with a directory and ports of its own that outlive `stop`, `kill` and `restart`.

    Call `start` before use and `close` at the end, or use it as a context manager. `line_port`,
    `pickle_port`, `udp_port` and `query_port` are on `HOST`. It takes every point it is sent, and keeps the
    last one of each second for a day, or what else `retentions` says in the words of storage-schemas.conf.
    `conf` are further files of its configuration, by their names, or such in the place of these.
    """

    def __init__(self, retentions: str = "1s:1d", conf: Mapping[str, str] | None = None) -> None:
        self._program = install()
        self.root = Path(tempfile.mkdtemp(prefix="txmetrics-carbon-"))
        self.whisper = self.root / "storage" / "whisper"
        self._reserved = [reserve() for _ in range(3)]
        self.line_port, self.pickle_port, self.query_port = (one.getsockname()[1] for one in self._reserved)
        self.udp_port = _free_udp_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False
        self._write_config(retentions, conf or {})

    def _write_config(self, retentions: str, others: Mapping[str, str]) -> None:
        ports = {name: getattr(self, name) for name in ("line_port", "pickle_port", "udp_port", "query_port")}
        for directory in ("conf", "log", "storage/whisper"):
            (self.root / directory).mkdir(parents=True)
        conf = self.root / "conf"
        (conf / "carbon.conf").write_text(CONFIG.format(root=self.root, host=HOST, **ports))
        (conf / "storage-schemas.conf").write_text(SCHEMAS.format(retentions=retentions))
        (conf / "storage-aggregation.conf").write_text(AGGREGATION)
        for name, text in others.items():
            (conf / name).write_text(text)

    def __enter__(self) -> Carbon:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *ignored: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id while the daemon runs (or is frozen), else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, seconds: float = 20.0) -> Carbon:
        """Start the daemon and return when it listens on all its ports. Does nothing if it runs."""
        if self.pid is not None:
            return self
        pidfile = self.root / "carbon-cache.pid"
        pidfile.unlink(missing_ok=True)  # left by a killed daemon, the number may be somebody else's by now
        command = [*launcher(self._program), "--nodaemon", f"--config={self.root}/conf/carbon.conf"]
        with (self.root / "carbon.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, f"--pidfile={pidfile}", "start"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env={**clean_environment(), "GRAPHITE_ROOT": str(self.root)},
            )
        self._frozen = False
        self.wait_for(self._listens, seconds)
        return self

    def _listens(self) -> bool:
        if self.pid is None:
            raise AssertionError(f"carbon-cache ended at once:\n{self.log()[-2000:]}")
        return all(connects(port) for port in (self.line_port, self.pickle_port, self.query_port))

    def stop(self, signum: int = signal.SIGTERM, seconds: float = 10.0) -> None:
        """
        End the daemon with a signal and wait for its end, by SIGKILL if it takes longer than `seconds`.

        Carbon does not flush when it stops: points that are not on disk yet (see `stored`) are lost.
        """
        if self._process is None or self.pid is None:
            return
        self._process.send_signal(signum)
        self.thaw()  # a frozen process does not hear SIGTERM
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(seconds)

    def kill(self) -> None:
        """End the daemon at once (SIGKILL)."""
        self.stop(signal.SIGKILL)

    def restart(self, signum: int = signal.SIGTERM) -> None:
        """Stop the daemon if it runs, and start it again on the same ports and directory."""
        self.stop(signum)
        self.start()

    def freeze(self) -> None:
        """Suspend the daemon (SIGSTOP): the kernel still takes connections and bytes, nobody reads them."""
        self._signal(signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        """Let a frozen daemon go on (SIGCONT)."""
        self._signal(signal.SIGCONT)
        self._frozen = False

    def _signal(self, signum: int) -> None:
        if self._process is not None and self.pid is not None:
            self._process.send_signal(signum)

    def close(self) -> None:
        """End the daemon, free its ports and remove its directory."""
        self.kill()
        for one in self._reserved:
            one.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self) -> str:
        """All that the daemon has logged so far, over all its restarts."""
        file = self.root / "carbon.log"
        return file.read_text(errors="replace") if file.exists() else ""

    # Writing and reading

    def send(self, lines: str, seconds: float = 5.0) -> None:
        """Send lines of Graphite's text protocol over plain TCP; return when carbon has read them all."""
        with socket.create_connection((HOST, self.line_port), seconds) as connection:
            connection.sendall(lines.encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):  # carbon closes its side after it has read everything
                pass

    def points(self, name: str, now: float | None = None, back: int = 3600) -> dict[int, float]:
        """
        The points of a series, {timestamp: value}: the daemon's memory, and the disk where that has none.

        They reach from `back` seconds before `now` to ten seconds after it. A series with tags is named as
        carbon does it: ``name;tag=value`` with the tags sorted. For a few milliseconds, while carbon writes
        it, a point is in neither place: use `wait_for` or `eventually`. While the daemon is stopped or
        frozen only the disk is read.
        """
        cached = self.cached(name)  # before the disk, for points travel that way
        now = time.time() if now is None else now
        recent = {moment: value for moment, value in cached.items() if now - back <= moment <= now + 10}
        return {**self.stored(name, now, back), **recent}

    def cached(self, name: str) -> dict[int, float]:
        """The points of a series that carbon has read, and holds in memory only."""
        if self.pid is None or self._frozen:
            return {}
        answer = _ask(self.query_port, {"type": "cache-query", "metric": name})
        return {int(moment): value for moment, value in answer["datapoints"]}

    def stored(self, name: str, now: float | None = None, back: int = 3600) -> dict[int, float]:
        """The points of a series on disk, from the finest archive that reaches `back` seconds."""
        until = int(time.time() if now is None else now) + 10
        try:
            found = whisper.fetch(str(self._file(name)), until - 10 - back - 1, until, until)
        except (OSError, EOFError, struct.error, whisper.CorruptWhisperFile):
            return {}  # there is no file yet, or carbon is just creating it
        if found is None:
            return {}
        (start, _, step), values = found
        return {start + step * index: value for index, value in enumerate(values) if value is not None}

    def _file(self, name: str) -> Path:
        if ";" not in name:
            return self.whisper / (name.replace(".", "/") + ".wsp")
        digest = hashlib.sha256(name.encode()).hexdigest()  # carbon files series with tags under a hash
        return self.whisper / "_tagged" / digest[:3] / digest[3:6] / f"{digest}.wsp"

    def names(self) -> set[str]:
        """The names of all series on disk, except those with tags (of these the disk knows only a hash)."""
        files = (file.relative_to(self.whisper).with_suffix("") for file in self.whisper.rglob("*.wsp"))
        return {".".join(file.parts) for file in files if file.parts[0] != "_tagged"}


def launcher(program: Path) -> list[str]:
    """
    The command that runs carbon; on Linux it dies with the test run even if that is killed.

    (To be exact, with the thread that started it: that should be the main one.)
    """
    leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*leash, str(program)]


def reserve() -> socket.socket:
    """
    Take a free port and hold it, without listening, until the socket is closed.

    Carbon sets SO_REUSEPORT, so two of them could share a port unnoticed. A port that is held is given to
    nobody who asks for any free port, also while the daemon is down; the options set here after the bind
    let carbon, which asks for this very one, listen on it.
    """
    held = socket.socket()
    held.bind((HOST, 0))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return held


def _free_udp_port() -> int:
    """A free UDP port. It cannot be held like the others: the holder would get a share of the datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


def connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def _ask(port: int, question: dict[str, str]) -> Any:
    """Ask carbon's query port: pickles in frames that begin with their length."""
    with socket.create_connection((HOST, port), 2) as connection:
        body = pickle.dumps(question, protocol=2)
        connection.sendall(struct.pack("!L", len(body)) + body)
        (size,) = struct.unpack("!L", _read(connection, 4))
        # Unpickling runs whatever the sender put in. Carbon's query port answers in no other way, and this
        # is the answer of a daemon that the test itself has started on loopback. The library never
        # unpickles anything.
        return pickle.loads(_read(connection, size))


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError("carbon closed the connection in the middle of an answer")
        data += more
    return data
