"""Who signs the certificates of all TLS servers here."""

from __future__ import annotations

import pytest

from tests.delivery.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "trusted")
