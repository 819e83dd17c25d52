"""The reactor's own methods, overridden on the instance: the one place that knows private attributes of reactors.

Checked with Twisted 24.7 and 26. What a reactor calls reaches the watch in three ways. Readers and writers pass
through one method of every reactor. A delayed call has its function replaced right before the reactor runs what is
due, and back right after. A call from a thread is wrapped when it is handed over.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from twisted.python.log import callWithLogger

from txmetrics.instrument._shadow import Shadow
from txmetrics.instrument.reactor._callers import FUNCTIONS, Callers, Descriptors

__all__ = ["Hooks", "UnknownReactorError", "Watch"]

SOON = 0.005
"""What is due within so many seconds has its function replaced too: it may become due while the others are."""


class Watch(Protocol):
    """Is shown all that a reactor does."""

    def call(self, callers: Callers, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``function``, and return or raise what it does; ``callers`` can name it."""

    def thread_call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The same, for a call from a thread."""

    def wait(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """The same for ``function`` that waits for something to happen, and may deal with that."""


class UnknownReactorError(Exception):
    """This reactor has not what we would need to override."""


class Hooks:
    """What ``watch`` needs of one reactor; nothing is touched until ``put``, all is as before after ``remove``.

    Raises UnknownReactorError if the reactor is none of those we know, or if somebody overrides it already.
    """

    def __init__(self, reactor: Any, watch: Watch) -> None:
        self._reactor = reactor
        self._watch = watch
        self._shadows: list[Shadow] = []
        self._first_look = False  # at the delayed calls, since the reactor began to run what is due
        self._replaced: list[tuple[Any, _Watched]] = []
        kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(reactor).__mro__}
        self._asyncio = _ASYNCIO in kinds
        if not self._asyncio and not kinds & _POLLING:
            raise UnknownReactorError(f"{type(reactor).__name__} is not one of those whose insides are known")
        own = ("_readOrWrite",) if self._asyncio else ("_doReadOrWrite", "doIteration")
        for name in ("runUntilCurrent", "_insertNewDelayedCalls", "callFromThread", *own):
            _check(reactor, name)
        if self._asyncio:
            _check(getattr(getattr(reactor, "_asyncioEventloop", None), "_selector", None), "select")
        needed = ("_readers", "_writers") if self._asyncio else ()
        for name in ("_pendingTimedCalls", *needed):
            if not hasattr(reactor, name):
                raise UnknownReactorError(f"{type(reactor).__name__} has no {name}")

    def put(self) -> None:
        reactor = self._reactor
        self._override(reactor, "runUntilCurrent", self._run_until_current)
        self._override(reactor, "_insertNewDelayedCalls", self._insert_new_delayed_calls)
        self._override(reactor, "callFromThread", self._call_from_thread)
        if self._asyncio:
            self._put_asyncio()
        else:
            self._put_polling()

    def remove(self) -> None:
        while self._shadows:
            self._shadows.pop().remove()
        self._put_back()
        if self._asyncio:
            self._register_anew()

    def _override(self, owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self._shadows.append(Shadow(owner, name, make))

    # Delayed calls, and those from threads

    def _run_until_current(self, original: Callable[[], None]) -> Callable[[], None]:
        def run_until_current() -> None:
            self._first_look = True
            try:
                original()
            finally:
                self._first_look = False
                if self._replaced:
                    self._put_back()

        return run_until_current

    def _insert_new_delayed_calls(self, original: Callable[[], None]) -> Callable[[], None]:
        def insert_new_delayed_calls() -> None:
            original()
            if self._first_look:  # calls from threads have been made by now, and may have made calls that are due
                self._first_look = False
                if self._reactor._pendingTimedCalls:
                    self._replace()

        return insert_new_delayed_calls

    def _replace(self) -> None:
        """Replace the function of each call that is due."""
        heap = self._reactor._pendingTimedCalls
        limit = self._reactor.seconds() + SOON
        positions = [0]
        while positions:
            position = positions.pop()
            if position < len(heap) and heap[position].time <= limit:
                call = heap[position]
                if not call.cancelled and type(call.func) is not _Watched:
                    call.func = _Watched(self._watch.call, FUNCTIONS, call.func)
                    self._replaced.append((call, call.func))
                positions += (2 * position + 1, 2 * position + 2)

    def _put_back(self) -> None:
        for call, ours in self._replaced:
            if vars(call).get("func") is ours:  # it has none once it is cancelled
                call.func = ours.args[1]
        self._replaced.clear()

    def _call_from_thread(self, original: Callable[..., None]) -> Callable[..., None]:
        def call_from_thread(*args: Any, **kwargs: Any) -> None:
            if args and callable(args[0]):  # else the reactor is to complain
                args = (_Watched(self._watch.thread_call, args[0]), *args[1:])
            original(*args, **kwargs)

        return call_from_thread

    # Readers and writers, and waiting for them

    def _put_polling(self) -> None:
        readable = getattr(self._reactor, "_POLL_IN", 0)

        def is_reading(*how: Any) -> object:
            return how[0] == "doRead" if len(how) == 1 else how[1] & readable  # select is told the method

        self._override(self._reactor, "_doReadOrWrite", partial(_calling, self._watch, Descriptors(is_reading)))
        self._override(self._reactor, "doIteration", partial(_waiting, self._watch))

    def _put_asyncio(self) -> None:
        reactor = self._reactor
        descriptors = Descriptors(lambda read: read)
        self._override(reactor, "_readOrWrite", partial(_calling, self._watch, descriptors))
        self._override(reactor._asyncioEventloop._selector, "select", partial(_waiting, self._watch))
        self._register_anew()

    def _register_anew(self) -> None:
        """The event loop was given each ``_readOrWrite`` as it was then."""
        reactor = self._reactor
        loop = reactor._asyncioEventloop
        for descriptors, register, reading in (
            (reactor._readers, loop.add_reader, True),
            (reactor._writers, loop.add_writer, False),
        ):
            for descriptor, fd in descriptors.items():
                with suppress(Exception):  # a descriptor that the loop does not take any more
                    register(fd, callWithLogger, descriptor, reactor._readOrWrite, descriptor, reading)


class _Watched(partial[Any]):
    """A function that is called through the watch."""


def _calling(watch: Watch, callers: Callers, original: Callable[..., Any]) -> Callable[..., Any]:
    return partial(watch.call, callers, original)


def _waiting(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    return partial(watch.wait, original)


_POLLING = {
    "twisted.internet.epollreactor.EPollReactor",
    "twisted.internet.pollreactor.PollReactor",
    "twisted.internet.selectreactor.SelectReactor",
}
_ASYNCIO = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"


def _check(owner: Any, name: str) -> None:
    """Raise UnknownReactorError unless ``name`` is a method of ``owner`` that nobody overrides."""
    if not hasattr(owner, name) or not hasattr(owner, "__dict__"):
        raise UnknownReactorError(f"{type(owner).__name__} has no {name} that could be overridden")
    if name in vars(owner):
        raise UnknownReactorError(f"{name} of this {type(owner).__name__} is overridden already")
