"""Where a spool of the tests lives, and disks to mount."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.delivery.spool.lives")  # not in __init__.py, which the child imports, too


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount something on a fresh directory, for as long as the test runs."""
    mounted: list[Path] = []

    def mount(*options: str) -> Path:
        place = tmp_path / f"mounted{len(mounted)}"
        place.mkdir()
        done = subprocess.run(["mount", *options, place], capture_output=True, text=True)
        if done.returncode and ("superuser" in done.stderr or "permission denied" in done.stderr.lower()):
            pytest.skip(f"only root may mount: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounted.append(place)
        return place

    yield mount
    for place in reversed(mounted):
        subprocess.run(["umount", "--lazy", place], check=True)  # a failed test may hold files on it
