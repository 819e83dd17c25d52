"""The table of lost points: its program runs, loses what it should, and finds what was stored."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "lost_points.py"


@pytest.mark.usefixtures("_carbon_program")
def test_txmetrics_loses_nothing_where_a_plain_client_does() -> None:
    """One kill and one stop: all of txmetrics' points are stored, as its ledger says, and not all of the other's."""
    command = [sys.executable, PROGRAM, "--seconds=6", "--kills=2", "--series=20", "--senders", "txmetrics", "twisted"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert "1 x kill -9, 1 x SIGTERM, 0 x freeze" in done.stdout
    rows = {
        sender: [int(number) for number in (issued, stored, lost, wrong)]
        for sender, issued, stored, lost, wrong in re.findall(
            r"^\| (txmetrics|a plain client).*? \| (\d+) \| (\d+) \| (\d+) \| [\d.]+ \| (\d+) \|$", done.stdout, re.M
        )
    }
    issued, stored, lost, wrong = rows["txmetrics"]
    assert issued == stored >= 20 * 6
    assert lost == wrong == 0
    issued, stored, lost, wrong = rows["a plain client"]
    assert 0 < stored == issued - lost < issued
    assert wrong == 0
    ledger = re.search(r"(\d+) collected, (\d+) delivered, 0 dropped; stored: (\d+)", done.stdout)
    assert ledger is not None, done.stdout
    assert len(set(ledger.groups())) == 1
