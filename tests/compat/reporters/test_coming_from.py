"""The page "Coming from": our side's lines run, and pyformance's side's on the layer."""

from __future__ import annotations

import re

import pytest
from twisted.web.resource import Resource

from tests.compat.reporters.reactors import Fake
from tests.processes import ROOT
from txmetrics import MetricsRegistry, TimedResource, backends, timed
from txmetrics.compat import pyformance
from txmetrics.compat.pyformance import reporters
from txmetrics.ext.prometheus import ScrapeResource

PAGE = (ROOT / "docs" / "coming-from.md").read_text("utf-8")

# their name: their lines and ours
TABLES = {
    table.split("|")[1].strip(): re.findall(r"^\| `(.+)` \| `(.+)` \|$", table, re.MULTILINE)
    for table in re.findall(r"^\| \w+ \| txmetrics \|\n(?:\|.*\n)+", PAGE, re.MULTILINE)
}


def fetch() -> None:
    """What the page decorates."""


@pytest.mark.parametrize("theirs", TABLES)
def test_our_side_of_each_table_runs(fake: Fake, theirs: str) -> None:
    """Line by line, from the first to the last, and the registry has what they make."""
    registry = MetricsRegistry(fake.clock)
    names = {
        "registry": registry,
        "backends": backends,
        "timed": timed,
        "TimedResource": TimedResource,
        "ScrapeResource": ScrapeResource,
        "root": Resource(),
        "reactor": fake,
        "queue": [1, 2],
        "fetch": fetch,
    }
    for _, line in TABLES[theirs]:
        exec(line, dict(names))
    assert registry.read("depth" if "depth" in registry else "queue")["value"] in (2, 3)
    assert registry.read("query")["count"] in (1, 2)


def test_pyformances_side_runs_on_the_layer(fake: Fake) -> None:
    """As somebody has it who has changed the import."""
    fake.install()
    registry = pyformance.MetricsRegistry(clock=fake)
    names = {**vars(pyformance), **vars(reporters), "registry": registry, "queue": [1, 2], "fetch": fetch}
    for line, _ in TABLES["pyformance"]:
        exec(line, dict(names))
    assert registry.get_metrics("query")["count"] == 1
    assert registry.get_metrics("queue") == {"value": 2}
    assert len(fake.whenRunningHooks) == 3
    assert len(fake.end()) == 3


def test_the_lines_that_are_to_be_replaced_can_be_run() -> None:
    """The two imports, as they stand."""
    code = PAGE.split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {}
    exec(code, names)
    assert names["pyformance"] is pyformance
    assert names["CarbonReporter"] is reporters.CarbonReporter


def test_there_is_a_table_for_each_of_the_four() -> None:
    """None of which is empty."""
    assert list(TABLES) == ["pyformance", "Dropwizard", "prometheus_client", "statsd"]
    assert min(map(len, TABLES.values())) >= 8
    rows = len(re.findall(r"^\| `", PAGE, re.MULTILINE))
    assert sum(map(len, TABLES.values())) == rows
