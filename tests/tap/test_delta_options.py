"""From the command line, what makes many processes' numbers addable: identity as tags, deltas, buckets, slo."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted

from tests.tap.harness import GRAPHITE, graphite, parsed, refusal
from txmetrics import MetricsRegistry, names

DELTA = "--metrics-temporality=delta"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([GRAPHITE, "--metrics-temporality=monthly"], "choose one of cumulative, delta"),
        ([GRAPHITE, "--metrics-buckets=lat"], "give the temporality 'delta' with them"),
        ([GRAPHITE, "--metrics-slo=lat:0.1"], "give the temporality 'delta' with them"),
        ([GRAPHITE, DELTA, "--metrics-slo=lat"], "--metrics-slo takes a name and bounds, such as"),
        ([GRAPHITE, DELTA, "--metrics-slo=lat:"], "--metrics-slo takes a name and bounds, such as"),
        ([GRAPHITE, DELTA, "--metrics-slo=lat:0.1,x"], "--metrics-slo takes a number of seconds, not 'x'"),
        ([GRAPHITE, DELTA, "--metrics-slo=lat:0.1,nan"], "are no bounds"),
        ([GRAPHITE, DELTA, "--metrics-buckets="], "are no list of names"),
        ([GRAPHITE, "--metrics-graphite-tags=host"], "tag host='' has no value"),
        ([GRAPHITE, "--metrics-graphite-tags=host={port}"], "only {host}, {pid}, {worker} and {generation}"),
        ([GRAPHITE, "--metrics-graphite-tags=my host=a"], "tag 'my host' of 'metric' is not called as a tag can be"),
        ([GRAPHITE, "--metrics-graphite-tags=le=1"], "means something else to Prometheus"),
        ([GRAPHITE, DELTA, "--metrics-buckets=x", "--metrics-graphite-tags=b=1"], "tag 'b' is that of the buckets"),
        (["--metrics-log=-", DELTA], "are told to Graphite only; give --metrics-graphite"),
        (["--metrics-log=-", "--metrics-graphite-tags=a=b"], "are told to Graphite only"),
    ],
)
def test_a_wrong_one_is_one_line(arguments: list[str], told: str) -> None:
    """That says what would be right."""
    assert told in str(refusal(*arguments, "web"))


@pytest_twisted.ensureDeferred
async def test_a_command_line_makes_numbers_that_can_be_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line has the identity, counts are deltas, and what was named has its buckets."""
    monkeypatch.setenv("TXMETRICS_WORKER", "w7")
    registry = MetricsRegistry()
    registry.timer("lat").add(0.25)
    registry.counter("jobs", queue="mail").inc(3)
    async with graphite() as (receiver, endpoint):
        options = parsed(
            f"--metrics-graphite={endpoint}",
            "--metrics-graphite-tags=host={host},worker={worker}",
            DELTA,
            "--metrics-buckets=lat,http.*",
            "--metrics-slo=lat:0.1,0.25,1",
            "--metrics-interval=60",
            "web",
        )
        [reporter] = options.reporters(registry)
        reporter.startService()
        await reporter.stopService()
    host = names.clean(socket.gethostname())
    told = {point.name: point for point in receiver.points}
    expected = {
        f"jobs.delta;host={host};queue=mail;worker=w7": 3,
        f"lat.delta;host={host};worker=w7": 1,
        f"lat.bucket;host={host};worker=w7;b=496": 1,
        f"lat.le;host={host};worker=w7;le=0.1": 0,
        f"lat.le;host={host};worker=w7;le=+Inf": 1,
    }
    assert {name: told[name].value for name in expected} == expected
    assert {point.timestamp % 60 for point in told.values()} == {0}
    assert not receiver.wrong
