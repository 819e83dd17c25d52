"""Servers for a test, and who signs their certificates."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from tests.console.listening import Listening
from tests.delivery.certificates import Authority


@pytest_twisted.async_yield_fixture
async def listening() -> AsyncIterator[Listening]:
    servers = Listening()
    yield servers
    await servers.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("console") / "trusted")
