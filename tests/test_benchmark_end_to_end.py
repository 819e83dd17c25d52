"""The end-to-end benchmark runs, and computes what it says; its figures are for people, and no test depends on them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest

from benchmarks.end_to_end import AGAIN, compare, order, points, ratio, tell_checks, tell_wrk
from benchmarks.goals import GOALS
from benchmarks.load import BODY, HOST
from benchmarks.load.client import ask
from benchmarks.load.sink import Sink
from benchmarks.load.subjects import NONE, PEERS, QUIET, TXMETRICS
from benchmarks.load.trial import Load, Trial, judge, percentile, run, wrk
from benchmarks.results import Results

ROOT = Path(__file__).parent.parent
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@contextmanager
def answering(answer: Callable[[], bytes]) -> Iterator[int]:
    """A server's port, which sends that for each request."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65536):
                self.request.sendall(answer())

    class Server(ThreadingTCPServer):
        request_queue_size = 64
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *request: Any) -> None:
            """Whoever asked has gone."""

    with Server((HOST, 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def trial(mode: str, p99: float = 1.0, **more: float) -> Trial:
    measures = {
        "p99": p99,
        "over": 0.0,
        **dict.fromkeys(("wrk rps", "wrk cpu", "wrk p50", "wrk p99", "wrk p99.9"), 1.0),
    }
    return Trial(mode, {**measures, **more}, requests=100, wrong=0, seconds=2.0, lines=1000, arrived=1000)


def test_every_mode_is_tried_between_two_without_metrics() -> None:
    """In each round once, and not always at the same place; a quick run saves the ones between."""
    assert order(["a", "b"], 0, False) == [NONE, "a", NONE, "b", NONE]
    assert order(["a", "b"], 1, False) == [NONE, "b", NONE, "a", NONE]
    assert order(["a", "b"], 2, True) == [NONE, "a", "b", NONE]


def test_a_trial_is_compared_with_those_around_it() -> None:
    """And with no others; the ratio is to their geometric mean, percentages to their mean."""
    p99s = [(NONE, 1.0), ("a", 4.0), (NONE, 4.0), ("b", 4.0), (NONE, 16.0), (NONE, 100.0), ("a", 50.0), (NONE, 25.0)]
    trials = [trial(mode, p99, over=p99) for mode, p99 in p99s]
    assert compare(trials, "p99", ratio) == {"a": pytest.approx([2, 1]), "b": pytest.approx([0.5])}
    assert compare(trials, "over", points) == {"a": [1.5, -12.5], "b": [-6.0]}


def test_percentiles_are_values_that_were_measured() -> None:
    """The smallest one that so many do not exceed, of a thousand known ones; and how many are over 5 ms."""
    ordered = [each / 1000 for each in range(1, 1001)]
    assert [percentile(ordered, q) for q in (0.5, 0.99, 0.999, 1.0)] == [0.5, 0.99, 0.999, 1.0]
    assert percentile([7.0], 0.5) == 7.0
    told = judge([0.005, 0.004, 0.006, 0.001])
    assert (told["p50"], told["max"], told["over"]) == (4.0, 6.0, 25.0)


def test_a_stall_is_in_the_latency_of_all_who_would_have_come() -> None:
    """Also of those for whom no connection was free: 0.4 s without answers, at 200 a second, concern 80 requests."""
    stall: list[float] = []

    def answer() -> bytes:
        now = time.monotonic()
        if not stall:
            stall.extend([now + 0.3, now + 0.7])
        if stall[0] <= now < stall[1]:
            time.sleep(stall[1] - now)
        return ANSWER

    with answering(answer) as port:
        answers = ask(port, rate=200, warm=0.1, seconds=1.2)
    assert (answers.asked, answers.right, len(answers.latencies)) == (260, 260, pytest.approx(240, abs=1))
    assert sum(each > 0.2 for each in answers.latencies) >= 35  # the first half of the 80
    assert sum(each > 0.02 for each in answers.latencies) >= 70
    assert max(answers.latencies) >= 0.35


def test_a_wrong_answer_is_counted() -> None:
    """Of the right length, with the right status."""
    with answering(lambda: ANSWER[:-2] + b"?\n") as port:
        answers = ask(port, rate=100, warm=0, seconds=0.2)
    assert (answers.asked, answers.right) == (20, 0)


def test_the_sink_counts_what_arrives() -> None:
    """Over several connections, and waits for what is still on its way."""
    with Sink() as sink:
        for _ in range(2):
            with create_connection((HOST, sink.port)) as connection:
                connection.sendall(b"a 1 1\nb 2 1\n" * 5000)
        assert sink.wait_for(20_000, 10) == 20_000
        assert sink.wait_for(20_001, 0.05) == 20_000


def test_what_is_lost_or_wrong_is_told() -> None:
    """By mode, over all trials."""
    trials = [trial(NONE), trial(TXMETRICS), trial(TXMETRICS), trial(NONE)]
    trials[1].arrived, trials[2].wrong = 998, 3
    rows = {row[0]: list(row[1:]) for row in tell_checks(trials).rows}
    assert rows[TXMETRICS] == ["200", "3", "2,000", "2", "500"]
    assert rows[NONE] == ["200", "0", "2,000", "0", "500"]


def test_a_server_that_does_not_come_up_is_an_error() -> None:
    """Rather than a row of the table."""
    with pytest.raises(RuntimeError, match="the server has ended"):
        run("a", "no such subject", Load(10, 10, 0, 0.1, 0, None))


def test_wrk_is_understood() -> None:
    """What it counted is what the server was asked, in percentiles that grow, over a second."""
    assert shutil.which("wrk"), "wrk is not installed; .ci/receivers does that, from Debian's packages"
    asked: list[None] = []

    def answer() -> bytes:
        asked.append(None)
        return ANSWER

    with answering(answer) as port:
        told = wrk(port, 1)
    assert told["wrong"] == 0
    assert 0 < told["requests"] <= len(asked)
    assert 900_000 < told["us"] < 3_000_000
    assert 0 < told["p50"] <= told["p99"] <= told["p99.9"]


def test_a_quick_run_tells_all_that_the_goals_are_about(tmp_path: Path) -> None:
    """Without wrk and without the peers that are not installed, of which it says so."""
    told = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.end_to_end", "--quick", f"--json={told}"]
    variables = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = Results.read(told)
    checks = results.tables[-1]
    assert "wrk is not installed" in checks.note
    missing = set(re.findall(r"Without (\w+):", checks.note))
    rows = {row[0]: row[1:] for row in checks.rows}
    assert set(rows) == {NONE, AGAIN, TXMETRICS, QUIET, *PEERS} - missing
    assert {(wrong, lost) for _, wrong, _, lost, _ in rows.values()} == {("0", "0")}
    assert int(rows[TXMETRICS][2].replace(",", "")) >= 1_000
    *_, of_wrk = tell_wrk([trial(NONE), trial(TXMETRICS, **{"wrk p99": 3.0, "wrk p99.9": 4.0}), trial(NONE)])
    assert of_wrk == {"wrk p99, txmetrics": 3.0, "wrk p99.9, txmetrics": 4.0}
    assert {goal.figure for goal in GOALS if goal.part == "end_to_end"} <= {*results.figures, *of_wrk}
