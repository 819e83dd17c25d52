"""Receivers that are not a carbon-cache, each started on loopback and read back; and a proxy whose wires can be cut.

A relay and an aggregator stand in front of carbon-caches of their own; InfluxDB and VictoriaMetrics keep what they get
themselves. Whatever it is, ``samples`` tells what it holds.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import urlencode

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.carbon import HOST, Carbon, clean_environment, connects, install, launcher, reserve
from tests.strict import the_reactor
from tests.waiting import Waits

Samples: TypeAlias = dict[str, list[tuple[int, float]]]
"""By the name of a series its points, (timestamp, value), in the order of time; twice what is held twice."""

BACK = 120
"""How many seconds of the past are read."""

SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def program(name: str, package: str) -> Path:
    """Where a program of Debian's is; fails the test in one sentence if it is not installed."""
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        pytest.fail(f"{name} is not installed: apt-get install {package}", pytrace=False)
    return Path(found)


def pattern(prefix: str) -> str:
    """The names that begin with `prefix` and a dot, in any dialect of regular expressions."""
    return f"{prefix}.".replace(".", "[.]")


class Receiver(Waits):
    """
    One program, with a directory and ports on `HOST` of its own that outlive `stop` and `kill`.

    Call `start` before use and `close` at the end, or use it as a context manager. It takes Graphite's
    lines over TCP at `line_port`. A subclass says how it is run and read.
    """

    PAUSE = 0.2  # there is much to read

    def __init__(self, program: Path, ports: int) -> None:
        """`program` is the file to run; it listens on so many `ports`, of which the first is for lines."""
        self._program = program
        self.root = Path(tempfile.mkdtemp(prefix=f"txmetrics-{program.stem}-"))
        self._reserved = [reserve() for _ in range(ports)]
        self.ports = [held.getsockname()[1] for held in self._reserved]
        self.line_port = self.ports[0]
        self._process: subprocess.Popen[bytes] | None = None

    def arguments(self) -> list[str]:
        """What the program is called with."""
        raise NotImplementedError  # each program has arguments of its own

    def samples(self, prefix: str) -> Samples:
        """All that it holds of the series whose names begin with `prefix` and a dot, of the last BACK seconds."""
        raise NotImplementedError  # and each is asked in its own way

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *ignored: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id while the program runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, seconds: float = 20.0) -> Self:
        """Start the program and return when it listens on all its ports. Does nothing if it runs."""
        if self.pid is None:
            environment = {name: value for name, value in clean_environment().items() if "INFLUX" not in name}
            with (self.root / "output.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [*launcher(self._program), *self.arguments()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.root,
                    env={**environment, "GRAPHITE_ROOT": str(self.root)},
                )
            self.wait_for(self._listens, seconds)
        return self

    def _listens(self) -> bool:
        if self.pid is None:
            raise AssertionError(f"{self._program.name} ended at once:\n{self.log()[-2000:]}")
        return all(connects(port) for port in self.ports)

    async def stop(self, seconds: float = 25.0) -> None:
        """End the program with SIGTERM and wait for its end, while the reactor of the test goes on."""
        if self._process is not None:
            self._process.terminate()
            await self.eventually(lambda: self.pid is None, seconds)

    def kill(self) -> None:
        """End the program at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def close(self) -> None:
        """End the program, free its ports and remove its directory."""
        self.kill()
        for held in self._reserved:
            held.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self) -> str:
        """All that the program has printed so far, over all its restarts."""
        file = self.root / "output.log"
        return file.read_text(errors="replace") if file.exists() else ""

    send = Carbon.send  # these close their side, too, when they have read everything

    def _get(self, port: int, path: str, **arguments: object) -> bytes:
        """Ask its HTTP server, and return the body of an answer that is good."""
        connection = http.client.HTTPConnection(HOST, port, timeout=10)
        try:
            connection.request("GET", f"{path}?{urlencode(arguments)}")
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status in (200, 204), f"{answer.status} {body[:500]!r}"
        return body


class Cache(Carbon):
    """A carbon-cache that is read like the other receivers."""

    def samples(self, prefix: str) -> Samples:
        """All points on disk of the series whose names begin with `prefix` and a dot."""
        files = self.whisper.joinpath(*prefix.split(".")).rglob("*.wsp")
        names = [".".join(file.relative_to(self.whisper).with_suffix("").parts) for file in files]
        return {name: sorted(self.stored(name, back=BACK).items()) for name in names}

    eventually = Receiver.eventually


class Relay(Receiver):
    """carbon-c-relay, which hashes each series to as many of its carbon-caches as it has replicas; to one of two."""

    CONFIG = """\
