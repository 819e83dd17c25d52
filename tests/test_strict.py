"""The strictness of conftest.py, proved on a small test run that does everything wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Run in this order by one pytest of its own, after every test that fails one that must not suffer from it.
VICTIMS = '''
import gc

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python import log


def forgotten_function():
    pass


def listen():
    return reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")


def connect(port):
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    return endpoint.connect(Factory.forProtocol(Protocol))


@pytest_twisted.async_yield_fixture(scope="module")
async def server():
    """A wider fixture that holds a port and ticks during all tests."""
    port, loop = listen(), LoopingCall(forgotten_function)
    loop.start(0.001)
    yield port
    loop.stop()
    await port.stopListening()


@pytest.fixture(autouse=True)
def everywhere(server):
    pass


def clean():
    assert len(reactor.getDelayedCalls()) <= 1  # of the fixture above


def test_delayed_call():
    reactor.callLater(60, forgotten_function)


def test_after_delayed_call():
    clean()


def test_soon_delayed_call():
    reactor.callLater(0.1, forgotten_function)


def test_loop():
    LoopingCall(forgotten_function).start(0.01)


def test_after_loop():
    clean()


def test_port():
    test_port.number = listen().getHost().port


def test_after_port():
    reactor.listenTCP(test_port.number, Factory(), interface="127.0.0.1").stopListening()


def test_udp_port():
    reactor.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")


@pytest_twisted.ensureDeferred
async def test_connection(server):
    await connect(server)


def test_after_connection():
    clean()


@pytest_twisted.ensureDeferred
async def test_connection_about_to_close(server):
    protocol = await connect(server)
    protocol.transport.loseConnection()


def test_child_process():
    from twisted.internet.protocol import ProcessProtocol

    reactor.spawnProcess(ProcessProtocol(), "/bin/sleep", ["sleep", "60"])


def test_after_child_process():
    clean()


def test_log_err():
    log.err(ZeroDivisionError("told to log.err"))


def test_after_log_err(logged):
    assert logged.events == []


def test_logged_failure():
    try:
        1 / 0
    except ZeroDivisionError:
        Logger().failure("told to a Logger")


def test_logged_text():
    Logger().error("an error {where} a Failure", where="without")


def test_warning():
    Logger().warn("only a warning")


def test_unhandled():
    fail(ValueError("nobody looked"))


def test_after_unhandled():
    pass


def test_unhandled_in_a_cycle():
    cycle = [fail(ValueError("only the collector found it"))]
    cycle.append(cycle)


def test_after_unhandled_in_a_cycle():
    gc.collect()


def test_failed_with_unhandled():
    unhandled = fail(ValueError("in the frame of a failed test"))
    assert unhandled is None


def test_after_failed_with_unhandled():
    gc.collect()


def test_flushed(logged):
    log.err(ZeroDivisionError("expected"))
    fail(ValueError("expected too"))
    Logger().error("told {what}", what="without a Failure")
    [first] = logged.flush(ZeroDivisionError)
    assert first.value.args == ("expected",)
    assert [failure.type for failure in logged.flush(ValueError, KeyError)] == [ValueError]
    assert logged.flush_text("told without") == ["told without a Failure"]
    assert "told without a Failure" in logged.texts()
    assert logged.flush() == []


def test_flushed_another(logged):
    log.err(ZeroDivisionError("not the expected one"))
    logged.flush(ValueError)


@pytest.mark.seconds(1)
@pytest_twisted.ensureDeferred
async def test_hung_coroutine():
    try:
        await Deferred()
    finally:
        test_hung_coroutine.cleaned_up = True


def test_after_hung_coroutine():
    assert test_hung_coroutine.cleaned_up
    clean()


@pytest.mark.seconds(0.1)
@pytest_twisted.inlineCallbacks
def test_hung_generator():
    yield deferLater(reactor, 60)


@pytest.mark.seconds(0.1)
def test_hung_deferred():
    return Deferred()


@pytest.mark.seconds(0.1)
@pytest_twisted.ensureDeferred
async def test_hung_and_stubborn():
    while True:
        try:
            await Deferred()
        except BaseException as stubborn:
            if isinstance(stubborn, GeneratorExit):
                raise


@pytest_twisted.async_fixture
async def hung():
    await Deferred()


@pytest.mark.seconds(0.1)
def test_hung_fixture(hung):
    pass


@pytest_twisted.async_yield_fixture
async def hung_at_the_end():
    yield
    await Deferred()


@pytest.mark.seconds(0.1)
def test_hung_end_of_fixture(hung_at_the_end):
    pass


@pytest.fixture
def hung_in_blockon():
    pytest_twisted.blockon(Deferred())


@pytest.mark.seconds(0.1)
def test_hung_blockon(hung_in_blockon):
    pass


def test_after_all_the_hung():
    clean()


@pytest.fixture
def tidy():
    port = listen()
    yield port
    pytest_twisted.blockon(port.stopListening())


def test_tidy_fixture(tidy):
    clean()


@pytest.fixture(scope="module")
def untidy():
    return listen()


def test_user_of_an_untidy_module_fixture(untidy):
    clean()
'''

FAILURES = {
    "delayed_call": ["the test left behind", "delayed call", "forgotten_function"],
    "soon_delayed_call": ["delayed call", "forgotten_function"],
    "loop": ["delayed call", "LoopingCall", "forgotten_function"],
    "port": ["listening port", "Factory"],
    "udp_port": ["listening port", "DatagramProtocol"],
    "connection": ["open connection", "127.0.0.1"],
    "child_process": ["open connection or file", "Process"],
    "log_err": ["logged error: ZeroDivisionError: told to log.err"],
    "logged_failure": ["logged error: ZeroDivisionError", ":test_logged_failure"],
    "logged_text": ["logged error: an error without a Failure"],
    "unhandled": ["unhandled error in a Deferred: ValueError: nobody looked"],
    "unhandled_in_a_cycle": ["unhandled error in a Deferred: ValueError: only the collector found it"],
    "failed_with_unhandled": ["ValueError: in the frame of a failed test"],
    "flushed_another": ["logged error: ZeroDivisionError: not the expected one"],
    "hung_coroutine": ["TimeoutError: test_hung_coroutine still waits after 1 s", "await Deferred()"],
    "hung_generator": ["test_hung_generator still waits after 0.1 s", "yield deferLater(reactor, 60)"],
    "hung_deferred": ["test_hung_deferred still waits after 0.1 s"],
    "hung_and_stubborn": ["test_hung_and_stubborn still waits after 0.1 s"],
    "hung_fixture": ["test_hung_fixture still waits", "await Deferred()"],
    "hung_end_of_fixture": ["test_hung_end_of_fixture still waits"],
    "hung_blockon": ["test_hung_blockon still waits"],
    "user_of_an_untidy_module_fixture": ["a fixture of the module left behind", "listening port"],
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each victim, in the order of the run: its failures and errors as text, or nothing."""
    place = tmp_path_factory.mktemp("victims")
    shutil.copy(HERE / "conftest.py", place)
    (place / "test_victims.py").write_text(VICTIMS)
    options = ["-c", os.devnull, f"--rootdir={place}", f"--junit-xml={place}/report.xml"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, place],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return _read_report(place / "report.xml")


