"""Rigs for each test, which must leave nothing waiting in their reactors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.delivery.network import check_books
from tests.reporter.rig import Rig
from txmetrics.reporter import STOP


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    """Makes rigs; when the test is over each is stopped, and nothing may wait in its reactor any more."""
    rigs: list[Rig] = []

    def make_one(*args: Any, **kwargs: Any) -> Rig:
        rigs.append(Rig(*args, **kwargs))
        return rigs[-1]

    yield make_one
    for rig in rigs:
        stopped = rig.stop()
        rig.advance(STOP + 0.2)
        assert stopped == [None]
        for stream in rig.streams:
            check_books(stream)
    for rig in rigs:
        assert rig.reactor.getDelayedCalls() == []
        assert rig.graphite.wrong == []
