"""``txmetrics graphite-config``: how carbon has to keep what txmetrics sends, so that it stays right when it is old.

Carbon keeps the newest points as they came and whisper rolls older ones up, several into one. Which one is right
depends on the statistic, which its name tells; everything here follows from what each name means.
"""

from __future__ import annotations

import os
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

from txmetrics import backends
from txmetrics.console._seam import Commands, Trouble

__all__ = ["ROLL_UP", "add", "graphite_files", "retentions", "run"]

LADDER = ((1, "1h"), (10, "6h"), (60, "7d"), (600, "1y"))
"""Seconds between two points, and for how long such points are kept."""

LONGEST_INTERVAL = 86_400

ROLL_UP: Mapping[str, Mapping[str, Sequence[str]]] = {
    "dropwizard": {
        "last": ("count", "sum", "refused"),
        "max": ("max", "p75", "p95", "p98", "p99", "p999"),
        "min": ("min",),
    },
    "pyformance": {
        "last": ("count", "sum"),
        "max": ("max", "75_percentile", "95_percentile", "99_percentile", "999_percentile"),
        "min": ("min",),
    },
}
"""By dialect and whisper's method, the last parts of the names that are rolled up by it; all others by "average"."""

GROWING = r"(reactor\.cpu_seconds|process\.(cpu_seconds|uptime_seconds|context_switches\..+|gc\.collections\..+))"
"""The gauges that grow for as long as the process lives."""

DELTA = r"[^;]+\.((delta|sum_delta|refused_delta)(;|$)|(bucket|le);|(b\.[0-9]+|le\.(-?[0-9][^.;]*|inf))$)"
"""The names of what is told of the time since the last report: as by ``temporality="delta"``, with tags or without."""

DELTAS = """\
With temporality="delta": what happened since the report before. Of a longer time it is the sum."""

TOTALS = """\
They grow for as long as the process lives. The last one is the total at the end of the time, also after a restart and
where what is added up is negative; max would show what the process before had reached."""

HIGHEST = """\
No arithmetic makes the percentile of an hour out of those of its parts. Their highest is a bound: that of the hour is
not above it. An average would hide the slow minute."""

