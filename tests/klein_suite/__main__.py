"""Klein's own tests pass with every resource of theirs measured: the same tests as without, from the same sources.

Fetches the source distribution of the installed version with pip, plays its suite twice, bare and measured, and
compares what became of each test. The status tells whether all is as it should be; takes a quarter of a minute.

    python -m tests.klein_suite
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from collections import Counter as Tally
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.processes import ROOT, run

SECONDS = 120
"""How long pip, or one run of the suite, may take."""

LEAST = 200
"""So many tests there are at least, or something has kept them from being found."""

IN_REQUESTS = 50
"""And so many requests they send to resources that are measured."""

ARTEFACTS = {
    f"klein.test.test_resource.KleinResourceEqualityTests.{test}": reason
    for test, reason in {
        "test_sameEq": "two KleinResources of one application are equal; two wrappers before them are two wrappers",
        "test_sameNe": "the same, asked with !=",
    }.items()
}
"""Tests that pass bare and fail measured because they ask what the resource is, and not what it answers."""


def sources(directory: Path) -> Path:
    """Fetch Klein's source distribution and unpack it; returns where its packages are."""
    wanted = f"klein=={version('klein')}"
    command = (
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-binary",
        "klein",
        "--dest",
        directory,
        wanted,
    )
    fetched = run(*command, cwd=directory, seconds=SECONDS)
    if fetched.returncode:
        sys.exit(f"pip could not fetch {wanted}:\n{fetched.stdout}")
    (archive,) = directory.glob("klein-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(directory, filter="data")
    (found,) = directory.glob("klein-*/src")
    return found


def play(how: str, klein: Path, directory: Path) -> dict[str, Any]:
    """Run the suite, ``bare`` or ``measured``, and return what the child tells."""
    (directory / how).mkdir()
    command = sys.executable, "-W", "ignore", "-m", "tests.klein_suite.child", how
    child = run(*command, cwd=directory / how, seconds=SECONDS, PYTHONPATH=f"{klein}:{ROOT}")
    (directory / f"{how}.log").write_text(child.stdout)
    if child.returncode:
        sys.exit(f"the {how} run has failed:\n{child.stdout}")
    told: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    if Path(told["klein"]) != klein / "klein":
        sys.exit(f"the {how} run has played {told['klein']}, and not {klein}")
    return told


def complaints(bare: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    before, after = bare["outcomes"], measured["outcomes"]
    different = {test for test in before.keys() | after.keys() if before.get(test) != after.get(test)}
    wrong = [
        f"{test}: {before.get(test)} bare, {after.get(test)} measured" for test in sorted(different - ARTEFACTS.keys())
    ]
    wrong += [f"{test} is listed as an artefact and is none" for test in sorted(ARTEFACTS.keys() - different)]
    wrong += [f"{test}: {outcome} even bare" for test, outcome in before.items() if outcome in ("error", "failed")]
    requests = measured["requests"]
    for count in ("observed", "measured", "measured_by_route"):
        if measured[count] != requests:
            wrong.append(f"of {requests} requests {measured[count]} were {count}")
    if measured["measuring_errors"] or measured["active"]:
        wrong.append(f"{measured['measuring_errors']} errors in measuring, {measured['active']} requests still active")
    if len(before) < LEAST or requests < IN_REQUESTS:
        wrong.append(f"only {len(before)} tests with {requests} requests were found")
    return wrong


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        klein = sources(directory)
        bare, measured = (play(how, klein, directory) for how in ("bare", "measured"))
        wrong = complaints(bare, measured)
        if wrong:
            print((directory / "measured.log").read_text())
    passed = {how: Tally(run["outcomes"].values())["passed"] for how, run in (("bare", bare), ("measured", measured))}
    print(
        f"klein {version('klein')}: {len(bare['outcomes'])} tests,",
        f"{passed['bare']} passed bare and {passed['measured']} measured ({len(ARTEFACTS)} artefacts);",
        f"{measured['requests']} requests, {measured['measured']} measured under {measured['routes']} routes,",
        f"{measured['measuring_errors']} errors in measuring",
    )
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
