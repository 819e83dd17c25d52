"""The long version: each kind of trouble prints its figures, and the status tells whether they are good.

The first takes a quarter of an hour; the tests run a little of each.

    python -m tests.kills --rounds 5
    python -m tests.kills --rounds 5 carbon     # or exits, spool, clock, memory
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.kills.carbon import KINDS, Fault, carbon_is_killed, schedule
from tests.kills.clock import REST, SET, the_clock_is_set
from tests.kills.exits import exits
from tests.kills.memory import HOUR_BYTES, an_hour, nobody_reads
from tests.kills.ourselves import we_are_killed
from tests.kills.stored import Survived
from txmetrics.delivery import REPLAY_WINDOW
from txmetrics.reporter import STOP


def carbon_rounds(directory: Path, rounds: int) -> bool:
    total = Survived()
    for seed in range(rounds):
        # After more than a window of peace points are called delivered: no kill may lose those.
        faults = [Fault("kill", REPLAY_WINDOW + 5, 1), *schedule(seed, *KINDS), *schedule(-seed, *KINDS)]
        one = carbon_is_killed(directory / "carbon", faults, series=500)
        total.join(one)
        print(f"  seed {seed}: {one}", *one.wrong[:3], sep="\n    ", flush=True)
    print(f"carbon: {total}")
    return total.good


def exit_rounds(directory: Path, rounds: int) -> bool:
    found = exits(directory / "exits", 0, rounds=(20 * rounds + 7) // 8)
    worst = {one.peer: max(other for other in found if other.peer == one.peer) for one in found}
    print(*[f"  {one}" for one in worst.values()], sep="\n")
    late = [one for one in found if one.seconds > STOP + 0.5]
    wrong = [one for one in found if one.wrong]
    print(f"exits: {len(found)}, {len(late)} took more than {STOP + 0.5:g} s, {len(wrong)} with complaints")
    return not late and not wrong


def spool_rounds(directory: Path, rounds: int) -> bool:
    survived = we_are_killed(directory / "spool", 0, kills=40 * rounds)
    print(f"spool: {survived}", *survived.wrong[:3], sep="\n    ")
    return survived.good


def clock_rounds(directory: Path, rounds: int) -> bool:
    clocked = the_clock_is_set(directory / "clock", [*SET, REST] * rounds)
    print(f"clock: {clocked}", *clocked.wrong[:3], sep="\n    ")
    wrong = clocked.missed or clocked.conflicts or clocked.lost or clocked.wrong
    return not wrong and clocked.skipped == 2 * rounds and min(clocked.pauses) > 0.5


def memory_rounds(directory: Path, rounds: int) -> bool:
    flooded, hour = nobody_reads(rounds * 1_000_000), an_hour()
    print(f"memory: {flooded}")
    print(f"memory: {hour}")
    return flooded.growth <= 1 and hour.held <= HOUR_BYTES and not hour.dropped


ROUNDS = {
    "carbon": carbon_rounds,
    "exits": exit_rounds,
    "spool": spool_rounds,
    "clock": clock_rounds,
    "memory": memory_rounds,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", default="all", choices=["all", *ROUNDS])
    parser.add_argument("--rounds", type=int, default=5, help="how much of each (5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="txmetrics-kills-") as directory:
        chosen = ROUNDS.values() if options.what == "all" else [ROUNDS[options.what]]
        good = [rounds(Path(directory), options.rounds) for rounds in chosen]  # after a failure, too
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
