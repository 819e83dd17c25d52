"""No key from outside gets into these tests."""

from __future__ import annotations

import pytest

from txmetrics.tap import KEY_VARIABLE


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
