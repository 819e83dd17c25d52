"""What the benchmarks ran on: processor, kernel, Python, and the versions of everything that is compared.

python -m benchmarks.machine
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.results import Table

__all__ = ["PEERS", "describe"]

PEERS = "pyformance", "prometheus-client", "opentelemetry-sdk", "statsd", "ddsketch", "hdrhistogram"


def describe() -> dict[str, str]:
    """The facts, by what they are about."""
    told = {
        "processor": _processor(),
        "kernel": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": _python(),
        "reactor": _reactor(),
        "txmetrics": _version("txmetrics"),
        "Twisted": _version("twisted"),
    }
    for peer in PEERS:
        told[peer] = _version(peer)
    for program in ("valgrind", "wrk"):
        told[program] = "there" if shutil.which(program) else "not installed"
    return told


def _processor() -> str:
    """Its name, how many cores may be used, and whether they are a part of a larger machine's."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    virtual = re.search(r"^flags\s*:.*\bhypervisor\b", text, re.MULTILINE)
    return f"{name[1] if name else platform.processor()}, {cores} {'virtual ' if virtual else ''}cores"


def _python() -> str:
    """Also whether it was compiled with what its own run had shown, which makes it faster."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    how = "with profile-guided optimisation" if optimised else "without profile-guided optimisation"
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}, {how}"


def _reactor() -> str:
    try:
        from twisted.internet import reactor
    except ImportError:
        return "not installed"
    return type(reactor).__name__


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    parser = argparse.ArgumentParser(description="What the benchmarks run on.")
    parser.add_argument("--json", metavar="FILE", help="write it there, too")
    given = parser.parse_args()
    if given.json is not None:
        Path(given.json).write_text(json.dumps(describe()), encoding="utf-8")
    Table("The machine", ["", ""], [[*fact] for fact in describe().items()]).show()


if __name__ == "__main__":
    main()
