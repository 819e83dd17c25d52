"""What reporters are given: registries, arguments right and wrong, a folder."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compat.reporters.reactors import Fake
from tests.delivery.network import Pipe
from tests.strict import Logged
from txmetrics import MetricsRegistry as OtherRegistry
from txmetrics.compat.pyformance import MetricsRegistry, global_registry
from txmetrics.compat.pyformance.reporters import (
    CarbonReporter,
    ConsoleReporter,
    CsvReporter,
    HostedGraphiteReporter,
    SysLogReporter,
    UdpCarbonReporter,
)

BEGIN = 1_000_000_000
KEY = "3fb7a2d1-4c0e-9d5e-a1b2c3d4e5f6"


def test_the_global_registry_is_reported_if_none_is_given() -> None:
    """As ever."""
    assert ConsoleReporter().registry is global_registry()


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: ConsoleReporter(OtherRegistry()), TypeError, "is a txmetrics.registry.MetricsRegistry; give a"),
        (lambda: ConsoleReporter().report_now(17), TypeError, "the registry is a builtins.int; give a Metrics"),
        (lambda: ConsoleReporter(None, 0.5), ValueError, "an interval of 0.5 seconds is too short"),
        (lambda: CarbonReporter(server="not a host\0"), ValueError, "is neither a name nor an address of a host"),
        (lambda: CarbonReporter(port=70000), ValueError, "the port 70000 is none; give a number from 1 to 65535"),
        (lambda: CarbonReporter(port="2003"), ValueError, "the port '2003' is none"),
        (lambda: CarbonReporter(socket_factory=Pipe).start(), ValueError, "socket_factory makes sockets that the re"),
        (lambda: UdpCarbonReporter(pickle_protocol=True), ValueError, "over UDP carbon understands lines only"),
        (lambda: HostedGraphiteReporter("two words"), ValueError, "the API key is empty or no key"),
        (lambda: HostedGraphiteReporter(MetricsRegistry(), 10, ""), ValueError, "the API key is empty or no key"),
        (lambda: HostedGraphiteReporter(KEY, url="http://a"), ValueError, "does not begin with https://"),
        (lambda: SysLogReporter(address=514), ValueError, "514 is no address; give a path"),
        (lambda: SysLogReporter(facility="post"), ValueError, "facility 'post' is unknown; choose one of"),
        (lambda: SysLogReporter(socktype=17), ValueError, "socktype 17 is unknown; choose"),
    ],
)
def test_a_wrong_argument_is_one_sentence(make: Callable[[], object], error: type[Exception], told: str) -> None:
    """At once, and what to do instead."""
    with pytest.raises(error, match=re.escape(told)) as refused:
        make()
    assert "\n" not in str(refused.value)
    assert KEY not in str(refused.value)


def test_a_registry_with_a_dump_of_its_own_is_asked_that(fake: Fake) -> None:
    """As with pyformance: a subclass that adds to what is told, or anything that tells."""

    class Tagged(MetricsRegistry):
        def dump_metrics(self) -> dict[str, dict[str, Any]]:
            return {f"{name}.web1": fields for name, fields in super().dump_metrics().items()}

    class Duck:
        def dump_metrics(self) -> dict[str, dict[str, Any]]:
            return {"duck": {"count": 1}}

    fake.begin()
    tagged, stream = Tagged(), io.StringIO()
    tagged.counter("c").inc()
    reporter = ConsoleReporter(tagged, 10, stream, fake)
    reporter.start()
    fake.pass_by(10)
    reporter.report_now(Duck(), 17)
    fake.pass_by(1)
    assert re.findall(r"^(.+):$", stream.getvalue(), re.MULTILINE) == ["c.web1", "duck"]
    reporter.stop()


def test_other_peoples_reporters_are_not_there() -> None:
    """Python says so, of each that pyformance had besides."""
    for name in ("InfluxReporter", "OpenTSDBReporter", "NewRelicReporter"):
        with pytest.raises(ImportError, match=name):
            exec(f"from txmetrics.compat.pyformance.reporters import {name}")


def test_a_csv_reporter_makes_its_folder_and_survives_one_that_goes_away(
    fake: Fake, tmp_path: Path, logged: Logged
) -> None:
    """One line in the log when that begins; the rows come again when it is back. A slash is no folder."""
    fake.begin()
    registry = MetricsRegistry(clock=fake)
    registry.counter("users/edit").inc()
    registry.counter("../c").inc()
    registry.gauge("text").set_value("two\nlines")
    folder = tmp_path / "made" / "here"
    reporter = CsvReporter(registry, 10, folder, ",", fake)
    reporter.start()
    fake.pass_by(10)
    made = {file.name: file.read_text() for file in folder.iterdir()}
    row = "2001-09-09 01:46:50"
    assert made["users%2Fedit.csv"] == made["..%2Fc.csv"] == f"timestamp,count\n{row},1\n"
    assert made["text.csv"] == f"timestamp,value\n{row},two lines\n"
    folder.rename(tmp_path / "away")
    fake.pass_by(20)
    assert len([text for text in logged.texts() if "rows cannot be written" in text]) == 1
    (tmp_path / "away").rename(folder)
    fake.pass_by(10)
    assert (folder / "users%2Fedit.csv").read_text().count("\n") == 3
    reporter.stop()
