"""``--metrics-remote-write``: a command line that reports to whatever takes Prometheus' remote write."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted

from tests.remote_write import ENDED, read_body
from tests.sink import Sink, SinkServer
from tests.tap.harness import parsed, refusal
from txmetrics import MetricsRegistry

URL = "http://127.0.0.1:9090/api/v1/write"
OPTION = f"--metrics-remote-write={URL}"


def test_each_url_is_a_reporter() -> None:
    """In the order in which they are given."""
    options = parsed(OPTION, "--metrics-remote-write=https://mimir.example/api/v1/push", "web")
    assert [each.where for each in options.reporters(MetricsRegistry())] == [URL, "https://mimir.example/api/v1/push"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--metrics-remote-write=tcp:a:1"], "the URL is none, or does not begin with http:// or https://"),
        (["--metrics-remote-write=http://a:1"], "the URL has no path"),
        (
            [OPTION, "--metrics-remote-write-histograms=summary"],
            "histograms 'summary' are unknown; choose one of classic",
        ),
    ],
)
def test_a_wrong_one_is_one_line(arguments: list[str], told: str) -> None:
    """That says what would be right."""
    assert told in str(refusal(*arguments, "web"))


@pytest_twisted.ensureDeferred
async def test_interval_histograms_and_spool_are_those_of_the_options(tmp_path: Path) -> None:
    """As what is posted shows, and where what could not be posted is."""
    server = await SinkServer(Sink(), None).start()
    options = parsed(
        f"--metrics-remote-write={server.url}",
        "--metrics-remote-write-histograms=native",
        "--metrics-interval=3600",
        f"--metrics-spool={tmp_path}",
        "web",
    )
    registry = MetricsRegistry()
    [reporter] = options.reporters(registry)
    reporter.startService()
    registry.timer("waits").add(0.3)
    await reporter.stopService()
    await server.stop()
    sent = [one for body in server.sink.accepted for one in read_body(body) if one.series.startswith("waits")]
    assert [one.value if one.value == ENDED else one.value.count for one in sent] == [0, 1, ENDED]
    assert [folder.name.startswith("remote_write_http") for folder in tmp_path.iterdir()] == [True]
