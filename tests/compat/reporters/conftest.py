"""For a test the global reactor is one whose time passes when the test says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.reporters.reactors import Fake


@pytest.fixture
def fake() -> Iterator[Fake]:
    """It takes the place of the global reactor when the test says so, and until the test is over."""
    with pytest.MonkeyPatch.context() as patch:
        yield Fake(patch)
