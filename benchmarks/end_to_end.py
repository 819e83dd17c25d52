"""What the users of a server notice of its metrics: the latency of a hello world, over real sockets.

    python -m benchmarks.end_to_end              # 11 minutes, with --rounds=1 two; --quick: a look at whether it runs

The servers report 50,000 values every second, ten times as often as txmetrics does by itself. Each trial is a new
server in a process of its own, which has a processor for itself; the load and the sink that takes the reports share
another one. It is asked at a steady rate first, whatever its answers do (an open loop): the latency of a request is
counted from the moment at which it was due. Then wrk asks it as fast as it answers.

A machine's mood lasts longer than a trial. So a server without metrics is tried before and after each of the others,
and every ratio is one to the geometric mean of these two; the median of the rounds is told. One of the others is a
server without metrics again: how far its ratios are from 1 is how much the rest can be believed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from statistics import fmean, geometric_mean, median

from benchmarks.costs.operations import peer
from benchmarks.load.subjects import NONE, PEERS, PROMETHEUS, PYFORMANCE, QUIET, SUBJECTS, TXMETRICS
from benchmarks.load.trial import QUANTILES, Load, Trial, run
from benchmarks.results import Plot, Results, Table

AGAIN = "none, once more"
MODES = AGAIN, TXMETRICS, QUIET, PYFORMANCE, PROMETHEUS

ABOUT = (
    "`txmetrics` is a TimedResource, MeasuredReactor, MeasuredProcess and MeasuredLog, with a report every second. "
    "pyformance has a counter and a timer in `render`, and reports from its CarbonReporter, a thread. "
    "prometheus_client has a counter and a histogram in `render`, and a `generate_latest` in the reactor every second, "
    "as for a scrape; it has histograms of 15 buckets for timers, and gauges for meters. Each has {values:,} values, "
    "and its timers take ten new ones a second; what is reported goes to a sink that counts it. The server's processor "
    "is {processor}. Each server called `gc.collect(); gc.freeze()` once it was up, the one without metrics as well."
)

Pairs = dict[str, list[float]]
"""What each trial of a mode, compared with those without metrics around it, has come to."""

OPEN = "p50", "p90", "p99", "p99.9", "max"
WRK = "wrk rps", "wrk cpu", "wrk p50", "wrk p99", "wrk p99.9"


def order(modes: Sequence[str], number: int, quick: bool) -> list[str]:
    """The trials of that round: each mode in its turn between two of NONE; in a quick round NONE begins and ends."""
    begin = number % len(modes)
    turns = [*modes[begin:], *modes[:begin]]
    return [NONE, *turns, NONE] if quick else [NONE, *(each for mode in turns for each in (mode, NONE))]


def compare(trials: Sequence[Trial], measure: str, how: Callable[[float, float, float], float]) -> Pairs:
    """``how`` is given the measure of each trial, of the last NONE before it and of the next one after it."""
    found: Pairs = {}
    plain = [number for number, trial in enumerate(trials) if trial.mode == NONE]
    for number, trial in enumerate(trials):
        if trial.mode != NONE:
            before = max(each for each in plain if each < number)
            after = min(each for each in plain if each > number)
            three = (trials[each].measures[measure] for each in (number, before, after))
            found.setdefault(trial.mode, []).append(how(*three))
    return found


def ratio(measured: float, before: float, after: float) -> float:
    """The arithmetic mean would make one bad neighbour look like a good server."""
    return measured / geometric_mean([before, after])


def points(measured: float, before: float, after: float) -> float:
    return measured - fmean([before, after])


def by_mode(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.mode, []).append(trial)
    return {mode: found[mode] for mode in (NONE, *MODES) if mode in found}


def typical(trials: Sequence[Trial], measure: str) -> float:
    return median(trial.measures[measure] for trial in trials)


def tell_open(trials: Sequence[Trial], load: Load) -> Table:
    """The latencies at the steady rate."""
    title = f"{load.rate:g} requests a second, whatever the answers do: latency, ms"
    table = Table(title, ["", *OPEN, "over 5 ms, %"])
    where = "none of its own, as there is only one" if load.processors is None else "one of its own"
    about = ABOUT.format(values=load.values, processor=where)
    table.note = f"Medians of the trials; the last column is the mean of them. {about}"
    for mode, each in by_mode(trials).items():
        over = fmean(trial.measures["over"] for trial in each)
        table.rows.append([mode, *(f"{typical(each, name):.2f}" for name in OPEN), f"{over:.2f}"])
    return table


def compare_open(trials: Sequence[Trial]) -> tuple[Table, dict[str, float]]:
    """The same in pairs, and the figures."""
    columns = ["", *OPEN, "p99, lowest round", "p99, highest round", "over 5 ms, points more"]
    table = Table("The latency at that rate, as a ratio to none", columns)
    table.note = f"Medians of pairs. What `{AGAIN}` shows is the noise of the machine."
    ratios = {name: compare(trials, name, ratio) for name in OPEN}
    over = compare(trials, "over", points)
    for mode, p99 in ratios["p99"].items():
        cells = [median(ratios[name][mode]) for name in OPEN] + [min(p99), max(p99)]
        table.rows.append([mode, *(f"{cell:.2f}" for cell in cells), f"{median(over[mode]):+.2f}"])
    figures = {f"open loop p99, {mode}": median(p99) for mode, p99 in ratios["p99"].items()}
    figures |= {f"open loop over 5 ms, {mode}": median(more) for mode, more in over.items()}
    return table, figures


def draw_open(trials: Sequence[Trial]) -> Plot:
    plot = Plot("Latency at a steady rate", "one request of so many takes longer", "ms", logx=True, logy=True)
    for mode, each in by_mode(trials).items():
        plot.series[mode] = [(round(1 / (1 - q), 3), typical(each, name)) for name, q in QUANTILES.items() if q < 1]
    return plot


def tell_wrk(trials: Sequence[Trial]) -> tuple[Table, Table, dict[str, float]]:
    """What wrk has found."""
    columns = ["", "requests/s", "CPU us a request", "p50, ms", "p99, ms", "p99.9, ms"]
    plain = Table("wrk, 32 connections, as fast as the server answers", columns)
    plain.note = (
        "Medians of the trials. The processor time is that of the server's whole process, with what its reports take."
    )
    for mode, each in by_mode(trials).items():
        rps, cpu, *milliseconds = (typical(each, name) for name in WRK)
        plain.rows.append([mode, f"{rps:,.0f}", f"{cpu:.1f}", *(f"{cell:.2f}" for cell in milliseconds)])
    ratios = {name: compare(trials, name, ratio) for name in WRK}
    heads = [name.removeprefix("wrk ") for name in WRK]
    paired = Table("wrk, as a ratio to none", ["", "requests/s", "CPU a request", *heads[2:]])
    paired.note = "Medians of pairs."
    for mode in ratios["wrk p99"]:
        paired.rows.append([mode, *(f"{median(ratios[name][mode]):.2f}" for name in WRK)])
    told = "wrk p99", "wrk p99.9"
    return plain, paired, {f"{name}, {mode}": median(each) for name in told for mode, each in ratios[name].items()}


def draw_ratios(trials: Sequence[Trial], wrk: bool) -> Plot:
    plot = Plot("p99, as a ratio to the server without metrics", "", "x none", kind="bars", logy=True)
    for label, measure in [("steady rate", "p99"), *([("wrk", "wrk p99")] if wrk else [])]:
        plot.series[label] = [(mode, median(each)) for mode, each in compare(trials, measure, ratio).items()]
    return plot


def tell_checks(trials: Sequence[Trial]) -> Table:
    """Whether everything was answered, and every report arrived."""
    columns = ["", "requests", "wrong or missing answers", "lines reported", "lines lost", "lines a second"]
    table = Table("What was asked and reported", columns)
    table.note = (
        "At the steady rate every answer was compared with the right one; wrk looks at its status. What pyformance "
        "reports in a second is less, because it waits a second after each report."
    )
    for mode, each in by_mode(trials).items():
        lines, arrived = sum(trial.lines for trial in each), sum(trial.arrived for trial in each)
        cells = [sum(trial.requests for trial in each), sum(trial.wrong for trial in each), lines, lines - arrived]
        a_second = arrived / sum(trial.seconds for trial in each)
        table.rows.append([mode, *(f"{cell:,}" for cell in cells), f"{a_second:,.0f}"])
    return table


def split_processors() -> tuple[int, int] | None:
    """One for the load, to which this process and its children keep from now on, and one for the server."""
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return None
    first, *_, last = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {first})
    return first, last


def available() -> tuple[list[str], str]:
    """The modes that can be tried, and a sentence for each that cannot."""
    modes, told = list(MODES), ""
    for name in PEERS:
        try:
            peer(name)
        except ImportError as reason:
            modes.remove(name)
            told += f" Without {name}: {reason}."
    return modes, told


def try_all(modes: Sequence[str], load: Load, rounds: int, quick: bool) -> list[Trial]:
    trials = []
    for number in range(rounds):
        for mode in order(modes, number, quick):
            trials.append(run(mode, mode if mode in SUBJECTS else NONE, load))
            print(f"round {number + 1} of {rounds}: {mode}, p99 {trials[-1].measures['p99']:.2f} ms", flush=True)
    return trials


def main() -> None:
    parser = argparse.ArgumentParser(description="What the users of a server notice of its metrics.")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    given = parser.parse_args()
    modes, missing = available()
    wrk = shutil.which("wrk") is not None
    processors = split_processors()
    if given.quick:
        load = Load(2000, 500, warm=0.1, seconds=0.3, wrk_seconds=int(wrk), processors=processors)
    else:
        load = Load(50_000, 500, warm=1, seconds=5, wrk_seconds=3 * wrk, processors=processors)
    trials = try_all(modes, load, 1 if given.quick else given.rounds, given.quick)
    results = Results("end_to_end")
    results.add(tell_open(trials, load), *compare_open(trials), draw_open(trials))
    if wrk:
        results.add(*tell_wrk(trials))
    checks = tell_checks(trials)
    checks.note += missing + ("" if wrk else " wrk is not installed, so the server was only asked at the steady rate.")
    results.add(checks, draw_ratios(trials, wrk))
    results.show()
    if given.json is not None:
        results.write(given.json)


if __name__ == "__main__":
    main()
