"""We are killed, again and again, with a spool."""

from __future__ import annotations

import time
from collections import Counter as Tally
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random

from tests.carbon import Carbon
from tests.kills.carbon import RETENTIONS, line_endpoint
from tests.kills.journal import Life, Reporting
from tests.kills.stored import Issued, Survived, compare, keys


def we_are_killed(directory: Path, seed: int, kills: int, chains: int = 7, series: int = 460) -> Survived:
    """Children spool what a carbon that is away does not take, and are killed; the last of each chain delivers it."""
    survived = Survived()
    with Carbon(RETENTIONS) as carbon, ThreadPoolExecutor(chains) as pool:
        made = [
            Chain(directory / f"chain_{number}", carbon, f"spool_{seed}_{number}", series) for number in range(chains)
        ]
        carbon.kill()
        times = [kills // chains + (number < kills % chains) for number in range(chains)]
        list(pool.map(Chain.be_killed, made, times, [Random(seed + number) for number in range(chains)]))
        carbon.start()
        for one in pool.map(Chain.arrive, made):
            survived.join(one)
    return survived


class Chain:
    """Lives with one spool."""

    def __init__(self, directory: Path, carbon: Carbon, prefix: str, series: int) -> None:
        self._directory = directory
        self._carbon = carbon
        self._prefix = prefix
        self._series = series
        self._lives: list[Life] = []

    def be_killed(self, times: int, random: Random) -> None:
        for _ in range(times):
            with self._child() as child:
                child.lives_to(lambda life: life.ledgers and life.last["spooled"] > life.recovered)
                time.sleep(random.uniform(0, 1.1))
            self._lives.append(child.life())

    def arrive(self) -> Survived:
        """The last life, with a carbon: everything that was called spooled before a kill comes to its disk."""
        survived = Survived(Tally({"kill -9": len(self._lives)}))
        with self._child() as child:
            child.lives_to(lambda life: life.ledgers and not life.last["spooled"] and life.points)
            end = child.end()
        survived.add(end)
        for before, after in pairwise([*self._lives, end]):
            survived.wrong += before.wrong
            if after.recovered < before.last["spooled"]:
                survived.wrong.append(f"of {before.last['spooled']} spooled points {after.recovered} were found")
        spooled = [life.points[: life.last["spooled"] - life.recovered] for life in self._lives]
        survived.collected = sum(map(len, spooled)) + len(end.points)
        expected = set().union(*map(keys, spooled), keys(end.points))
        survived.missing, survived.foreign = compare(self._carbon, Issued(*self._lives, end), expected, self._prefix)
        # A kill that tears a frame costs its points; they were not called spooled.
        survived.dropped.pop("damaged", None)
        return survived

    def _child(self) -> Reporting:
        return Reporting(
            self._directory,
            endpoint=line_endpoint(self._carbon),
            prefix=self._prefix,
            series=self._series,
            spool=str(self._directory / "spool"),
        )
