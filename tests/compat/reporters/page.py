"""A console in virtual time."""

from __future__ import annotations

import io
import re

from tests.compat.reporters.reactors import Fake
from txmetrics.compat.pyformance import MetricsRegistry
from txmetrics.compat.pyformance.reporters import ConsoleReporter

__all__ = ["Page"]


class Page:
    """A ConsoleReporter of a counter ``c``, and what it has printed."""

    def __init__(self, fake: Fake, interval: float = 10) -> None:
        self.registry = MetricsRegistry(clock=fake)
        self.registry.counter("c").inc()
        self.stream = io.StringIO()
        self.reporter = ConsoleReporter(self.registry, interval, self.stream, fake)

    @property
    def seconds(self) -> list[str]:
        """When reports were made, as they say themselves."""
        return re.findall(r"^== 2001-09-09 01:(\d\d:\d\d) =+$", self.stream.getvalue(), re.MULTILINE)
