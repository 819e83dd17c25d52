"""A stream and its server on the loopback of a private network namespace, and what a bad network does to them.

Run as ``kernel_child.py SCENARIO``; prints what was measured, and at last the ledger.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, clientFromString
from twisted.internet.task import LoopingCall, deferLater

from txmetrics.delivery import Stream
from txmetrics.interfaces import Chunk
from txmetrics.testing import GraphiteReceiver

PORT = 2003
BLACK_HOLE = ["iptables -{} INPUT -p tcp --dport 2003 -j DROP", "iptables -{} INPUT -p tcp --sport 2003 -j DROP"]
LOSSES = "iptables -A INPUT -p tcp -m statistic --mode random --probability 0.2 -j DROP"
NETEM = "tc qdisc add dev lo root netem delay 250ms loss 20%"  # each way: half a second and back


def run(command: str) -> bool:
    return subprocess.run(command.split(), stderr=subprocess.DEVNULL).returncode == 0


def black_hole(wanted: bool) -> None:
    """From now on, or no longer, every packet vanishes, and nobody is told."""
    for command in BLACK_HOLE:
        assert run(command.format("A" if wanted else "D")), command


class Reports:
    """A stream that gets a kilobyte a second."""

    def __init__(self) -> None:
        self.receiver = GraphiteReceiver()
        self.stream = Stream(reactor, clientFromString(reactor, f"tcp:127.0.0.1:{PORT}"), "the server")
        self.points = 0
        self._loop = LoopingCall(self.report)

    def report(self, points: int = 50) -> None:
        second = 1_000_000_000 + self.points
        data = "".join(f"kernel.{number} {second}.5 {second}\n" for number in range(points)).encode()
        self.stream.deliver(Chunk(data, points, second))
        self.points += points

    def begin(self) -> None:
        self._loop.start(1.0)

    def end(self) -> None:
        if self._loop.running:
            self._loop.stop()

    @property
    def losses(self) -> int:
        return sum(count for name, count in self.stream.counts.items() if name.startswith("connections_lost."))

    @property
    def failures(self) -> int:
        return sum(count for name, count in self.stream.counts.items() if name.startswith("connection_failures."))

    @property
    def stored(self) -> int:
        """Points as a carbon would have them: one a name and second."""
        return sum(len(self.receiver.values(name)) for name in self.receiver.names())


async def until(predicate: Callable[[], object]) -> float:
    """Wait; how long that took, in seconds."""
    begin = reactor.seconds()
    while not predicate():
        await deferLater(reactor, 0.05)
    return reactor.seconds() - begin


async def half_open(reports: Reports) -> None:
    """The peer vanishes while data is on its way."""
    reports.begin()
    await until(lambda: reports.stored > 100)
    black_hole(True)
    print(f"noticed {await until(lambda: reports.losses):.1f}")
    black_hole(False)


async def idle(reports: Reports) -> None:
    """The peer vanishes while nobody has anything to say."""
    reports.report()
    await until(lambda: reports.stream.ledger.retained == reports.points)
    black_hole(True)
    print(f"noticed {await until(lambda: reports.losses):.1f}")
    black_hole(False)


async def connecting(reports: Reports) -> None:
    """The peer had vanished before."""
    reports.report()
    print(f"noticed {await until(lambda: reports.failures):.1f}")
    black_hole(False)


async def lossy(reports: Reports) -> None:
    """Every fifth packet vanishes, either way, and the others take their time where the kernel can do that."""
    print("netem" if run(NETEM) else "iptables" if run(LOSSES) else "nothing")
    reports.begin()
    await deferLater(reactor, 10)
    reports.end()
    print(f"noticed {await until(lambda: reports.stored == reports.points):.1f}")


async def main(scenario: str) -> None:
    assert run("ip link set lo up")
    reports = Reports()
    port = await TCP4ServerEndpoint(reactor, PORT, interface="127.0.0.1").listen(reports.receiver)
    if scenario == "connecting":
        black_hole(True)
    reports.stream.start()
    await {"half_open": half_open, "idle": idle, "connecting": connecting, "lossy": lossy}[scenario](reports)
    reports.end()
    await until(lambda: reports.stored == reports.points)
    await reports.stream.stop(30)
    await port.stopListening()
    ledger = reports.stream.ledger
    print(f"collected {ledger.collected} delivered {ledger.delivered} stored {reports.stored}", flush=True)
    print(f"wrong {len(reports.receiver.wrong)} counts {dict(reports.stream.counts)}", flush=True)
    reactor.stop()


def failed(why: object) -> None:
    print(why, flush=True)
    reactor.stop()


if __name__ == "__main__":
    reactor.callWhenRunning(lambda: ensureDeferred(main(sys.argv[1])).addErrback(failed))
    reactor.run()