def _read_report(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.attrib["name"].removeprefix("test_")
        problems = [*case.iter("failure"), *case.iter("error")]
        texts = [f"{problem.get('message')}\n{problem.text}" for problem in problems]
        found[name] = "\n".join([*filter(None, [found.get(name)]), *texts])
    return found


@pytest.mark.parametrize("name", FAILURES)
def test_what_is_wrong_fails_with_a_helpful_message(outcomes: dict[str, str], name: str) -> None:
    """Whatever a test leaves behind or waits for in vain fails this very test, by its name."""
    assert [part for part in FAILURES[name] if part not in outcomes[name]] == []


def test_everything_else_passes(outcomes: dict[str, str]) -> None:
    """Tests that clean up or flush what they expect pass, and so does each test after one that did not."""
    others = {name: text for name, text in outcomes.items() if name not in FAILURES}
    assert {name: text for name, text in others.items() if text} == {}
    assert {"flushed", "after_delayed_call", "after_port", "after_hung_coroutine"} <= set(others)


def test_the_whole_run_goes_on_to_its_end(outcomes: dict[str, str]) -> None:
    """No victim ends the run early: the last one has its report."""
    assert list(outcomes)[-1] == "user_of_an_untidy_module_fixture"
    assert len(outcomes) == VICTIMS.count("\ndef test_") + VICTIMS.count("\nasync def test_")
