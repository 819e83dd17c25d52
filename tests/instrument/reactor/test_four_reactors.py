"""Who blocked, on each of the four reactors, each in a process of its own."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, run

LONG = {"Jobs.refresh", "Receiver.dataReceived", "from_thread"}
"""Held the reactor for 0.2 seconds, the others for 0.1."""

NAMES = LONG | {"Jobs.repeat", "Receiver.connectionLost", "after_a_thread", "after_a_while", "at_once"}


REACTORS = ("epoll", "poll", "select", "asyncio")


@pytest.fixture(scope="module")
def said() -> dict[str, dict[str, Any]]:
    """What the child of each reactor has printed; they run all at once, for they mostly sleep."""

    def hold(reactor: str) -> dict[str, Any]:
        program = Path(__file__).with_name("blocking_child.py")
        child = run(sys.executable, program, reactor, cwd=ROOT, PYTHONPATH=str(ROOT))
        assert child.returncode == 0, child.stdout
        answer: dict[str, Any] = json.loads(child.stdout)
        return answer

    with ThreadPoolExecutor(len(REACTORS)) as pool:
        return dict(zip(REACTORS, pool.map(hold, REACTORS), strict=True))


@pytest.mark.parametrize("reactor", REACTORS)
def test_who_blocked_is_told_by_name(reactor: str, said: dict[str, dict[str, Any]]) -> None:
    """Delayed calls, calls from threads, data and what waits for them, with where they were; then all is undone."""
    child = said[reactor]
    blocks = {name: (seconds, stack) for name, seconds, _, stack in child["blocks"]}
    assert set(blocks) == NAMES | ({"unknown"} if reactor == "asyncio" else set())
    assert len(child["blocks"]) == len(blocks)  # each once
    for name, (seconds, stack) in blocks.items():
        assert (0.19 if name in LONG else 0.09) < seconds < 2
        assert child["timers"]["reactor.blocked." + name.replace(".", "_")] == 1
        if name in LONG:
            assert stack.endswith("time.sleep(SECONDS)\n")
            assert "runUntilCurrent" not in stack  # nor what is around it
            assert "_blocked.py" not in stack
    assert child["timers"]["reactor.thread_calls"] == 5  # two of ours, and the answers of three threads
    assert child["longest tick"] > 0.19
    assert child["overridden"]
    assert not child["left behind"]
    assert child["threads"] == [1, 0]
    assert not child["measured too late"]
