"""pyformance 0.4 itself: its source distribution, fetched once, and its package as a module."""

from __future__ import annotations

import fcntl
import importlib
import os
import shutil
import sys
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from tests.processes import run
from tests.waiting import wait_until

VERSION = "0.4"


def sources() -> Path:
    """The directory of the unpacked source distribution: in it are ``pyformance`` and its ``tests``.

    It lives in ``$TXMETRICS_TEST_CACHE`` (default ``~/.cache/txmetrics-tests``), which all test runs share: a file lock
    lets one of them fetch it while the others wait. Fails the test in one sentence if it cannot be had.
    """
    cache = Path(os.environ.get("TXMETRICS_TEST_CACHE") or Path.home() / ".cache" / "txmetrics-tests")
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / f"pyformance-{VERSION}"
    with _locked(cache / f"pyformance-{VERSION}.lock"):
        if not home.exists():
            _fetch(home)
    return home


def _fetch(home: Path) -> None:
    """Into a directory beside ``home``, which is renamed when all is there."""
    building = home.with_suffix(".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    pip = sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"
    wanted = "--no-binary", "pyformance", f"pyformance=={VERSION}"
    fetched = run(*pip, *wanted, "--dest", building, cwd=building, seconds=120)
    if fetched.returncode:
        pytest.fail(f"pip could not fetch pyformance {VERSION}: {fetched.stdout.splitlines()[-1]}", pytrace=False)
    (archive,) = building.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(building, filter="data")
    (building / f"pyformance-{VERSION}").rename(home)
    shutil.rmtree(building)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    def taken() -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    with path.open("w") as file:
        wait_until(taken, lambda: f"another test run holds {path}", 150.0)
        yield  # closing the file unlocks it


@cache
def pyformance() -> ModuleType:
    """The package as it was published, with its ``meters``, ``registry`` and ``stats``; it is not left importable."""
    home = str(sources())
    # It asks for setuptools' pkg_resources, which today's have no more, to share its name with others.
    resources = mock.Mock(spec_set=["declare_namespace"])
    with mock.patch.dict(sys.modules, {"pkg_resources": resources}), mock.patch.object(sys, "path", [home, *sys.path]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a \d in a docstring
            module = importlib.import_module("pyformance")
        assert Path(str(module.__file__)).parent.parent == Path(home)
    return module
