"""pyformance's own tests, as they were published, pass against the layer with nothing but the imports redirected."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.compat.original import sources
from tests.processes import ROOT, run

CHILD = Path(__file__).with_name("own_tests_child.py")

NOT_THERE = "tests a reporter that the layer does not have: {}"
URLOPEN = "patches urllib's urlopen in such a reporter: {}"

EXCEPTIONS = {
    f"tests.test__{test}": reason
    for test, reason in {
        "influx_reporter.TestInfluxReporter.test_report_now": URLOPEN.format("InfluxDB's"),
        "influx_reporter.TestInfluxReporter.test_create_database": URLOPEN.format("InfluxDB's"),
        "opentsdb_reporter.TestOpenTSDBReporter.test_send_request": URLOPEN.format("OpenTSDB's"),
        "opentsdb_reporter.TestOpenTSDBReporter.test_report_now": NOT_THERE.format("OpenTSDB's"),
        "newrelic_reporter.TestNewRelicReporter.test_report_now": NOT_THERE.format("New Relic's"),
        "syslog_reporter.TestSysLogReporter.test_report_now": (
            "patches logging's Logger.info, over which the layer's messages do not go: its handler waits for the log"
        ),
    }.items()
}
"""The tests that do not pass, and why."""

UNIMPORTABLE = "unittest.loader._FailedTest."


def play(against: str, directory: Path) -> dict[str, str]:
    """What became of each test, against the ``layer`` or pyformance ``itself``."""
    command = sys.executable, "-W", "ignore", CHILD, sources(), against
    done = run(*command, cwd=directory, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout
    outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


@pytest.fixture(scope="module")
def itself(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return play("itself", tmp_path_factory.mktemp("itself"))


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return play("layer", tmp_path_factory.mktemp("layer"))


def test_they_pass_against_pyformance_itself(itself: dict[str, str]) -> None:
    """All of them: what fails against the layer fails for the layer's sake."""
    assert set(itself.values()) == {"passed"}
    assert len(itself) == 28


def test_they_pass_against_the_layer(itself: dict[str, str], layer: dict[str, str]) -> None:
    """All but those in the table, and none of these would pass."""

    def outcome(test: str) -> str:
        module = ".".join(test.split(".")[:2])
        return layer.get(test) or layer[UNIMPORTABLE + module]

    failed = {test: outcome(test) for test in itself if outcome(test) != "passed"}
    assert {test: why for test, why in failed.items() if test not in EXCEPTIONS} == {}
    assert EXCEPTIONS.keys() - failed.keys() == set()
