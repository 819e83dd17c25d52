"""A real kernel and a bad network: packets that vanish, in a network namespace that lives as long as its program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes import Child, wait_until

PROGRAM = Path(__file__).with_name("kernel_child.py")
SCENARIOS = ("half_open", "idle", "connecting", "lossy")
SECONDS = 90.0
"""How long a scenario may take on a busy machine; usually it is some fifteen."""

Measure = Callable[[str], tuple[float, str]]


def private_network() -> list[str]:
    """The command that runs another one in a network of its own, where it may do as it likes.

    Nothing must be cleaned up: the network goes away with its last process.
    """
    for program, package in [("unshare", "util-linux"), ("ip", "iproute2"), ("iptables", "iptables")]:
        if shutil.which(program) is None:
            pytest.fail(f"{program} is not installed: apt-get install {package}", pytrace=False)
    for command in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0:
            return command
    pytest.skip("private network namespaces are not allowed here: they need CAP_SYS_ADMIN and CAP_NET_ADMIN")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measure]:
    """Runs all scenarios at the same time, since they mostly wait; the answer is seconds and the whole output."""
    command = private_network()
    with ExitStack() as stack:
        children = {}
        for scenario in SCENARIOS:
            directory = tmp_path_factory.mktemp(scenario)
            child = Child(*command, sys.executable, PROGRAM, scenario, cwd=directory)
            children[scenario] = stack.enter_context(child)

        def result(scenario: str) -> tuple[float, str]:
            child = children[scenario]
            wait_until(lambda: re.search("wrong|Error", child.output()), child.output, SECONDS)
            output = child.output()
            noticed = re.search(r"noticed ([0-9.]+)", output)
            assert noticed, output
            print(output)
            return float(noticed[1]), output

        yield result


def check_nothing_is_lost(output: str) -> None:
    """All was stored, the ledger says the same, and nothing was torn on the way."""
    found = re.search(r"collected (\d+) delivered (\d+) stored (\d+)\nwrong (\d+)", output)
    assert found, output
    collected, delivered, stored, wrong = map(int, found.groups())
    assert collected == delivered == stored > 0, output
    assert wrong == 0
    assert "points_dropped" not in output


def test_a_peer_that_vanishes_in_the_middle_is_noticed_within_seconds(measured: Measure) -> None:
    """TCP by itself waits a quarter of an hour; afterwards all that vanished is sent again."""
    seconds, output = measured("half_open")
    assert 5 < seconds < 20
    check_nothing_is_lost(output)


def test_a_peer_that_vanishes_in_silence_is_noticed_within_seconds(measured: Measure) -> None:
    """Keep-alive asks; without it, nobody would know before the next report."""
    seconds, output = measured("idle")
    assert 4 < seconds < 20
    check_nothing_is_lost(output)


def test_a_peer_that_answers_nothing_costs_an_attempt_of_ten_seconds(measured: Measure) -> None:
    """The kernel itself would try for two minutes."""
    seconds, output = measured("connecting")
    assert 9 < seconds < 13
    assert "'connection_failures.timeout': 1" in output
    check_nothing_is_lost(output)


def test_a_network_that_loses_every_fifth_packet_loses_no_point(measured: Measure) -> None:
    """With half a second of delay besides, where the kernel has netem."""
    _, output = measured("lossy")
    assert output.startswith(("netem", "iptables"))
    check_nothing_is_lost(output)