LEVELS = """\
What is left: gauges, mean, median, standard deviation and rates. Of a level the average tells more than the one moment
that last would keep. That of means and medians is a hint, for it does not know how many events each stands for; the
true mean of any time is the growth of sum by the growth of count."""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "graphite-config",
        help="write the files that make carbon keep the numbers right",
        description="Writes storage-schemas.conf and storage-aggregation.conf for carbon, with which what txmetrics "
        "sends stays right when whisper rolls it up.",
    )
    parser.add_argument("--directory", type=Path, metavar="DIR", help="write the files there; if not given, to stdout")
    parser.add_argument("--force", action="store_true", help="replace files of these names that say something else")
    parser.add_argument(
        "--interval", type=_interval, default=10, metavar="SECONDS", help="between two reports; 10 if not given"
    )
    parser.add_argument(
        "--prefix", type=_prefix, default="", help="that the reports have, such as web.{host}: other names stay out"
    )
    parser.add_argument(
        "--dialect", choices=list(ROLL_UP), default="dropwizard", help="of the names; dropwizard if not given"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    files = graphite_files(arguments.interval, arguments.prefix, arguments.dialect)
    if arguments.directory is None:
        print("\n".join(files.values()), end="")
    else:
        _write(arguments.directory, files, arguments.force)


def graphite_files(interval: int = 10, prefix: str = "", dialect: str = "dropwizard") -> dict[str, str]:
    """The text of each file, by its name.

    ``interval`` is the reporter's, in whole seconds; ``prefix`` and ``dialect`` are what it was given: ``{host}``,
    ``{worker}`` and so on stand for any host and any worker. Without a prefix the files are about every name.
    """
    head = f"^{_literal(prefix)}\\." if prefix else r"^([^;]+\.)?"
    kept = retentions(interval)
    command = f"txmetrics graphite-config --interval {interval} --dialect {dialect}"
    command += f" --prefix '{prefix}'" if prefix else ""
    where = BEFORE if prefix else BEHIND
    schemas = _SCHEMAS.format(
        command=command, where=where, pattern=head if prefix else ".*", kept=",".join(kept), archives=" ".join(kept)
    )
    return {
        "storage-schemas.conf": schemas,
        "storage-aggregation.conf": _AGGREGATION.format(command=command, where=where)
        + _sections(head, ROLL_UP[dialect]),
    }


BEFORE = "put this before what you have."
BEHIND = "these match every name, so put this behind what you have."

_SCHEMAS = """\
# storage-schemas.conf
#
# Written by: {command}
# How long carbon keeps what txmetrics reports, and how many points of it.
# The first pattern that matches a name decides: {where}
#
# Carbon reads this file again within a minute. What it has stored already keeps the retentions it was made with, until:
#     whisper-resize.py FILE.wsp {archives} --aggregate

[txmetrics]
pattern = {pattern}
retentions = {kept}
"""

_AGGREGATION = """\
# storage-aggregation.conf
#
# Written by: {command}
# How whisper makes one older point of several.
# The first pattern that matches a name decides: {where}
#
# An xFilesFactor of 0 keeps a point also where most of its time has none: a timer that was idle sends no percentiles.
#
# Carbon reads this file again within a minute. What it has stored already keeps the method it was made with, until:
#     whisper-set-aggregation-method.py FILE.wsp METHOD 0
"""

_SECTION = """
{why}
[{section}]
pattern = {pattern}
xFilesFactor = 0
aggregationMethod = {method}
"""


def retentions(interval: int) -> list[str]:
    """Whisper's archives for a point each ``interval`` seconds: ``["10s:6h", "1m:7d", "10m:1y"]``.

    The finest has a slot for each report, and each slot of a coarser one holds whole slots of the finer one, without
    which carbon would refuse them.
    """
    step = interval
    fits = [kept for least, kept in LADDER if least <= interval]
    archives = [f"{_told(step)}:{fits[-1]}"]
    for least, kept in LADDER[len(fits) :]:
        step *= -(-least // step)
        archives.append(f"{_told(step)}:{kept}")
    return archives


def _told(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _sections(head: str, methods: Mapping[str, Sequence[str]]) -> str:
    """The rules, of which carbon takes the first that fits: what is left comes last."""
    tails = {method: rf"[^;]+\.({'|'.join(names)})(;|$)" for method, names in methods.items()}
    return "".join(
        _SECTION.format(
            why=fill(why, 110, initial_indent="# ", subsequent_indent="# "),
            section=section,
            pattern=f"{head}{tail}",
            method=method,
        )
        for section, why, tail, method in (
            ("txmetrics_deltas", DELTAS, DELTA, "sum"),
            ("txmetrics_totals", TOTALS, tails["last"], "last"),
            ("txmetrics_highest", HIGHEST, tails["max"], "max"),
            ("txmetrics_lowest", "The least of all.", tails["min"], "min"),
            ("txmetrics_growing_gauges", "Gauges that are totals.", rf"{GROWING}(\.value)?(;|$)", "last"),
            ("txmetrics_levels", LEVELS, ".+", "average"),
        )
    )


def _literal(prefix: str) -> str:
    """A regular expression for all that the prefix can become."""
    # ConfigParser, with which carbon reads, has a meaning of its own for a percent sign.
    for character, written in ((".", r"\."), ("+", r"\+"), ("%", r"\x25")):
        prefix = prefix.replace(character, written)
    for part, written in (("host", "[^.]+"), ("worker", "[^.]+"), ("pid", "[0-9]+"), ("generation", "[0-9]+")):
        prefix = prefix.replace(f"{{{part}}}", written)
    return prefix


def _write(directory: Path, files: Mapping[str, str], force: bool) -> None:
    """Write all of them or, where one would be lost, none."""
    if not directory.is_dir():
        raise Trouble(f"{directory} is no directory; make it first")
    for name, text in files.items():
        path = directory / name
        if not force and path.exists() and path.read_text(errors="replace") != text:
            raise Trouble(f"{path} exists and says something else; give --force to replace it, or another --directory")
    for name, text in files.items():
        _replace(directory / name, text)
        print(directory / name)


def _replace(path: Path, text: str) -> None:
    """Carbon, which reads it again each minute, sees the old file or the new one."""
    fresh = path.with_name(f".{path.name}.txmetrics")
    try:
        fresh.write_text(text)
        os.replace(fresh, path)
    except OSError as error:
        raise Trouble(f"{path} cannot be written: {error.strerror}") from None


def _interval(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LONGEST_INTERVAL:
        raise ArgumentTypeError(
            f"{text!r} is no whole number of seconds from 1 to {LONGEST_INTERVAL}, as whisper needs"
        )
    return int(text)


def _prefix(text: str) -> str:
    try:
        return backends.check_prefix(text)
    except ValueError as wrong:
        raise ArgumentTypeError(str(wrong)) from None
