"""``examples/fleet`` on each engine, with real servers: what `check.py` found, and what it showed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT, run

CHECK = [sys.executable, ROOT / "examples" / "fleet" / "check.py"]

ALL = [
    r"a replay changes nothing: 0 of \d+ series are different",
    r"each of ([\d,]+) requests was answered",
    r"the total is exact, less the (\d+) requests of which a killed worker told nobody",
    r"the p99 is within 3% of the truth: [+-]\d\.\d %",
    "without identity the total is wrong",
    "the average of the workers' p99s is wrong",
]
GRAPHITE = [
    r"without a carbon-cache the total is exact: (\d+)(?:[.]0)? of \1",
    r"without a carbon-cache the p99 is within 3% of the truth: [+-]\d\.\d %",
    *ALL[:4],
    "every point is still there without a carbon-cache, any one",
    *ALL[4:],
]


def number(text: str) -> float:
    return float(text.replace(",", ""))


def found(output: str, sentence: str) -> re.Match[str]:
    """The line that says that this was so."""
    match = re.search(rf"^yes  {sentence}$", output, re.MULTILINE)
    assert match, f"{sentence!r} is not in\n{output}"
    return match


def row(output: str, name: str) -> tuple[float, float, float]:
    """A row of the table: truth, right and wrong."""
    match = re.search(rf"^{name} +([\d,.]+)(?: s)? +([\d,.]+)(?: s)? +([\d,.]+)(?: s)?  [+-]", output, re.MULTILINE)
    assert match, f"{name} is not in\n{output}"
    truth, right, wrong = map(number, match.groups())
    return truth, right, wrong


@pytest.mark.usefixtures("_carbon_program")
@pytest.mark.parametrize("engine", ["graphite", "victoriametrics", "prometheus"])
def test_the_numbers_are_right_whatever_is_killed(engine: str, tmp_path: Path) -> None:
    """All that the example asserts is so, and its table agrees with the answers that the load has written down."""
    ended = run(*CHECK, f"--engine={engine}", "--answers=answers.jsonl", cwd=tmp_path, seconds=150)
    output = ended.stdout
    assert ended.returncode == 0, output
    sentences = GRAPHITE if engine == "graphite" else ALL
    answered, unreported = (number(found(output, ALL[place])[1]) for place in (1, 2))
    assert all(found(output, sentence) for sentence in sentences)
    assert output.count("\nyes  ") == len(sentences)
    assert "\nNO   " not in output

    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    truth, right, wrong = row(output, "requests")
    assert len(answers) == answered > 6000
    assert truth == right == answered - unreported
    assert unreported > 0
    assert wrong < truth / 2

    seconds = sorted(answer["seconds"] for answer in answers)
    truth, right, wrong = row(output, "p99")
    assert truth == pytest.approx(seconds[len(seconds) * 99 // 100], rel=0.03)  # the last few came after the table
    assert right == pytest.approx(truth, rel=0.03)
    assert wrong < truth * 0.9
    lives = {(answer["worker"], answer["pid"]) for answer in answers}
    assert sorted({worker for worker, _ in lives}) == ["w0", "w1", "w2", "w3"]
    assert len(lives) == 5


def test_too_few_requests_are_one_sentence(tmp_path: Path) -> None:
    """And nothing is started."""
    ended = run(*CHECK, "--requests=10", cwd=tmp_path)
    assert ended.returncode == 2
    assert "--requests=10 are too few for a percentile; give 1000 or more" in ended.stdout.splitlines()[-1]
