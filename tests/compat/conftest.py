"""Every comparison has the original at hand."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.compat.original import pyformance


@pytest.fixture(scope="session")
def original() -> ModuleType:
    """pyformance 0.4, as it was published."""
    return pyformance()
