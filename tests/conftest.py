"""Every test leaves a clean reactor and a quiet log and ends in time; and a real carbon-cache on request."""

from __future__ import annotations

import gc
import re
import uuid
from collections.abc import Iterator

import pytest
from twisted.logger import globalLogPublisher

from tests.carbon import Carbon, CarbonUnavailableError, install
from tests.strict import Limit, Logged, guard, limit_waits

_log = Logged()
_limit = Limit()


def pytest_configure(config: pytest.Config) -> None:
    """Listen to the log and put the limit on every wait, for the whole run."""
    config.addinivalue_line("markers", "seconds(n): how long the test may wait for the reactor (default 30)")
    globalLogPublisher.addObserver(_log)
    config.add_cleanup(lambda: globalLogPublisher.removeObserver(_log))
    config.add_cleanup(limit_waits(_limit))


def pytest_collection_finish() -> None:
    """Spare what is loaded by now the garbage collection after every test."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test begins, with its own limit and log."""
    _limit.start(item)
    _log.forget()


@pytest.fixture(autouse=True, scope="session")
def _the_run_leaves_nothing() -> Iterator[None]:
    yield from guard("a fixture of the whole run", _log)


@pytest.fixture(autouse=True, scope="module")
def _a_module_leaves_nothing(_the_run_leaves_nothing: None) -> Iterator[None]:
    yield from guard("a fixture of the module", _log)
    gc.freeze()  # what a module leaves behind, reports mostly, need not be looked at after each further test


@pytest.fixture(autouse=True)
def _a_test_leaves_nothing(_a_module_leaves_nothing: None) -> Iterator[None]:
    yield from guard("the test", _log)


@pytest.fixture
def logged() -> Logged:
    """What Twisted logs during the test: `flush` the errors you expect, look at `events` or `texts()`."""
    return _log


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """One node of a metric path, made of the test's name, that no other test or run has."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", request.node.name).strip("_")[:60]
    return f"{name}_{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def _carbon_program(request: pytest.FixtureRequest) -> None:
    """Install carbon where everybody sees the progress, and fail in one sentence if that cannot be."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            install()
    except CarbonUnavailableError as reason:
        pytest.fail(str(reason), pytrace=False)


@pytest.fixture(scope="session")
def carbon(_carbon_program: None) -> Iterator[Carbon]:
    """The carbon-cache that all tests share: name your series under `prefix`, and do not stop it."""
    with Carbon() as shared:
        yield shared


@pytest.fixture
def own_carbon(_carbon_program: None) -> Iterator[Carbon]:
    """A fresh carbon-cache for one test, to be stopped, killed and frozen at will."""
    with Carbon() as own:
        yield own
