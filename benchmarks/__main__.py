"""Measures everything and writes docs/performance.md: the one command.

    python -m benchmarks                    # all parts, more than an hour; the last of them is a soak of half an hour
    python -m benchmarks hot_path scale     # some parts; what the page says of the others stays
    python -m benchmarks --quick            # a look at whether everything runs; the page goes elsewhere

The parts run one after the other, as processes in an environment of their own, in which ``requirements.txt`` is
installed beside this checkout. It is made at the first time, in ``~/.cache/txmetrics-benchmarks``. A part that fails
takes nothing from the others: the page says which one, and why.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

from benchmarks import PARTS
from benchmarks.results import Results, Run

ROOT = Path(__file__).parent.parent
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
CACHE = Path.home() / ".cache" / "txmetrics-benchmarks"


def environment() -> Path:
    """The interpreter of the environment; made if it is not there, or not for these requirements."""
    home = CACHE / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python, made = home / "bin" / "python", home / "made-of.txt"
    what = f"{ROOT}\n{sys.version}\n{REQUIREMENTS.read_text('utf-8')}"
    if not made.exists() or made.read_text("utf-8") != what:
        print(f"installing the peers into {home}", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True, timeout=600)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
        subprocess.run([*pip, "-r", str(REQUIREMENTS), "-e", str(ROOT)], env=clean(), check=True, timeout=1800)
        made.write_text(what, encoding="utf-8")
    return python


def clean() -> dict[str, str]:
    """The environment variables without those that would lead another Python astray."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def module(python: Path, name: str, *arguments: str) -> list[str]:
    return [str(python), "-m", f"benchmarks.{name}", *arguments]


def run_part(python: Path, part: str, machine: dict[str, str], quick: bool) -> Run:
    """Run it, showing what it prints."""
    load = round(os.getloadavg()[0], 2)
    began = time.time()
    run = Run(part, machine, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began)), 0.0, load, quick)
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory, f"{part}.json")
        command = module(python, part, f"--json={told}", *(["--quick"] if quick else []))
        run.failure = watch(command, 60 * PARTS[part])
        if not run.failure:
            try:
                run.results = Results.read(told)
            except (OSError, ValueError, KeyError, TypeError) as reason:
                run.failure = f"its results cannot be read: {reason!r}"
    run.seconds = round(time.time() - began, 1)
    return run


def watch(command: list[str], limit: float) -> str:
    """Run it, and kill it with all its children after so many seconds; why it failed, "" if it did not."""
    last: deque[str] = deque(maxlen=5)
    with subprocess.Popen(command, cwd=ROOT, env=clean(), stderr=subprocess.PIPE, start_new_session=True) as child:
        listener = Thread(target=_pass_on, args=(child.stderr, last), daemon=True)
        listener.start()
        try:
            code = child.wait(limit)
            failure = f"it ended with {code}" if code else ""
        except subprocess.TimeoutExpired:
            failure = f"it was not done in {limit / 60:g} minutes"
        finally:
            with suppress(ProcessLookupError):  # its session is its own: whatever it has left behind
                os.killpg(child.pid, signal.SIGKILL)
        listener.join(10)
    return ": ".join([failure, " / ".join(last)]) if failure and last else failure


def _pass_on(stderr: IO[bytes], last: deque[str]) -> None:
    for line in stderr:
        text = line.decode(errors="replace")
        sys.stderr.write(text)
        last.append(text.strip())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and write docs/performance.md.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="only see whether everything runs")
    given = parser.parse_args()
    unknown = ", ".join(part for part in given.parts if part not in PARTS)
    if unknown:
        parser.error(f"there is no part {unknown}")
    python = environment()
    docs = CACHE / "quick" if given.quick else ROOT / "docs"
    runs = docs / "performance"
    runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        facts = Path(directory, "machine.json")
        subprocess.run(module(python, "machine", f"--json={facts}"), cwd=ROOT, env=clean(), check=True, timeout=60)
        machine = json.loads(facts.read_text("utf-8"))
    parts = [part for part in PARTS if part in (given.parts or PARTS)]
    failed = []
    for number, part in enumerate(parts, 1):
        print(f"\n== {part}, {number} of {len(parts)}", flush=True)
        run = run_part(python, part, machine, given.quick)
        run.write(runs / f"{part}.json")
        print(f"== {part}: {run.failure or 'done'}, {run.seconds:.0f} s", flush=True)
        failed += [part] if run.failure else []
    subprocess.run(module(python, "page", str(docs)), cwd=ROOT, env=clean(), check=True, timeout=300)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
