"""The simulation runs a thousand schedules of faults, and shows on broken senders that it could fail."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

import pytest

from tests.simulation.command import Summary, main, once, parser, regressions, shrink, simulate_many
from tests.simulation.faults import FAULTS, SPOOL_FAULTS
from tests.simulation.mutants import MUTANTS
from tests.simulation.simulation import run, schedule
from tests.strict import Logged

SCHEDULES = 1000
WITH_SPOOL = 300

JOBS = min(4, os.cpu_count() or 1)

CAUGHT_WITHIN = 200
"""Seeds."""

SOMETIMES = [
    "chunks lost with the process",
    "connection_failures.dns",
    "connection_failures.lost",
    "connection_failures.refused",
    "connection_failures.timeout",
    "connection_failures.tls",
    "connections_lost.closed",
    "connections_lost.lost",
    "connections_lost.stalled",
    "cuts",
    "dropped overflow",
    "dropped stopped",
    "dropped unconfirmed",
    "log events",
    "lost by the server",
    "points_dropped.damaged",
    "process crashes",
    "read again",
    "replayed",
    "spooled",
]
"""What must happen in some of the schedules: of what never happens nothing is shown."""


@pytest.fixture(autouse=True)
def _expected_in_the_log(logged: Logged) -> Iterator[None]:
    """Gauges raise on purpose; each simulation has a judge of its own over its log."""
    yield
    logged.flush()


@pytest.fixture(scope="module")
def plain() -> Summary:
    return simulate_many(range(SCHEDULES), JOBS)


@pytest.fixture(scope="module")
def spooling() -> Summary:
    return simulate_many(range(WITH_SPOOL), JOBS, spool=True)


def told(summary: Summary) -> str:
    """How to see each failure again."""
    return "\n".join(f"python -m tests.simulation --seed {seed}: {wrong}" for seed, wrong in summary.failures)


@pytest.mark.parametrize("line", regressions())
def test_schedules_that_failed_once(line: str) -> None:
    """They are kept in regressions.txt, each shrunk to the faults that it takes."""
    assert once(parser().parse_args(shlex.split(line))) == ""


@pytest.mark.seconds(600)
def test_nothing_is_lost_in_a_thousand_schedules(plain: Summary) -> None:
    """Nothing within the limits is lost, no value is wrong, and the books balance after every step."""
    assert plain.seeds == SCHEDULES
    assert told(plain) == ""


@pytest.mark.seconds(600)
def test_nothing_is_lost_with_a_spool_and_crashes_of_the_process(spooling: Summary) -> None:
    """The same where the process is killed, and what it had spooled must come through."""
    assert spooling.seeds == WITH_SPOOL
    assert told(spooling) == ""


def test_every_kind_of_fault_came(plain: Summary, spooling: Summary) -> None:
    """Each at least ten times."""
    seen = plain.seen + spooling.seen
    assert [kind for kind in [*FAULTS, *SPOOL_FAULTS] if seen[f"fault {kind}"] < 10] == []


@pytest.mark.parametrize("state", SOMETIMES)
def test_what_can_happen_did_happen(state: str, plain: Summary, spooling: Summary) -> None:
    """A judge that never sees a thing proves nothing about it."""
    assert (plain.seen + spooling.seen)[state] > 0


def test_a_schedule_is_reproducible() -> None:
    """The same seed gives the same points, attempts and recoveries, in the same process or another one."""
    assert run(3) == run(3)
    assert simulate_many(range(3, 4), 1).seen == run(3).seen


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_sender_is_caught(name: str) -> None:
    """Within 200 seeds; the number is printed."""
    mutant = MUTANTS[name]
    for seed in range(CAUGHT_WITHIN):
        wrong = run(seed, spool=mutant.with_spool, sender=mutant()).wrong
        if wrong:
            print(f"{name} is caught by seed {seed}: {wrong}")
            return
    pytest.fail(f"{CAUGHT_WITHIN} seeds let {name} pass")


def test_a_failure_is_shrunk() -> None:
    """To the faults that it takes: each of those that are left is needed."""
    seed = next(seed for seed in range(CAUGHT_WITHIN) if run(seed, sender=MUTANTS["ShortWindow"]()).wrong)
    keep, wrong = shrink(seed, mutant="ShortWindow")
    assert wrong
    assert 1 <= len(keep) < len(schedule(seed)[1])
    for place in keep:
        fewer = [other for other in keep if other != place]
        assert run(seed, fewer, sender=MUTANTS["ShortWindow"]()).wrong == ""


def test_the_command_tells_how_to_see_a_failure_again(capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints for a failing seed is what it takes, and then it fails alone."""
    assert main(["4", "--mutant", "FiresAndForgets"]) == 1
    again = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("alone: "))
    assert main(shlex.split(again.removeprefix("alone: python -m tests.simulation"))) == 1
    assert "delivered, says the ledger" in capsys.readouterr().out


def test_the_command_is_content_with_the_real_sender(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 0 and a summary."""
    assert main(["4"]) == 0
    assert "4 schedules, 0 failed" in capsys.readouterr().out
