"""Carbon is killed, terminated, frozen and started again, while a child reports."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.carbon import HOST, Carbon
from tests.kills.journal import Reporting
from tests.kills.stored import Issued, Survived, compare, keys
from txmetrics.delivery import REPLAY_WINDOW

RETENTIONS = "1s:1h"
UPDATES = 200
"""Series that a slow carbon writes in a second."""


class Fault(NamedTuple):
    """Something that is done to a carbon."""

    kind: str
    peace: float
    """Seconds before it."""
    seconds: float
    """How long carbon is away or frozen."""


KINDS = {
    "kill": (0.0, 4.0),
    "kill again": (0.0, 1.0),
    "kill frozen": (2.0, 3.5),
    "terminate": (0.0, 4.0),
    "terminate again": (0.0, 0.0),
    "freeze": (1.0, 3.0),
    "stall": (14.0, 18.0),
}
"""Every kind of fault, and how long it lasts. In a stall the kernel's buffers become full, and then no byte moves for
longer than a peer is allowed to take nothing."""


def schedule(seed: int, *kinds: str) -> list[Fault]:
    """These faults, in any order."""
    random = Random(seed)
    return [
        Fault(kind, random.uniform(0.2, 2.0), random.uniform(*KINDS[kind])) for kind in random.sample(kinds, len(kinds))
    ]


def bring_about(carbon: Carbon, fault: Fault) -> None:
    """From peace, through the fault, to peace."""
    time.sleep(fault.peace)
    if fault.kind in ("freeze", "stall", "kill frozen"):
        carbon.freeze()
        time.sleep(fault.seconds)
    if fault.kind in ("freeze", "stall"):
        carbon.thaw()
        return
    carbon.stop(signal.SIGTERM if fault.kind.startswith("terminate") else signal.SIGKILL)
    if fault.kind != "kill frozen":
        time.sleep(fault.seconds)
    carbon.start()


def carbon_is_killed(
    directory: Path, faults: list[Fault], series: int = 300, window: float = REPLAY_WINDOW
) -> Survived:
    """A child reports while its carbon suffers all ``faults``, and ends in order; what then is on disk."""
    survived, prefix = Survived(), "kills"
    with (
        slow_carbon() as carbon,
        Reporting(directory, endpoint=line_endpoint(carbon), prefix=prefix, series=series, window=window) as child,
    ):
        child.lives_to(lambda life: life.points)
        for fault in faults:
            bring_about(carbon, fault)
            survived.faults[fault.kind] += 1
            survived.early = child.life().sure
        life = child.end()
        survived.add(life)
        survived.replayed = life.told("points_replayed")[""]
        survived.losses = life.told("connections_lost")
        # Of what was dropped nobody knows which points they are.
        expected = life.points[: life.sure] if life.dropped else life.points
        survived.missing, survived.foreign = compare(carbon, Issued(life), keys(expected), prefix)
        if len(keys(life.points)) != len(life.points):
            survived.wrong.append("two values for one second")
    return survived


def slow_carbon() -> Carbon:
    """One that has a point in memory for some seconds before it writes it, as carbons in real life."""
    carbon = Carbon(RETENTIONS)
    config = carbon.root / "conf" / "carbon.conf"
    usual = config.read_text()
    config.write_text(usual.replace("MAX_UPDATES_PER_SECOND = inf", f"MAX_UPDATES_PER_SECOND = {UPDATES}"))
    assert config.read_text() != usual
    return carbon


def line_endpoint(carbon: Carbon) -> str:
    return f"tcp:{HOST}:{carbon.line_port}"
