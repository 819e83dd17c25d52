"""docs/fleets.md: what it says goes wrong does so on a real graphite-web; and its configuration and code are right."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

import pytest
import pytest_twisted
import whisper

from tests.carbon import HOST, Carbon
from tests.fleets import PAGE, WORKERS, Truth, requests
from tests.graphite_web import GraphiteWeb
from tests.processes import free_port
from tests.receivers import Cache, Relay
from txmetrics import MetricsRegistry, Reporter, backends
from txmetrics.console import main
from txmetrics.console._graphite_config import graphite_files

pytestmark = pytest.mark.seconds(60)


@pytest.fixture(scope="module")
def wrong(_carbon_program: None) -> Iterator[Callable[..., dict[int, float]]]:
    """Asks a graphite-web for the points of a target, of two workers of which one ends halfway; and a third begins."""
    now = int(time.time()) // 10 * 10
    lines, names = [], set()
    for step in range(12):
        at = now - 120 + 10 * step
        told = {"w0.jobs.count": 10 * step, "w0.open": 5, "w0.p99": 0.02, "w0.jobs.delta": 10}
        if step < 6:
            told |= {"w1.jobs.count": 1000 + 100 * step, "w1.open": 20, "w1.p99": 3.0, "w1.jobs.delta": 100}
        told["w0.late.count"] = 10 * step
        if step >= 6:
            told["w2.late.count"] = 1000 + 10 * step
        names |= told.keys()
        lines += [f"app.{name} {value} {at}\n" for name, value in told.items()]
    with Carbon(conf=graphite_files(10)) as carbon, GraphiteWeb(carbon) as web:
        carbon.send("".join(lines))
        carbon.wait_for(lambda: all(len(carbon.stored(f"app.{name}")) >= 6 for name in names))
        carbon.wait_for(lambda: not any(carbon.cached(f"app.{name}") for name in names))

        def ask(target: str, **more: object) -> dict[int, float]:
            arguments = {"from": now - 121, "until": now - 9, "format": "json", **more}
            [each] = web._get("/render", target=target, **arguments)
            return {(at - now + 120) // 10: value for value, at in each["datapoints"] if value is not None}

        yield ask


def test_the_order_of_sum_and_rate_matters(wrong: Callable[..., dict[int, float]]) -> None:
    """If the sum comes first, one that ends takes the others with it for a step, and one that begins comes all at once.

    The other way round its first interval is lost, and nothing else.
    """
    right, late = wrong("sumSeries(perSecond(app.*.jobs.count))"), wrong("perSecond(sumSeries(app.*.jobs.count))")
    assert [right.get(step) for step in (0, 1, 5, 6, 7)] == [None, 11, 11, 1, 1]
    assert [late.get(step) for step in (5, 6, 7)] == [11, None, 1]
    right, late = wrong("sumSeries(perSecond(app.*.late.count))"), wrong("perSecond(sumSeries(app.*.late.count))")
    assert [right[step] for step in (5, 6, 7)] == [1, 1, 2]
    assert [late[step] for step in (5, 6, 7)] == [1, 107, 2]


def test_the_last_value_of_the_dead_is_counted(wrong: Callable[..., dict[int, float]]) -> None:
    """A gauge's sum is right without."""
    assert wrong("sumSeries(app.*.open)")[11] == 5
    assert wrong("sumSeries(keepLastValue(app.*.open))")[11] == 25


def test_a_least_value_is_an_error_of_graphite_webs(wrong: Callable[..., dict[int, float]]) -> None:
    """Where a series has a gap, at its end or at its beginning."""
    for function in ("perSecond", "nonNegativeDerivative"):
        for limit in ("minValue=0", "maxValue=10000"):
            for series in ("w1.jobs", "w2.late"):
                assert wrong(f"{function}(app.{series}.count)")
                with pytest.raises(AssertionError, match="500 for"):
                    wrong(f"{function}(app.{series}.count,{limit})")


