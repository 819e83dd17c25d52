"""A program that forks workers and ends them: ``identity_child.py DIRECTORY``, with a command a line.

``lease SERVICE`` asks who the program itself is; ``start SERVICE N`` makes so many workers, who all ask the same at
once; ``idle`` one that does not ask. ``end PID`` and ``kill PID`` end one. Each answers with a line: ``PID NAME`` for
each worker, or ``PID``.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from txmetrics.identity import Identity

LIFE = 60.0
"""Seconds after which a worker ends that nobody has ended."""

directory = Path(sys.argv[1])
ends: dict[int, int] = {}
"""By the pid of a worker the pipe whose writing ends it."""


def who(service: str) -> str:
    return Identity.resolve(service, directory=directory).worker


def wait(pipe: int) -> None:
    select.select([pipe], [], [], LIFE)


def fork(work: Callable[[int], None]) -> int:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            work(reading)
        finally:
            os._exit(0)
    os.close(reading)
    ends[child] = writing
    return child


def start(number: int, ask: Callable[[], str]) -> str:
    """So many workers, who all ask at the same time."""
    told, tell = os.pipe()
    starting, go = os.pipe()

    def work(end: int) -> None:
        wait(starting)
        os.write(tell, f"{os.getpid()} {ask()} ".encode())
        wait(end)

    for _ in range(number):
        fork(work)
    os.write(go, b".")  # which nobody reads, so that everybody sees it
    answers = b""
    while answers.count(b" ") < 2 * number:
        answers += os.read(told, 1000)
    for pipe in (told, tell, starting, go):
        os.close(pipe)
    return answers.decode()


def end(child: int, signum: int | None) -> str:
    if signum is None:
        os.write(ends[child], b".")
    else:
        os.kill(child, signum)
    os.waitpid(child, 0)
    os.close(ends.pop(child))
    return str(child)


def answer(command: str, *arguments: str) -> str:
    if command == "lease":
        return f"{os.getpid()} {who(arguments[0])}"
    if command == "start":
        return start(int(arguments[1]), lambda: who(arguments[0]))
    if command == "idle":
        return start(1, lambda: "nobody")
    return end(int(arguments[0]), signal.SIGKILL if command == "kill" else None)


for line in sys.stdin:
    print(answer(*line.split()), flush=True)
for pid in list(ends):
    end(pid, signal.SIGKILL)