listen type linemode {host}:{line_port} proto tcp ;
cluster caches carbon_ch replication {replication} {caches} ;
match * send to caches stop ;
statistics submit every 3600 seconds prefix with carbon.relays.test ;
"""

    def __init__(self, caches: Sequence[Cache] = (), replication: int = 1) -> None:
        super().__init__(program("carbon-c-relay", "carbon-c-relay"), ports=1)
        self.caches = [*caches] or [Cache(), Cache()]
        members = [f"{HOST}:{cache.line_port}={name}" for name, cache in zip("abcdef", self.caches, strict=False)]
        config = self.CONFIG.format(
            host=HOST, line_port=self.line_port, replication=replication, caches=" ".join(members)
        )
        (self.root / "relay.conf").write_text(config)

    def arguments(self) -> list[str]:
        return ["-f", "relay.conf", "-w", "2", "-q", "100000", "-H", "test"]

    def start(self, seconds: float = 20.0) -> Self:
        """Start the relay and those of its caches that do not run."""
        for cache in self.caches:
            cache.start(seconds)
        return super().start(seconds)

    def close(self) -> None:
        super().close()
        for cache in self.caches:
            cache.close()

    def samples(self, prefix: str) -> Samples:
        held = [cache.samples(prefix) for cache in self.caches]
        told = {name: points for samples in held for name, points in samples.items()}
        assert len(told) == sum(map(len, held)), "a series is in several caches"
        return told


class Aggregator(Receiver):
    """carbon-aggregator before a carbon-cache: passes every ``NAME`` on, and adds up its values as ``sums.NAME``."""

    CONFIG = """\
[aggregator]
STORAGE_DIR = {root}/storage
CONF_DIR = {root}
LOG_DIR = {root}
PID_DIR = {root}
USER =
LINE_RECEIVER_INTERFACE = {host}
LINE_RECEIVER_PORT = {line_port}
PICKLE_RECEIVER_INTERFACE = {host}
PICKLE_RECEIVER_PORT = {pickle_port}
DESTINATIONS = {host}:{cache_port}:a
FORWARD_ALL = True
MAX_QUEUE_SIZE = 100000
MAX_AGGREGATION_INTERVALS = 60
CARBON_METRIC_INTERVAL = 0
"""
    RULES = "sums.<name> (1) = sum <<name>>\n"
    """The values of each second by themselves; what comes up to a minute late is added to its second."""

    def __init__(self) -> None:
        carbon = install()
        super().__init__(carbon.with_name(carbon.name.replace("cache", "aggregator")), ports=2)
        self.cache = Cache()
        ports = {"line_port": self.line_port, "pickle_port": self.ports[1], "cache_port": self.cache.pickle_port}
        (self.root / "carbon.conf").write_text(self.CONFIG.format(root=self.root, host=HOST, **ports))
        (self.root / "aggregation-rules.conf").write_text(self.RULES)
        (self.root / "storage-schemas.conf").touch()  # it insists on the file, and has no use for it

    def arguments(self) -> list[str]:
        return ["--nodaemon", f"--config={self.root}/carbon.conf", f"--pidfile={self.root}/pid", "start"]

    def start(self, seconds: float = 20.0) -> Self:
        """Start the aggregator, and its cache if that does not run."""
        self.cache.start(seconds)
        return super().start(seconds)

    def close(self) -> None:
        super().close()
        self.cache.close()

    def samples(self, prefix: str) -> Samples:
        return self.cache.samples(prefix)

    def sums(self, prefix: str) -> Samples:
        """The sums, each under the name of the series that was added up."""
        sums = self.cache.samples(f"sums.{prefix}")
        return {name.removeprefix("sums."): points for name, points in sums.items()}


class Influx(Receiver):
    """InfluxDB 1.6 with its Graphite listener."""

    CONFIG = """\
reporting-disabled = true
bind-address = "{host}:{rpc_port}"
[meta]
  dir = "{root}/meta"
[data]
  dir = "{root}/data"
  wal-dir = "{root}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "{host}:{http_port}"
  log-enabled = false
[[graphite]]
  enabled = true
  bind-address = "{host}:{line_port}"
  database = "graphite"
  batch-size = 1000000
  batch-timeout = "{batch_seconds}s"
