"""How many points get lost while Graphite is killed, stopped and frozen: txmetrics and three others, side by side.

    python benchmarks/lost_points.py              # about two minutes, and one for installing, once

It needs the test extra: ``pip install -e '.[test]'``; the others are installed into environments of their own.

The receiver is a real carbon-cache, and all senders (see ``senders/``) report to this one at the same time, under
names of their own: every fault hits all of them in the same moment. Each is a process of its own, reports once a
second, and tells at its end which reports it has taken, also those for which there was no carbon. The value of a point
is the number of its report. When everybody has stopped in order, and carbon has written down all that it has, its
files show which reports have come through. With ``--kills=0`` nobody loses anything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the tests' carbon

from tests.carbon import HOST, VERSION, Carbon, clean_environment, connects, launcher, reserve  # noqa: E402

SENDERS = Path(__file__).parent / "senders"
CACHE = Path(os.environ.get("TXMETRICS_TEST_CACHE") or Path.home() / ".cache" / "txmetrics-tests")

REQUIREMENTS = {"pyformance": ["pyformance==0.4", "setuptools==80.9.0"], "statsd": ["statsd==4.0.1"]}
STATSD_SERVER = "statsd@0.9.0"

LABELS = {
    "txmetrics": f"txmetrics {version('txmetrics')}",
    "pyformance": "pyformance 0.4 [1]",
    "statsd": "statsd 4.0.1, by way of a statsd server 0.9.0 [2]",
    "twisted": f"a plain client, Twisted {version('twisted')} [3]",
}

NOTES = {
    "pyformance": "[1] Its CarbonReporter; it needs a setuptools that still has pkg_resources.",
    "statsd": "[2] The client reports gauges over TCP, right between two flushes (one a second) of a server that "
    "nobody kills, and that forgets a gauge when it has sent it: what is lost was lost between that server and carbon.",
    "twisted": "[3] A ReconnectingClientFactory, and transport.write whenever there is a connection.",
}

SLACK = 2.0
"""Seconds between a report and the second that it is stored under, at the most; more would be a wrong point."""

QUIET = 4.0
"""Seconds without faults at the end."""


# The faults


class Fault(NamedTuple):
    at: float
    """Seconds after the beginning."""
    kind: str
    seconds: float
    """For how long carbon is away."""


KINDS = ("kill -9", "SIGTERM", "freeze")
FREEZE = 3.0
START = 1.5
"""Seconds that the end of a carbon and the start of the next take, on top, at the most."""


def schedule(seed: int, seconds: float, kills: int) -> list[Fault]:
    """As many faults of each kind as of the others, one in each ``kills``-th of the ``seconds``."""
    random = Random(seed)
    kinds = [KINDS[number % len(KINDS)] for number in range(kills)]
    random.shuffle(kinds)
    slot = seconds / max(1, kills)
    return [
        Fault(
            slot * number + random.uniform(0, max(0, slot - FREEZE - START)),
            kind,
            FREEZE if kind == "freeze" else random.uniform(1, 3),
        )
        for number, kind in enumerate(kinds)
    ]


def inflict(fault: Fault, carbon: Carbon) -> None:
    if fault.kind == "freeze":
        carbon.freeze()
        time.sleep(fault.seconds)
        carbon.thaw()
    else:
        carbon.stop(signal.SIGKILL if fault.kind == "kill -9" else signal.SIGTERM)
        time.sleep(fault.seconds)
        carbon.start()


# The senders


class Sender:
    """A process that reports until it is told to stop."""

    def __init__(self, name: str, python: str, port: int, series: int) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, "-W", "ignore", str(SENDERS / f"with_{name}.py"), str(port), name, str(series)],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> dict[str, Any]:
        """Let it stop in order; returns what it tells."""
        told, _ = self._process.communicate(timeout=30)
        if self._process.returncode:
            sys.exit(f"the sender {self.name} ended with status {self._process.returncode}")
        return dict(json.loads(told))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def statsd_server(carbon: Carbon) -> Iterator[int]:
    """npm's statsd, which reports to ``carbon`` once a second; yields the port that it listens on."""
    program = statsd_program()
    with reserve() as held, reserve() as held_too:
        port, management = (each.getsockname()[1] for each in (held, held_too))
        config = {
            "server": "./servers/tcp",
            "address": HOST,
            "port": port,
            "mgmt_address": HOST,
            "mgmt_port": management,
            "backends": ["./backends/graphite"],
            "graphiteHost": HOST,
            "graphitePort": carbon.line_port,
            "graphite": {"legacyNamespace": False, "globalPrefix": "", "prefixGauge": ""},
            "flushInterval": 1000,
            "deleteIdleStats": True,
        }
        file = carbon.root / "statsd.json"
        file.write_text(json.dumps(config))
        process = subprocess.Popen([*launcher(Path("node")), str(program), str(file)], stdout=subprocess.DEVNULL)
        try:
            carbon.wait_for(lambda: connects(port))
            yield port
        finally:
            process.kill()
            process.wait()


# Installing


