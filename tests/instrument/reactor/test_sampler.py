"""Stack samples: of the thread that is held, by what holds it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import pytest

from txmetrics.instrument.reactor._sampler import MAX_CHARACTERS, MAX_FRAMES, Sampler


def outermost(function: Callable[[], object]) -> None:
    """Where a stack ends."""
    function()


class Held:
    """Says by what the thread is held: one thing after the other, the last one for ever."""

    def __init__(self, *holders: object) -> None:
        self.holders = list(holders)
        self.asked = threading.Semaphore(0)

    def __call__(self) -> object:
        self.asked.release()
        return self.holders.pop(0) if len(self.holders) > 1 else self.holders[0]

    def wait(self, times: int) -> None:
        for _ in range(times):
            assert self.asked.acquire(timeout=20)


def sample(held: Held, times: int = 6, inside: Callable[[], object] | None = None) -> Sampler:
    """One that was asked so often while this thread was held."""
    sampler = Sampler(held, 0.001, outermost.__code__)
    sampler.start()
    try:
        outermost(inside or (lambda: held.wait(times)))
    finally:
        sampler.stop()
    return sampler


def test_the_stack_of_who_holds_the_thread() -> None:
    """From the outermost frame that matters to where it is; told once, and to nobody else."""
    held = Held("holder")
    sampler = sample(held)
    assert sampler.take("another") is None
    sampler = sample(held)
    stack = sampler.take("holder")
    assert stack is not None
    assert "in wait\n    assert self.asked.acquire(timeout=20)" in stack
    assert "in outermost" not in stack
    assert "in sample" not in stack
    assert sampler.take("holder") is None


def test_one_that_went_on_meanwhile_has_none() -> None:
    """Nobody is blamed for where the next one was."""
    assert sample(Held("first", "second", None)).take("first") is None
    assert sample(Held("first", "second", None)).take("second") is None


def test_nobody_holds_it() -> None:
    """Then there is no sample."""
    assert sample(Held(None)).take(None) is None


def test_a_stack_has_an_end() -> None:
    """The innermost thirty frames, in ten thousand characters."""
    held = Held("holder")

    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        else:
            held.wait(6)

    stack = sample(held, inside=lambda: deep(200)).take("holder")
    assert stack is not None
    assert stack.count("  File ") <= MAX_FRAMES
    assert "self.asked.acquire" in stack
    assert len(stack) <= MAX_CHARACTERS


def test_a_failed_look_is_a_sample_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread goes on."""
    frames = sys._current_frames
    failures: list[int] = []

    def fail_once() -> object:
        if not failures:
            failures.append(1)
            raise RuntimeError("not now")
        return frames()

    monkeypatch.setattr(sys, "_current_frames", fail_once)
    assert sample(Held("holder")).take("holder") is not None


def test_the_thread_ends_at_once() -> None:
    """However long it was to wait, and it is a daemon until then."""
    sampler = Sampler(lambda: None, 3600, outermost.__code__)
    before = threading.active_count()
    sampler.start()
    assert threading.active_count() == before + 1
    assert sampler._thread.daemon
    begun = time.perf_counter()
    sampler.stop()
    assert time.perf_counter() - begun < 0.9
    assert threading.active_count() == before
