"""The stage on which the web tests play."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from tests.instrument.web.loopback import Stage


@pytest_twisted.async_yield_fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A Site on loopback, and whatever else a scenario needs, taken down after the test."""
    stage = Stage(tmp_path)
    yield stage
    await stage.clear()
