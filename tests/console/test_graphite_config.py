"""The files for carbon: its own loader takes them, and a real carbon rolls every statistic up as they promise."""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import whisper

from tests.carbon import Carbon, install
from tests.processes import run
from txmetrics.console._graphite_config import LONGEST_INTERVAL, ROLL_UP, graphite_files, retentions
from txmetrics.snapshot import (
    CounterReading,
    Distribution,
    GaugeReading,
    HistogramReading,
    MeterReading,
    Reading,
    TimerReading,
)
from txmetrics.wire import Graphite
from txmetrics.wire._dialects import DIALECTS

Ask = Callable[[dict[str, str], list[str]], Any]

METHODS = {
    "last": ["count", "sum", "refused"],
    "max": ["max", "p75", "p95", "p98", "p99", "p999"],
    "min": ["min"],
    "average": ["mean", "stddev", "p50", "m1_rate", "m5_rate", "m15_rate", "mean_rate", "value"],
}
METHOD = {field: method for method, fields in METHODS.items() for field in fields}
"""The method that each field of a reading is to be rolled up by."""

GROWING = [
    "process.cpu_seconds",
    "process.uptime_seconds",
    "process.context_switches.voluntary",
    "process.gc.collections.generation2",
    "reactor.cpu_seconds",
]


