"""The names that callbacks are given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, inlineCallbacks
from twisted.internet.protocol import DatagramProtocol, Factory, ProcessProtocol, Protocol
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import WrappingFactory
from twisted.web.http import HTTPFactory

from txmetrics.instrument.reactor._callers import FUNCTIONS, Descriptors


class Job:
    def run(self, *args: object) -> None:
        """Something."""

    @classmethod
    def build(cls) -> None:
        """Something else."""

    def __call__(self) -> None:
        """The same."""


class Special(Job):
    """Its methods are not its own, but bear its name."""


def function(*args: object) -> None:
    """Does nothing."""


def name(callback: Callable[..., Any]) -> str:
    return FUNCTIONS.name(FUNCTIONS.notice(callback, ()), ())


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (function, "function"),
        (Job().run, "Job.run"),
        (Special().run, "Special.run"),
        (Special.build, "Special.build"),
        (Job(), "Job"),
        (Job, "Job"),
        (partial(function, 1), "function"),
        (partial(partial(Job().run, 1), 2), "Job.run"),
        (LoopingCall(Special().run), "Special.run"),
        (LoopingCall(partial(function, 1)), "function"),
        ([].append, "list.append"),
        (lambda: None, "lambda"),
    ],
)
def test_a_function_is_what_a_person_wrote(callback: Callable[..., Any], expected: str) -> None:
    """Not what stands around it."""
    assert name(callback) == expected


def test_a_function_in_a_function_bears_both_names() -> None:
    """Without Python's own marks."""

    def inner() -> None:
        """Does nothing."""

    assert name(inner) == "test_a_function_in_a_function_bears_both_names.inner"


async def coroutine(deferred: Deferred[None]) -> None:
    await deferred


@inlineCallbacks
def generator(deferred: Deferred[None]) -> Any:
    yield deferred


def waiting(how: Callable[[Deferred[None]], Any]) -> Deferred[None]:
    """A Deferred for which something waits."""
    deferred: Deferred[None] = Deferred()
    how(deferred)
    return deferred


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (lambda deferred: deferred.addCallback(function), "function"),
        (lambda deferred: deferred.addErrback(function), "function"),
        (lambda deferred: deferred.addCallback(partial(Job().run, 1)), "Job.run"),
        (lambda deferred: ensureDeferred(coroutine(deferred)), "coroutine"),
        (generator, "generator"),
        (lambda deferred: Deferred().addCallback(lambda _: deferred), "Deferred.callback"),
        (lambda deferred: deferred.chainDeferred(Deferred().addCallback(function)), "function"),
        (lambda deferred: Deferred().addCallback(lambda _: deferred).addCallback(function).callback(1), "function"),
        (lambda deferred: deferred, "Deferred.callback"),
        (lambda deferred: deferred.chainDeferred(deferred), "Deferred.callback"),
    ],
)
def test_a_deferred_is_what_it_calls(how: Callable[[Deferred[None]], Any], expected: str) -> None:
    """Directly, through Twisted's own functions, and through other Deferreds."""
    deferred = waiting(how)
    assert name(deferred.callback) == expected
    deferred.addErrback(lambda _: None)


@pytest.mark.parametrize(("arguments", "expected"), [((function,), "function"), ((), "coroutine")])
def test_a_delay_is_what_comes_after(arguments: Any, expected: str) -> None:
    """``deferLater`` with a function, and one that is only awaited."""
    clock = Clock()
    waits = ensureDeferred(coroutine(deferLater(clock, 1, *arguments)))
    (call,) = clock.getDelayedCalls()
    assert name(call.func) == expected
    clock.advance(1)
    assert waits.called


class Echo(Protocol):
    """A person's own."""


def reading(descriptor: Any, before: Any = None, how: str = "doRead") -> str:
    callers = Descriptors(lambda how: how == "doRead")
    return callers.name(before or callers.notice(function, (descriptor, how)), (descriptor, how))


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (Echo(), "Echo.dataReceived"),
        (WrappingFactory(Factory.forProtocol(Echo)).buildProtocol(None), "Echo.dataReceived"),
        (HTTPFactory().buildProtocol(None), "HTTPChannel.dataReceived"),
        (DatagramProtocol(), "DatagramProtocol.datagramReceived"),
    ],
)
def test_a_connection_is_its_protocol(protocol: Any, expected: str) -> None:
    """The one that a person knows, in whatever it is wrapped."""
    assert reading(SimpleNamespace(protocol=protocol)) == expected


def test_what_a_descriptor_did() -> None:
    """As far as it can be told."""
    transport: Any = StringTransport()
    assert reading(SimpleNamespace(protocol=Echo(), producer=None), how="doWrite") == "Echo.doWrite"
    assert reading(SimpleNamespace(protocol=Echo(), producer=Job()), how="doWrite") == "Job.resumeProducing"
    assert reading(SimpleNamespace(protocol=Echo(), producer=Job())) == "Echo.dataReceived"
    assert reading(SimpleNamespace(disconnected=True), before=Echo()) == "Echo.connectionLost"
    assert reading(SimpleNamespace(factory=HTTPFactory())) == "HTTPFactory.buildProtocol"
    pipe = SimpleNamespace(proc=SimpleNamespace(proto=ProcessProtocol()))
    assert reading(pipe) == "ProcessProtocol.childDataReceived"
    assert reading(SimpleNamespace(proc=SimpleNamespace(protocol=Echo()))) == "Echo.dataReceived"
    assert reading(transport) == "StringTransport.doRead"


def test_a_connection_that_was_made_meanwhile() -> None:
    """There was no protocol before."""
    descriptor = SimpleNamespace(protocol=None)
    callers = Descriptors(lambda how: how == "doRead")
    before = callers.notice(function, (descriptor, "doWrite"))
    descriptor.protocol = Echo()
    assert callers.name(before, (descriptor, "doWrite")) == "Echo.connectionMade"
