"""A fleet of four workers under load, of which one is killed, and a part of what it reports to; are its numbers right?

    python examples/fleet/check.py                             # Graphite: a relay, three carbon-caches, graphite-web
    python examples/fleet/check.py --engine=victoriametrics
    python examples/fleet/check.py --engine=prometheus

It takes less than a minute, needs a checkout with the test extra and the programs that .ci/receivers installs, and
ends with a table and a list of what had to be so. The exit status is 1 if anything was not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the tests' servers

from engines import ENGINES, Engine  # noqa: E402
from fleet import INTERVAL, Fleet  # noqa: E402
from load import Answer, Load  # noqa: E402

from tests.processes import free_port  # noqa: E402

Number: TypeAlias = float | None
"""None: the engine has none."""

AT_ONCE = 80
"""Requests under way while there is load."""

BURST = 60
"""Requests right before a worker is killed."""

FEWEST = 1000

TOLERANCE = 0.03
"""Of a percentile out of buckets that are 9 % wide."""

NAIVE = 0.1
"""A wrong answer is wrong by more than that."""


class Row(NamedTuple):
    """A line of the table."""

    name: str
    truth: float
    right: Number
    wrong: Number
    why: str

    def text(self, form: str) -> str:
        told = ["nothing" if each is None else form.format(each) for each in (self.truth, self.right, self.wrong)]
        return (
            f"{self.name:<10}"
            + "".join(f"{each:>12}" for each in told)
            + f"  {_off(self.wrong, self.truth)}: {self.why}"
        )


class Check:
    """One run on one engine; what had to be so, and was or was not, is in ``findings``."""

    def __init__(self, reactor: Any, engine: Engine, fleet: Fleet, load: Load, requests: int) -> None:
        self._reactor = reactor
        self._engine = engine
        self._fleet = fleet
        self._load = load
        self._requests = requests
        self._unreported: set[Answer] = set()
        self.findings: list[tuple[bool, str]] = []

    async def run(self) -> None:
        """All phases, and the table."""
        await self._fleet.all_answer(self._load)
        self._say(f"{self._requests // 3:,} requests")
        await self._load.send(self._requests // 3, AT_ONCE)
        await self._kill_a_worker()
        await self._kill_a_part()
        await self._replay()
        p99 = Row("p99", self._true_p99, self._engine.p99(), self._engine.averaged_p99(), "the average of all p99s")
        self._say(f"{BURST} requests, and the fleet is stopped: its last reports have them")
        await self._load.send(BURST, BURST)
        await self._fleet.stop()
        requests = Row("requests", self._truth, await self._settled(), self._engine.naive_requests(), "no identity")
        self._show(requests, p99)

    # The phases

    async def _kill_a_worker(self) -> None:
        """Between a burst of requests, all of which are answered, and the next report."""
        for _ in range(5):
            await self._boundary(2)
            await self._sleep(INTERVAL / 4)  # the report is made, and on its way
            in_time = self._next_boundary() - 0.1
            burst = await self._load.send(BURST, BURST)
            [(pid, answered)] = Counter(answer.pid for answer in burst).most_common(1)
            if self._reactor.seconds() < in_time:
                break
        else:
            raise TimeoutError("the machine is too slow for a burst between two reports")
        await self._fleet.kill(pid)
        self._unreported = {answer for answer in burst if answer.pid == pid}
        [slot] = {answer.worker for answer in self._unreported}
        self._say(f"{slot} is killed: what {answered} requests took it has told nobody")
        pids = await self._fleet.all_answer(self._load)
        self._say(f"{slot} is there again, as process {pids[slot]} instead of {pid}")

    async def _kill_a_part(self) -> None:
        engine = self._engine
        requests = self._requests - self._requests // 3
        self._say(f"{requests:,} requests, and meanwhile {engine.part} is killed")
        load = Deferred.fromCoroutine(self._load.send(requests, AT_ONCE))
        # What a live worker has counted is told again and again; what the dead one had, only the engine has now.
        await self._sleep(max(INTERVAL, engine.memory))
        engine.kill()
        if engine.redundant:
            await load
            total = await self._settled()
            self._find(total == self._truth, f"without {engine.part} the total is exact: {total} of {self._truth}")
            so, what = _p99_is_right(engine.p99(), self._true_p99)
            self._find(so, f"without {engine.part} {what}")
            engine.restart()
        else:
            await self._sleep(INTERVAL)
            engine.restart()
            await load
        self._say(f"{engine.part} is there again")

    async def _replay(self) -> None:
        engine = self._engine
        await self._settled()
        await engine.before_replay()
        until = self._reactor.seconds()
        await self._sleep(1.5)
        before = engine.held(until)
        self._say(await engine.replay())
        await self._sleep(1.5)  # so much a disk may take
        after = engine.held(until)
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        told = f"a replay changes nothing: {len(changed)} of {len(before)} series are different"
        self._find(bool(before) and not changed, told)

    # What is true, and what is found

    @property
    def _reported(self) -> list[Answer]:
        return [answer for answer in self._load.answers if answer not in self._unreported]

    @property
    def _truth(self) -> int:
        return len(self._reported)

    @property
    def _true_p99(self) -> float:
        """As ``numpy.percentile`` has it, by default."""
        return quantiles([answer.seconds for answer in self._reported], n=100, method="inclusive")[98]

    async def _settled(self) -> float | None:
        """How many requests the engine knows of, once that is right, or will not be any more."""
        end = self._reactor.seconds() + 15
        while self._engine.requests() != self._truth and self._reactor.seconds() < end:
            await self._sleep(0.3)
        await self._boundary(1)
        await self._sleep(INTERVAL / 2)  # more would be as wrong
        return self._engine.requests()

    def _find(self, so: bool, what: str) -> None:
        self.findings.append((so, what))

    def _show(self, requests: Row, p99: Row) -> None:
        """The table; and find the rest."""
        print(f"\n{'':<10}{'truth':>12}{'right':>12}{'wrong':>12}")
        print(requests.text("{:,.0f}"))
        print(p99.text("{:.3f} s") + "\n")
        answers, failures = len(self._load.answers), self._load.failures
        self._find(not failures, f"each of {answers:,} requests was answered{''.join(failures[:1])}")
        self._find(
            requests.right == requests.truth,
            f"the total is exact, less the {len(self._unreported)} requests of which a killed worker told nobody",
        )
        self._find(*_p99_is_right(p99.right, p99.truth))
        if self._engine.redundant:
            self._find(self._engine.lacking() == 0, f"every point is still there without {self._engine.part}, any one")
        self._find(not _near(requests.wrong, requests.truth, NAIVE), "without identity the total is wrong")
        self._find(not _near(p99.wrong, p99.truth, NAIVE), "the average of the workers' p99s is wrong")

    # Time

    def _next_boundary(self) -> float:
        return float((self._reactor.seconds() // INTERVAL + 1) * INTERVAL)

    async def _boundary(self, number: int) -> None:
        """The next one of the intervals, or the one after it, ..."""
        await self._sleep(self._next_boundary() + (number - 1) * INTERVAL - self._reactor.seconds())

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)

    def _say(self, what: str) -> None:
        print(what, flush=True)


def _p99_is_right(p99: Number, true: float) -> tuple[bool, str]:
    return _near(p99, true, TOLERANCE), f"the p99 is within {TOLERANCE:.0%} of the truth: {_off(p99, true)}"


def _near(value: Number, true: float, tolerance: float) -> bool:
    return value is not None and abs(value / true - 1) <= tolerance


def _off(value: Number, true: float) -> str:
    return "nothing" if value is None else f"{100 * (value / true - 1):+.1f} %"


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="A fleet under load, of which parts are killed: are its numbers right?"
    )
    parser.add_argument("--engine", choices=ENGINES, default="graphite", help="what it reports to (graphite)")
    parser.add_argument("--requests", type=int, default=6000, help="how many it is asked, and a few more (6000)")
    parser.add_argument(
        "--answers", metavar="FILE", default=os.devnull, help="write each answer, with its time, to this"
    )
    given = parser.parse_args(arguments)
    if given.requests < FEWEST:
        parser.error(f"--requests={given.requests} are too few for a percentile; give {FEWEST} or more")
    return given


async def check(reactor: Any, given: argparse.Namespace) -> bool:
    """Whether all was as it has to be."""
    with ExitStack() as ends:
        directory = Path(ends.enter_context(TemporaryDirectory(prefix="txmetrics-fleet-")))
        answers = ends.enter_context(open(given.answers, "w"))
        print(f"starting {given.engine}", flush=True)
        engine = ENGINES[given.engine](reactor)
        ends.callback(engine.close)
        load = Load(reactor, free_port(), answers)
        print("starting the workers", flush=True)
        fleet = Fleet(reactor, load.port, engine.environment, directory)
        ends.callback(fleet.close)
        checked = Check(reactor, engine, fleet, load, given.requests)
        try:
            await checked.run()
        except TimeoutError as late:
            print(f"the workers' log ends:\n{fleet.log()[-3000:]}", flush=True)
            checked.findings.append((False, str(late)))
    for so, what in checked.findings:
        print(f"{'yes' if so else 'NO '}  {what}", flush=True)
    return all(so for so, _ in checked.findings)


def main() -> None:
    given = options(sys.argv[1:])

    async def run(reactor: Any) -> None:
        if not await check(reactor, given):
            raise SystemExit(1)

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
