"""Carbon's own receivers as the judge of what the wires write: one child process answers all questions."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.carbon import install
from tests.wire.report import STAMP
from txmetrics.interfaces import Chunk
from txmetrics.wire import Graphite, Pickle

RECEIVERS: dict[Any, str] = {Graphite: "line", Pickle: "pickle"}
"""Which of carbon's receivers a wire is for."""


class Judge:
    """Asks carbon's receivers; a context manager."""

    def __init__(self) -> None:
        python = install().with_name("python3")
        command = [str(python), "-I", str(Path(__file__).with_name("carbon_side.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._process.communicate(timeout=10)

    def ask(self, receiver: str, pieces: Iterable[bytes]) -> Any:
        """What carbon's ``receiver`` says of ``pieces`` that arrive one after the other."""
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None
        assert answers is not None
        question = {"receiver": receiver, "pieces": [piece.decode("latin-1") for piece in pieces]}
        print(json.dumps(question), file=questions, flush=True)
        assert select.select([answers], [], [], 30)[0], "carbon's parser does not answer"
        return json.loads(answers.readline())

    def check(self, wire: type, chunks: Iterable[Chunk], points: Iterable[tuple[str, float]]) -> None:
        """Assert that carbon takes ``chunks`` of ``wire`` as ``points``, in this order, and as nothing else."""
        assert self.ask(RECEIVERS[wire], [chunk.data for chunk in chunks]) == {
            "points": [[name, STAMP, value] for name, value in points],
            "refused": [],
            "connected": True,
            "error": None,
        }
