"""Who is called: names that a person recognises for what a reactor calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import CoroutineType, FunctionType, GeneratorType, MethodType
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

__all__ = ["FUNCTIONS", "Callers", "Descriptors"]

DEPTH = 6
"""So many things are looked through in search of a person's own code, one inside the other."""

WRAPPED = ("wrappedProtocol", "_wrappedProtocol", "_channel")
"""Where Twisted's own protocols keep the one that they serve."""


class Callers(Protocol):
    """Names one kind of call.

    ``notice`` is asked before each call, and cheap; ``name``, with what ``notice`` has said, after one that was long.
    """

    def notice(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any: ...

    def name(self, noticed: Any, args: tuple[Any, ...]) -> str: ...


class _Functions:
    """Delayed calls, and calls from threads."""

    def notice(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        # A Deferred forgets its callbacks as it runs them.
        if type(function) is MethodType and isinstance(function.__self__, Deferred):
            return _users_own(function.__self__, DEPTH) or function
        return function

    def name(self, noticed: Any, args: tuple[Any, ...]) -> str:
        return _name(noticed)


FUNCTIONS = _Functions()


class Descriptors:
    """Reading and writing; ``is_reading`` tells which from the arguments that follow the descriptor."""

    def __init__(self, is_reading: Callable[..., object]) -> None:
        self._is_reading = is_reading

    def notice(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return getattr(args[0], "protocol", None)  # which a connection that is lost has no longer

    def name(self, noticed: Any, args: tuple[Any, ...]) -> str:
        descriptor, *how = args
        reading = self._is_reading(*how)
        protocol = noticed or getattr(descriptor, "protocol", None) or _of_process(descriptor)
        if protocol is None:
            factory = getattr(descriptor, "factory", None)  # of a port
            if factory is not None:
                return f"{_class(factory)}.buildProtocol"
            return f"{_class(descriptor)}.{'doRead' if reading else 'doWrite'}"
        if getattr(descriptor, "disconnected", False):
            return f"{_class(_innermost(protocol))}.connectionLost"
        if noticed is None and getattr(descriptor, "protocol", None) is not None:
            return f"{_class(_innermost(protocol))}.connectionMade"
        producer = getattr(descriptor, "producer", None)
        if not reading and producer is not None:
            return f"{_class(producer)}.resumeProducing"
        return f"{_class(_innermost(protocol))}.{_method(protocol) if reading else 'doWrite'}"


def _of_process(descriptor: Any) -> Any:
    """The protocol of a child process, if the descriptor is one of its pipes, or of standard input."""
    process = getattr(descriptor, "proc", None)
    return getattr(process, "proto", None) or getattr(process, "protocol", None)


def _innermost(protocol: Any) -> Any:
    """The protocol that Twisted's own wrappers (TLS, HTTP's negotiation, policies) serve."""
    for _ in range(DEPTH):
        if not _is_twisteds(type(protocol)):
            break
        inside = [getattr(protocol, name, None) for name in WRAPPED]
        protocol = next((each for each in inside if each is not None), protocol)
    return protocol


def _method(protocol: Any) -> str:
    methods = ("dataReceived", "datagramReceived", "childDataReceived")
    return next((method for method in methods if hasattr(protocol, method)), "doRead")


def _name(thing: Any) -> str:
    for _ in range(DEPTH):
        if isinstance(thing, partial):
            thing = thing.func
        elif isinstance(thing, LoopingCall):
            thing = thing.f
    if isinstance(thing, MethodType):
        return f"{_class(thing.__self__)}.{thing.__name__}"
    name = getattr(thing, "__qualname__", None)
    return _readable(name) if isinstance(name, str) else _class(thing)


def _class(thing: Any) -> str:
    """The name of a class, or of an instance's."""
    return _readable((thing if isinstance(thing, type) else type(thing)).__qualname__)


def _readable(name: str) -> str:
    return name.replace("<locals>.", "").replace("<lambda>", "lambda")


def _users_own(thing: Any, depth: int) -> Any:
    """The first function or generator that is no part of Twisted, of all that ``thing`` will call; None if unknown."""
    if depth == 0:
        return None
    if isinstance(thing, GeneratorType | CoroutineType):
        return thing
    if isinstance(thing, FunctionType | type) and not _is_twisteds(thing):
        return thing
    if isinstance(thing, MethodType) and not _is_twisteds(type(thing.__self__)):
        return thing
    for part in _parts(thing):
        found = _users_own(part, depth - 1)
        if found is not None:
            return found
    return None


def _parts(thing: Any) -> list[Any]:
    """What ``thing`` calls in turn, as far as it can be told."""
    if isinstance(thing, partial):
        return [thing.func, *thing.args]
    if isinstance(thing, LoopingCall):
        return [thing.f]
    if isinstance(thing, Deferred):
        return [part for pair in _chain(thing)[:DEPTH] for function, args, _ in pair for part in (function, *args)]
    if isinstance(thing, MethodType):
        return [thing.__self__]
    if isinstance(thing, FunctionType):
        return [content for cell in thing.__closure__ or () if (content := _content(cell)) is not None]
    return []


def _chain(deferred: Any) -> list[Any]:
    """The callbacks to come, in pairs with errbacks."""
    chain: list[Any] | None = getattr(deferred, "_callbacks", None)  # since Twisted 25.5
    if chain is None:
        chain = deferred.callbacks
    return chain


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return None


def _is_twisteds(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("twisted.")