@pytest.fixture(scope="module")
def loader(_carbon_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks carbon how it would store names, with the files given."""
    command = [str(install().with_name("python3")), "-I", str(Path(__file__).with_name("carbon_loader.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        questions, answers = process.stdin, process.stdout
        assert questions is not None
        assert answers is not None

        def ask(files: dict[str, str], names: list[str]) -> Any:
            directory = tmp_path_factory.mktemp("conf")
            for name, text in files.items():
                (directory / name).write_text(text)
            print(json.dumps({"directory": str(directory), "names": names}), file=questions, flush=True)
            assert select.select([answers], [], [], 30)[0], "carbon's loader does not answer"
            answer = json.loads(answers.readline())
            assert answer["complaints"] == []
            return answer["stored"]

        yield ask


def readings(value: float) -> list[Reading]:
    """One of each kind, whose numbers all differ and are larger for a larger ``value``."""
    spread = Distribution(3, 9.0 * value, value, 5 * value, value / 2, [value, 3 * value, 5 * value])
    rates = [value + place / 8 for place in range(4)]
    count = int(10 * value)
    return [
        CounterReading("kinds.counter", count),
        GaugeReading("kinds.gauge", value),
        MeterReading("kinds.meter", count, *rates),
        HistogramReading("kinds.histogram", count, 20 * value, spread, count),
        TimerReading("kinds.timer", count, 20 * value, spread, *rates, count),
        *(GaugeReading(name, value) for name in GROWING),
    ]


def promised(dialect: str) -> dict[str, str]:
    """By the name of every series of `readings` the method that it is to be rolled up by."""
    methods = {}
    for reading in readings(1.0):
        for field, written in DIALECTS[dialect][type(reading)].items():
            name = f"{reading[0]}.{written}" if written else reading[0]
            methods[name] = "last" if reading[0] in GROWING else METHOD[field]
    return methods


def lines(value: float, stamp: int, wire: Graphite) -> str:
    """A report of `readings`."""
    encoder = wire.encoder(stamp)
    for reading in readings(value):
        assert encoder.add(reading) is None
    chunk = encoder.finish()
    assert chunk is not None
    return chunk.data.decode()


def archives(interval: int) -> list[tuple[int, int]]:
    """What whisper makes of the retentions for an interval."""
    return [whisper.parseRetentionDef(told) for told in retentions(interval)]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "prefix", ["", "web.{host}", "web.{host}.{pid}", "{worker}.g{generation}", "50%+x:@#-_", "a%%b.{host}-{pid}"]
)
def test_carbon_finds_the_method_of_every_statistic(loader: Ask, dialect: str, prefix: str) -> None:
    """Whatever the prefix is that the names have, and whichever characters are in it."""
    methods = promised(dialect)
    filled = {"{host}": "db-1", "{pid}": "4711", "{worker}": "blue-2", "{generation}": "1764380000"}
    head = re.sub(r"\{\w+\}", lambda place: filled[place[0]], prefix) + "." if prefix else ""
    stored = loader(graphite_files(10, prefix, dialect), [f"{head}{name}" for name in methods])
    assert {name.removeprefix(head): rest for name, rest in stored.items()} == {
        name: [[list(archive) for archive in archives(10)], 0.0, method] for name, method in methods.items()
    }


@pytest.mark.parametrize("prefix", ["", "web.{host}"])
def test_a_series_with_tags_is_rolled_up_like_one_without(loader: Ask, prefix: str) -> None:
    """By what stands before its tags, whatever their values end with."""
    head = "web.db-1." if prefix else ""
    names = {"jobs.count;q=a": "last", "a.max;m=x.count": "max", "a.p50;m=x.max": "average", "depth;q=a.min": "average"}
    stored = loader(graphite_files(10, prefix), [head + name for name in names])
    assert {name.removeprefix(head): method for name, (_, _, method) in stored.items()} == names


DELTAS = [
    *("jobs.delta", "jobs.delta;host=a;queue=x.count", "lat.sum_delta", "lat.sum_delta;host=a", "lat.refused_delta"),
    *("lat.b.512", "lat.b.993", "lat.bucket;b=512;host=a", "txmetrics.reports.delta"),
    *("lat.le.0_25", "lat.le.1_0", "lat.le.1e-05", "lat.le.-3_5", "lat.le.inf"),
    *("lat.le;host=a;le=0.25", "lat.le;host=a;le=+Inf", "reactor.cpu_seconds.delta"),
]
"""Series of what happened since the last report, with all that may stand behind a metric's name and in tags."""

LEVELS = ["le", "depth.le", "depth.bucket", "delta", "b.512x", "lat.le.max.m1_rate", "lat.le.inf.mean", "x;a=b.delta"]
"""Names that only look like these."""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("prefix", ["", "web.{host}"])
def test_deltas_are_added_up(loader: Ask, prefix: str, dialect: str) -> None:
    """With tags or without, and no level is that has a similar name."""
    head = "web.db-1." if prefix else ""
    expected = dict.fromkeys(DELTAS, "sum") | dict.fromkeys(LEVELS, "average")
    stored = loader(graphite_files(10, prefix, dialect), [head + name for name in expected])
    assert {name.removeprefix(head): method for name, (_, _, method) in stored.items()} == expected
    assert {factor for _, factor, _ in stored.values()} == {0.0}


@pytest.mark.usefixtures("_carbon_program")
def test_a_real_carbon_adds_deltas_up() -> None:
    """Two minutes of reports each ten seconds, sparse ones among them: each older slot has their sum."""
    begin = (int(time.time()) - 1800) // 600 * 600
    values = {begin + 10 * place: float(place * 7 % 5) for place in range(12) if place not in (2, 3, 8)}
    with Carbon(conf=graphite_files(10, "web.{host}")) as carbon:
        for name in [f"web.host1.{name}" for name in DELTAS]:
            carbon.send("".join(f"{name} {value} {stamp}\n" for stamp, value in values.items()))
            carbon.wait_for(lambda name=name: len(carbon.stored(name)) == len(values) and not carbon.cached(name))
            check(carbon._file(name), "sum", carbon.stored(name), begin)


@pytest.mark.parametrize(
    "name", ["web.db-1", "web.db-1x", "other.web.db-1.a.count", "webXdb-1.a.count", "web..a.count"]
)
def test_a_prefix_leaves_the_names_of_others_alone(loader: Ask, name: str) -> None:
    """They are stored as carbon does it by itself."""
    assert loader(graphite_files(10, "web.{host}"), [name]) == {name: [[[60, 10080]], None, None]}


@pytest.mark.parametrize("prefix", ["", "servers.web1"])
def test_the_reporters_own_numbers_are_kept_right_as_well(loader: Ask, prefix: str) -> None:
    """They are counters and gauges like all others, also where a prefix stands before them."""
    names = ["txmetrics.points_dropped.overflow.count", "txmetrics.queue_points"]
    head = f"{prefix}." if prefix else ""
    stored = loader(graphite_files(10, prefix), [head + name for name in names])
    assert [method for _, _, method in stored.values()] == ["last", "average"]


def test_carbon_takes_the_retentions_of_every_interval(loader: Ask) -> None:
    """Each archive divides into the next one, or whisper would refuse them; the finest has a slot for each report."""
    for interval in [*range(1, 130), 300, 599, 600, 601, 3599, 3600, 7000, 43_200, LONGEST_INTERVAL]:
        assert archives(interval)[0][0] == interval
        whisper.validateArchiveList(archives(interval))
    for interval in [1, 7, 10, 45, 60, 601, LONGEST_INTERVAL]:
        [[stored, _, _]] = loader(graphite_files(interval), ["a.count"]).values()
        assert [tuple(archive) for archive in stored] == archives(interval)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (1, "1s:1h,10s:6h,1m:7d,10m:1y"),
        (10, "10s:6h,1m:7d,10m:1y"),
        (15, "15s:6h,1m:7d,10m:1y"),
        (60, "1m:7d,10m:1y"),
        (45, "45s:6h,90s:7d,630s:1y"),
        (3600, "1h:1y"),
    ],
)
def test_retentions_follow_the_interval(interval: int, expected: str) -> None:
    """A finer archive for a day's work, coarser ones for the year."""
    assert ",".join(retentions(interval)) == expected


def test_every_dialect_has_its_rules() -> None:
    """A dialect that is added is added here as well."""
    assert ROLL_UP.keys() == DIALECTS.keys()