def python_of(sender: str) -> str:
    """A Python that can import what ``sender`` needs."""
    if sender == "statsd":
        statsd_program()  # now, and not while others are already being measured
    requirements = REQUIREMENTS.get(sender)
    if requirements is None:
        return sys.executable

    def build(home: Path) -> None:
        run(sys.executable, "-m", "venv", home)
        run(home / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q", "install", *requirements)

    python = "python=={}.{}".format(*sys.version_info)
    return str(installed("-".join([*requirements, python]), build) / "bin" / "python")


def statsd_program() -> Path:
    if not (shutil.which("npm") and shutil.which("node")):
        sys.exit("The statsd server needs node and npm: apt-get install npm, or leave it out, see --senders.")

    def build(home: Path) -> None:
        run("npm", "install", "--silent", "--no-optional", "--prefix", home, STATSD_SERVER)

    return installed(STATSD_SERVER, build) / "node_modules" / "statsd" / "stats.js"


def installed(what: str, build: Callable[[Path], None]) -> Path:
    """The folder of ``what`` in the cache of the tests, built on first use."""
    home = CACHE / what.replace("==", "-").replace("@", "-")
    if not home.exists():
        say(f"installing {what} into {home} (once) ...")
        CACHE.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as folder:
            new = Path(folder) / "new"
            build(new)
            with suppress(OSError):  # somebody else was faster
                new.rename(home)
    return home


def run(*command: Any) -> None:
    words = [str(part) for part in command]
    if subprocess.run(words, env=clean_environment(), stdout=sys.stderr, timeout=300).returncode:
        sys.exit(f"This failed, and without it nothing can be compared: {' '.join(words)}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# The measuring


class Row(NamedTuple):
    issued: int
    stored: int
    wrong: int


def measure(given: argparse.Namespace, faults: list[Fault]) -> tuple[dict[str, Row], dict[str, Any]]:
    """What became of each sender's points, and txmetrics' own account of it."""
    pythons = {name: python_of(name) for name in given.senders}
    with ExitStack() as stack:
        carbon = stack.enter_context(Carbon())
        senders = []
        for name, python in pythons.items():
            port = stack.enter_context(statsd_server(carbon)) if name == "statsd" else carbon.line_port
            senders.append(Sender(name, python, port, given.series))
            stack.callback(senders[-1].kill)
        say("waiting until carbon has a file for each series ...")
        series = {sender.name: given.series for sender in senders}
        carbon.wait_for(lambda: {name: len(files(carbon, f"{name}.app.")) for name in series} == series, 60)
        time.sleep(2)  # and the first points in it
        endure(faults, given.seconds, carbon)
        say("stopping everybody ...")
        told = {sender.name: sender.stop() for sender in senders}
        time.sleep(3)  # the statsd server's last flush; and new series reach carbon's disk after a second
        carbon.wait_for(lambda: not any(carbon.cached(name) for name in carbon.names()), 30)
        rows = {name: count(carbon, name, told[name]["taken_at"], given.series) for name in series}
        ledger = told.get("txmetrics", {}).get("ledger", {})
        ledger["stored"] = sum(len(carbon.stored(name)) for name in files(carbon, "txmetrics."))
        return rows, ledger


def endure(faults: list[Fault], seconds: float, carbon: Carbon) -> None:
    begin = time.monotonic()
    for fault in faults:
        time.sleep(max(0, begin + fault.at - time.monotonic()))
        say(f"{time.monotonic() - begin:5.1f} s: {fault.kind}, {fault.seconds:.1f} s")
        inflict(fault, carbon)
    time.sleep(max(0, begin + seconds - time.monotonic()) + QUIET)


def files(carbon: Carbon, prefix: str) -> list[str]:
    return [name for name in carbon.names() if name.startswith(prefix)]


def count(carbon: Carbon, sender: str, taken_at: list[float], series: int) -> Row:
    """Compare what a sender has taken with what carbon has stored: each report once, and near its time."""
    points = right = 0
    for name in files(carbon, f"{sender}.app."):
        stored = carbon.stored(name)
        points += len(stored)
        right += len({value for stamp, value in stored.items() if is_right(stamp, value, taken_at)})
    return Row(len(taken_at) * series, right, points - right)


def is_right(stamp: int, value: float, taken_at: list[float]) -> bool:
    return value.is_integer() and 1 <= value <= len(taken_at) and abs(stamp - taken_at[int(value) - 1]) < SLACK


def show(given: argparse.Namespace, faults: list[Fault], rows: dict[str, Row], ledger: dict[str, Any]) -> None:
    kinds = ", ".join(f"{sum(fault.kind == kind for fault in faults)} x {kind}" for kind in KINDS)
    print(f"\ncarbon {VERSION}; {given.series} series a second; {kinds} in {given.seconds:g} s (seed {given.seed})\n")
    print("| sender | points issued | stored | lost | lost, % | wrong |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, row in rows.items():
        lost = row.issued - row.stored
        share = 100 * lost / row.issued
        print(f"| {LABELS[name]} | {row.issued} | {row.stored} | {lost} | {share:.2f} | {row.wrong} |")
    if "txmetrics" in rows:
        dropped = sum(ledger["dropped"].values())
        print(
            f"\ntxmetrics' ledger, its own series among them: {ledger['collected']} collected, {ledger['delivered']} "
            f"delivered, {dropped} dropped; stored: {ledger['stored']}"
        )
    for name in filter(NOTES.get, rows):
        print(f"\n{NOTES[name]}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Points lost while carbon is killed, stopped and frozen.")
    parser.add_argument("--seconds", type=float, default=90, help="how long the faults go on")
    parser.add_argument("--kills", type=int, default=12, help="how many faults")
    parser.add_argument("--series", type=int, default=200, help="a sender's")
    parser.add_argument("--seed", type=int, default=1, help="the order and the times of the faults")
    parser.add_argument("--senders", nargs="+", choices=LABELS, default=list(LABELS), help="whom to compare")
    given = parser.parse_args()
    faults = schedule(given.seed, given.seconds, given.kills)
    show(given, faults, *measure(given, faults))


if __name__ == "__main__":
    main()