def test_totals_are_averaged_for_a_narrow_screen(wrong: Callable[..., dict[int, float]]) -> None:
    """Unless it is said that they are to be added up; of rates that is right."""
    total = 12 * 10 + 6 * 100
    assert sum(wrong("consolidateBy(sumSeries(app.*.jobs.delta),'sum')", maxDataPoints=1).values()) == total
    assert sum(wrong("sumSeries(app.*.jobs.delta)", maxDataPoints=1).values()) == total / 12
    [rate] = wrong("scaleToSeconds(sumSeries(app.*.jobs.delta),1)", maxDataPoints=1).values()
    assert rate == total / 120


def test_whisper_by_itself_keeps_no_sum(tmp_path: Path) -> None:
    """An older slot has the average of its deltas, and none where most of its steps have none."""
    begin = (int(time.time()) - 1800) // 600 * 600
    for rule, minutes in (((), [10, None]), ((0, "sum"), [60, 10])):
        file = str(tmp_path / f"{len(rule)}.wsp")
        whisper.create(file, [(10, 60), (60, 60)], *rule)
        for at in [*range(begin, begin + 60, 10), begin + 60]:
            whisper.update(file, 10, at, now=at + 1)
        _, slots = whisper.fetch(file, begin - 1, begin + 119, archiveToSelect=60)
        assert slots[:2] == minutes


def test_the_average_of_percentiles_is_none() -> None:
    """It is many times the fleet's, though the highest is a bound of that."""
    every = {worker: sorted(requests(worker, 0)) for worker in WORKERS}
    p99s = [times[ceil(0.99 * len(times)) - 1] for times in every.values()]
    p99 = Truth(every, 1).of("p99")
    assert 5 * p99 < sum(p99s) / len(p99s) < max(p99s)


@pytest.mark.usefixtures("_carbon_program")
@pytest_twisted.ensureDeferred
async def test_the_relay_of_the_page_keeps_each_series_twice(prefix: str) -> None:
    """Its configuration is carbon-c-relay's own, with other ports and somewhere to listen."""
    caches = [Cache(), Cache(), Cache()]
    relay = Relay(caches, 2)
    config = PAGE.split("<!-- relay -->\n```\n")[1].split("```")[0]
    for port, cache in zip((2103, 2203, 2303), caches, strict=True):
        assert f"127.0.0.1:{port}=" in config
        config = config.replace(f"127.0.0.1:{port}=", f"{HOST}:{cache.line_port}=")
    file = relay.root / "relay.conf"
    listens = [line for line in file.read_text().splitlines() if line.startswith(("listen", "statistics"))]
    file.write_text("\n".join([listens[0], config, listens[1], ""]))
    names = [f"{prefix}.series{number}.delta" for number in range(40)]
    now = int(time.time())
    with relay:
        relay.send("".join(f"{name} 1 {now}\n" for name in names))

        def homes() -> list[int]:
            return [sum(bool(cache.stored(name)) for cache in caches) for name in names]

        await relay.eventually(lambda: homes() == [2] * len(names))
        assert all(any(cache.stored(name) for name in names) for cache in caches)


def test_the_code_of_the_page_makes_reporters() -> None:
    """As it stands there."""
    code = PAGE.split("<!-- example -->\n```python\n")[1].split("```")[0]
    calls = ast.parse(code).body
    assert len(calls) == 2
    for call in calls:
        names = {"backends": backends, "registry": MetricsRegistry()}
        assert isinstance(eval(ast.unparse(call), names), Reporter)


def test_the_commands_of_the_page_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is refused only because nobody listens at that port."""
    commands = re.findall(r"^    txmetrics (grafana-dashboard .*?)(?: > .*)?$", PAGE, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        with pytest.raises(SystemExit, match="1"):
            main(command.replace(":8002", f":{free_port()}").split())
        assert "no dashboard answers at http://127.0.0.1:" in capsys.readouterr().err
