"""Real kills, a little of each; ``python -m tests.kills --rounds 5`` does it at length and prints the figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills.carbon import Fault, carbon_is_killed, schedule
from tests.kills.clock import the_clock_is_set
from tests.kills.exits import exits
from tests.kills.memory import HOUR_BYTES, an_hour, nobody_reads
from tests.kills.ourselves import we_are_killed
from txmetrics.reporter import STOP

SLACK = 2.0
"""Seconds that a busy machine may take for the end of a process, besides."""


@pytest.mark.usefixtures("_carbon_program")
def test_whatever_is_done_to_carbon_every_point_is_on_its_disk(tmp_path: Path) -> None:
    """Killed, terminated, frozen and started again: all of it is there, and nothing else.

    Also what the ledger called delivered, after a window's time of peace, before the first kill.
    """
    kinds = ["kill", "kill again", "kill frozen", "terminate", "terminate again", "freeze"]
    faults = [Fault("kill", peace=9, seconds=0.5), *schedule(7, *kinds)]
    survived = carbon_is_killed(tmp_path, faults, window=7)
    print(survived)
    assert survived.wrong == []
    assert survived.dropped.total() == 0
    assert survived.missing == []
    assert survived.foreign == []
    assert survived.collected == survived.delivered > 5000
    assert survived.replayed > 300
    assert 300 < survived.early < survived.delivered


@pytest.mark.usefixtures("_carbon_program")
def test_it_is_noticed_when_points_are_missing(tmp_path: Path) -> None:
    """Or the test above would show nothing: without a replay window worth the name, a carbon that was frozen takes
    what it was sent to its grave."""
    faults = [Fault("kill frozen", peace=0.5, seconds=3)]
    survived = carbon_is_killed(tmp_path, faults, window=0.001)
    assert survived.missing
    assert survived.dropped.total() == 0
    assert survived.foreign == survived.wrong == []


@pytest.mark.usefixtures("_carbon_program")
def test_sigterm_ends_the_process_in_time_whatever_its_peer_does(tmp_path: Path) -> None:
    """Frozen with megabytes on their way, slow, refusing, in the middle of a handshake: the books are closed, too."""
    found = exits(tmp_path, seed=1)
    print(*found, sep="\n")
    assert [one.wrong for one in found] == [[]] * 8
    assert max(one.seconds for one in found) < STOP + SLACK
    by_peer = {one.peer: one for one in found}
    assert by_peer["healthy"].dropped == 0
    for peer in ("frozen carbon", "no handshake", "refusing", "closes"):
        assert by_peer[peer].dropped == by_peer[peer].collected > 0


@pytest.mark.usefixtures("_carbon_program")
def test_what_was_spooled_survives_our_own_kill(tmp_path: Path) -> None:
    """kill -9 at any moment, again and again: all that the ledger called spooled comes to carbon's disk at last."""
    survived = we_are_killed(tmp_path, seed=1, kills=20)
    print(survived)
    assert survived.faults == {"kill -9": 20}
    assert survived.wrong == []
    assert survived.missing == []
    assert survived.foreign == []
    assert survived.dropped.total() == 0
    assert survived.collected > 20 * 500


def test_a_clock_that_is_set_costs_no_report_but_of_seconds_that_come_again(tmp_path: Path) -> None:
    """An hour back, an hour forward, ten years forward, two seconds back: a report a second, and one value a second."""
    clocked = the_clock_is_set(tmp_path)
    print(clocked)
    assert clocked.wrong == []
    assert clocked.conflicts == 0
    assert clocked.lost == 0
    assert clocked.skipped == 2
    assert clocked.missed == 0
    assert min(clocked.pauses) > 0.5


def test_a_peer_that_never_reads_costs_a_full_buffer_and_no_more(tmp_path: Path) -> None:
    """A million points later the process is as large as it was."""
    flooded = nobody_reads(points=1_000_000)
    print(flooded)
    assert flooded.growth <= 2
    assert flooded.dropped > 800_000


def test_an_hour_without_a_backend_fits_into_the_buffer() -> None:
    """A thousand series every ten seconds, timers for the most part: half of the memory that is allowed."""
    hour = an_hour()
    print(hour)
    assert hour.points > 359_000
    assert hour.dropped == 0
    assert hour.held <= HOUR_BYTES
