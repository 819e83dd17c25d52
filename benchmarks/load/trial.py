"""One trial: a new server, first asked at a steady rate and then by wrk, as fast as it answers; and what came of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.load import CONNECTIONS, HOST
from benchmarks.load.sink import Sink

__all__ = ["QUANTILES", "Load", "Trial", "judge", "percentile", "run"]

ROOT = Path(__file__).parent.parent.parent
LIMIT = 0.005
QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.5": 0.995, "p99.9": 0.999, "max": 1.0}

WRK_SCRIPT = """
function done(summary, latency, requests)
   local errors = summary.errors
   local wrong = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   local told = '\\nRESULT {"requests": %d, "us": %d, "wrong": %d, "p50": %.17g, "p99": %.17g, "p99.9": %.17g}\\n'
   io.write(told:format(summary.requests, summary.duration, wrong,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""
"""wrk prints no p99.9 of its own accord."""


@dataclass(frozen=True)
class Load:
    """How a server is tried."""

    values: int
    """In a report."""
    rate: float
    """Requests a second, whatever the answers do."""
    warm: float
    seconds: float
    wrk_seconds: int
    """0: without wrk."""
    processors: tuple[int, int] | None
    """That of the load and that of the server."""


@dataclass
class Trial:
    mode: str
    measures: dict[str, float]
    """Milliseconds by the name of the quantile, "over" in percent; those of wrk begin with "wrk "."""
    requests: int
    wrong: int
    """Of the requests: those that were not answered as they should."""
    seconds: float
    """For how long it reported."""
    lines: int
    """So many it has sent."""
    arrived: int


class Server:
    """A server that is up, and answers what it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port: int = self.hear()["port"]
        self.began = time.monotonic()

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        told: dict[str, Any] = json.loads(line) if line else {"failure": "the server has ended"}
        if "failure" in told:
            raise RuntimeError(told["failure"])
        return told

    def tell(self, what: str) -> dict[str, Any]:
        print(what, file=self._process.stdin, flush=True)
        return self.hear()


@contextmanager
def serving(subject: str, load: Load, sink: Sink) -> Iterator[Server]:
    """A server for as long as the block, and for two minutes at the most."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.load.server", subject]
    command += [f"--values={load.values}", f"--sink={sink.port}"]
    if load.processors is not None:
        command.append(f"--processor={load.processors[1]}")
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        limit = threading.Timer(120 + load.seconds + load.wrk_seconds, process.kill)
        limit.start()
        try:
            yield Server(process)
        finally:
            limit.cancel()
            process.kill()


def run(mode: str, subject: str, load: Load) -> Trial:
    """Try the server of that subject. Raises RuntimeError or CalledProcessError if that is not possible."""
    with Sink() as sink, serving(subject, load, sink) as server:
        answers = ask(server.port, load)
        measures = judge(answers["latencies"])
        requests, wrong = answers["asked"], answers["asked"] - answers["right"]
        if load.wrk_seconds:
            before = server.tell("cpu")["cpu"]
            told = wrk(server.port, load.wrk_seconds)
            measures |= judge_wrk(told, server.tell("cpu")["cpu"] - before)
            requests, wrong = requests + told["requests"], wrong + told["wrong"]
        seconds = time.monotonic() - server.began
        lines = server.tell("stop")["lines"]
        return Trial(mode, measures, requests, wrong, seconds, lines, sink.wait_for(lines, 10))


def ask(port: int, load: Load) -> dict[str, Any]:
    """What ``client`` has to tell."""
    command = [sys.executable, "-m", "benchmarks.load.client", str(port)]
    command += [f"--rate={load.rate}", f"--warm={load.warm}", f"--seconds={load.seconds}"]
    limit = load.warm + load.seconds + 60
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=limit)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def wrk(port: int, seconds: int) -> dict[str, Any]:
    """What wrk has to tell: counts, and microseconds."""
    with TemporaryDirectory() as directory:
        script = Path(directory, "result.lua")
        script.write_text(WRK_SCRIPT, encoding="utf-8")
        command = [shutil.which("wrk") or "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
        command.append(f"http://{HOST}:{port}/")
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=seconds + 60)
    told: dict[str, Any] = json.loads(done.stdout.split("\nRESULT ")[1])
    return told


def judge(latencies: Sequence[float]) -> dict[str, float]:
    """Milliseconds of each quantile, and how many percent are over LIMIT."""
    ordered = sorted(latencies)
    told = {name: 1000 * percentile(ordered, q) for name, q in QUANTILES.items()}
    return {**told, "over": 100 * sum(each > LIMIT for each in ordered) / len(ordered)}


def percentile(ordered: Sequence[float], q: float) -> float:
    """The smallest value that is not exceeded by that share of them."""
    return ordered[max(0, ceil(round(q * len(ordered), 6)) - 1)]


def judge_wrk(told: dict[str, Any], cpu: float) -> dict[str, float]:
    """What wrk told, with the processor time in seconds that the server took meanwhile."""
    measures = {f"wrk {name}": told[name] / 1000 for name in ("p50", "p99", "p99.9")}
    measures["wrk rps"] = told["requests"] / told["us"] * 1e6
    measures["wrk cpu"] = cpu / told["requests"] * 1e6
    return measures
