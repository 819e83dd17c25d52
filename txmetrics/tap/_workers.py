"""The supervisor: a service that runs workers, each a process, and starts those again that end.

    Workers ---- ProcessMonitor ---- _Spawner ---- a _Worker for each process
                 starts, restarts,                 its lines and its end,
                 TERM, KILL                        for the log

ProcessMonitor waits longer and longer for what ends at once. It neither tells when all have gone nor how one ended, and
breaks on long lines, so that what comes from a process passes through a protocol of ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides

__all__ = ["Workers"]

QUICK = 10.0
"""A worker that ends in less than so many seconds has not been any good, and the next try is later."""

LONGEST_DELAY = 60.0

KILL_TIME = 8.0
"""A worker's reporters stop in five seconds, and those who stop containers wait ten."""

LINGER = 1.0
"""So long after a worker's end the pipes from it are closed, which a process that it has left behind may still hold."""

LONGEST_LINE = 16 * 1024


class Workers(Service):
    """An IService that runs ``commands``, by the name of the worker, and runs them again when they end.

    ``environment`` is what is said to each of them, and ``directory`` where it starts; None: here. What a worker writes
    is logged line by line, in a namespace of its name. ``stopService`` sends SIGTERM, SIGKILL after eight seconds, and
    its Deferred fires when no worker is left. A worker's standard input ends when this process does, however it does.
    ``reactor`` is the running one; None: the global one.
    """

    log = Logger()

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        environment: Callable[[str], Mapping[str, str]],
        directory: str | None = None,
        reactor: Any = None,
    ) -> None:
        self._commands = commands
        self._environment = environment
        self._directory = directory
        self._reactor = reactor
        self._monitor: Any = None
        self._here: set[_Worker] = set()
        self._gone: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        # Late, for it imports the global reactor.
        from twisted.runner.procmon import ProcessMonitor

        self._gone = None
        self._monitor = ProcessMonitor(_spawner(self._reactor, self._spawn))
        self._monitor.threshold = QUICK
        self._monitor.maxRestartDelay = LONGEST_DELAY
        self._monitor.killTime = KILL_TIME
        for name, command in self._commands.items():
            self._monitor.addProcess(name, list(command), env=dict(self._environment(name)), cwd=self._directory)
        self._monitor.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._monitor.stopService()
        if not self._here:
            return succeed(None)
        self._gone = Deferred()
        # A process that hangs in the kernel cannot even be killed.
        return self._gone.addTimeout(KILL_TIME + 2 * LINGER, self._reactor, self._give_up)

    def _give_up(self, result: Any, timeout: float) -> None:
        left = ", ".join(sorted(worker.name for worker in self._here))
        self.log.error("after {timeout:g} s there is still {left}", timeout=timeout, left=left)

    def _spawn(self, monitored: Any, *args: Any, **kwargs: Any) -> Any:
        worker = _Worker(monitored, self._reactor, self._ended)
        process = self._reactor.spawnProcess(worker, *args, **kwargs)
        self._here.add(worker)
        return process

    def _ended(self, worker: _Worker, reason: Failure) -> None:
        self._here.discard(worker)
        how = _how(reason)
        if self.running:
            self.log.warn("worker {name} ended ({how}) and is started again", name=worker.name, how=how)
        elif how == "signal 9":
            self.log.warn("worker {name} did not stop and was killed", name=worker.name)
        if self._gone is not None and not self._here:
            gone, self._gone = self._gone, None
            gone.callback(None)


def _how(reason: Failure) -> str:
    if reason.check(ProcessDone):
        return "exit status 0"
    signal = getattr(reason.value, "signal", None)
    return f"signal {signal}" if signal else f"exit status {getattr(reason.value, 'exitCode', 'unknown')}"


class _Spawner:
    """What ProcessMonitor takes for a reactor."""


def _spawner(reactor: Any, spawn: Callable[..., Any]) -> Any:
    spawner: Any = _Spawner()
    spawner.seconds, spawner.callLater, spawner.spawnProcess = reactor.seconds, reactor.callLater, spawn
    directlyProvides(spawner, IReactorTime, IReactorProcess)
    return spawner


class _Worker(ProcessProtocol):
    """One process, which is ``monitored`` by ProcessMonitor's protocol."""

    def __init__(self, monitored: Any, time: Any, ended: Callable[[_Worker, Failure], None]) -> None:
        self.name: str = monitored.name
        self._monitored = monitored
        self._time = time
        self._ended = ended
        self._log = Logger(self.name)
        self._rests: defaultdict[int, bytes] = defaultdict(bytes)
        self._closing: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._monitored.makeConnection(self.transport)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, rest = (self._rests[childFD] + data).split(b"\n")
        if len(rest) > LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        self._rests[childFD] = rest
        for line in lines:
            self._say(line)

    def processExited(self, reason: Failure) -> None:
        self._closing = self._time.callLater(LINGER, self._close)

    def processEnded(self, reason: Failure) -> None:
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        for rest in filter(None, self._rests.values()):
            self._say(rest)
        self._ended(self, reason)
        self._monitored.processEnded(reason)

    def _close(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def _say(self, line: bytes) -> None:
        self._log.info("{line}", line=line.decode("utf-8", "backslashreplace"))
