"""Lookups: host names are looked up in a thread of our own, so that a name server that hangs keeps none of the
application's waiting.

The system's lookup cannot be interrupted. Twisted makes it in the reactor's thread pool, whose ten threads a few
attempts to connect would occupy for minutes; the application's own ``deferToThread`` would stand still meanwhile.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import directlyProvides, implementer, providedBy

__all__ = ["with_own_lookups"]

_ADDRESSES: dict[int, Any] = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}


def with_own_lookups(reactor: Any) -> Any:
    """``reactor``, with host names looked up in one thread that is nobody else's.

    A reactor that has got a resolver of its own, or cannot have one, is returned unchanged.
    """
    if not IReactorPluggableNameResolver.providedBy(reactor):
        return reactor
    if type(reactor.nameResolver).__name__ != "GAIResolver":  # somebody has installed another
        return reactor
    return _Reactor(reactor)


class _Reactor:
    """Another reactor, but for its resolver."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.nameResolver = _Lookups(reactor.callFromThread)
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@implementer(IHostnameResolver)
class _Lookups:
    """Looks up one name at a time; who asks for one that is being looked up waits for the same answer."""

    def __init__(self, call_from_thread: Callable[..., object]) -> None:
        self._call_from_thread = call_from_thread
        self._asked: dict[str, list[_Resolution]] = {}

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolution = _Resolution(resolutionReceiver, hostName, portNumber, addressTypes, transportSemantics)
        resolutionReceiver.resolutionBegan(resolution)
        self._asked.setdefault(hostName, []).append(resolution)
        if len(self._asked) == 1 and len(self._asked[hostName]) == 1:
            self._look_up_next()
        return resolution

    def _look_up_next(self) -> None:
        if self._asked:
            name = next(iter(self._asked))
            # A daemon: a lookup that hangs must not keep the process from ending.
            Thread(target=self._look_up, args=(name,), name="txmetrics lookup", daemon=True).start()

    def _look_up(self, name: str) -> None:
        try:
            answers = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)  # of one type: each address once
            found = [(family, address) for family, _, _, _, address in answers]
        except Exception:  # gaierror, UnicodeError for what is no name at all, ...
            found = []
        self._call_from_thread(self._found, name, found)

    def _found(self, name: str, found: list[tuple[int, Any]]) -> None:
        resolutions = self._asked.pop(name)
        self._look_up_next()  # before the answers, which may lead to another question at once
        for resolution in resolutions:
            resolution.complete(found)


@implementer(IHostResolution)
class _Resolution:
    """One who has asked."""

    def __init__(
        self, receiver: Any, name: str, port: int, address_types: Sequence[type] | None, semantics: str
    ) -> None:
        self.name = name
        self._receiver = receiver
        self._port = port
        self._address_types = tuple(address_types or _ADDRESSES.values())
        self._semantics = semantics

    def cancel(self) -> None:
        self._receiver = None

    def complete(self, found: list[tuple[int, Any]]) -> None:
        for family, address in found:
            kind = _ADDRESSES.get(family)
            if self._receiver is not None and kind is not None and issubclass(kind, self._address_types):
                self._receiver.addressResolved(kind(self._semantics, address[0], self._port))
        if self._receiver is not None:
            self._receiver.resolutionComplete()
