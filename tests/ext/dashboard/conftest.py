"""The dashboard that most tests ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ext.dashboard.stand import Stand


@pytest.fixture
def stand() -> Iterator[Stand]:
    """A dashboard that runs."""
    stand = Stand().run()
    yield stand
    stand.close()
