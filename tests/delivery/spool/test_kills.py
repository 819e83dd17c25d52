"""What a kill leaves: every chunk that was acknowledged, and nothing torn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests.delivery.spool.lives import HEADER_SIZE, everything, kill_with, made, opened, segments
from tests.delivery.spool.spool_child import numbered
from tests.processes import ROOT, environment

KILLS = 20


def test_every_acknowledged_chunk_survives_a_kill(directory: Path) -> None:
    """kill -9 at any moment: what was said to be appended is there, in order; what was settled is not."""
    random = Random(20)
    alive: list[int] = []  # appended and not settled
    first = acknowledged = torn = 0
    for seed in range(KILLS):
        said = child_until_killed(directory, first, seed, random.uniform(0, 0.04))
        appended = [int(line[1:]) for line in said if line.startswith("+")]
        done = [int(line[1:]) for line in said if line.startswith("-")]
        acknowledged += len(appended)
        assert (alive + appended)[: len(done)] == done
        alive = (alive + appended)[len(done) :]
        spool = opened(directory, 2**30)
        found = list(iter(spool.take, None))
        assert found == [numbered(chunk.timestamp) for chunk in found]
        numbers = [chunk.timestamp for chunk in found]
        # The very last step may have been taken without being acknowledged any more.
        last = max(appended, default=first - 1) + 1
        assert numbers in [alive, [*alive, last], alive[1:]]
        torn += 1  # at most, by each kill since the segments were last emptied
        assert spool.damaged_frames <= torn
        spool.rewind()
        if random.random() < 0.5:
            everything(spool)
            numbers, torn = [], 0
        spool.close()
        alive, first = numbers, last + 1
    assert acknowledged > KILLS


def child_until_killed(directory: Path, first: int, seed: int, seconds: float) -> list[str]:
    """What a child says from its first word until it is killed, ``seconds`` later."""
    command = [sys.executable, "-m", "tests.delivery.spool.spool_child", str(directory), str(first), str(seed)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            said = child.stdout.readline()
            time.sleep(seconds)
        finally:
            child.kill()
        return (said + child.stdout.read()).decode().splitlines()


@pytest.mark.parametrize("missing", range(1, 100 + HEADER_SIZE))
def test_a_torn_end_costs_nothing_but_itself(directory: Path, missing: int) -> None:
    """Wherever the last write was cut: the chunks before it are there, and later ones are not written behind it."""
    kill_with(directory, [made(0), made(1), made(2)])
    (segment,) = segments(directory)
    os.truncate(segment, segment.stat().st_size - missing)
    spool = opened(directory)
    assert spool.append(made(3))
    assert everything(spool) == [made(0), made(1), made(3)]
    assert spool.damaged_frames == 1
    assert spool.recovered_points == 2 + spool.dropped["damaged"]
    assert spool.dropped["damaged"] == (missing <= 100)  # else the header was not whole
    spool.close()
    assert segments(directory) == []
