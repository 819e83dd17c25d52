"""The benchmarks run; their figures are for people, and no test depends on them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_the_flush_benchmark_prints_its_table() -> None:
    """A short run of few values ends by itself and shows both modes and the longest turn of a report."""
    command = [sys.executable, BENCHMARKS / "flush.py", "--values=2000", "--rounds=1", "--seconds=1.2", "--rate=100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "turn, CPU, without reports" in done.stdout
    assert "request, with reports" in done.stdout
    assert "longest turn of a report" in done.stdout
