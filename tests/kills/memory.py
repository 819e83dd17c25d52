"""What an outage costs: a peer that never reads, and an hour without any."""

from __future__ import annotations

import json
import sys
from random import Random
from typing import NamedTuple

from tests.carbon import HOST
from tests.kills.peers import Peer
from tests.processes import ROOT, SECONDS, run
from txmetrics import Clock, MetricsRegistry
from txmetrics.delivery._outbox import Outbox
from txmetrics.wire import Graphite


class Flooded(NamedTuple):
    """What a peer that never reads costs."""

    full: int
    """Resident bytes when the buffer was full."""
    after: int
    points: int
    """Points after that."""
    dropped: int
    connections: int

    @property
    def growth(self) -> float:
        """In MB."""
        return (self.after - self.full) / 1e6

    def __str__(self) -> str:
        return (
            f"{self.growth:+.2f} MB ({self.full / 1e6:.1f} MB before) over {self.points:,} points to a peer that never "
            f"reads, {self.dropped:,} dropped, {self.connections} connections"
        )


def nobody_reads(points: int, max_bytes: int = 2**21) -> Flooded:
    """Flood a peer with so many points more than a buffer of ``max_bytes`` holds."""
    with Peer() as peer:
        settings = json.dumps({"endpoint": f"tcp:{HOST}:{peer.port}", "max_bytes": max_bytes, "points": points})
        done = run(sys.executable, "-m", "tests.kills.child", settings, cwd=ROOT, seconds=SECONDS + points / 10_000)
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    return Flooded(
        told["full"], told["after"], told["points"] - told["full_points"], told["dropped"], told["connections"]
    )


HOUR_BYTES = 4 * 2**20
"""What an hour of a thousand series may take in memory."""


class Hour(NamedTuple):
    """An hour without a backend."""

    points: int
    raw: int
    """Bytes of their lines."""
    held: int
    """Bytes that they take in the outbox."""
    dropped: int

    def __str__(self) -> str:
        return (
            f"{self.points:,} points of an hour, {self.raw / 2**20:.1f} MiB as lines, are {self.held / 2**20:.2f} MiB "
            f"in memory, {self.dropped:,} dropped"
        )


def an_hour(timers: int = 40, meters: int = 20, gauges: int = 100, counters: int = 160) -> Hour:
    """A report of 1,000 series every ten seconds into an outbox from which nothing is taken."""
    now, random = 1_000_000_000.0, Random(0)
    registry = MetricsRegistry(Clock(wall=lambda: now, tick=lambda: now))
    times = [registry.timer(f"resource.page_{number}.GET") for number in range(timers)]
    rates = [registry.meter(f"responses.site_{number}") for number in range(meters)]
    levels = [registry.gauge(f"queue.worker_{number}.length") for number in range(gauges)]
    counts = [registry.counter(f"jobs.kind_{number}.done") for number in range(counters)]
    wire, outbox, raw = Graphite("servers.web01"), Outbox(lambda: now), 0
    for _ in range(360):
        now += 10
        for timer in times:
            for _ in range(random.randrange(4)):
                timer.add(random.lognormvariate(-4, 1))
        for rate in rates:
            rate.mark(random.randrange(20))
        for level in levels:
            level.set(random.randrange(100))
        for count in counts:
            count.inc(random.randrange(3))
        encoder = wire.encoder(int(now))
        for chunk in [*map(encoder.add, registry.reader().collect()), encoder.finish()]:
            if chunk is not None:
                outbox.put(chunk)
                raw += len(chunk.data)
    return Hour(outbox.ledger.collected, raw, outbox.bytes, sum(outbox.ledger.dropped.values()))