"""
    BATCH_SECONDS = 1
    """For how long it keeps points in memory, and would lose them if it were killed; 1 is its default."""

    def __init__(self) -> None:
        super().__init__(program("influxd", "influxdb"), ports=3)
        ports = dict(zip(("line_port", "http_port", "rpc_port"), self.ports, strict=True))
        config = self.CONFIG.format(root=self.root, host=HOST, batch_seconds=self.BATCH_SECONDS, **ports)
        (self.root / "influxdb.conf").write_text(config)

    def arguments(self) -> list[str]:
        return ["run", "-config", "influxdb.conf"]

    def samples(self, prefix: str) -> Samples:
        query = f"SELECT value FROM /^{pattern(prefix)}/ WHERE time > now() - {BACK}s"
        answer = json.loads(self._get(self.ports[1], "/query", db="graphite", epoch="s", q=query))
        [result] = answer["results"]
        # The database is made with the first point.
        assert result.get("error", "database not found: graphite") == "database not found: graphite"
        return {series["name"]: [tuple(point) for point in series["values"]] for series in result.get("series", [])}


class Victoria(Receiver):
    """VictoriaMetrics as it comes: it keeps every sample it is sent, also the same one again.

    It keeps some twelve digits of a value, counted from the largest one of the series.
    """

    def __init__(self, *flags: str) -> None:
        """``flags`` are further ones for its command line."""
        super().__init__(program("victoria-metrics", "victoria-metrics"), ports=2)
        self._flags = flags

    def arguments(self) -> list[str]:
        line_port, http_port = self.ports
        return [
            f"-storageDataPath={self.root}/data",
            f"-graphiteListenAddr={HOST}:{line_port}",
            f"-httpListenAddr={HOST}:{http_port}",
            "-graphiteTrimTimestamp=1s",
            "-retentionPeriod=1",
            "-search.latencyOffset=0s",
            "-search.disableCache",
            "-memory.allowedPercent=5",
            *self._flags,
        ]

    def samples(self, prefix: str) -> Samples:
        self._get(self.ports[1], "/internal/force_flush")
        selector = f'{{__name__=~"{pattern(prefix)}.+"}}'
        lines = self._get(self.ports[1], "/api/v1/export", **{"match[]": selector, "start": f"-{BACK}s"}).splitlines()
        return dict(self._series(json.loads(line)) for line in lines)

    @staticmethod
    def _series(told: dict[str, Any]) -> tuple[str, list[tuple[int, float]]]:
        stamps = [milliseconds // 1000 for milliseconds in told["timestamps"]]
        return told["metric"]["__name__"], sorted(zip(stamps, told["values"], strict=True))


# The proxy


class Proxy:
    """A TCP proxy in the reactor of the test, before a port on `HOST`; what is half-closed it passes on as that."""

    def __init__(self, target: int) -> None:
        self.connections = 0
        self._lines: int | None = None
        self._target = TCP4ClientEndpoint(the_reactor(), HOST, target)
        self._ends: list[_End] = []
        self._port = the_reactor().listenTCP(0, Factory.forProtocol(self._accept), interface=HOST)
        self.port: int = self._port.getHost().port

    def _accept(self) -> _Front:
        self.connections += 1
        return _Front(self._ends, self._target, self._admit)

    def cut_within(self, lines: int) -> None:
        """Let so many more lines (1 or more) pass, whole ones; then break the connection that they came on."""
        self._lines = lines

    def _admit(self, data: bytes, front: _Front) -> bytes:
        """What of `data` passes."""
        if self._lines is None:
            return data
        *lines, rest = data.split(b"\n", self._lines)
        self._lines -= len(lines)
        if self._lines:
            return data
        self._lines = None
        front.transport.abortConnection()
        return data.removesuffix(rest)

    async def close(self) -> None:
        """Listen no more, and break what is left."""
        await self._port.stopListening()
        for end in list(self._ends):
            end.transport.abortConnection()


@implementer(IHalfCloseableProtocol)
class _End(Protocol):
    """One of the two ends of a connection through the proxy: what it reads, its peer writes."""

    peer: _End

    def __init__(self, ends: list[_End]) -> None:
        self._ends = ends
        self._has_read_all = False

    def connectionMade(self) -> None:
        self._ends.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.peer.transport.write(data)

    def readConnectionLost(self) -> None:
        self._has_read_all = True
        if self.peer._has_read_all:
            self.transport.loseConnection()
        else:
            self.peer.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """Nothing is left to do: the peer was told already."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ends.remove(self)
        if self.peer.transport is not None:
            self.peer.transport.loseConnection()


class _Front(_End):
    """The end that was connected to: it connects the other one, which gets what `admit` lets pass."""

    def __init__(self, ends: list[_End], target: TCP4ClientEndpoint, admit: Callable[[bytes, _Front], bytes]) -> None:
        super().__init__(ends)
        self._target = target
        self._admit = admit
        self.peer = _End(ends)
        self.peer.peer = self

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.pauseProducing()
        self._connecting = connectProtocol(self._target, self.peer)
        self._connecting.addCallbacks(
            lambda made: self.transport.resumeProducing(), lambda refused: self.transport.abortConnection()
        )

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(self._admit(data, self))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connecting.cancel()
        super().connectionLost(reason)
