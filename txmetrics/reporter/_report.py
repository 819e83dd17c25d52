"""One pass over all readings, in turns of the reactor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from txmetrics.interfaces import Chunk, IEncoder
from txmetrics.snapshot import Reading, Unreadable

__all__ = ["TURN", "Report"]

TURN = 0.0001
"""Seconds for which a report may hold the reactor at a time; a single metric may overrun it, by 0.3 ms or so."""


class Report:
    """``turn`` until it says that it was the last one; then it says what could not be read, and how long it took."""

    def __init__(
        self,
        make_encoder: Callable[[], IEncoder],
        readings: Callable[[], Iterator[Reading]],
        deliver: Callable[[Chunk], None],
        clock: Callable[[], float],
    ) -> None:
        self._make_encoder = make_encoder
        self._encoder: IEncoder | None = None
        self._readings = readings
        self._left: Iterator[Reading] = iter(())
        self._deliver = deliver
        self._clock = clock
        self.unreadable: dict[str, Exception] = {}
        self.refused: Mapping[str, int] = {}
        self.seconds = self.longest_turn = 0.0
        self.turns = 0

    def turn(self) -> bool:
        """Go on for TURN seconds; whether that was the last turn."""
        clock = self._clock
        start = clock()
        try:
            finished = self._go_on(start + TURN)
        finally:
            took = clock() - start
            self.turns += 1
            self.seconds += took
            self.longest_turn = max(self.longest_turn, took)
        return finished

    def break_off(self) -> None:
        """Deliver what was written down; the rest of the readings is lost to this report."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            with suppress(BaseException):  # it is perhaps the encoder that does not work
                self._hand_over(encoder.finish())

    def _go_on(self, until: float) -> bool:
        encoder = self._encoder
        if encoder is None:
            encoder = self._encoder = self._make_encoder()
            self.refused = encoder.refused
            self._left = self._readings()
        add, clock = encoder.add, self._clock
        for reading in self._left:
            if isinstance(reading, Unreadable):
                self.unreadable[reading.name] = reading.error
            else:
                chunk = add(reading)
                if chunk is not None:
                    self._deliver(chunk)
            if clock() >= until:
                return False
        self._hand_over(encoder.finish())
        return True

    def _hand_over(self, chunk: Chunk | None) -> None:
        if chunk is not None:
            self._deliver(chunk)
