"""What is built and installed: a wheel, a source distribution and a checkout all bring the twistd plugin."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any
from zipfile import ZipFile

import pytest

from tests.processes import ROOT, run

PLUGIN = "twisted/plugins/txmetrics_plugin.py"
MINUTES = 300.0
"""Seconds for what may have to be downloaded."""


def check(*command: Any, cwd: Path, seconds: float = MINUTES) -> str:
    """Run a program that has to succeed; returns its output."""
    ended = run(*command, cwd=cwd, seconds=seconds)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def build(source: Path, target: str, directory: Path) -> Path:
    """The wheel or sdist that hatchling makes of ``source``, in ``directory``."""
    check(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", directory, cwd=source)
    [built] = directory.iterdir()
    return built


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, with the litter that Twisted leaves in one, and that no .gitignore hides."""
    copy = tmp_path_factory.mktemp("packaging") / "checkout"
    copytree(ROOT, copy, ignore=ignore_patterns(".*", "dist", "build", "__pycache__"))
    (copy / "twisted" / "plugins" / "dropin.cache").write_bytes(b"stale")
    (copy / "twisted" / "plugins" / "another_plugin.py").write_text("")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    return build(checkout, "wheel", checkout.parent / "wheel")


@pytest.fixture(scope="module")
def sdist(checkout: Path) -> Path:
    return build(checkout, "sdist", checkout.parent / "sdist")


def contents(wheel: Path) -> dict[str, bytes]:
    """A wheel's files by name."""
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_one_plugin(wheel: Path) -> None:
    """An __init__.py or a dropin.cache under twisted/plugins would hide everybody else's plugins."""
    names = {name for name in contents(wheel) if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "txmetrics").rglob("*.py")}
    page = {path.relative_to(ROOT).as_posix() for path in (ROOT / "txmetrics" / "ext" / "dashboard" / "page").iterdir()}
    assert len(page) > 2
    assert names == {*modules, *page, "txmetrics/py.typed", PLUGIN}


def test_only_twisted_is_required(wheel: Path) -> None:
    """All else, TLS included, is an extra."""
    [metadata] = [data.decode() for name, data in contents(wheel).items() if name.endswith("/METADATA")]
    fields = message_from_string(metadata)
    requirements = fields.get_all("Requires-Dist", [])
    assert [each for each in requirements if "extra ==" not in each] == ["twisted>=24.7"]
    assert "twisted[tls]>=24.7; extra == 'tls'" in requirements
    assert fields["Requires-Python"] == ">=3.11"


def test_the_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """Byte for byte, so that it does not matter which of the two was installed."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    assert contents(build(source, "wheel", tmp_path / "wheel")) == contents(wheel)


def test_the_sdist_holds_what_its_tests_need(sdist: Path) -> None:
    """And, of Twisted's folder, the plugin only."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "examples/hello.py", "tests/__init__.py", "tests/conftest.py"} <= names
    assert {name for name in names if name.startswith("twisted/")} == {PLUGIN}


class Installation:
    """A virtual environment with nothing in it but what is needed to install txmetrics without a network."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "venv" / "bin"
        check(sys.executable, "-m", "venv", directory / "venv", cwd=directory)
        self.pip("install", "twisted>=24.7", "hatchling>=1.26", "editables")

    def pip(self, *arguments: object) -> None:
        self.run("python", "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments)

    def run(self, program: str, *arguments: object) -> str:
        """The output of one of its programs."""
        return check(self.bin / program, *arguments, cwd=self.directory)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("installation"))


@pytest.fixture
def installed(
    request: pytest.FixtureRequest, installation: Installation, wheel: Path, sdist: Path, checkout: Path
) -> Iterator[Installation]:
    """txmetrics installed in one of three forms, which the test names."""
    what = {"wheel": [wheel], "sdist": [sdist], "editable": ["--editable", checkout]}[request.param]
    installation.pip("install", "--no-index", "--no-build-isolation", *what)
    yield installation
    installation.pip("uninstall", "--yes", "txmetrics")


IMPORTED = """
import sys
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
assert "metrics" in [plugin.tapname for plugin in getPlugins(IServiceMaker)]
print(*[name for name in sys.modules if name.split(".")[0] == "txmetrics"])
"""

WITHOUT_TLS = """
import txmetrics, txmetrics.backends, txmetrics.tap, txmetrics.testing
try:
    txmetrics.backends.hosted_graphite(txmetrics.MetricsRegistry(), "key")
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("installed", ["wheel", "sdist", "editable"], indirect=True)
def test_every_form_of_installation_brings_the_plugin(installed: Installation) -> None:
    """twistd and twist list it, and finding it imports nothing of txmetrics."""
    assert installed.run("python", "-c", IMPORTED).strip() == ""
    assert installed.run("python", "-c", IMPORTED).strip() == "", "and not from the plugins' cache either"
    for runner in ("twistd", "twist"):
        assert "\n    metrics  " in installed.run(runner, "--help")
        assert "--metrics-graphite=" in installed.run(runner, "metrics", "--help")
    assert installed.run("txmetrics", "--help") == installed.run("python", "-m", "txmetrics", "--help")


@pytest.mark.parametrize("installed", ["wheel"], indirect=True)
def test_with_twisted_alone_everything_works_but_tls(installed: Installation) -> None:
    """And what needs TLS says so, in one line."""
    told = installed.run("python", "-c", WITHOUT_TLS)
    assert "needs TLS: pip install" in told
    assert told.count("\n") == 1


def test_an_uninstalled_plugin_is_gone(installation: Installation, wheel: Path) -> None:
    """And Twisted is as it was."""
    before = installation.run("twistd", "--help")
    installation.pip("install", "--no-index", wheel)
    assert installation.run("twistd", "--help") != before
    installation.pip("uninstall", "--yes", "txmetrics")
    assert installation.run("twistd", "--help") == before
