"""Instructions instead of seconds: counted by valgrind, they are the same however busy the machine is.

A program that is watched forks a child that does some work, and one that does it twice as often. Both have in their
counts what the program did until then, so the difference is what the work alone takes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["count", "tell"]

ROOT = Path(__file__).parent.parent


def count(module: str, *arguments: str, seconds: float = 1200) -> dict[str, float]:
    """Instructions of each piece of work that ``python -m module`` tells of, by its name.

    Raises OSError or CalledProcessError if they are not counted, and TimeoutExpired after so many seconds.
    """
    with tempfile.TemporaryDirectory() as logs:
        tool = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", f"--log-file={logs}/%p"]
        command = ["valgrind", *tool, sys.executable, "-W", "ignore", "-m", module, *arguments]
        env = {**os.environ, "PYTHONHASHSEED": "0"}
        told = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, check=True, timeout=seconds).stdout
        counts = {}
        for line in told.decode().splitlines():
            name, often, *children = line.rsplit(",", 3)
            once, twice = (_counted(Path(logs, child)) for child in children)
            counts[name] = (twice - once) / int(often)
    return counts


def _counted(log: Path) -> int:
    found = re.search(r"I +refs: +([\d,]+)", log.read_text())
    assert found is not None, log.read_text()
    return int(found[1].replace(",", ""))


def tell(name: str, work: Callable[[int], object], often: int) -> None:
    """In the program that is watched: have ``work(often)`` counted under ``name``."""
    print(name, often, _child(work, often), _child(work, 2 * often), sep=",", flush=True)


def _child(work: Callable[[int], object], often: int) -> int:
    child = os.fork()
    if not child:
        work(often)
        os._exit(0)
    os.waitpid(child, 0)
    return child