@pytest.mark.usefixtures("_carbon_program")
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_real_carbon_rolls_up_as_promised(dialect: str) -> None:
    """Two minutes of reports each ten seconds, with gaps: each older slot has the last, highest, least or mean."""
    begin = (int(time.time()) - 1800) // 600 * 600
    values = {begin + 10 * place: 1.0 + place * 7 % 5 for place in range(12) if place not in (2, 3, 8)}
    wire = Graphite("web.host1", dialect)
    with Carbon(conf=graphite_files(10, "web.{host}", dialect)) as carbon:
        carbon.send("".join(lines(value, stamp, wire) for stamp, value in values.items()))
        for name, method in promised(dialect).items():
            full = f"web.host1.{name}"
            carbon.wait_for(lambda full=full: len(carbon.stored(full)) == len(values) and not carbon.cached(full))
            check(carbon.whisper / (full.replace(".", "/") + ".wsp"), method, carbon.stored(full), begin)


def check(file: Path, method: str, points: dict[int, float], begin: int) -> None:
    """Whisper's file has the promised settings, and in its slots of a minute what they make of the points."""
    info = whisper.info(str(file))
    assert (info["aggregationMethod"], info["xFilesFactor"]) == (method, 0.0), file
    assert [(each["secondsPerPoint"], each["points"]) for each in info["archives"]] == archives(10)
    (start, _, step), slots = whisper.fetch(str(file), begin - 1, begin + 119, archiveToSelect=60)
    assert (start, step) == (begin, 60)
    combine = {
        "sum": sum,
        "last": lambda them: them[-1],
        "max": max,
        "min": min,
        "average": lambda them: sum(them) / len(them),
    }
    for minute, slot in zip((begin, begin + 60), slots[:2], strict=True):
        them = [points[stamp] for stamp in sorted(points) if minute <= stamp < minute + 60]
        assert slot == pytest.approx(combine[method](them)), file


@pytest.mark.usefixtures("_carbon_program")
def test_the_commands_in_the_comments_mend_what_was_stored_before(tmp_path: Path) -> None:
    """They are whisper's own, and do to a file what they are there for."""
    told = [line for text in graphite_files(10).values() for line in text.splitlines() if ".py " in line]
    file = tmp_path / "old.wsp"
    whisper.create(str(file), [(60, 1440)], 0.5, "average")
    for line in told:
        program, *arguments = line.removeprefix("#").replace("FILE.wsp", str(file)).replace("METHOD", "max").split()
        done = run(install().with_name(program), *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stdout
    info = whisper.info(str(file))
    assert (info["aggregationMethod"], info["xFilesFactor"]) == ("max", 0.0)
    assert [(each["secondsPerPoint"], each["points"]) for each in info["archives"]] == archives(10)


# The command


def command(*arguments: str, cwd: Path) -> tuple[int, str]:
    done = run(sys.executable, "-m", "txmetrics", "graphite-config", *arguments, cwd=cwd)
    return done.returncode, done.stdout


def test_the_files_are_written_once_and_replaced_only_by_force(tmp_path: Path) -> None:
    """The same content again is fine, other content is kept, and with --force replaced; nothing else is left there."""
    expected = graphite_files(30, "web.{host}", "pyformance")
    paths = [tmp_path / name for name in expected]
    given = ["--directory", str(tmp_path), "--interval", "30", "--prefix", "web.{host}", "--dialect", "pyformance"]
    for _ in range(2):
        assert command(*given, cwd=tmp_path) == (0, "".join(f"{path}\n" for path in paths))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == expected
    paths[1].write_text("[mine]\n")
    paths[0].unlink()
    status, said = command(*given, cwd=tmp_path)
    assert (status, paths[0].exists(), paths[1].read_text()) == (1, False, "[mine]\n")
    assert said == (
        f"txmetrics: {paths[1]} exists and says something else; give --force to replace it, or another --directory\n"
    )
    assert command(*given, "--force", cwd=tmp_path)[0] == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == expected


def test_without_a_directory_both_files_are_printed(tmp_path: Path) -> None:
    """Each begins with its name; nothing is written anywhere."""
    status, said = command(cwd=tmp_path)
    assert (status, said) == (0, "\n".join(graphite_files().values()))
    assert [line for line in said.splitlines() if line.endswith(".conf")] == [f"# {name}" for name in graphite_files()]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--interval", "2.5"], 2, "'2.5' is no whole number of seconds from 1 to 86400, as whisper needs"),
        (["--interval", "0"], 2, "'0' is no whole number of seconds"),
        (["--interval", "86401"], 2, "'86401' is no whole number of seconds"),
        (["--prefix", "web.{user}"], 2, "prefix 'web.{user}' has {user}; only {host}, {pid}, {worker}"),
        (["--prefix", "a b"], 2, "prefix 'a b' contains ' ', which a Graphite path cannot carry"),
        (["--directory", "missing"], 1, "txmetrics: missing is no directory; make it first\n"),
        (["--directory", "/proc"], 1, "txmetrics: /proc/storage-schemas.conf cannot be written: "),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, arguments: list[str], status: int, sentence: str) -> None:
    """With the offending part in it, on stderr, and never a traceback."""
    assert sentence in (said := command(*arguments, cwd=tmp_path))[1]
    assert said[0] == status
    assert "Traceback" not in said[1]
