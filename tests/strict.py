"""What trial checks after every test, for pytest-twisted: idle reactor, quiet log, an end in time."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

SECONDS = 30.0
"""How long a test may wait for the reactor, unless it is marked with ``@pytest.mark.seconds(n)``."""

GRACE = 0.2
"""How long connections that are being closed may take, in seconds, before they count as left behind."""

LAST_CHANCE = 1.0
"""How long a cancelled test may take for its ``finally`` clauses, in seconds, before it is abandoned."""

_wait_for_ever = pytest_twisted.blockon_default
"""pytest-twisted's own wait, kept because `limit_waits` replaces it."""


def the_reactor() -> Any:
    """The global reactor, imported late: the ``--reactor`` option of pytest-twisted chooses it first."""
    from twisted.internet import reactor

    return reactor


# The log


@implementer(ILogObserver)
class Logged:
    """
    What Twisted has logged since the test began.

    An error is an event that carries a Failure (`log.err`, `Logger.failure`, an unhandled error in a
    Deferred) or any event of level error or critical. Errors that nobody flushes fail the test.
    """

    def __init__(self) -> None:
        self.events: list[LogEvent] = []
        self._errors: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Observe one event."""
        self.events.append(event)
        if _is_error(event):
            self._errors.append(event)

    def texts(self) -> list[str]:
        """Every event since the test began, as the text a log file would show."""
        return [_text(event) for event in self.events]

    def flush(self, *types: type[BaseException]) -> list[Failure]:
        """
        Declare the errors logged so far as expected, and return their Failures.

        With exception types only errors of these are taken; without any, all are, even those without a
        Failure (which are not in the answer).
        """
        gc.collect()  # so that Deferreds that were dropped with an unhandled error have logged it
        taken = self._take(lambda event: not types or _is_of(_failure(event), types))
        return [failure for failure in map(_failure, taken) if failure is not None]

    def flush_text(self, part: str) -> list[str]:
        """Declare the logged errors with `part` in their text as expected, and return their texts."""
        gc.collect()
        return [_text(event) for event in self._take(lambda event: part in _text(event))]

    def forget(self) -> None:
        """Begin anew: a test sees only its own events. Errors that are still to be reported stay."""
        self.events.clear()

    def drain(self) -> list[str]:
        """Take every error that was not flushed, each described with its traceback; forget all events."""
        described: list[str] = []
        for _ in range(3):  # an event can hold a Deferred that logs its own error once the event is gone
            gc.collect()
            described += [_describe_error(event) for event in self._take(lambda event: True)]
            self.events.clear()
        return described

    def _take(self, wanted: Callable[[LogEvent], object]) -> list[LogEvent]:
        taken = [event for event in self._errors if wanted(event)]
        self._errors = [event for event in self._errors if all(event is not one for one in taken)]
        return taken


def _is_error(event: LogEvent) -> bool:
    if _failure(event) is not None:
        return True
    if event.get("log_namespace") == "twisted.internet.defer":
        return False  # "Unhandled error in Deferred:" is a headline, the event with the Failure follows it
    return event.get("log_level") in (LogLevel.error, LogLevel.critical)


def _failure(event: LogEvent) -> Failure | None:
    found = event.get("log_failure", event.get("failure"))  # the second is log.err's name for it
    return found if isinstance(found, Failure) else None


def _is_of(failure: Failure | None, types: tuple[type[BaseException], ...]) -> bool:
    return failure is not None and failure.check(*types) is not None


def _text(event: LogEvent) -> str:
    return formatEvent(event) or str(_failure(event) or "")


def _describe_error(event: LogEvent) -> str:
    failure = _failure(event)
    if failure is None:
        return f"logged error: {_text(event)}"
    unhandled = event.get("log_namespace") == "twisted.internet.defer"
    kind = "unhandled error in a Deferred" if unhandled else "logged error"
    title = f"{kind}: {type(failure.value).__name__}: {failure.getErrorMessage()}"
    return "\n".join([title, *("    " + line for line in failure.getBriefTraceback().splitlines())])


# The reactor


class Baseline:
    """The reactor as it is now; later it tells what is new."""

    def __init__(self) -> None:
        self._calls = list(the_reactor().getDelayedCalls())
        self._functions = [call.func for call in self._calls]
        self._selectables = _selectables()

    def new_calls(self) -> list[Any]:
        """
        The delayed calls that appeared since.

        A new call of a function that was already waiting at the baseline is the next turn of a wider
        fixture's loop, and does not count.
        """
        calls = [call for call in the_reactor().getDelayedCalls() if call not in self._calls]
        return [call for call in calls if call.func not in self._functions]

    def new_selectables(self) -> list[Any]:
        """The ports and connections that appeared since and are watched by the reactor."""
        return [one for one in _selectables() if all(one is not old for old in self._selectables)]

    def settle(self) -> None:
        """Let what is about to end do so: a few turns of the reactor, `GRACE` seconds for connections."""
        end = time.monotonic() + GRACE
        _turn()
        while self.new_selectables() and time.monotonic() < end:
            _turn(0.005)
        _turn()

    def describe(self) -> list[str]:
        """Name everything that is new, one line each."""
        return [f"delayed call: {call}" for call in self.new_calls()] + [
            f"{'listening port' if IListeningPort.providedBy(one) else 'open connection or file'}: {one}"
            for one in self.new_selectables()
        ]

    def restore(self) -> None:
        """Cancel and close everything that is new, so that the next test starts with a clean reactor."""
        for _ in range(10):  # closing one thing may start another: a lost client tries again
            calls, selectables = self.new_calls(), self.new_selectables()
            if not calls and not selectables:
                return
            for call in calls:
                call.cancel()
            for one in selectables:
                _close(one)
            _turn(0.01)
        for one in self.new_selectables():
            the_reactor().removeReader(one)
            the_reactor().removeWriter(one)


def _selectables() -> list[Any]:
    reactor = the_reactor()
    internal: set[Any] = getattr(reactor, "_internalReaders", set())
    found = {id(one): one for one in [*reactor.getReaders(), *reactor.getWriters()] if one not in internal}
    return list(found.values())


def _close(selectable: Any) -> None:
    process = getattr(selectable, "proc", None)
    if process is not None:  # a pipe of a child process
        with suppress(ProcessExitedAlready):
            process.signalProcess("KILL")
    for name in ("stopListening", "abortConnection", "loseConnection"):
        close = getattr(selectable, name, None)
        if close is not None:
            maybeDeferred(close).addErrback(lambda failure: None)  # thrown away, its complaints do not matter
            return


def _turn(seconds: float = 0.0) -> None:
    """Let the reactor run: all that is due now, or for some seconds."""
    _wait_for_ever(deferLater(the_reactor(), seconds))


# The guard


def guard(who: str, log: Logged) -> Iterator[None]:
    """
    The body of an autouse fixture: fail if the reactor or the log is not clean at the end of its scope.

    Only what appeared since its begin counts. What is left behind is named, then removed.
    """
    before = Baseline()
    yield
    before.settle()
    _release_last_failure()
    problems = log.drain() + before.describe()
    if not problems:
        return
    before.restore()
    log.drain()
    pytest.fail(f"{who} left behind:\n" + "\n".join(f"- {problem}" for problem in problems), pytrace=False)


def _release_last_failure() -> None:
    """Drop the last traceback: it keeps the Deferreds of a failed test until the next one, the wrong one."""
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        vars(sys).pop(name, None)


# The time limit


class Limit:
    """How long the test that runs now may wait, and its name for the message."""

    def __init__(self) -> None:
        self.name = "outside a test"
        self.seconds = SECONDS

    def start(self, item: pytest.Item) -> None:
        """A test begins."""
        marker = item.get_closest_marker("seconds")
        self.name = item.name
        self.seconds = float(marker.args[0]) if marker else SECONDS

    def within(self, work: Deferred[Any]) -> Deferred[Any]:
        """
        A Deferred with the result of `work`, or with TimeoutError if `work` has none in time.

        At the limit `work` is cancelled, so that the ``finally`` clauses of a test run and the message shows
        the line it waited in; if that does not end it either, it is abandoned.
        """
        return _Wait(work, self.name, self.seconds).result


class _Wait:
    def __init__(self, work: Deferred[Any], name: str, seconds: float) -> None:
        self.result: Deferred[Any] = Deferred()
        self._work = work
        self._expired = False
        self._message = f"{name} still waits after {seconds:g} s (@pytest.mark.seconds(n) sets the limit)"
        self._call = the_reactor().callLater(seconds, self._expire)
        work.addBoth(self._finish)

    def _expire(self) -> None:
        self._expired = True
        self._call = the_reactor().callLater(LAST_CHANCE, self._finish, None)
        self._work.cancel()

    def _finish(self, outcome: Any) -> None:
        if self.result.called:
            return  # abandoned long ago
        if self._call.active():
            self._call.cancel()
        if not self._expired:
            self.result.callback(outcome)  # a Failure goes on as one
            return
        where = outcome.getTraceback() if isinstance(outcome, Failure) else "(it did not end when cancelled)"
        self.result.errback(TimeoutError(f"{self._message}, here:\n{where}"))


def limit_waits(limit: Limit) -> Callable[[], None]:
    """
    Put the limit on every wait of pytest-twisted: tests, async fixtures, their ends, and `blockon`.

    pytest-twisted has no time limit and no hook for one, so this replaces two functions of it; the returned
    function puts them back.
    """
    old_run, old_wait = pytest_twisted._run_inline_callbacks, pytest_twisted.blockon_default

    def run(function: Callable[..., Any], *args: Any) -> None:
        done: Deferred[Any] = Deferred()
        the_reactor().callLater(0, lambda: limit.within(maybeDeferred(function, *args)).chainDeferred(done))
        _wait_for_ever(done)

    def wait(deferred: Deferred[Any]) -> Any:
        return _wait_for_ever(limit.within(deferred))

    def undo() -> None:
        pytest_twisted._run_inline_callbacks, pytest_twisted.blockon_default = old_run, old_wait

    pytest_twisted._run_inline_callbacks, pytest_twisted.blockon_default = run, wait
    return undo
