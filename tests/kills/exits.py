"""We are told to stop, whatever the peer does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.carbon import HOST, Carbon, reserve
from tests.kills.carbon import RETENTIONS, line_endpoint
from tests.kills.journal import Reporting
from tests.kills.peers import Collecting, Deaf, Peer, Serving, Slow


class Exit(NamedTuple):
    """How a child came to its end."""

    peer: str
    seconds: float
    collected: int
    dropped: int
    wrong: list[str]

    def __str__(self) -> str:
        wrong = f"; {self.wrong}" if self.wrong else ""
        return f"{self.peer}: {self.seconds:.2f} s, {self.collected:,} points, {self.dropped:,} dropped{wrong}"


@contextmanager
def endpoints() -> Iterator[dict[str, str]]:
    """Where peers of all kinds are, by name."""
    with ExitStack() as stack:
        carbon = stack.enter_context(Carbon(RETENTIONS))
        carbon.freeze()
        refusing = stack.enter_context(reserve())
        peers = {"never reads": Peer(), "slow": Slow(), "deaf": Deaf(), "closes": Serving(), "healthy": Collecting()}
        ports = {name: stack.enter_context(peer).port for name, peer in peers.items()}
        yield {
            "frozen carbon": line_endpoint(carbon),
            "refusing": f"tcp:{HOST}:{refusing.getsockname()[1]}",
            "no handshake": f"tls:{HOST}:{ports['never reads']}",
            **{name: f"tcp:{HOST}:{port}" for name, port in ports.items()},
        }


def exits(directory: Path, seed: int, rounds: int = 1) -> list[Exit]:
    """SIGTERM for children with every kind of peer, all at the same time."""
    with endpoints() as where, ThreadPoolExecutor(len(where)) as pool:
        found: list[Exit] = []
        for number in range(rounds):
            random = Random(seed + number)
            waits = [random.uniform(0, 2) for _ in where]
            folders = [directory / peer.replace(" ", "_") for peer in where]
            found += pool.map(stopped, folders, where.keys(), where.values(), waits)
        return found


def stopped(directory: Path, peer: str, endpoint: str, wait: float) -> Exit:
    """One child, stopped so long after it has begun."""
    series = 4000
    if peer == "frozen carbon":  # several megabytes
        series, wait = 20_000, max(wait, 2.5)
    with Reporting(directory, endpoint=endpoint, prefix="exits", series=series) as child:
        child.lives_to(lambda life: life.ledgers)
        time.sleep(wait)
        life = child.end()
    wrong = list(life.wrong)
    left = life.last["retained"] + life.last["queued"] + life.last["spooled"]
    if left:
        wrong.append(f"{left} points are neither delivered nor dropped")
    return Exit(peer, child.ending, life.last["collected"], life.dropped, wrong)
