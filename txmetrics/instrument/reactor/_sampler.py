"""Stack samples, taken by a thread while the reactor is held."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from traceback import StackSummary
from types import CodeType, FrameType

__all__ = ["Sampler"]

MAX_FRAMES = 30
"""So many frames of a stack are kept, the innermost."""

MAX_CHARACTERS = 10_000


class Sampler:
    """Keeps the stack of the thread that called ``start``, taken while it is held by one and the same thing.

    Every ``seconds`` a thread asks ``held`` by what, and is told a new object for each thing, None for none.
    ``take`` tells it afterwards, once. Frames of ``outermost`` and around it are left out.
    """

    def __init__(self, held: Callable[[], object | None], seconds: float, outermost: CodeType) -> None:
        self._held = held
        self._seconds = seconds
        self._outermost = outermost
        self._sample: tuple[object, str] | None = None
        self._over = threading.Event()
        self._watched = 0
        self._thread = threading.Thread(target=self._run, name="txmetrics stack sampler", daemon=True)

    def start(self) -> None:
        self._watched = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it cannot be started again."""
        self._over.set()
        self._thread.join(1.0)

    def take(self, holder: object) -> str | None:
        """The stack that was seen while ``holder`` held the thread, the most recent call last; None if none was."""
        sample, self._sample = self._sample, None
        return sample[1] if sample is not None and sample[0] is holder else None

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            with suppress(Exception):  # a sample less
                self._look()

    def _look(self) -> None:
        holder, sample = self._held(), self._sample
        if holder is None or (sample is not None and sample[0] is holder):
            return
        frames = self._frames(sys._current_frames().get(self._watched))
        if self._held() is holder:  # still, so these frames are its own
            self._sample = holder, _text(frames)

    def _frames(self, frame: FrameType | None) -> list[tuple[FrameType, int]]:
        frames: list[tuple[FrameType, int]] = []
        while frame is not None and frame.f_code is not self._outermost and len(frames) < MAX_FRAMES:
            frames.insert(0, (frame, frame.f_lineno))
            frame = frame.f_back
        return frames


def _text(frames: list[tuple[FrameType, int]]) -> str:
    return "".join(StackSummary.extract(iter(frames)).format())[-MAX_CHARACTERS:]
